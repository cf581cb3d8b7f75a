package catalog

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"yizheng/identity/jose"
)

var created = time.Date(2026, 11, 22, 2, 30, 0, 0, time.UTC)

// office has the keys of one city: two administrators, a stranger and the owner of SI-01.
type office struct {
	*Catalogue
	admins          [2]*jose.Key
	stranger, owner *jose.Key
}

func newOffice(t testing.TB, edits ...edit) office {
	t.Helper()
	o := office{Catalogue: mustLoad(t, edits...)}
	for _, k := range []**jose.Key{&o.admins[0], &o.admins[1], &o.stranger, &o.owner} {
		var err error
		if *k, err = jose.GenerateKey(); err != nil {
			t.Fatal(err)
		}
	}
	pem, err := jose.MarshalPublicKeyPEM(o.owner.Public())
	if err != nil {
		t.Fatal(err)
	}
	o.Departments[0].GrantKey = string(pem)
	return o
}

func (o office) grants(t testing.TB) []string {
	t.Helper()
	var signed []string
	for _, g := range o.Grants {
		token, err := SignGrant(o.owner, o.Catalogue, g)
		if err != nil {
			t.Fatal(err)
		}
		signed = append(signed, token)
	}
	return signed
}

func (o office) options(t testing.TB, number uint64, previous string) ReleaseOptions {
	t.Helper()
	return ReleaseOptions{Number: number, Created: created, Expires: created.AddDate(1, 0, 0), Previous: previous, Grants: o.grants(t)}
}

func (o office) trust() Trust {
	admins := map[string]*ecdsa.PublicKey{}
	for _, k := range o.admins {
		admins[k.ID()] = k.Public()
	}
	return Trust{Administrators: admins, Need: 2, Now: created.Add(time.Hour), MinNumber: 1}
}

// file is a release signed by the keys given.
func (o office) file(t testing.TB, number uint64, previous string, keys ...*jose.Key) []byte {
	t.Helper()
	r, err := NewRelease(o.Catalogue, o.options(t, number, previous))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if err := r.AddSignature(k); err != nil {
			t.Fatal(err)
		}
	}
	data, err := r.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// forged is a release with the payload changed before it is signed by both administrators.
func (o office) forged(t testing.TB, from, to string) []byte {
	t.Helper()
	m, err := jose.ParseMultiSigned(o.file(t, 7, ""))
	if err != nil {
		t.Fatal(err)
	}
	payload := bytes.Replace(m.Payload(), []byte(from), []byte(to), 1)
	if bytes.Equal(payload, m.Payload()) {
		t.Fatalf("%q does not stand in the payload", from)
	}
	m = jose.NewMultiSigned(payload)
	for _, k := range o.admins {
		if err := m.AddSignature(k, TypeRelease); err != nil {
			t.Fatal(err)
		}
	}
	data, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestOpenReturnsWhatWasReleased(t *testing.T) {
	o := newOffice(t)
	r, err := Open(o.file(t, 7, "before", o.admins[0], o.admins[1]), o.trust())
	if err != nil {
		t.Fatal(err)
	}
	if r.Number != 7 || r.Previous != "before" || !r.Created.Equal(created) || !slices.Equal(r.Signers, []string{o.admins[0].ID(), o.admins[1].ID()}) {
		t.Errorf("release %+v", r)
	}
	if lines := Diff(o.Catalogue, r.Catalogue); len(lines) != 0 {
		t.Errorf("the catalogue changed on the way: %q", lines)
	}
	if _, ok := r.Catalogue.GrantFor("hall", "PRH", "SI-01"); !ok {
		t.Error("the grant is lost")
	}
	if err := r.Catalogue.ValidateRecord("SI-01", map[string]any{"month": "2026-01", "base": "1.00"}); err != nil {
		t.Errorf("the schema is lost: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	o := newOffice(t)
	both := o.admins[:]
	good := o.file(t, 7, "", both...)
	for _, c := range []struct {
		name  string
		data  []byte
		trust func(*Trust)
		want  error
	}{
		{"nobody signed", o.file(t, 7, ""), nil, ErrUnsigned},
		{"one administrator signed", o.file(t, 7, "", o.admins[0]), nil, ErrTooFewSignatures},
		{"one signature where none is asked for", o.file(t, 7, "", o.admins[0]), func(t *Trust) { t.Need = 0 }, ErrTooFewSignatures},
		{"a stranger signed", o.file(t, 7, "", o.admins[0], o.stranger), nil, ErrUnsigned},
		{"one key under two names", o.file(t, 7, "", both...), func(t *Trust) {
			t.Administrators = map[string]*ecdsa.PublicKey{o.admins[0].ID(): o.admins[0].Public(), o.admins[1].ID(): o.admins[0].Public()}
		}, ErrUnsigned},
		{"one signature twice", twice(t, o.file(t, 7, "", o.admins[0])), nil, ErrUnsigned},
		{"changed after signing", altered(t, good), nil, ErrUnsigned},
		{"not JSON", []byte("7"), nil, ErrUnsigned},
		{"empty", nil, nil, ErrUnsigned},
		{"older than the last", good, func(t *Trust) { t.MinNumber = 8 }, ErrOlder},
		{"not valid yet", good, func(t *Trust) { t.Now = created.Add(-time.Second) }, ErrNotYet},
		{"expired", good, func(t *Trust) { t.Now = created.AddDate(1, 0, 0) }, ErrExpired},
		{"of another version", o.forged(t, `{"v":1`, `{"v":2`), nil, ErrFormat},
		{"with an unknown key", o.forged(t, `{"v":1`, `{"v":1,"w":1`), nil, ErrFormat},
		{"number 0", o.forged(t, `"number":7`, `"number":0`), nil, ErrOlder},
		{"grants of another city", o.forged(t, `"code":"690100"`, `"code":"690200"`), nil, ErrGrantSignature},
		{"proof given to another owner", o.forged(t, `"owner":"12690100006900149D"`, `"owner":"11690100MB69001143"`), nil, ErrGrantSignature},
		{"grant changed", o.forged(t, `"grants":["ey`, `"grants":["eyA`), nil, ErrGrantSignature},
	} {
		t.Run(c.name, func(t *testing.T) {
			trust := o.trust()
			if c.trust != nil {
				c.trust(&trust)
			}
			if _, err := Open(c.data, trust); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
	t.Run("signed mistakes", func(t *testing.T) {
		_, err := Open(o.forged(t, `"min_level":5`, `"min_level":9`), o.trust())
		var problems Problems
		if !errors.As(err, &problems) || problems[0].Path != "proofs[0].min_level" {
			t.Errorf("got %v, want the problem", err)
		}
	})
}

// twice repeats the first signature.
func twice(t testing.TB, data []byte) []byte {
	return rewritten(t, data, func(m map[string]any) {
		s := m["signatures"].([]any)
		m["signatures"] = append(s, s[0])
	})
}

func altered(t testing.TB, data []byte) []byte {
	return rewritten(t, data, func(m map[string]any) {
		payload, err := base64.RawURLEncoding.DecodeString(m["payload"].(string))
		if err != nil {
			t.Fatal(err)
		}
		m["payload"] = base64.RawURLEncoding.EncodeToString(bytes.Replace(payload, []byte(`"per_minute":60`), []byte(`"per_minute":99`), 1))
	})
}

func rewritten(t testing.TB, data []byte, change func(map[string]any)) []byte {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	change(m)
	data, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestNewReleaseNeedsEveryGrantSignedByItsOwner(t *testing.T) {
	o := newOffice(t)
	if _, err := SignGrant(o.stranger, o.Catalogue, o.Grants[0]); !errors.Is(err, ErrGrantSignature) {
		t.Errorf("a stranger signs a grant: %v", err)
	}
	for _, c := range []struct {
		name   string
		change func(*ReleaseOptions)
		want   error
	}{
		{"no grant signed", func(r *ReleaseOptions) { r.Grants = nil }, ErrGrantSignature},
		{"a grant more than the catalogue has", func(r *ReleaseOptions) { r.Grants = append(r.Grants, r.Grants[0]) }, ErrGrantSignature},
		{"number 0", func(r *ReleaseOptions) { r.Number = 0 }, ErrFormat},
		{"ends before it begins", func(r *ReleaseOptions) { r.Expires = r.Created }, ErrFormat},
	} {
		options := o.options(t, 1, "")
		c.change(&options)
		if _, err := NewRelease(o.Catalogue, options); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	options := o.options(t, 1, "")
	o.Grants[0].Fields = []string{"month", "base", "kind"}
	if _, err := NewRelease(o.Catalogue, options); !errors.Is(err, ErrGrantSignature) {
		t.Errorf("a grant widened after it was signed: %v", err)
	}
	r, err := NewRelease(o.Catalogue, o.options(t, 1, ""))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.AddSignature(o.admins[0]); err != nil {
		t.Fatal(err)
	}
	if r.AddSignature(o.admins[0]) == nil {
		t.Error("one administrator signs twice")
	}
}

func TestDraftIsSignedOneAfterTheOther(t *testing.T) {
	o := newOffice(t)
	data := o.file(t, 7, "")
	for _, k := range o.admins {
		draft, err := ReadDraft(data)
		if err != nil || draft.Number != 7 || len(Diff(o.Catalogue, draft.Catalogue)) != 0 || draft.Signers != nil {
			t.Fatalf("draft %+v, %v", draft, err)
		}
		if err := draft.AddSignature(k); err != nil {
			t.Fatal(err)
		}
		if data, err = draft.Marshal(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(data, o.trust()); err != nil {
		t.Error(err)
	}
	if _, err := ReadDraft(o.forged(t, `"grants":["ey`, `"grants":["eyA`)); !errors.Is(err, ErrGrantSignature) {
		t.Errorf("a draft with a broken grant: %v", err)
	}
}

func TestPublishKeepsAnUnbrokenHistory(t *testing.T) {
	o, dir := newOffice(t), filepath.Join(t.TempDir(), "releases")
	if _, _, err := Latest(dir); !errors.Is(err, ErrNoRelease) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("empty history: %v", err)
	}
	both := o.admins[:]
	first := o.file(t, 3, "", both...)
	r, err := Publish(dir, first, o.trust())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		data []byte
		want error
	}{
		{"the same again", first, ErrOlder},
		{"a lower number", o.file(t, 2, r.Digest(), both...), ErrOlder},
		{"without its previous", o.file(t, 4, "", both...), ErrChain},
		{"with one signature", o.file(t, 4, r.Digest(), o.admins[0]), ErrTooFewSignatures},
	} {
		if _, err := Publish(dir, c.data, o.trust()); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	second := o.file(t, 4, r.Digest(), both...)
	if _, err := Publish(dir, second, o.trust()); err != nil {
		t.Fatal(err)
	}
	data, number, err := Latest(dir)
	if err != nil || number != 4 || !bytes.Equal(data, second) {
		t.Errorf("latest %d, %v", number, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 || entries[0].Name() != "000003.release.json" {
		t.Errorf("directory %v, %v: want two releases and nothing else", entries, err)
	}
	if err := writeOnce(dir, FileName(4), first); !errors.Is(err, ErrOlder) {
		t.Errorf("a second publisher replaces a release: %v", err)
	}
}

func TestDiffSaysWhatChanges(t *testing.T) {
	a := mustLoad(t)
	b := mustLoad(t,
		edit{main, "max: 120", "max: 240"},
		edit{main, "name: 示例市大数据局\n    place", "name: 示例市数据局\n    place"},
		edit{matters, "fields: [month, base]", "fields: [month]"},
		edit{matters, "  - id: ws-01\n", "  - id: ws-02\n"},
	)
	want := []string{
		"departments[11690100MB69001143]：示例市大数据局 → 示例市数据局",
		"grants[hall-prh-si].fields：month, base → month",
		"proofs[SI-01].cardinality.max：120 → 240",
		"workstations[ws-01]：删除 / removed (ws-01)",
		"workstations[ws-02]：新增 / added (ws-02)",
	}
	if got := Diff(a, b); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

var releaseVectors = []struct {
	number uint64
	digest string
}{
	{1, "_ZwSYSFguiriORjRIATjnHM_nIUsWrgNvIHxJXEml9c"},
	{2, "KFfptcXjj_uxsNIMtn4aBFWGBHkCLhmEgULwe59qXXE"},
}

// The files of testdata/release are frozen: docs/protocol/catalogue-release.md
// explains them. If this test breaks, the format has changed.
func TestReleaseVectors(t *testing.T) {
	trust := Trust{Administrators: map[string]*ecdsa.PublicKey{}, Now: created.Add(time.Hour)}
	for _, name := range []string{"admin-1.pub.pem", "admin-2.pub.pem"} {
		pub, err := jose.ReadPublicKey(filepath.Join("testdata/release", name))
		if err != nil {
			t.Fatal(err)
		}
		trust.Administrators[jose.KeyID(pub)] = pub
	}
	previous := ""
	for _, v := range releaseVectors {
		data, err := os.ReadFile(filepath.Join("testdata/release", FileName(v.number)))
		if err != nil {
			t.Fatal(err)
		}
		r, err := Open(data, trust)
		if err != nil {
			t.Fatal(err)
		}
		if r.Number != v.number || r.Digest() != v.digest || r.Previous != previous || len(r.Catalogue.Grants) != 1 {
			t.Errorf("release %d: digest %s after %q", r.Number, r.Digest(), r.Previous)
		}
		previous = r.Digest()
	}
}

func FuzzOpen(f *testing.F) {
	o := newOffice(f)
	f.Add(o.file(f, 7, "", o.admins[0], o.admins[1]))
	f.Add(o.file(f, 7, ""))
	f.Add([]byte(`{"payload":"","signatures":[]}`))
	f.Add([]byte(`{"payload":"e30","signatures":[{"protected":"e30","signature":""}]}`))
	trust := o.trust()
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, err := Open(data, trust); (r == nil) == (err == nil) {
			t.Fatalf("release %v with error %v", r != nil, err)
		}
		// what is inside has to be harmless even if two administrators signed it
		m := jose.NewMultiSigned(data)
		for _, k := range o.admins {
			if err := m.AddSignature(k, TypeRelease); err != nil {
				t.Fatal(err)
			}
		}
		if signed, err := m.Marshal(); err == nil {
			_, _ = Open(signed, trust)
		}
	})
}
