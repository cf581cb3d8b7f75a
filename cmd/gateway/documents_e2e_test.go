//go:build e2e

package main

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"yizheng/audit"
	"yizheng/catalog"
	"yizheng/cmd/gateway/demo"
	"yizheng/exchange"
	"yizheng/identity/jose"
	"yizheng/seal"
)

// checkDocuments holds every result to its receipts, its signed data, the
// seal's eight checks, and what a reader of the page sees.
func checkDocuments(t *testing.T, city *demo.City, out string, results []handed) {
	for _, tool := range []string{"pdftotext", "qpdf", "python3", "openssl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%s is missing; run make setup: %v", tool, err)
		}
	}
	if err := os.Mkdir(out, 0o700); err != nil {
		t.Fatal(err)
	}
	c := &checker{city: city, cat: demoCatalogue(t), people: samplePeople(t), logKey: publicKey(t, city, "audit"), gatewayKey: publicKey(t, city, "gateway")}
	var err error
	if c.trust, err = seal.LoadTrust(filepath.Join(city.State, "trust")); err != nil {
		t.Fatal(err)
	}
	if c.roots, err = filepath.Glob(filepath.Join(city.State, "trust/roots/*.crt")); err != nil || len(c.roots) != 1 {
		t.Fatalf("roots %v: %v", c.roots, err)
	}
	names, met := make(map[string]bool), make(map[string]bool)
	var files []string
	for _, h := range results {
		c.receipt(t, h, h.Receipt)
		var issuer string
		if h.Data != "" {
			issuer = c.data(t, h).Issuer
		}
		if h.Document == nil {
			continue
		}
		// Programs of other people are slow to start: they see every proof of
		// every issuer, and every person, at least once.
		outside := !met[h.person] || !met[string(h.Proof)+issuer]
		met[h.person], met[string(h.Proof)+issuer] = true, true
		file := filepath.Join(out, strings.ReplaceAll(h.name, " ", "-")+".pdf")
		if err := os.WriteFile(file, h.Document, 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
		names[c.printedName(h)] = true
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			c.document(t, h, file)
			if outside {
				c.others(t, file)
			}
		})
	}
	for _, name := range []string{"李𬸚", "王㐂", "阿依古丽·买买提", "张䶮", "约翰·米勒"} {
		if !names[name] {
			t.Errorf("no document names %s", name)
		}
	}
	t.Run("gateway verify accepts every file", func(t *testing.T) { verifyAll(t, city, files) })
	t.Run("gateway verify refuses a changed byte", func(t *testing.T) { verifyChanged(t, city, files) })
}

func publicKey(t *testing.T, city *demo.City, name string) *ecdsa.PublicKey {
	t.Helper()
	k, err := jose.ReadPublicKey(filepath.Join(city.State, "keys", name+".pub.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

type checker struct {
	city               *demo.City
	cat                *catalog.Catalogue
	people             map[string]sampleCard
	trust              *seal.Trust
	roots              []string
	logKey, gatewayKey *ecdsa.PublicKey
}

func (c *checker) receipt(t *testing.T, h handed, text string) audit.Receipt {
	r, err := audit.ParseReceipt([]byte(text))
	if err == nil {
		err = r.Verify(c.logKey, r.Leaf)
	}
	if err != nil {
		t.Errorf("%s: receipt: %v", h.name, err)
	}
	return r
}

// data returns the signed records, which must hold granted fields and no others.
func (c *checker) data(t *testing.T, h handed) exchange.Data {
	var d exchange.Data
	payload, _, err := jose.Verify(h.Data, exchange.TypeData, func(string) *ecdsa.PublicKey { return c.gatewayKey })
	if err == nil {
		err = json.Unmarshal(payload, &d)
	}
	if err != nil {
		t.Errorf("%s: data: %v", h.name, err)
	}
	grant, ok := c.cat.GrantFor("window-hall", catalog.ItemCode(h.item), h.Proof)
	if !ok || len(d.Records) == 0 {
		t.Fatalf("%s: grant %v, %d records", h.name, ok, len(d.Records))
	}
	for _, r := range d.Records {
		for field := range r {
			if !slices.Contains(grant.Fields, field) {
				t.Errorf("%s: field %s is not granted", h.name, field)
			}
		}
	}
	return d
}

// printedName is how a document writes the person: as the card does, private
// code points as the sources write them, every middle dot as U+00B7.
func (c *checker) printedName(h handed) string {
	return strings.ReplaceAll(c.people[h.person].Name, "\uE863", "䶮")
}

func (c *checker) document(t *testing.T, h handed, file string) {
	c.receipt(t, h, h.IssueReceipt)
	report := seal.Verify(h.Document, c.trust, time.Now())
	for _, k := range report.Checks {
		want := seal.OK
		if k.No == seal.CheckStamp {
			want = seal.Absent
		}
		if k.Result != want {
			t.Errorf("check %d %s: %s, want %s: %s", k.No, k.Name.EN, k.Result, want, k.Reason.EN)
		}
	}
	if !report.Overall || report.Number != h.Number || h.Number == "" {
		t.Errorf("overall %v, number %q, result says %q", report.Overall, report.Number, h.Number)
	}
	if ok, err := c.city.Verify(t.Context(), h.Document); err != nil || !ok {
		t.Errorf("POST /v1/verify: %v, %v", ok, err)
	}
	c.page(t, h, file, report)
}

// others has other people's programs look at a document.
func (c *checker) others(t *testing.T, file string) {
	if out, err := exec.CommandContext(t.Context(), "qpdf", "--check", file).CombinedOutput(); err != nil || !bytes.Contains(out, []byte("No syntax or stream encoding errors")) {
		t.Errorf("qpdf: %v\n%s", err, out)
	}
	if out, err := exec.CommandContext(t.Context(), "python3", "../../seal/testdata/check_seal.py", file, c.roots[0]).CombinedOutput(); err != nil {
		t.Errorf("check_seal.py: %v\n%s", err, out)
	}
}

// page compares the text of the pages with the data, white space apart.
func (c *checker) page(t *testing.T, h handed, file string, report seal.Report) {
	raw, err := exec.CommandContext(t.Context(), "pdftotext", "-raw", file, "-").Output()
	if err != nil {
		t.Fatalf("pdftotext: %v", err)
	}
	text := squeeze(string(raw))
	shown := func(what, value string) {
		if !strings.Contains(text, squeeze(value)) {
			t.Errorf("%s is not on the page: %s\n%s", what, value, raw)
		}
	}
	person := c.people[h.person]
	shown("name", c.printedName(h))
	shown("ID number", person.Number)
	shown("certificate number", h.Number)
	d := c.data(t, h)
	proof, _ := c.cat.Proof(h.Proof)
	for i, r := range d.Records {
		for _, f := range proof.Fields {
			value, ok := r[f.Name]
			if !ok {
				continue
			}
			if f.Mask {
				masked(t, text, f, value)
				continue
			}
			shown(fmt.Sprintf("record %d, field %s", i, f.Name), printed(f, value))
		}
	}
	until := watermarkDate(t, report, proof)
	if proof.Level != "A" {
		t.Fatalf("level %s: the test knows only A's sentence", proof.Level)
	}
	shown("watermark", "此件由"+d.Issuer+"提供，仅供办理政务服务事项时使用，有效期至"+until)
	item, _ := c.cat.Item(catalog.ItemCode(h.item))
	purpose, _ := c.cat.Purpose(item.Purposes[0])
	shown("matter", item.Name)
	shown("purpose", purpose.Text)
	shown("issuer", d.Issuer)
}

func watermarkDate(t *testing.T, report seal.Report, proof catalog.Proof) string {
	t.Helper()
	u := proof.Validity.Until(report.SigningTime.In(time.FixedZone("UTC+8", 8*3600)))
	return fmt.Sprintf("%d年%d月%d日", u.Year(), int(u.Month()), u.Day())
}

// masked: of a masked value only its ends are printed.
func masked(t *testing.T, text string, f catalog.Field, value any) {
	s, _ := value.(string)
	if s == "" {
		return
	}
	if strings.Contains(text, squeeze(s)) {
		t.Errorf("field %s is printed in full", f.Name)
	}
	if !strings.Contains(text, string([]rune(s)[0])) || !strings.Contains(text, "*") {
		t.Errorf("field %s is not printed", f.Name)
	}
}

// printed is how a page writes a value, said a second time and independently of the code that writes it.
func printed(f catalog.Field, value any) string {
	s := fmt.Sprint(value)
	if value == nil || s == "" {
		return "—"
	}
	switch f.Type {
	case "date":
		return numbers(s, "年", "月", "日")
	case "month":
		return numbers(s, "年", "月")
	case "money":
		return s + "元"
	case "code":
		return f.Codes[s]
	}
	return s
}

// numbers writes 2025-03-05 as 2025年3月5日.
func numbers(s string, units ...string) string {
	var b strings.Builder
	for i, n := range strings.Split(s, "-") {
		b.WriteString(strings.TrimLeft(n, "0") + units[i])
	}
	return b.String()
}

// squeeze drops white space: lines of a page break anywhere.
func squeeze(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, s)
}

// reports runs gateway verify -json.
func reports(t *testing.T, city *demo.City, files []string) (list []seal.Report, code int) {
	t.Helper()
	args := append([]string{"verify", "-json", "-trust", filepath.Join(city.State, "trust")}, files...)
	cmd := exec.CommandContext(t.Context(), filepath.Join(programs(t), "gateway"), args...)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var r seal.Report
		if err := d.Decode(&r); err != nil {
			t.Fatalf("-json: %v\n%s", err, out)
		}
		list = append(list, r)
	}
	if len(list) != len(files) {
		t.Fatalf("%d reports for %d files\n%s", len(list), len(files), exit.Stderr)
	}
	return list, cmd.ProcessState.ExitCode()
}

func verifyAll(t *testing.T, city *demo.City, files []string) {
	if len(files) == 0 {
		t.Fatal("no files")
	}
	list, code := reports(t, city, files)
	for i, r := range list {
		if !r.Overall {
			t.Errorf("%s: not verified", files[i])
		}
	}
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// verifyChanged flips one bit of one byte, at a few places of every file:
// its ends, its middle, within the signature, behind the signature's bytes.
func verifyChanged(t *testing.T, city *demo.City, files []string) {
	dir := t.TempDir()
	var changed []string
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		contents := bytes.Index(b, []byte("/Contents <")) + len("/Contents <")
		end := contents + bytes.IndexByte(b[contents:], '>')
		for _, at := range []int{5, contents + 60, end - 1, rand.IntN(contents), end + 1 + rand.IntN(len(b)-end-1), len(b) - 2} {
			bad := slices.Clone(b)
			bad[at] ^= 1
			name := filepath.Join(dir, fmt.Sprintf("%s-%d.pdf", strings.TrimSuffix(filepath.Base(file), ".pdf"), at))
			if err := os.WriteFile(name, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			changed = append(changed, name)
		}
	}
	for some := range slices.Chunk(changed, 200) {
		list, code := reports(t, city, some)
		for i, r := range list {
			if r.Overall {
				t.Errorf("%s: verified although its byte at the number in its name was changed", some[i])
			}
		}
		if code != 1 {
			t.Errorf("exit code %d, want 1", code)
		}
	}
}

// auditedAll verifies the closed log offline and finds every result's records in it.
func auditedAll(t *testing.T, city *demo.City, results []handed) {
	key, shard := publicKey(t, city, "audit"), shardOf(t, city)
	report, err := audit.VerifyDir(t.Context(), shard, audit.VerifyOptions{Keys: []*ecdsa.PublicKey{key}})
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Warnings) > 0 {
		t.Errorf("warnings: %v", report.Warnings)
	}
	proofs := 0
	for _, h := range results[:min(len(results), 12)] {
		r, err := audit.ParseReceipt([]byte(h.Receipt))
		if err != nil {
			t.Fatal(err)
		}
		stored, now, err := audit.Prove(shard, r.Index, key)
		if err != nil || now.Leaf != r.Leaf {
			t.Errorf("%s: entry %d: %v", h.name, r.Index, err)
			continue
		}
		if stored.Entry.Open.Op != audit.OpRelease || stored.Entry.Open.Exchange != h.Exchange || stored.Entry.Open.Proof != string(h.Proof) {
			t.Errorf("%s: receipt of another record: %s %s", h.name, stored.Entry.Open.Op, stored.Entry.Open.Proof)
		}
		proofs++
	}
	t.Logf("%d entries, %d frames, %d receipts looked up", report.Entries, report.Frames, proofs)
	sensitive := make(map[string]bool)
	for _, p := range demoCatalogue(t).Proofs {
		sensitive[string(p.Code)] = p.Sensitive
	}
	outcomes := make(map[string]bool)
	err = audit.Each(shard, func(stored audit.Stored) error {
		if sensitive[stored.Entry.Open.Proof] && stored.Entry.Open.Outcome != "" {
			outcomes[stored.Entry.Open.Outcome] = true
		}
		return nil
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	if got := slices.Collect(maps.Keys(outcomes)); !slices.Equal(got, []string{exchange.Answered}) {
		t.Errorf("the open half says of sensitive proofs %v, want only %s", got, exchange.Answered)
	}
}
