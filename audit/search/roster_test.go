package search

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"yizheng/identity/jose"
	"yizheng/identity/staff"
)

func goodRoster(t testing.TB) Roster {
	t.Helper()
	k, err := jose.GenerateKey()
	must(t, err)
	key, err := NewKey(k.Public())
	must(t, err)
	return Roster{V: 1, Number: 1, Created: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC), Logs: []Listed{
		{Origin: base, Kind: KindGateway, Name: "网关", Department: "11690100MB69001143", URL: "https://localhost:8443", Keys: []string{key}},
		{Origin: frontBase, Kind: KindFront, Name: "前置机", Department: "116901000069000425", Front: "hr-front", Isolated: true, Keys: []string{key}}}}
}

func TestARosterNeedsTwoSecurityAdministrators(t *testing.T) {
	o := newOffice(t)
	for name, test := range map[string]struct {
		signers []string
		good    bool
	}{
		"two": {[]string{"security-1", "security-2"}, true}, "one": {[]string{"security-1"}, false}, "nobody": {nil, false},
		"an auditor among them": {[]string{"security-1", "auditor-1"}, false},
	} {
		m, err := NewRoster(goodRoster(t))
		must(t, err)
		for _, s := range test.signers {
			must(t, m.AddSignature(o.keys[s], TypeRoster))
		}
		data, err := m.Marshal()
		must(t, err)
		r, names, err := OpenRoster(data, o.Persons)
		if (err == nil) != test.good || test.good && (len(r.Logs) != 2 || !slices.Equal(names, test.signers)) {
			t.Errorf("%s: %v, signed by %v", name, err, names)
		}
	}
}

func TestARosterSignedByOnePersonWithTwoKeysIsRefused(t *testing.T) {
	k := newKey(t)
	_, err := staff.NewRegister([]staff.Person{{Name: "a", Role: staff.Security, Key: k.Public()}, {Name: "b", Role: staff.Security, Key: k.Public()}})
	if err == nil {
		t.Fatal("two names for one key")
	}
}

func TestRosterCheck(t *testing.T) {
	for name, change := range map[string]func(r *Roster){
		"no version":           func(r *Roster) { r.V = 0 },
		"no number":            func(r *Roster) { r.Number = 0 },
		"no log":               func(r *Roster) { r.Logs = nil },
		"origin with capitals": func(r *Roster) { r.Logs[0].Origin = "GW" },
		"a log twice":          func(r *Roster) { r.Logs[1] = r.Logs[0] },
		"a front without id":   func(r *Roster) { r.Logs[1].Front = "" },
		"a gateway with one":   func(r *Roster) { r.Logs[0].Front = "x" },
		"unknown kind":         func(r *Roster) { r.Logs[0].Kind = "x" },
		"no name":              func(r *Roster) { r.Logs[0].Name = "" },
		"no department":        func(r *Roster) { r.Logs[0].Department = "" },
		"plain http":           func(r *Roster) { r.Logs[0].URL = "http://localhost" },
		"with parameters":      func(r *Roster) { r.Logs[0].URL = "https://localhost/?a=b" },
		"no address":           func(r *Roster) { r.Logs[0].URL = "" },
		"isolated, an address": func(r *Roster) { r.Logs[1].URL = "https://localhost" },
		"no key":               func(r *Roster) { r.Logs[0].Keys = nil },
		"a key that is none":   func(r *Roster) { r.Logs[0].Keys = []string{"AAAA"} },
	} {
		r := goodRoster(t)
		if err := r.Check(); err != nil {
			t.Fatal(err)
		}
		change(&r)
		if r.Check() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzRoster(f *testing.F) {
	m, err := NewRoster(goodRoster(f))
	must(f, err)
	data, err := m.Marshal()
	must(f, err)
	f.Add(data)
	f.Add([]byte(`{"payload":"e30","signatures":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, _, err := ParseRoster(data)
		if err == nil && r.Check() != nil {
			t.Error("parsed what does not hold")
		}
	})
}

func FuzzRow(f *testing.F) {
	f.Add(`{"origin":"a/2026q4","index":1,"open":"{\"v\":1}","closed":"{}","salt":"00000000000000000000000000000000","receipt":"x"}`)
	f.Add(`{"open":"","salt":""}`)
	f.Fuzz(func(t *testing.T, text string) {
		var r Row
		if json.Unmarshal([]byte(text), &r) == nil && r.Verify("a") == nil {
			t.Error("verified without a key")
		}
	})
}

func FuzzStatements(f *testing.F) {
	k, err := jose.GenerateKey()
	must(f, err)
	r, err := staff.NewRegister([]staff.Person{{Name: "auditor-1", Role: staff.Auditor, Key: k.Public()}})
	must(f, err)
	for _, typ := range []string{TypeApplication, TypeDecision} {
		line, err := jose.Sign(k, typ, []byte(`{"v":1,"at":"2026-11-22T00:00:00Z"}`))
		must(f, err)
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if a, p, err := openApplication(r, line); err == nil && (a.V != 1 || p.Name != "auditor-1") {
			t.Error("application")
		}
		if d, p, err := OpenDecision(r, line); err == nil && (d.V != 1 || p.Name != "auditor-1") {
			t.Error("decision")
		}
	})
}

func TestCommitmentsDoNotDependOnOrder(t *testing.T) {
	salt := []byte(strings.Repeat("s", saltSize))
	if Commit(salt, []string{liYu, liMing}) != Commit(salt, []string{liMing, liYu}) || Commit(salt, []string{liYu}) == Commit(salt, []string{liMing}) {
		t.Error("commitment")
	}
}
