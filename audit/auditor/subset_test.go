package auditor

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/catalog/beijing"
)

func (n *node) export(c Choice) []byte {
	n.t.Helper()
	b, err := Export(n.shard(), c, n.key.Public())
	n.must(err)
	return b
}

func (n *node) subset(text []byte, known []byte) SubsetReport {
	n.t.Helper()
	r, err := VerifySubset(text, known, n.key.Public())
	n.must(err)
	return r
}

func day(month time.Month, d int) time.Time {
	return time.Date(2026, month, d, 0, 0, 0, 0, beijing.Zone())
}

func TestSubsetProvesItsEntries(t *testing.T) {
	n := newNode(t)
	n.run(slices.Repeat([]audit.Entry{issue(1)}, 40)...) // 22 November 9:00 to 24 November
	all := func(uint64) bool { return true }
	for _, test := range []struct {
		name   string
		choice Choice
		first  uint64
		last   uint64
		bare   int // entries without closed half
	}{
		{"all", Choice{Index: all}, 0, 41, 0},
		{"some", Choice{Index: func(i uint64) bool { return i%7 == 3 }}, 3, 38, 0},
		{"for a resident", Choice{Index: func(i uint64) bool { return i == 5 }, Withhold: true}, 5, 5, 1},
		{"a day, with its neighbours", Choice{From: day(11, 23), To: day(11, 24)}, 15, 40, 2},
		{"up to the end", Choice{From: day(11, 23), To: day(11, 30)}, 15, 41, 1},
		{"from the beginning", Choice{From: day(11, 1), To: day(11, 23)}, 0, 16, 1},
		{"a day without entries", Choice{From: day(11, 25), To: day(11, 26)}, 41, 41, 1},
		{"a day before the log", Choice{From: day(11, 1), To: day(11, 2)}, 0, 0, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := n.export(test.choice)
			r := n.subset(text, n.note("checkpoint"))
			if !r.OK() || r.First != test.first || r.Last != test.last || r.Withheld != test.bare {
				t.Errorf("%+v", r)
			}
			if (r.Withheld < r.Entries) != strings.Contains(string(text), "clerk-07") {
				t.Error("the closed half is where it should not be, or not where it should")
			}
		})
	}
}

func TestChangedSubsetIsRefused(t *testing.T) {
	n := newNode(t)
	n.run(slices.Repeat([]audit.Entry{issue(1)}, 40)...)
	older := n.note("checkpoint")
	n.run(issue(2))
	text := n.export(Choice{From: day(11, 23), To: day(11, 24)})
	for _, test := range []struct {
		name   string
		change func(s *subset)
		known  []byte
		code   string
	}{
		{"open half", func(s *subset) { s.Entries[3].Open = strings.Replace(s.Entries[3].Open, `"issue"`, `"query"`, 1) }, nil, "proof"},
		{"closed half", func(s *subset) { s.Entries[3].Closed = strings.Replace(s.Entries[3].Closed, "07", "08", 1) }, nil, "proof"},
		{"salt", func(s *subset) { s.Entries[3].Salt = strings.Repeat("0", 32) }, nil, "proof"},
		{"index", func(s *subset) { s.Entries[3].Index++ }, nil, "proof"},
		{"proof", func(s *subset) { s.Entries[3].Proof[0][5] ^= 1 }, nil, "proof"},
		{"proof missing", func(s *subset) { s.Entries[3].Proof = nil }, nil, "proof"},
		{"both halves and their hash", func(s *subset) { s.Entries[3].Withheld = s.Entries[0].Withheld }, nil, "proof"},
		{"entry twice", func(s *subset) { s.Entries = slices.Insert(s.Entries, 3, s.Entries[3]) }, nil, "proof"},
		{"entry left out", func(s *subset) { s.Entries = slices.Delete(s.Entries, 3, 4) }, nil, "gap"},
		{"first entries left out", func(s *subset) { s.Entries = s.Entries[2:] }, nil, "gap"},
		{"last entries left out", func(s *subset) { s.Entries = s.Entries[:20] }, nil, "gap"},
		{"all entries left out", func(s *subset) { s.Entries = nil }, nil, "gap"},
		{"range widened", func(s *subset) { s.Range.To += 86400e6 }, nil, "gap"},
		{"size", func(s *subset) { s.Checkpoint = strings.Replace(s.Checkpoint, "\n45\n", "\n46\n", 1) }, nil, "signature"},
		{"another checkpoint known", func(*subset) {}, older, "known"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var s subset
			n.must(json.Unmarshal(text, &s))
			test.change(&s)
			changed, err := json.Marshal(s)
			n.must(err)
			r := n.subset(changed, test.known)
			if !slices.Contains(codes(r.Problems), test.code) {
				t.Errorf("want %s, got %v", test.code, r.Problems)
			}
		})
	}
	rogue := newKey(t)
	if r, err := VerifySubset(text, nil, rogue.Public()); err != nil || r.OK() {
		t.Errorf("verified with another key: %v", err)
	}
	if _, err := VerifySubset([]byte(`{}`), nil, n.key.Public()); err == nil {
		t.Error("an empty object is no subset")
	}
}

func FuzzSubset(f *testing.F) {
	n := newNode(f)
	n.run(issue(1))
	f.Add(n.export(Choice{Index: func(i uint64) bool { return i < 2 }}))
	f.Add([]byte(`{"format":"yizheng-audit-subset/1"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if r, err := VerifySubset(text, nil, n.key.Public()); err == nil && r.OK() && r.Size != 3 {
			t.Errorf("verified: %+v", r)
		}
	})
}
