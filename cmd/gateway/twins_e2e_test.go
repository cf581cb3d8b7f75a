//go:build e2e

package main

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/audit/search"
	"yizheng/catalog/beijing"
	"yizheng/cmd/gateway/setup"
)

// The logs of a fleet of two.
const (
	firstLog  = "gw00.690100.example/audit"
	secondLog = "gw01.690100.example/audit"
)

// twins are two gateways of one roster, each a process of its own, that ask each other
// over mutual TLS. Each has a log, pseudonyms and a client certificate of its own;
// the keys of the fleet are the same.
type twins struct {
	*site
	urls map[string]*wire // to each, as the roster has them
	keys map[string]*ecdsa.PublicKey
	at00 string // where the first one listens
	t00  *door  // the clerk's there
	read string // the token of a card read there
}

func newTwins(t *testing.T) *twins {
	t.Helper()
	s := newSite(t)
	o := setup.Options{Dir: s.state, Now: time.Now()}
	if err := errors.Join(setup.KeyPair(o, "keys/gw01-audit"), setup.KeyPair(o, "keys/gw01-pseudonyms"),
		setup.IssueClient(o, "keys/tls/gw01-client", "gw01"), os.MkdirAll(s.in("gw01/pseudonyms"), 0o700), os.MkdirAll(s.in("gw01/audit"), 0o700)); err != nil {
		t.Fatal(err)
	}
	f := &twins{site: s, urls: map[string]*wire{firstLog: lay(t, ""), secondLog: lay(t, "")},
		keys: map[string]*ecdsa.PublicKey{firstLog: publicKey(t, s.at(""), "audit"), secondLog: publicKey(t, s.at(""), "gw01-audit")}}
	f.signRoster()
	f.configure("gateway.yaml", func(c map[string]any) {
		c["search"] = searching("gateway-client", "gw01", "gw01-client")
	})
	f.configure("gw01.yaml", func(c map[string]any) {
		c["search"] = searching("gw01-client", "gw00", "gateway-client")
		c["origin"], c["slot"] = secondLog, "01"
		c["audit"] = map[string]any{"dir": "gw01/audit", "key": "keys/gw01-audit.key", "pseudonyms": "gw01/pseudonyms", "pseudonym_key": "keys/gw01-pseudonyms.key"}
		c["store"] = map[string]any{"driver": "sqlite", "dsn": "gw01/state.db"}
		delete(c, "kafka")
		delete(c, "supervise")
	})
	return f
}

// searching is how a gateway asks the other one, and is asked by it.
func searching(own, peer, theirs string) map[string]any {
	return map[string]any{"roster": "two.json", "disclosure_delay": "1ms", "ca": "keys/tls/ca.crt",
		"certificate": "keys/tls/" + own + ".crt", "key": "keys/tls/" + own + ".key",
		"peers": []map[string]string{{"name": peer, "certificate": "keys/tls/" + theirs + ".crt"}}}
}

// signRoster lists both logs and has two security administrators sign.
func (f *twins) signRoster() {
	f.t.Helper()
	r := search.Roster{V: 1, Number: 2, Created: time.Now().UTC().Truncate(time.Second)}
	for _, log := range slices.Sorted(maps.Keys(f.keys)) {
		key, err := search.NewKey(f.keys[log])
		if err != nil {
			f.t.Fatal(err)
		}
		r.Logs = append(r.Logs, search.Listed{Origin: log, Kind: search.KindGateway, Name: log[:4], Department: "11690100MB69001143",
			URL: "https://" + f.urls[log].addr(), Keys: []string{key}})
	}
	b, err := json.Marshal(r)
	if err == nil {
		err = os.WriteFile(f.in("two.json"), b, 0o600)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	for _, who := range []string{"security-1", "security-2"} {
		f.run("audit", "roster", "sign", "-key", f.in("keys/admins/"+who+".key"), f.in("two.json"))
	}
}

// run runs a command of the gateway that asks nobody.
func (s *site) run(args ...string) {
	s.t.Helper()
	if out, err := exec.CommandContext(s.t.Context(), filepath.Join(programs(s.t), "gateway"), args...).CombinedOutput(); err != nil {
		s.t.Fatalf("%v: %v\n%s", args, err, out)
	}
}

// second starts the second gateway.
func (f *twins) second() (addr string, stop func()) {
	f.t.Helper()
	addr, stop = f.launch("serve", "gw01.yaml")
	f.urls[secondLog].lead(addr)
	return addr, stop
}

// reads has the sample resident's card read at a gateway.
func (f *twins) reads(addr, workstation, code, number string) (*door, string) {
	f.t.Helper()
	agent, clerk := newRogue(f.t, f.at(addr), workstation), doorOf(f.t, f.at(addr), "clerk-01")
	agent.connect(code)
	clerk.login(code)
	m := ordinary
	m.number = number
	return clerk, clerk.token(agent, m, samplePeople(f.t)["li-ming"])
}

// whoAsked is the answer to the resident's question at a door, once the other gateway
// is in it in such a state: one that is slow counts as unreachable.
func whoAsked(t *testing.T, at *door, token, other string, want search.Answering) (u search.Usages) {
	t.Helper()
	await(t, other+" is "+string(want), func() bool {
		u = search.Usages{}
		at.of(t).call("POST", "/v1/citizen/findUsage", map[string]any{"subject_token": token, "period": search.Period{Limit: 1000, Proofs: true}}).into(t, &u)
		return state(u.Logs, other) == want
	})
	return u
}

// proven counts the usages by log. Each must be in the log it is said to be in.
func (f *twins) proven(t *testing.T, u search.Usages) map[string]int {
	t.Helper()
	count := map[string]int{}
	for _, one := range u.Usages {
		log := path.Dir(one.Origin)
		if one.Evidence == nil || f.keys[log] == nil {
			t.Fatalf("%s:%d has no evidence, or its log is not known", one.Origin, one.Index)
		}
		r, err := audit.ParseReceipt([]byte(one.Evidence.Receipt))
		closed, hash := base64.StdEncoding.DecodeString(one.Evidence.Closed)
		if err := errors.Join(err, hash); err != nil || len(closed) != len(audit.Hash{}) {
			t.Fatalf("%s:%d: %v", one.Origin, one.Index, err)
		}
		if err := r.Verify(f.keys[log], audit.LeafHashWithheld([]byte(one.Evidence.Open), audit.Hash(closed))); err != nil {
			t.Errorf("%s:%d: %v", one.Origin, one.Index, err)
		}
		count[log]++
	}
	return count
}

// state is what came of asking a log; "" if it is not named.
func state(logs []search.Log, origin string) search.Answering {
	i := slices.IndexFunc(logs, func(l search.Log) bool { return l.Origin == origin })
	if i < 0 {
		return ""
	}
	return logs[i].State
}

func TestTwoGateways(t *testing.T) {
	f := newTwins(t)
	_, end := f.second()
	end()
	for _, dir := range []string{"audit", "audit-index"} { // to put back later
		if err := os.CopyFS(f.in("earlier/"+dir), os.DirFS(f.in("gw01/"+dir))); err != nil {
			t.Fatal(err)
		}
	}
	addr, stop := f.second()
	f.at00, _ = f.launch("serve", "gateway.yaml")
	f.urls[firstLog].lead(f.at00)
	there, token01 := f.reads(addr, "ws-02", "222222", "TWO-001")
	f.t00, f.read = f.reads(f.at00, "ws-01", "111111", "TWO-002")

	t.Run("what is asked at one shows both", func(t *testing.T) {
		for _, at := range []struct {
			door         *door
			token, other string
		}{{f.t00, f.read, secondLog}, {there, token01, firstLog}} {
			u := whoAsked(t, at.door, at.token, at.other, search.Answered)
			count := f.proven(t, u)
			if !u.Complete || count[firstLog] == 0 || count[secondLog] == 0 || u.Total != len(u.Usages) {
				t.Errorf("where %s is the other: complete %v, proven %v of %d, logs %+v", at.other, u.Complete, count, u.Total, u.Logs)
			}
		}
	})
	t.Run("nobody but the other gateway asks for a resident", func(t *testing.T) {
		ask := search.PeerUsageAsk{Subject: f.read, Limit: 1}
		for name, want := range map[string]int{"": http.StatusUnauthorized, "clerk-01": http.StatusForbidden, "gw01-client": http.StatusForbidden} {
			if got := doorOf(t, f.at(addr), name).call("POST", search.UsagePath, ask); got.status != want {
				t.Errorf("%q: %d %s, want %d", name, got.status, got.body, want)
			}
		}
	})
	t.Run("a ticket approved by two is good at both", f.ticket)
	stop()
	t.Run("one that is down is named", func(t *testing.T) {
		u := whoAsked(t, f.t00, f.read, secondLog, search.Unreachable)
		if count := f.proven(t, u); u.Complete || count[firstLog] == 0 || count[secondLog] > 0 {
			t.Errorf("complete %v, proven %v, logs %+v", u.Complete, count, u.Logs)
		}
	})
	for _, dir := range []string{"audit", "audit-index"} {
		if err := errors.Join(os.RemoveAll(f.in("gw01/"+dir)), os.Rename(f.in("earlier/"+dir), f.in("gw01/"+dir))); err != nil {
			t.Fatal(err)
		}
	}
	f.second()
	t.Run("a log that was put back is named", func(t *testing.T) {
		u := whoAsked(t, f.t00, f.read, secondLog, search.Rewound)
		if count := f.proven(t, u); u.Complete || count[firstLog] == 0 || count[secondLog] > 0 {
			t.Errorf("complete %v, proven %v, logs %+v", u.Complete, count, u.Logs)
		}
		auditor := doorOf(t, f.at(f.at00), "admin-audit")
		await(t, "a search everywhere names it", func() bool {
			got := auditor.call("POST", "/v1/audit/search", search.Ask{Everywhere: true})
			if got.status == http.StatusTooManyRequests {
				return false // asked too often for one auditor, who waits
			}
			var a search.Answer
			got.into(t, &a)
			return !a.Complete && state(a.Logs, secondLog) == search.Rewound
		})
	})
}

// ticket looks for the resident in both logs, as an auditor does with the commands.
func (f *twins) ticket(t *testing.T) {
	s := &site{t, f.state}
	var a search.Answer
	for range 2 { // the other gateway has eight seconds for its part; the command searches once
		a = search.Answer{}
		out := s.as("admin-audit", f.at00, []string{"audit", "search"}, "-application", f.approved(t), "-proofs", "-json")
		if err := json.NewDecoder(bytes.NewReader([]byte(out))).Decode(&a); err != nil {
			t.Fatal(err)
		}
		if a.Complete {
			break
		}
	}
	count := map[string]int{}
	for _, r := range a.Rows {
		log := path.Dir(r.Origin)
		if err := r.Verify(log, f.keys[log]); err != nil {
			t.Errorf("%s:%d: %v", r.Origin, r.Index, err)
		}
		count[log]++
	}
	if !a.Complete || count[firstLog] == 0 || count[secondLog] == 0 {
		t.Errorf("complete %v, rows %v, logs %+v", a.Complete, count, a.Logs)
	}
}

// approved is an application that both gateways hold: the auditor applies, has one
// approve, is refused, and has another approve.
func (f *twins) approved(t *testing.T) (id string) {
	s := &site{t, f.state}
	numbers := filepath.Join(t.TempDir(), "numbers")
	if err := os.WriteFile(numbers, []byte(samplePeople(t)["li-ming"].Number+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	today := time.Now().In(beijing.Zone())
	var said string
	for range 3 { // the other gateway has eight seconds to take it
		said = s.as("admin-audit", f.at00, []string{"audit", "apply"}, "-key", s.in("keys/admins/audit.key"), "-case", "XF-2026-17", "-reason", "COMPLAINT",
			"-from", today.AddDate(0, 0, -1).Format(time.DateOnly), "-to", today.AddDate(0, 0, 1).Format(time.DateOnly), "-numbers", numbers)
		if strings.Contains(said, secondLog+"  已持有") {
			break
		}
	}
	id = regexp.MustCompile(`^[A-Za-z0-9_-]{43}`).FindString(said)
	if id == "" || !strings.Contains(said, secondLog+"  已持有") {
		t.Fatalf("the application:\n%s", said)
	}
	auditor := doorOf(t, f.at(f.at00), "admin-audit")
	for _, approver := range []string{"approver-1", "approver-2"} {
		if got := auditor.call("POST", "/v1/audit/applications/"+id+"/ticket", nil); got.status < 400 {
			t.Fatalf("a ticket before %s has approved", approver)
		}
		s.as("admin-"+approver, f.at00, []string{"audit", "approve"}, "-key", s.in("keys/admins/"+approver+".key"), id)
	}
	return id
}
