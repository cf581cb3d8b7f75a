package search

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/audit/audittest"
	"yizheng/audit/index"
	"yizheng/identity"
	"yizheng/identity/jose"
	"yizheng/identity/staff"
)

// The sample persons are fictional: region 69 does not exist.
const (
	liYu   = "690102198806140030"
	liMing = "690102198503120016"
)

// node is one node with its log and index.
type node struct {
	t   *testing.T
	dir string
	key *jose.Key
	Node
}

func newNode(t *testing.T, base string) *node {
	t.Helper()
	n := &node{t: t, dir: filepath.Join(t.TempDir(), "audit"), key: newKey(t)}
	must(t, os.Mkdir(n.dir, 0o700))
	var err error
	n.Log, err = audit.OpenLog(t.Context(), audit.Config{AppendTimeout: audittest.Patience, Dir: n.dir, Origin: audit.ShardOrigin(base, time.Now()), Signer: n.key, SegmentSize: 1 << 20})
	must(t, err)
	t.Cleanup(func() { must(t, n.Log.Close()) })
	n.Logs = index.NewShards(index.ShardsConfig{Dir: t.TempDir(), Every: 5 * time.Millisecond})
	t.Cleanup(func() { must(t, n.Logs.Close()) })
	n.Logs.Add(n.Log)
	for deadline := time.Now().Add(10 * time.Second); n.Logs.State()[0].Err != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(n.Logs.State())
		}
	}
	return n
}

func (n *node) add(entries ...audit.Entry) uint64 {
	n.t.Helper()
	receipts, err := n.Log.Append(n.t.Context(), entries...)
	must(n.t, err)
	return receipts[0].Index
}

// entries are all of an operation, as the log holds them.
func (n *node) entries(op audit.Op) (list []audit.Entry) {
	n.t.Helper()
	must(n.t, n.Log.Read(n.t.Context(), 0, n.Log.Head().Size, func(_ uint64, s audit.Stored) error {
		if s.Entry.Open.Op == op {
			list = append(list, s.Entry)
		}
		return nil
	}))
	return list
}

// last is the newest entry of an operation.
func (n *node) last(op audit.Op) audit.Entry {
	n.t.Helper()
	list := n.entries(op)
	if len(list) == 0 {
		n.t.Fatalf("no entry %s", op)
	}
	return list[len(list)-1]
}

const base = "gw00.690100.example/audit"

// office is a gateway with its auditors, approvers and security administrators.
type office struct {
	*node
	*Service
	keys map[string]*jose.Key
	now  time.Time
}

func newOffice(t *testing.T) *office {
	t.Helper()
	o := &office{node: newNode(t, base), keys: map[string]*jose.Key{}, now: time.Now()}
	var persons []staff.Person
	for name, role := range map[string]staff.Role{"auditor-1": staff.Auditor, "auditor-2": staff.Auditor, "approver-1": staff.Approver,
		"approver-2": staff.Approver, "security-1": staff.Security, "security-2": staff.Security} {
		o.keys[name] = newKey(t)
		persons = append(persons, staff.Person{Name: name, Role: role, Key: o.keys[name].Public()})
	}
	register, err := staff.NewRegister(persons)
	must(t, err)
	private := filepath.Join(t.TempDir(), "pseudonyms")
	pseudonyms, err := audit.OpenPseudonyms(private)
	must(t, err)
	o.Service = New(Config{Node: o.Node, Origin: base, Key: newKey(t), Persons: register, Pseudonyms: NewVault(pseudonyms, register, func() time.Time { return o.now }),
		Front: func(source string) string { return map[string]string{"hr-source": "hr-front"}[source] },
		Now:   func() time.Time { return o.now }})
	return o
}

// Log is the office's own log.
func (o *office) log() *audit.Log { return o.node.Log }

func (o *office) ref(number string) audit.SubjectRef {
	o.t.Helper()
	r, err := o.Pseudonyms.Of(audit.SubjectIDNumber, number, time.Now())
	must(o.t, err)
	return r
}

// query is the record of a query about somebody.
func (o *office) query(number, item string) audit.Entry {
	return audit.Entry{Open: audit.Open{Op: audit.OpQuery, Phase: audit.PhaseIntent, Department: "11690100MB69001143", System: "window-hall", Item: item,
		Case: "SJ-1", Basis: "LB-1", Purpose: "P-1", Subjects: []audit.SubjectRef{o.ref(number)}}, Closed: audit.Closed{Actor: "clerk-01"}}
}

func as(name string) Who { return Who{Actor: name, Role: "auditor", Address: "192.0.2.1", Trace: "T"} }

func (o *office) roster(logs ...Listed) {
	o.t.Helper()
	r := Roster{V: 1, Number: 1, Created: time.Now(), Logs: append([]Listed{{Origin: base, Kind: KindGateway, Name: "本网关", Department: "11690100MB69001143",
		URL: "https://gw00.690100.example:8443", Keys: []string{listKey(o.t, o.node.key)}}}, logs...)}
	must(o.t, r.Check())
	o.Roster = &r
}

func listKey(t *testing.T, k *jose.Key) string {
	t.Helper()
	s, err := NewKey(k.Public())
	must(t, err)
	return s
}

// serve answers as another node does; change may falsify what it says.
func (n *node) serve(change func(*PeerAnswer)) *httptest.Server {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in PeerAsk
		if r.URL.Path != PeerPath || json.NewDecoder(r.Body).Decode(&in) != nil {
			n.t.Errorf("asked %s", r.URL.Path)
		}
		a, err := n.AnswerPeer(r.Context(), Who{Node: "gw00"}, in)
		var no *Refusal
		if errors.As(err, &no) {
			w.WriteHeader(no.Status)
			return
		}
		change(&a)
		_ = json.NewEncoder(w).Encode(a) // whoever asked may be gone
	}))
	n.t.Cleanup(s.Close)
	return s
}

func person(t *testing.T, number string) identity.Person {
	t.Helper()
	n, _, err := identity.ParseNumber(number)
	must(t, err)
	return identity.Person{Type: n.Type(), Number: n}
}

func newKey(t *testing.T) *jose.Key {
	t.Helper()
	k, err := jose.GenerateKey()
	must(t, err)
	return k
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wants checks a refusal's code; "" is none.
func wants(t *testing.T, what string, err error, code string) {
	t.Helper()
	got := ""
	if err != nil {
		got = codeOf(err)
	}
	if got != code {
		t.Errorf("%s: %v, want %q", what, err, code)
	}
}

// holds reports whether a log's files hold a text.
func (n *node) holds(text string) (found bool) {
	n.t.Helper()
	must(n.t, filepath.WalkDir(n.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		found = found || strings.Contains(string(b), text)
		return err
	}))
	return found
}
