package supervise

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/catalog/beijing"
)

const testOrigin = "gw/audit/2026q4"

// morning is a Monday, 9:00 in Beijing.
var morning = time.Date(2026, 11, 2, 9, 0, 0, 0, beijing.Zone())

var testFacts = Facts{Version: "1", Systems: map[string]string{"HALL": "D-HALL"},
	Sources: map[string]SourceFacts{
		"SI":  {Department: "D-SI", Route: "local", Limit: 3 * time.Second},
		"GAP": {Department: "D-LAND", Route: "gap", Limit: 90 * time.Second, Deferred: 72 * time.Hour},
	},
	Items: map[string]map[string]bool{"I-1": {"SI-01": true}}}

// story builds a log's entries as the gateway writes them.
type story struct {
	now     time.Time
	entries []audit.Stored
	lists   map[string]kin // of relatives, by digest
}

func begin(r *Rules, f *Facts) *story {
	s := &story{now: morning}
	s.rules(r, f)
	return s
}

// rules records the rule set, as an engine does first of all.
func (s *story) rules(r *Rules, f *Facts) {
	s.add(audit.Entry{Open: audit.Open{Op: audit.OpSuperviseRules, Phase: audit.PhaseDone}, Closed: audit.Closed{Digests: newFold(r, f).own}})
}

func (s *story) add(e audit.Entry) *story {
	s.now = s.now.Add(time.Millisecond)
	e.Open.V, e.Open.Time = 1, s.now.UnixMicro()
	s.entries = append(s.entries, audit.Stored{Index: uint64(len(s.entries)), Entry: e})
	return s
}

func (s *story) wait(d time.Duration) *story { s.now = s.now.Add(d); return s }

func (s *story) at(hour int) *story {
	y, m, d := s.now.In(beijing.Zone()).Date()
	at := time.Date(y, m, d, hour, 0, 0, 0, beijing.Zone())
	if at.Before(s.now) {
		at = at.AddDate(0, 0, 1)
	}
	s.now = at
	return s
}

func ref(n int) []audit.SubjectRef {
	return []audit.SubjectRef{{Type: "idno", Epoch: "2026q4", P: fmt.Sprintf("p%d", n)}}
}

func clerk(op audit.Op, phase audit.Phase) audit.Entry {
	return audit.Entry{Open: audit.Open{Op: op, Phase: phase, System: "HALL", Department: "D-HALL"}, Closed: audit.Closed{Actor: "op-1", Workstation: "WS-1"}}
}

func (s *story) cardRead(person int) *story {
	e := clerk(audit.OpCardRead, audit.PhaseDone)
	e.Open.Subjects, e.Open.Department = ref(person), ""
	return s.add(e)
}

// query is a whole good exchange: card, intent, leg, release, close.
func (s *story) query(change ...func(*audit.Entry)) *story {
	n := len(s.entries)
	s.cardRead(n)
	return s.ask(n, change...).answer(n, "FOUND", 500).close(n)
}

func (s *story) ask(n int, change ...func(*audit.Entry)) *story {
	e := clerk(audit.OpQuery, audit.PhaseIntent)
	e.Open.Exchange, e.Open.Item, e.Open.Case, e.Open.Purpose, e.Open.Basis = fmt.Sprint("X", n), "I-1", fmt.Sprint("C", n), "P", "B"
	e.Open.Subjects = ref(n)
	e.Closed.Legs = []string{"p1.1 SI digest"}
	for _, c := range change {
		c(&e)
	}
	return s.add(e)
}

func (s *story) answer(n int, outcome string, ms int64) *story {
	e := clerk(audit.OpSourceCall, audit.PhaseDone)
	e.Open.Exchange, e.Open.Leg, e.Open.Source, e.Open.Provider, e.Open.Proof = fmt.Sprint("X", n), "p1.1", "SI", "D-SI", "SI-01"
	e.Open.Outcome, e.Open.Millis, e.Open.Item = outcome, ms, "I-1"
	s.add(e)
	e = clerk(audit.OpRelease, audit.PhaseDone)
	e.Open.Exchange, e.Open.Provider, e.Open.Proof, e.Open.Outcome, e.Open.Item = fmt.Sprint("X", n), "D-SI", "SI-01", outcome, "I-1"
	return s.add(e)
}

func (s *story) close(n int) *story {
	e := clerk(audit.OpQuery, audit.PhaseDone)
	e.Open.Exchange, e.Open.Millis = fmt.Sprint("X", n), 700
	return s.add(e)
}

func (s *story) deny(outcome string) *story {
	e := clerk(audit.OpDeny, audit.PhaseDenied)
	e.Open.Outcome = outcome
	return s.add(e)
}

func (s *story) times(n int, do func(*story)) *story {
	for range n {
		do(s)
	}
	return s
}

// declare records a list of relatives.
func (s *story) declare(operator, epoch string, persons ...int) *story {
	k := kin{epoch: epoch, persons: map[string]bool{}}
	for _, n := range persons {
		r := ref(n)[0]
		r.Epoch = epoch
		k.persons[subjectKey(r)] = true
	}
	p := &Proposal{ID: "R", Operator: operator, Persons: len(persons), List: fmt.Sprint("digest-", len(s.entries))}
	if s.lists == nil {
		s.lists = map[string]kin{}
	}
	s.lists[p.List] = k
	e := p.entry(statusDeclared, "approver", "approver")
	e.Closed.Approvals = []string{"supervisor", "approver"}
	return s.add(e)
}

// looks is a good exchange about a person.
func (s *story) looks(n int, change ...func(*audit.Entry)) *story {
	return s.ask(n, change...).answer(n, "FOUND", 500).close(n)
}

// found is what a fold finds, "RULE level", in order.
func (s *story) found(r *Rules, f *Facts) []string {
	fold := newFold(r, f)
	fold.turn(testOrigin)
	fold.lists = func(digest, _ string) (kin, bool) { k, ok := s.lists[digest]; return k, ok }
	var list []string
	fold.sink = func(c *Card) {
		mark := ""
		if c.Fault {
			mark = " fault"
		}
		list = append(list, c.Rule+" "+string(c.Level)+mark)
	}
	for i := range s.entries {
		fold.read(&s.entries[i])
	}
	fold.pass(s.now.UnixMicro())
	return list
}

func caseNumber(c string) func(*audit.Entry) { return func(e *audit.Entry) { e.Open.Case = c } }
func person(n int) func(*audit.Entry)        { return func(e *audit.Entry) { e.Open.Subjects = ref(n) } }

func simple(op audit.Op, change func(*audit.Entry)) func(*story) {
	return func(s *story) {
		e := clerk(op, audit.PhaseDone)
		change(&e)
		s.add(e)
	}
}

func TestEachDefaultRuleFindsWhatItIsForAndNothingBeside(t *testing.T) {
	rules := mustLoad(t, demoRules)
	deferred := func(s *story, n int) {
		s.ask(n, func(e *audit.Entry) {
			e.Closed.Legs, e.Closed.Reason = []string{"p1.1 GAP digest " + s.now.Add(10*time.Hour).UTC().Format(time.RFC3339)}, "DEFERRED"
		})
	}
	tests := map[string]struct {
		do   func(*story)
		want string
	}{
		"SX-01":              {func(s *story) { s.ask(1).answer(1, "FOUND", 2401).close(1) }, "SX-01 yellow"},
		"SX-01 just in time": {func(s *story) { s.ask(1).answer(1, "FOUND", 2400).close(1) }, ""},
		"SX-01 once an hour": {func(s *story) { s.times(3, func(s *story) { s.ask(1).answer(1, "FOUND", 2900).close(1) }) }, "SX-01 yellow"},
		"SX-02":              {func(s *story) { s.ask(1).answer(1, "TIMEOUT", 3000).close(1) }, "SX-02 red"},
		"SX-03":              {func(s *story) { s.ask(1).answer(1, "UNREACHABLE", 1).close(1) }, "SX-03 yellow"},
		"SX-03 ten times":    {func(s *story) { s.times(10, func(s *story) { s.ask(1).answer(1, "UNREACHABLE", 1).close(1) }) }, "SX-03 yellow, SX-03 red"},
		"SX-04":              {func(s *story) { s.ask(1).wait(7 * time.Minute) }, "SX-04 red"},
		"SX-04 in time":      {func(s *story) { s.ask(1).wait(4*time.Minute).answer(1, "FOUND", 0).close(1).wait(time.Hour) }, ""},
		"SX-05":              {func(s *story) { deferred(s, 1); s.wait(5*time.Hour + 11*time.Minute) }, "SX-05 yellow"},
		"SX-05, SX-06":       {func(s *story) { deferred(s, 1); s.wait(11 * time.Hour) }, "SX-05 yellow, SX-06 red"},
		"SX-06 in time": {func(s *story) {
			deferred(s, 1)
			s.wait(4*time.Hour).answer(1, "FOUND", 1).close(1).wait(20 * time.Hour)
		}, ""},
		"LC-01":               {func(s *story) { s.ask(1).answer(1, "SOURCE_ERROR", 10).close(1) }, "LC-01 yellow"},
		"LC-01 often":         {func(s *story) { s.times(11, func(s *story) { s.ask(1).answer(1, "SOURCE_ERROR", 10).close(1) }) }, "LC-01 yellow, LC-01 red"},
		"LC-02":               {func(s *story) { s.times(5, func(s *story) { s.ask(1).answer(1, "PENDING", 10).close(1) }) }, "LC-02 yellow"},
		"LC-02 few":           {func(s *story) { s.times(4, func(s *story) { s.ask(1).answer(1, "PENDING", 10).close(1) }) }, ""},
		"LC-03":               {simple(audit.OpAlarm, func(e *audit.Entry) { e.Open.Outcome = "SEAL_FILES" }), "LC-03 red"},
		"LC-03 another alarm": {simple(audit.OpAlarm, func(e *audit.Entry) { e.Open.Outcome = "OTHER" }), ""},
		"LC-04":               {simple(audit.OpRelease, func(e *audit.Entry) { e.Open.Phase, e.Open.Outcome = audit.PhaseFailed, "WITHHELD" }), "LC-04 red"},
		"LC-05":               {func(s *story) { s.deny("ANSWER_REFUSED") }, "LC-05 red"},
		"LC-10":               {simple(audit.OpAlarm, func(e *audit.Entry) { e.Open.Outcome = "SUPERVISION_STATE" }), "LC-10 red"},
		"LC-11":               {simple(audit.OpAlarm, func(e *audit.Entry) { e.Open.Outcome = "PSEUDONYM_KEYS" }), "LC-11 red"},
		"LC-06":               {simple(audit.OpWithdraw, func(*audit.Entry) {}), "LC-06 yellow"},
		"LC-06 asked for":     {simple(audit.OpWithdraw, func(e *audit.Entry) { e.Open.Phase = audit.PhaseIntent }), ""},
		"LC-07": {func(s *story) {
			s.times(10, simple(audit.OpAdmin, func(e *audit.Entry) { e.Closed.Object = "exchange.deleted" }))
		}, "LC-07 yellow"},
		"LC-07 nine": {func(s *story) {
			s.times(9, simple(audit.OpAdmin, func(e *audit.Entry) { e.Closed.Object = "exchange.deleted" }))
		}, ""},
		"LC-08":        {simple(audit.OpClockStep, func(e *audit.Entry) { e.Open.Millis = -6000 }), "LC-08 yellow"},
		"LC-08 little": {simple(audit.OpClockStep, func(e *audit.Entry) { e.Open.Millis = 1500 }), ""},
		"LC-09":        {simple(audit.OpLogRecovered, func(*audit.Entry) {}), "LC-09 red"},
		"NR-01":        {func(s *story) { s.ask(1).answer(1, "MISMATCH", 10).close(1) }, "NR-01 red"},
		"NR-02":        {func(s *story) { s.ask(1).answer(1, "GLYPH_MISSING", 10).close(1) }, "NR-02 yellow"},
		"NR-03":        {func(s *story) { s.times(3, func(s *story) { s.ask(1).answer(1, "MULTIPLE", 10).close(1) }) }, "NR-03 yellow"},
		"NR-03 twice":  {func(s *story) { s.times(2, func(s *story) { s.ask(1).answer(1, "MULTIPLE", 10).close(1) }) }, ""},
		"NR-04":        {func(s *story) { s.query(func(e *audit.Entry) { e.Open.Purpose = "" }) }, "NR-04 red"},
		"NR-05": {func(s *story) {
			s.times(5, simple(audit.OpCardRead, func(e *audit.Entry) { e.Open.Phase = audit.PhaseFailed }))
		}, "NR-05 yellow"},
		"NR-05 four": {func(s *story) {
			s.times(4, simple(audit.OpCardRead, func(e *audit.Entry) { e.Open.Phase = audit.PhaseFailed }))
		}, ""},
		"YQ-01":                {func(s *story) { s.deny("PROOF_OUTSIDE_ITEM") }, "YQ-01 red"},
		"YQ-02":                {simple(audit.OpRelease, func(e *audit.Entry) { e.Open.Item, e.Open.Proof, e.Open.Outcome = "I-1", "HR-01", "ANSWERED" }), "YQ-02 red"},
		"YQ-02 on the list":    {simple(audit.OpRelease, func(e *audit.Entry) { e.Open.Item, e.Open.Proof, e.Open.Outcome = "I-1", "SI-01", "ANSWERED" }), ""},
		"YQ-03":                {func(s *story) { s.deny("FIELD_OUTSIDE_GRANT").deny("NO_GRANT") }, "YQ-03 yellow"},
		"YQ-03 three times":    {func(s *story) { s.deny("FIELD_OUTSIDE_GRANT").deny("NO_GRANT").deny("NO_GRANT").deny("X") }, "YQ-03 yellow, YQ-03 red"},
		"YQ-04":                {func(s *story) { s.times(3, func(s *story) { s.deny("SUBJECT_TOKEN_ELSEWHERE") }) }, "YQ-04 yellow, YQ-04 yellow, YQ-04 red"},
		"YQ-05":                {func(s *story) { s.deny("QUOTA_EXCEEDED").deny("QUOTA_EXCEEDED") }, "YQ-05 yellow"},
		"YQ-06":                {func(s *story) { s.ask(1).answer(1, "DENIED", 10).close(1) }, "YQ-06 red"},
		"LZ-01":                {func(s *story) { s.times(41, func(s *story) { s.query() }) }, "LZ-01 yellow"},
		"LZ-01 forty":          {func(s *story) { s.times(40, func(s *story) { s.query() }) }, ""},
		"LZ-01 over two hours": {func(s *story) { s.times(40, func(s *story) { s.query() }).wait(61 * time.Minute).query() }, ""},
		"LZ-01 red":            {func(s *story) { s.times(81, func(s *story) { s.query() }) }, "LZ-01 yellow, LZ-01 red"},
		"LZ-02":                {func(s *story) { s.times(151, func(s *story) { s.query().wait(2 * time.Minute) }) }, "LZ-02 yellow"},
		"LZ-03":                {func(s *story) { s.at(20).query() }, "LZ-03 yellow"},
		"LZ-03 before":         {func(s *story) { s.at(19).query().at(7).query() }, ""},
		"LZ-03 four nights":    {func(s *story) { s.times(4, func(s *story) { s.at(23).query() }) }, "LZ-03 yellow, LZ-03 yellow, LZ-03 yellow, LZ-03 red"},
		"LZ-04":                {func(s *story) { s.query(caseNumber("SJ-20261102-1")) }, "LZ-04 yellow"},
		"LZ-04 none":           {func(s *story) { s.query(caseNumber("")) }, "LZ-04 red"},
		"LZ-05": {func(s *story) {
			s.times(3, func(s *story) { s.query(person(-1)).cardRead(1).ask(len(s.entries), person(1)).close(0) })
		}, "LZ-05 yellow"},
		"LZ-06": {func(s *story) { s.cardRead(1).wait(36 * time.Minute) }, "LZ-06 yellow"},
		"LZ-06 followed": {func(s *story) {
			s.cardRead(1).wait(29*time.Minute).ask(1).answer(1, "FOUND", 1).close(1).wait(time.Hour)
		}, ""},
		"LZ-06 another person": {func(s *story) { s.cardRead(1).ask(2).answer(2, "FOUND", 1).close(2).wait(time.Hour) }, "LZ-06 yellow"},
		"LZ-07": {func(s *story) {
			s.times(6, simple(audit.OpDocView, func(e *audit.Entry) { e.Open.Exchange, e.Open.Leg = "X", "p1" }))
		}, "LZ-07 yellow"},
		"LZ-07 five": {func(s *story) {
			s.times(5, simple(audit.OpDocView, func(e *audit.Entry) { e.Open.Exchange, e.Open.Leg = "X", "p1" }))
		}, ""},
		"LZ-08": {func(s *story) {
			s.times(2, simple(audit.OpDocReprint, func(e *audit.Entry) { e.Open.Exchange, e.Open.Leg = "X", "p1" }))
		}, "LZ-08 yellow"},
		"LZ-08 once": {simple(audit.OpDocReprint, func(e *audit.Entry) { e.Open.Exchange = "X" }), ""},
		"LZ-09": {func(s *story) {
			s.times(5, simple(audit.OpLogin, func(e *audit.Entry) { e.Open.Phase = audit.PhaseDenied }))
		}, "LZ-09 yellow"},
		"LZ-10":        {simple("citizen.complaint", func(*audit.Entry) {}), "LZ-10 red"},
		"LZ-11":        {func(s *story) { s.times(51, simple(audit.OpAuditSearch, func(*audit.Entry) {})) }, "LZ-11 yellow"},
		"LZ-12":        {func(s *story) { s.at(22); simple(audit.OpCatalog, func(*audit.Entry) {})(s) }, "LZ-12 yellow"},
		"LZ-12 by day": {simple(audit.OpCatalog, func(*audit.Entry) {}), ""},
		"LZ-13": {func(s *story) {
			s.declare("op-1", "2026q4", 1, 2, 3).looks(1).looks(4).looks(2).looks(3)
		}, "LZ-13 yellow, LZ-13 yellow, LZ-13 red"},
		"LZ-13 the second of a couple": {func(s *story) {
			s.declare("op-1", "2026q4", 2).looks(1, func(e *audit.Entry) { e.Open.Subjects = append(ref(1), ref(2)...) })
		}, "LZ-13 yellow"},
		"LZ-13 of another account":          {func(s *story) { s.declare("op-2", "2026q4", 1).looks(1) }, ""},
		"LZ-13 declared since":              {func(s *story) { s.looks(1).declare("op-1", "2026q4", 1) }, ""},
		"LZ-13 no relative any more":        {func(s *story) { s.declare("op-1", "2026q4", 1).declare("op-1", "2026q4", 2).looks(1) }, ""},
		"LZ-14":                             {func(s *story) { s.declare("op-1", "2026q3", 1).looks(1).looks(2) }, "LZ-14 yellow"},
		"LZ-14 list lost":                   {func(s *story) { s.declare("op-1", "2026q4", 1); s.lists = nil; s.looks(1) }, "LZ-14 yellow"},
		"LZ-14 nobody on it":                {func(s *story) { s.declare("op-1", "").looks(1) }, ""},
		"LZ-14 mended by entering it again": {func(s *story) { s.declare("op-1", "2026q3", 1).declare("op-1", "2026q4", 2).looks(1) }, ""},
		"a good day":                        {func(s *story) { s.times(30, func(s *story) { s.query().wait(5 * time.Minute) }).wait(time.Hour) }, ""},
		"card refused":                      {func(s *story) { s.deny("INVALID_REQUEST") }, ""},
	}
	covered := map[string]bool{}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := begin(rules, &testFacts)
			tt.do(s)
			if got := strings.Join(s.found(rules, &testFacts), ", "); got != tt.want {
				t.Errorf("found %q, want %q", got, tt.want)
			}
		})
		for _, part := range strings.Split(tt.want, ", ") {
			covered[strings.SplitN(part, " ", 2)[0]] = true
		}
	}
	for _, r := range rules.rules {
		if !covered[r.ID] {
			t.Errorf("rule %s is raised by no case", r.ID)
		}
	}
}
