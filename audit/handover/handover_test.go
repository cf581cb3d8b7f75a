package handover

import (
	"archive/zip"
	"bytes"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/smx509"

	"yizheng/audit"
	"yizheng/audit/audittest"
	"yizheng/identity/jose"
	"yizheng/seal/tsp"
	"yizheng/seal/tsp/tsptest"
)

func newKey(t testing.TB) *jose.Key {
	t.Helper()
	k, err := jose.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// office is a sealed quarter and all that goes with it.
type office struct {
	source Source
	pins   Pins
	file   []byte
	report Report
}

const issued, withdrawn = 25, 2

func newOffice(t testing.TB, stamped bool) *office {
	t.Helper()
	logKey, signer, dir, trust := newKey(t), newKey(t), t.TempDir(), t.TempDir()
	l, err := audit.OpenLog(t.Context(), audit.Config{AppendTimeout: audittest.Patience, Dir: dir, Origin: "gw1.example.gov.cn/audit/2026q3", Signer: logKey, SegmentSize: 64 << 10, MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	add := func(op audit.Op, number string) {
		if _, err := l.Append(t.Context(), audit.Entry{Open: audit.Open{Op: op, Number: number, Department: "690100000001"}, Closed: audit.Closed{Actor: "clerk-1"}}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range issued {
		add(audit.OpQuery, "")
		add(audit.OpIssue, fmt.Sprintf("69010000%04d", i))
	}
	for i := range withdrawn {
		add(audit.OpWithdraw, fmt.Sprintf("69010000%04d", i))
	}
	if _, err := l.Seal(); err != nil {
		t.Fatal(err)
	}
	a, err := audit.OpenArchive(t.Context(), dir, logKey.Public())
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"roots/root.crt": "root", "crl/root.crl": "list", "seals-status.json": "{}", "roots/root.key": "not to be handed over"} {
		if err := os.MkdirAll(filepath.Join(trust, filepath.Dir(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(trust, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := &office{source: Source{Dir: dir, Shard: a, Trust: trust, Signer: signer, Now: time.Date(2026, 10, 8, 9, 0, 0, 0, time.UTC)},
		pins: Pins{Log: []*ecdsa.PublicKey{newKey(t).Public(), logKey.Public()}, Signers: []*ecdsa.PublicKey{signer.Public()}}}
	if stamped {
		authority := tsptest.New(t)
		client, err := tsp.NewClient(tsp.Config{URL: authority.URL, RootCAs: authority.RootCAs})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		o.source.Stamper = client
		o.pins.StampRoots = smx509.NewCertPool()
		o.pins.StampRoots.AddCert(authority.Root)
	}
	var out bytes.Buffer
	if _, err := Write(t.Context(), &out, o.source); err != nil {
		t.Fatal(err)
	}
	o.file = out.Bytes()
	if o.report, err = o.verify(o.file); err != nil {
		t.Fatal(err)
	}
	return o
}

func (o *office) verify(file []byte) (Report, error) {
	return Verify(bytes.NewReader(file), int64(len(file)), o.pins)
}

func TestWhatIsHandedOverVerifiesByItself(t *testing.T) {
	o := newOffice(t, true)
	if r := o.report; r.Issued != issued || r.Withdrawn != withdrawn || r.Head.Size != o.source.Shard.Head().Size || r.StampedAt.IsZero() {
		t.Errorf("%+v", r)
	}
	var names []string
	for _, f := range o.report.Files {
		names = append(names, f.Name)
	}
	want := []string{"README.txt", "checkpoint", "log.json", "records.jsonl", "trust/crl/root.crl", "trust/roots/root.crt", "trust/seals-status.json"}
	if !slices.Equal(names, want) {
		t.Errorf("files %q", names)
	}
	if text := unpack(t, o.file)["records.jsonl"]; strings.Contains(text, "clerk-1") || !strings.Contains(text, "690100000001") {
		t.Error("records hold closed halves, or not the open ones")
	}
	again := newOffice(t, false)
	if !again.report.StampedAt.IsZero() {
		t.Error("a stamp nobody gave")
	}
	files := unpack(t, again.file)
	files["manifest.tst"] = unpack(t, o.file)["manifest.tst"]
	if _, err := again.verify(pack(t, files)); !errors.Is(err, ErrBad) || !strings.Contains(err.Error(), "manifest.tst was added") {
		t.Errorf("a stamp that does not belong to the file: %v", err)
	}
}

func unpack(t testing.TB, file []byte) map[string]string {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	list := map[string]string{}
	for _, f := range z.File {
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		list[f.Name] = string(text)
	}
	return list
}

func pack(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for name, text := range files {
		f, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestAnyChangeIsFoundAndNamed(t *testing.T) {
	o := newOffice(t, true)
	other := newOffice(t, true)
	change := func(name, old, to string) func(map[string]string) {
		return func(f map[string]string) {
			if !strings.Contains(f[name], old) {
				t.Fatalf("%s has no %q", name, old)
			}
			f[name] = strings.Replace(f[name], old, to, 1)
		}
	}
	for name, tt := range map[string]struct {
		change func(map[string]string)
		want   string
	}{
		"a record changed":           {change("records.jsonl", "690100000001", "690100000002"), "records.jsonl was changed"},
		"a record left out":          {func(f map[string]string) { _, f["records.jsonl"], _ = strings.Cut(f["records.jsonl"], "\n") }, "records.jsonl was changed"},
		"a revocation list replaced": {change("trust/crl/root.crl", "list", "tsil"), "root.crl was changed"},
		"a status list removed":      {func(f map[string]string) { delete(f, "trust/seals-status.json") }, "seals-status.json is missing"},
		"a root added":               {func(f map[string]string) { f["trust/roots/mine.crt"] = "mine" }, "mine.crt was added"},
		"a count changed":            {change("manifest.json", `"issued": 25`, `"issued": 24`), "manifest.json is not what was signed"},
		"the signature removed":      {func(f map[string]string) { delete(f, "manifest.jws") }, "manifest.jws is missing"},
		"another's signature":        {func(f map[string]string) { f["manifest.jws"] = unpack(t, other.file)["manifest.jws"] }, "manifest.jws"},
		"another's manifest, all of it": {func(f map[string]string) {
			maps := unpack(t, other.file)
			clear(f)
			for k, v := range maps {
				f[k] = v
			}
		}, "manifest.jws"},
		"the time stamp removed": {func(f map[string]string) { delete(f, "manifest.tst") }, "manifest.tst is missing"},
		"another's time stamp":   {func(f map[string]string) { f["manifest.tst"] = unpack(t, other.file)["manifest.tst"] }, "manifest.tst"},
	} {
		t.Run(name, func(t *testing.T) {
			files := unpack(t, o.file)
			tt.change(files)
			if _, err := o.verify(pack(t, files)); !errors.Is(err, ErrBad) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
	if _, err := o.verify(pack(t, unpack(t, o.file))); err != nil {
		t.Errorf("packed anew: %v", err)
	}
	o.pins.Log = o.pins.Log[:1]
	if _, err := o.verify(o.file); err == nil || !strings.Contains(err.Error(), "checkpoint") {
		t.Errorf("another log's key: %v", err)
	}
}

// A gateway that lies signs a manifest over records that are not in its log.
func TestTheGatewayCannotHandOverWhatItsLogDoesNotHold(t *testing.T) {
	o := newOffice(t, false)
	for name, alter := range map[string]func(records string) string{
		"a document never issued":       func(r string) string { return strings.Replace(r, "690100000001", "690100000009", 1) },
		"one said twice":                func(r string) string { line, _, _ := strings.Cut(r, "\n"); return line + "\n" + r },
		"one left out of those counted": func(r string) string { _, rest, _ := strings.Cut(r, "\n"); return rest },
		"another operation":             func(r string) string { return strings.Replace(r, `"op":"issue"`, `"op":"login"`, 1) },
		"a proof cut short":             func(r string) string { return strings.Replace(r, `"proof":["`, `"proof":["AA==","`, 1) },
		"not JSON":                      func(r string) string { return r + "{\n" },
	} {
		t.Run(name, func(t *testing.T) {
			w := &writer{}
			var out bytes.Buffer
			w.zip = zip.NewWriter(&out)
			w.m = Manifest{V: 1, Origin: o.report.Origin, Issued: issued, Withdrawn: withdrawn}
			for file, text := range unpack(t, o.file) {
				if strings.HasPrefix(file, "manifest") {
					continue
				}
				if file == nameRecords {
					text = alter(text)
				}
				if err := w.put(file, []byte(text)); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.sign(t.Context(), o.source); err != nil {
				t.Fatal(err)
			}
			if err := w.zip.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := o.verify(out.Bytes()); !errors.Is(err, ErrBad) || !strings.Contains(err.Error(), "records.jsonl") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func FuzzVerify(f *testing.F) {
	o := newOffice(f, false)
	f.Add(o.file)
	f.Add([]byte("PK\x05\x06" + strings.Repeat("\x00", 18)))
	f.Fuzz(func(t *testing.T, file []byte) {
		if _, err := o.verify(file); err == nil && !bytes.Equal(file, o.file) {
			// Only what the ZIP says around its files may differ.
			if got, want := unpack(t, file), unpack(t, o.file); len(got) != len(want) {
				t.Error("another file verifies")
			}
		}
	})
}
