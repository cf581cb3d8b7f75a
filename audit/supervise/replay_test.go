package supervise

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"yizheng/audit"
)

// busy is a random story that touches most rules.
func busy(r *Rules, seed uint64, n int) *story {
	rnd := rand.New(rand.NewPCG(seed, 1))
	s := begin(r, &testFacts)
	outcomes := []string{"FOUND", "FOUND", "FOUND", "NOT_FOUND", "TIMEOUT", "UNREACHABLE", "SOURCE_ERROR", "MISMATCH", "PENDING", "GLYPH_MISSING", "ANSWERED"}
	for i := range n {
		s.wait(time.Duration(rnd.ExpFloat64() * float64(3*time.Minute)))
		actor := func(e *audit.Entry) { e.Closed.Actor = fmt.Sprint("op-", rnd.IntN(3)) }
		switch rnd.IntN(10) {
		case 0:
			s.cardRead(rnd.IntN(20))
		case 1:
			s.deny([]string{"PROOF_OUTSIDE_ITEM", "NO_GRANT", "SUBJECT_TOKEN_SPENT"}[rnd.IntN(3)])
		case 2:
			s.ask(i, actor) // never answered
		case 3:
			s.ask(i, actor, func(e *audit.Entry) {
				e.Closed.Legs, e.Closed.Reason = []string{"p1.1 GAP digest " + s.now.Add(5*time.Hour).UTC().Format(time.RFC3339)}, "DEFERRED"
			})
		default:
			s.cardRead(i%50).ask(i, actor, person(i%50)).answer(i, outcomes[rnd.IntN(len(outcomes))], rnd.Int64N(3000)).close(i)
		}
	}
	return s
}

// engine is what an Engine does with a fold: cards are recorded behind what
// they are about, once, and read back.
func (s *story) engine(r *Rules, lag int) {
	f := newFold(r, &testFacts)
	f.turn(testOrigin)
	for i := 0; i < len(s.entries); i++ {
		f.read(&s.entries[i])
		if (i+1)%lag != 0 {
			continue
		}
		for _, c := range f.open() {
			e := c.entry(Raised)
			e.Open.Time = s.entries[i].Entry.Open.Time + 1
			s.entries = append(s.entries[:i+1], append([]audit.Stored{{Entry: e}}, s.entries[i+1:]...)...)
		}
		for j := range s.entries {
			s.entries[j].Index = uint64(j)
		}
	}
}

func TestReadingTheLogAgainYieldsTheSameCards(t *testing.T) {
	r := mustLoad(t, demoRules)
	for seed := range uint64(2) {
		s := busy(r, seed, 300)
		whole := newFold(r, &testFacts)
		whole.turn(testOrigin)
		for i := range s.entries {
			whole.read(&s.entries[i])
		}
		if len(whole.open()) < 20 {
			t.Fatalf("seed %d: only %d cards, the story is too quiet", seed, len(whole.open()))
		}
		// The same log, cut anywhere, with the cards recorded as they are found.
		s.engine(r, 40)
		again := newFold(r, &testFacts)
		again.turn(testOrigin)
		for i := range s.entries {
			if i%97 == 13 {
				again = throughSnapshot(t, r, again)
			}
			again.read(&s.entries[i])
		}
		got, want := map[string]int{}, map[string]int{} // by what they say: indexes moved when cards came between
		for _, c := range again.state.Cards {
			got[fmt.Sprint(c.Rule, c.Level, c.Time, c.Exchange)]++
		}
		for _, c := range again.open() { // those found behind the last recording
			got[fmt.Sprint(c.Rule, c.Level, c.Time, c.Exchange)]++
		}
		for _, c := range whole.open() {
			want[fmt.Sprint(c.Rule, c.Level, c.Time, c.Exchange)]++
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("seed %d: other cards than before: %v, want %v", seed, got, want)
		}
	}
}

// throughSnapshot is a restart: the state is written and read back.
func throughSnapshot(t *testing.T, r *Rules, f *fold) *fold {
	t.Helper()
	f.tidy()
	f.open()
	raw, err := json.Marshal(f.state)
	if err != nil {
		t.Fatal(err)
	}
	st := newState()
	if err := json.Unmarshal(raw, st); err != nil {
		t.Fatal(err)
	}
	next := newFold(r, &testFacts)
	next.resume(st)
	return next
}

func TestASnapshotHoldsTheWholeState(t *testing.T) {
	r := mustLoad(t, demoRules)
	s := busy(r, 7, 200)
	f := newFold(r, &testFacts)
	f.turn(testOrigin)
	for i := range s.entries {
		f.read(&s.entries[i])
	}
	g := throughSnapshot(t, r, f)
	a, err := json.Marshal(f.state)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(g.state)
	if err != nil {
		t.Fatal(err)
	}
	if string(a) != string(b) {
		t.Error("the state differs after a restart")
	}
}

func TestRulesHoldFromTheirRecordOn(t *testing.T) {
	r := mustLoad(t, demoRules)
	other := testFacts
	other.Version = "2"
	s := begin(r, &other) // a catalogue that is not ours
	s.deny("PROOF_OUTSIDE_ITEM")
	s.rules(r, &testFacts)
	s.deny("PROOF_OUTSIDE_ITEM")
	s.rules(r, &other)
	s.deny("PROOF_OUTSIDE_ITEM")
	if got := s.found(r, &testFacts); !reflect.DeepEqual(got, []string{"YQ-01 red"}) {
		t.Errorf("found %v: only the second was under these rules", got)
	}
}

func TestARuleThatCannotBeComputedSaysSo(t *testing.T) {
	r, err := loadText(t, `indicator: I
kind: process
name: 名
name_en: name
rules:
  - {id: R-1, version: 1, name: 除, name_en: divides, state: "on", on: [query], when: 100 / ms > 1, card: yellow, to: operator}
`)
	if err != nil {
		t.Fatal(err)
	}
	s := begin(r, &testFacts)
	s.ask(1).ask(2)
	if got := s.found(r, &testFacts); !reflect.DeepEqual(got, []string{"R-1 yellow fault"}) {
		t.Errorf("found %v, want one card about the rule itself", got)
	}
}

func TestCardsCarryNothingOfAResident(t *testing.T) {
	r := mustLoad(t, demoRules)
	s := busy(r, 3, 300)
	f := newFold(r, &testFacts)
	f.turn(testOrigin)
	for i := range s.entries {
		f.read(&s.entries[i])
	}
	for _, c := range f.open() {
		raw, err := json.Marshal(c.entry(Raised))
		if err != nil {
			t.Fatal(err)
		}
		var e audit.Entry
		if err := json.Unmarshal(raw, &e); err != nil {
			t.Fatal(err)
		}
		if len(e.Open.Subjects) != 0 || e.Open.Case != "" || e.Open.Disclose != audit.DiscloseNever {
			t.Errorf("card of %s: %s", c.Rule, raw)
		}
		back, ok := readCard(&e)
		if !ok || !reflect.DeepEqual(back, c) {
			t.Errorf("card of %s is read back as %+v, was %+v", c.Rule, back, c)
		}
	}
}

func BenchmarkEntriesThroughTheDefaultRules(b *testing.B) {
	r := mustLoad(b, demoRules)
	s := busy(r, 1, 5000)
	b.ResetTimer()
	for n := 0; n < b.N; {
		f := newFold(r, &testFacts)
		f.turn(testOrigin)
		for i := range s.entries {
			f.read(&s.entries[i])
		}
		n += len(s.entries)
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "entries/s")
	}
}
