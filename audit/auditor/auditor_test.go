package auditor

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"yizheng/audit"
	"yizheng/audit/audittest"
)

const testBase = "gw1.example.gov.cn/audit"

type testKey struct{ *sm2.PrivateKey }

func newKey(t testing.TB) testKey {
	t.Helper()
	k, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return testKey{k}
}

func (k testKey) Public() *ecdsa.PublicKey { return &k.PublicKey }
func (k testKey) SignMessage(msg []byte) ([]byte, error) {
	return k.Sign(rand.Reader, msg, sm2.DefaultSM2SignerOpts)
}

// node is a gateway's log and its key; its clock stands until moved.
type node struct {
	t   testing.TB
	dir string
	key testKey
	now time.Time
}

func newNode(t testing.TB) *node {
	return &node{t, t.TempDir(), newKey(t), time.Date(2026, 11, 22, 1, 0, 0, 0, time.UTC)}
}

func (n *node) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) shard() string { return filepath.Join(n.dir, "2026q4") }

func (n *node) open() *audit.Log {
	n.t.Helper()
	l, err := audit.OpenLog(context.Background(), audit.Config{AppendTimeout: audittest.Patience, Dir: n.shard(), Origin: testBase + "/2026q4", Signer: n.key,
		SegmentSize: 8 << 10, MinFree: 1, PublishEvery: time.Hour, Now: func() time.Time { return n.now }})
	n.must(err)
	n.t.Cleanup(func() { l.Close() })
	return l
}

func issue(number int) audit.Entry {
	return audit.Entry{Open: audit.Open{Op: audit.OpIssue, Phase: audit.PhaseDone, Number: fmt.Sprintf("6901002026112200%011d", number)},
		Closed: audit.Closed{Actor: "clerk-07"}}
}

// run appends entries, an hour apart, and closes the log.
func (n *node) run(entries ...audit.Entry) []audit.Receipt {
	n.t.Helper()
	l := n.open()
	var receipts []audit.Receipt
	for _, e := range entries {
		r, err := l.Append(context.Background(), e)
		n.must(err)
		receipts = append(receipts, r...)
		n.now = n.now.Add(time.Hour)
	}
	n.must(l.Close())
	return receipts
}

func (n *node) verify(o Options) Shard {
	n.t.Helper()
	o.Keys = append(o.Keys, n.key.Public())
	dirs, err := Dirs(n.dir)
	n.must(err)
	o.Empty, err = Empty(n.dir)
	n.must(err)
	var last Shard
	good, err := VerifyChain(context.Background(), dirs, o, func(s Shard) error { last = s; return nil })
	n.must(err)
	if good != last.OK() {
		n.t.Errorf("verdict %v, report %v", good, last.Problems)
	}
	return last
}

func (n *node) note(name string) []byte {
	n.t.Helper()
	b, err := os.ReadFile(filepath.Join(n.shard(), name))
	n.must(err)
	return b
}

func codes(list []audit.Problem) []string {
	var out []string
	for _, p := range list {
		out = append(out, p.Code)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func wantCodes(t *testing.T, s Shard, want ...string) {
	t.Helper()
	if got := codes(s.Problems); !slices.Equal(got, want) {
		t.Errorf("problems %v, want %v: %v", got, want, s.Problems)
	}
}

func TestWhatWasNotGivenFails(t *testing.T) {
	n := newNode(t)
	n.run(issue(1))
	wantCodes(t, n.verify(Options{}))
	wantCodes(t, n.verify(Options{Complete: true}), "absent")
	wantCodes(t, n.verify(Options{Complete: true, Without: []string{"known"}}), "absent")
	s := n.verify(Options{Complete: true, Without: []string{"known", "witness"}})
	wantCodes(t, s)
	if !slices.Equal(s.NotChecked, []string{"known", "witness", "stamp", "receipt", "days"}) {
		t.Errorf("not checked: %v", s.NotChecked)
	}
}

func TestWitnesses(t *testing.T) {
	n := newNode(t)
	n.run(issue(1), issue(2))
	var witnesses []audit.WitnessKey
	var signers []testKey
	for i := range 3 {
		k := newKey(t)
		signers = append(signers, k)
		witnesses = append(witnesses, audit.WitnessKey{Name: fmt.Sprintf("w%d.example", i), Key: k.Public()})
	}
	seen := func(head audit.SignedHead, at time.Time, by ...int) []byte {
		for _, i := range by {
			line, err := audit.Cosign(witnesses[i].Name, signers[i], head.Head, at)
			n.must(err)
			head.Cosignatures = append(head.Cosignatures, line)
		}
		b, err := head.MarshalText()
		n.must(err)
		return b
	}
	early, err := audit.ParseCheckpoint(n.note("checkpoint"))
	n.must(err)
	earlyAt := n.now
	rewound := filepath.Join(t.TempDir(), "rewound")
	n.must(os.CopyFS(rewound, os.DirFS(n.dir)))
	n.run(slices.Repeat([]audit.Entry{issue(3)}, 9)...)
	last, err := audit.ParseCheckpoint(n.note("checkpoint"))
	n.must(err)
	unsigned := last
	unsigned.Signature = early.Signature
	foreign := seen(last, n.now, 0)
	foreign = bytes.Replace(foreign, []byte("w0.example"), []byte("w1.example"), 1)
	for _, test := range []struct {
		name  string
		dir   string
		notes [][]byte
		need  int
		since time.Time
		want  []string
	}{
		{"all three, in one note", n.dir, [][]byte{seen(last, n.now, 0, 1, 2)}, 0, time.Time{}, nil},
		{"all three, a note each", n.dir, [][]byte{seen(last, n.now, 0), seen(last, n.now, 1), seen(last, n.now, 2)}, 0, time.Time{}, nil},
		{"two of three needed, two there", n.dir, [][]byte{seen(last, n.now, 0, 2)}, 2, time.Time{}, nil},
		{"two needed, the same one twice", n.dir, [][]byte{seen(last, n.now, 0), seen(last, n.now, 0)}, 2, time.Time{}, []string{"witness"}},
		{"none", n.dir, nil, 1, time.Time{}, []string{"witness"}},
		{"no cosignature in the note", n.dir, [][]byte{seen(last, n.now)}, 1, time.Time{}, []string{"witness"}},
		{"another's cosignature", n.dir, [][]byte{foreign}, 1, time.Time{}, []string{"witness"}},
		{"older than four hours before the end", n.dir, [][]byte{seen(early, earlyAt, 0, 1, 2)}, 0, time.Time{}, []string{"witness"}},
		{"an old head cosigned again", n.dir, [][]byte{seen(early, n.now, 0, 1, 2)}, 0, time.Time{}, []string{"witness"}},
		{"not since", n.dir, [][]byte{seen(last, n.now, 0, 1, 2)}, 0, n.now.Add(time.Minute), []string{"witness"}},
		{"witnessed, then cut back", rewound, [][]byte{seen(last, n.now, 0, 1, 2)}, 0, time.Time{}, []string{"witness"}},
		{"not signed by the log", n.dir, [][]byte{seen(unsigned, n.now, 0, 1, 2)}, 0, time.Time{}, []string{"witness"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			copied := *n
			copied.dir = test.dir
			s := copied.verify(Options{Witnesses: Witnesses{By: witnesses, Need: test.need, Notes: test.notes, Since: test.since}})
			wantCodes(t, s, test.want...)
		})
	}
}

// When a quarter begins, nobody has witnessed it yet; its first entry is bound
// to the end of the last one, which they have.
func TestWitnessesOfTheQuarterBefore(t *testing.T) {
	n := newNode(t)
	l := n.open()
	head, err := l.Seal()
	n.must(err)
	own := newKey(t)
	line, err := audit.Cosign("w.example", own, head.Head, n.now)
	n.must(err)
	previous, err := head.MarshalText()
	n.must(err)
	head.Cosignatures = []string{line}
	note, err := head.MarshalText()
	n.must(err)
	next, err := audit.OpenLog(t.Context(), audit.Config{AppendTimeout: audittest.Patience, Dir: filepath.Join(n.dir, "2027q1"), Origin: testBase + "/2027q1", Signer: n.key,
		SegmentSize: 8 << 10, MinFree: 1, Previous: previous, Now: func() time.Time { return n.now }})
	n.must(err)
	o := Options{Witnesses: Witnesses{By: []audit.WitnessKey{{Name: "w.example", Key: own.Public()}}, Notes: [][]byte{note}}, Live: true}
	wantCodes(t, n.verify(o))
	n.now = n.now.Add(5 * time.Hour)
	_, err = next.Append(t.Context(), issue(1))
	n.must(err)
	n.must(next.Close())
	wantCodes(t, n.verify(o), "witness")
}

func TestReceiptsOfDocuments(t *testing.T) {
	n := newNode(t)
	receipts := n.run(issue(1), issue(2))
	twin := &node{t, t.TempDir(), n.key, n.now} // the same key and origin, another log
	others := twin.run(issue(1), issue(2), issue(3))
	wantCodes(t, n.verify(Options{Receipts: receipts, Pointers: []audit.Pointer{receipts[0].Pointer()}}))
	wantCodes(t, n.verify(Options{Receipts: others[:1]}), "receipt")
	wantCodes(t, n.verify(Options{Pointers: []audit.Pointer{others[1].Pointer()}}), "receipt")
	wantCodes(t, n.verify(Options{Pointers: []audit.Pointer{{Origin: testBase + "/2026q4", Index: 99}}}), "receipt")
	wantCodes(t, n.verify(Options{Pointers: []audit.Pointer{{Origin: testBase + "/2026q3", Index: 1}}}), "receipt")
	forged := receipts[1]
	forged.Proof = append(slices.Clone(forged.Proof), audit.Hash{})
	wantCodes(t, n.verify(Options{Receipts: []audit.Receipt{forged}}), "receipt")
}

func TestCountsPerDayAreHeldAgainstAnEarlierReport(t *testing.T) {
	n := newNode(t)
	n.run(slices.Repeat([]audit.Entry{issue(1)}, 20)...) // from 9 in the morning into the next day
	before := n.verify(Options{})
	if len(before.Days) != 2 || before.Days["2026-11-22"].Entries != 16 || before.Days["2026-11-22"].Ops[audit.OpIssue] != 15 {
		t.Fatalf("days %+v", before.Days)
	}
	text, err := json.Marshal(before)
	n.must(err)
	n.run(issue(2))
	days := func() map[string]map[string]Day {
		d, err := readDays(bytes.NewReader(text))
		n.must(err)
		return d
	}
	wantCodes(t, n.verify(Options{Days: days()}))
	origin := testBase + "/2026q4"
	for name, change := range map[string]func(map[string]Day){
		"one more in a day that is over": func(d map[string]Day) { d["2026-11-22"] = Day{Entries: 17} },
		"one fewer":                      func(d map[string]Day) { d["2026-11-22"] = Day{Entries: 15} },
		"more on the last day":           func(d map[string]Day) { d["2026-11-23"] = Day{Entries: 99} },
		"a day more":                     func(d map[string]Day) { d["2026-11-21"] = Day{Entries: 1} },
		"a day fewer":                    func(d map[string]Day) { delete(d, "2026-11-22") },
	} {
		d := days()
		change(d[origin])
		t.Run(name, func(t *testing.T) { wantCodes(t, n.verify(Options{Days: d}), "days") })
	}
	wantCodes(t, n.verify(Options{Days: map[string]map[string]Day{"elsewhere": {}}}), "days")
	if _, err := readDays(strings.NewReader(`{"origin":"x","ok":false,"days":{}}`)); err == nil {
		t.Error("a failed report was taken for a measure")
	}
}

// What a quarter leaves when all its files are taken, and nothing names it elsewhere.
func TestAQuarterWithoutItsLogIsFound(t *testing.T) {
	n := newNode(t)
	n.run(issue(1))
	wantCodes(t, n.verify(Options{}))
	n.must(os.Mkdir(filepath.Join(n.dir, "2027q1"), 0o700))
	wantCodes(t, n.verify(Options{}), "missing")
	if s := n.verify(Options{Live: true}); len(s.Warnings) != 1 || s.Warnings[0].File != "2027q1" {
		t.Errorf("the next quarter, perhaps in the making: %v", s.Warnings)
	}
	n.must(os.Mkdir(filepath.Join(n.dir, "2026q3"), 0o700))
	wantCodes(t, n.verify(Options{Live: true}), "missing")
}

// A log takes no entry with an ID number (audit.ErrPersonal), but one that was
// written by something else may hold it: the entries are scanned as read back.
func TestNumbersOfPersonsAreFoundInEntries(t *testing.T) {
	number := "69010219880614105X" // fictional: region 69 does not exist
	with := func(change func(e *audit.Entry)) audit.Entry {
		e := issue(1)
		change(&e)
		return e
	}
	for _, test := range []struct {
		name     string
		entry    audit.Entry
		problems []string
		warnings []string
	}{
		{"as case number", with(func(e *audit.Entry) { e.Open.Case = number }), []string{"personal"}, nil},
		{"within a code", with(func(e *audit.Entry) { e.Closed.Object = "resident/" + number + "/" }), []string{"personal"}, nil},
		{"lower case x", with(func(e *audit.Entry) { e.Closed.Reason = strings.ToLower(number) }), []string{"personal"}, nil},
		{"behind <", with(func(e *audit.Entry) { e.Closed.Reason = "<" + number + ">" }), []string{"personal"}, nil},
		{"behind a letter", with(func(e *audit.Entry) { e.Closed.Reason = "A" + number }), []string{"personal"}, nil},
		{"mobile number behind &", with(func(e *audit.Entry) { e.Closed.Reason = "&13900000000" }), nil, []string{"personal"}},
		{"mobile number", with(func(e *audit.Entry) { e.Closed.Reason = "13900000000" }), nil, []string{"personal"}},
		{"wrong check digit", with(func(e *audit.Entry) { e.Open.Case = "690102198806140031" }), nil, nil},
		{"no day of birth", with(func(e *audit.Entry) { e.Open.Case = "690102198813400038" }), nil, nil},
		{"part of a longer number", with(func(e *audit.Entry) { e.Open.Case = number + "1" }), nil, nil},
		{"certificate number", issue(7), nil, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := audit.Stored{Entry: test.entry}
			e.OpenJSON, _ = json.Marshal(test.entry.Open) // a half is always text
			e.ClosedJSON, _ = json.Marshal(test.entry.Closed)
			s := newScan(&Options{}, testBase)
			s.personal(&e)
			if got := codes(s.found); !slices.Equal(got, test.problems) {
				t.Errorf("problems %v", s.found)
			}
			if got := codes(s.doubts); !slices.Equal(got, test.warnings) {
				t.Errorf("warnings %v", s.doubts)
			}
			if text, _ := json.Marshal(s.found); bytes.Contains(bytes.ToUpper(text), []byte(number)) {
				t.Error("the report repeats the number")
			}
		})
	}
}

func TestFieldsOutOfFormAreFound(t *testing.T) {
	ref := audit.SubjectRef{Type: "idno", Epoch: "2026q4", P: "8VeQzL/nI5SmRtbm/j8LsA=="}
	for name, open := range map[string]audit.Open{
		"op":             {Op: "Issue!"},
		"phase":          {Op: audit.OpIssue, Phase: "perhaps"},
		"date":           {Op: audit.OpIssue, Date: "22.11.2026"},
		"disclose":       {Op: audit.OpIssue, Disclose: "later"},
		"subject's type": {Op: audit.OpQuery, Subjects: []audit.SubjectRef{{Type: "name", Epoch: ref.Epoch, P: ref.P}}},
		"pseudonym":      {Op: audit.OpQuery, Subjects: []audit.SubjectRef{{Type: ref.Type, Epoch: ref.Epoch, P: "8VeQ"}}},
		"epoch":          {Op: audit.OpQuery, Subjects: []audit.SubjectRef{{Type: ref.Type, Epoch: "2026", P: ref.P}}},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			n.run(audit.Entry{Open: open})
			wantCodes(t, n.verify(Options{}), "schema")
		})
	}
	n := newNode(t)
	n.run(audit.Entry{Open: audit.Open{Op: "new.kind", Disclose: "2027-01-01", Subjects: []audit.SubjectRef{ref}}})
	wantCodes(t, n.verify(Options{}))
}

func TestReportNamesAtMostAHundredOfAKind(t *testing.T) {
	n := newNode(t)
	n.run(slices.Repeat([]audit.Entry{{Open: audit.Open{Op: "Bad"}}}, most+7)...)
	s := n.verify(Options{})
	if len(s.Problems) != most || len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0].Text, "7 more") {
		t.Errorf("%d problems, warnings %v", len(s.Problems), s.Warnings)
	}
}

func TestNothingToVerifyIsNoSuccess(t *testing.T) {
	if good, err := VerifyChain(context.Background(), nil, Options{}, nil); good || err == nil {
		t.Error("no log at all passes")
	}
}
