package search

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/identity/jose"
)

// fleet is two gateways with logs and pseudonym keys of their own, the same
// auditors and approvers, and one roster. What b answers may be falsified.
type fleet struct {
	*testing.T
	a, b   *office
	asked  []PeerPersonsAsk // what b was asked
	lie    func(*PeerPersons)
	silent bool
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{T: t, a: newOffice(t), b: newOffice(t), lie: func(*PeerPersons) {}}
	f.b.node = newNode(t, otherBase)
	f.b.Service.Node, f.b.Service.Origin = f.b.node.Node, otherBase
	f.b.keys, f.b.Persons = f.a.keys, f.a.Persons
	f.b.Pseudonyms.(*Vault).persons = f.a.Persons
	f.a.Key, f.b.Key = f.a.node.key, f.b.node.key
	s := httptest.NewTLSServer(http.HandlerFunc(f.serve))
	t.Cleanup(s.Close)
	f.a.Peers = s.Client()
	f.a.roster(listed(t, f.b.node, KindGateway, "", otherBase, s.URL))
	f.b.Roster = f.a.Roster
	f.a.add(f.a.query(liYu, "A-1"), f.a.query(liMing, "A-OTHER"))
	f.b.add(f.b.query(liYu, "B-1"), f.b.query(liMing, "B-OTHER"), f.b.query(liYu, "B-2"))
	return f
}

// serve is gateway b.
func (f *fleet) serve(w http.ResponseWriter, r *http.Request) {
	var out any
	var err error
	f.b.now = f.a.now
	switch who := (Who{Node: "gw00"}); {
	case f.silent:
		w.WriteHeader(http.StatusBadGateway)
		return
	case r.URL.Path == ApplicationPath:
		var in PeerApplication
		_ = json.NewDecoder(r.Body).Decode(&in)
		out, err = f.b.TakeApplication(r.Context(), who, in)
	case r.URL.Path == PersonsPath:
		var in PeerPersonsAsk
		_ = json.NewDecoder(r.Body).Decode(&in)
		f.asked = append(f.asked, in)
		var a PeerPersons
		a, err = f.b.AnswerPersons(r.Context(), who, in)
		f.lie(&a)
		out = a
	}
	var no *Refusal
	if errors.As(err, &no) {
		w.WriteHeader(no.Status)
		return
	}
	_ = json.NewEncoder(w).Encode(out) // whoever asked may be gone
}

func (f *fleet) apply() View {
	f.Helper()
	f.a.limits, f.b.limits = newLimits(), newLimits()
	f.a.now = f.a.now.Add(time.Second) // another statement
	f.b.now = f.a.now
	salt := newSalt()
	v, err := f.a.Apply(f.Context(), as("auditor-1"), f.a.application("auditor-1", salt, liYu), []string{liYu}, salt)
	must(f, err)
	return v
}

func (f *fleet) approve(by string, v View) string {
	f.Helper()
	return f.a.decision(by, v.Decision(Approve, f.a.now))
}

// ticket is one for liYu at gateway a, which gateway b holds the application of.
func (f *fleet) ticket() (string, View) {
	f.Helper()
	v := f.apply()
	for _, by := range []string{"approver-1", "auditor-2"} {
		_, err := f.a.Decide(f.Context(), as(by), v.ID, f.approve(by, v))
		must(f, err)
	}
	ticket, err := f.a.Issue(f.Context(), as("auditor-1"), v.ID)
	must(f, err)
	return ticket, v
}

func (f *fleet) search(ask Ask) Answer {
	f.Helper()
	a, err := f.a.Search(f.Context(), as("auditor-1"), ask)
	must(f, err)
	return a
}

// asksFor are the items of the queries among rows.
func asksFor(rows []Row) (list []string) {
	for _, r := range rows {
		if r.Entry.Open.Op == audit.OpQuery {
			list = append(list, r.Entry.Open.Item)
		}
	}
	return list
}

func TestATicketIsAnsweredByAllGatewaysOfTheFleet(t *testing.T) {
	f := newFleet(t)
	ticket, v := f.ticket()
	if len(v.Elsewhere) != 1 || v.Elsewhere[0].State != Answered || v.Elsewhere[0].List == v.List {
		t.Fatalf("the application is held as %+v", v.Elsewhere)
	}
	a := f.search(Ask{Ticket: ticket, Proofs: true})
	if got := asksFor(a.Rows); !slices.Equal(got, []string{"B-2", "B-1", "A-1"}) || !a.Complete || len(a.Logs) != 2 || !a.Logs[1].Told {
		t.Fatalf("%v, complete %v, %+v", got, a.Complete, a.Logs)
	}
	for _, r := range a.Rows {
		if strings.HasPrefix(r.Origin, otherBase) {
			must(t, r.Verify(otherBase, f.b.node.key.Public()))
		} else {
			must(t, r.Verify(base, f.a.node.key.Public()))
		}
	}
	e := f.b.last(audit.OpAuditSearch)
	if e.Open.Phase != audit.PhaseDone || e.Closed.Decision != "search" || e.Closed.Actor != "auditor-1" || e.Closed.Node != "gw00" || e.Open.Case != "XF-2026-17" ||
		!slices.Equal(e.Closed.Approvals, []string{"approver-1", "auditor-2"}) || e.Closed.Object != "application/"+v.ID ||
		len(e.Open.Subjects) != 1 || e.Open.Subjects[0].P != f.b.ref(liYu).P || e.Open.Subjects[0].P == f.a.ref(liYu).P {
		t.Errorf("the other gateway recorded %+v", e)
	}
	if f.a.holds(liYu) || f.b.holds(liYu) {
		t.Error("a log holds the number")
	}
	if text := fmt.Sprintf("%v %+v %#v", PeerApplication{Numbers: []string{liYu}}, &PeerApplication{Numbers: []string{liYu}}, PeerApplication{Numbers: []string{liYu}}); strings.Contains(text, liYu) {
		t.Error("an application prints its numbers")
	}
}

func TestATicketsEntriesAreCountedOverAllGateways(t *testing.T) {
	f := newFleet(t)
	for range 30 {
		f.a.add(f.a.query(liYu, "A"), f.a.query(liYu, "A"))
		f.b.add(f.b.query(liYu, "B"), f.b.query(liYu, "B"))
	}
	ticket, _ := f.ticket()
	ask, seen := Ask{Ticket: ticket, Limit: 40}, map[string]bool{}
	for range 3 { // 100 in all
		a := f.search(ask)
		for _, r := range a.Rows {
			seen[fmt.Sprint(r.Origin, r.Index)] = true
		}
		ask.Filter.To = a.NextTo
	}
	if len(seen) != 100 {
		t.Errorf("%d different entries of 100", len(seen))
	}
	_, err := f.a.Search(t.Context(), as("auditor-1"), ask)
	wants(t, "used up", err, "TICKET")
	_, err = f.a.Search(t.Context(), as("auditor-1"), Ask{Ticket: ticket, Before: &Position{Quarter: "2026q4", Index: 1}})
	wants(t, "by place in one log", err, "INVALID_REQUEST")
	_, err = f.a.Search(t.Context(), as("auditor-1"), Ask{Ticket: ticket, Filter: Filter{From: f.a.now}})
	wants(t, "with another filter", err, "INVALID_REQUEST")
}

// finds asks by a new ticket for what was there at first, and holds what is shown
// against the state that gateway b must have.
func (f *fleet) finds(t *testing.T, ticket string, until time.Time, want Answering) {
	t.Helper()
	a, err := f.a.Search(t.Context(), as("auditor-1"), Ask{Ticket: ticket, Filter: Filter{To: until}})
	must(t, err)
	got, shown := a.Logs[1], want == Answered || want == Behind
	if got.State != want || a.Complete != (want == Answered) || strings.HasPrefix(got.Chinese, "结果不完整") == a.Complete {
		t.Errorf("complete %v, %+v", a.Complete, got)
	}
	if items := asksFor(a.Rows); !slices.Contains(items, "A-1") || slices.Contains(items, "B-1") != shown || slices.Contains(items, "B-OTHER") {
		t.Errorf("shown: %v", items)
	}
}

func TestATicketSearchNamesAGatewayThatCannotAnswer(t *testing.T) {
	for name, test := range map[string]struct {
		before func(f *fleet) // the application
		after  func(f *fleet) // the ticket
		want   Answering
	}{
		"does not answer now":         {nil, func(f *fleet) { f.silent = true }, Unreachable},
		"did not answer when applied": {func(f *fleet) { f.silent = true }, func(f *fleet) { f.silent = false }, NotHeld},
		"was restarted":               {nil, func(f *fleet) { clear(f.b.visiting) }, NotHeld},
		"its pseudonym service was":   {nil, func(f *fleet) { clear(f.b.Pseudonyms.(*Vault).held) }, NotHeld},
		"does not know this gateway":  {nil, func(f *fleet) { f.b.Roster = &Roster{Logs: f.a.Roster.Logs[1:]} }, Refused},
		"knows another key of it": {nil, func(f *fleet) {
			f.b.Roster = &Roster{Logs: slices.Clone(f.a.Roster.Logs)}
			f.b.Roster.Logs[0].Keys = []string{listKey(t, newKey(t))}
		}, Refused},
		"isolated":                       {func(f *fleet) { f.a.Roster.Logs[1].URL, f.a.Roster.Logs[1].Isolated = "", true }, nil, Isolated},
		"another key than on the roster": {nil, func(f *fleet) { f.a.Roster.Logs[1].Keys = []string{listKey(t, newKey(t))} }, Doubtful},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t)
			if test.before != nil {
				test.before(f)
			}
			ticket, _ := f.ticket()
			if test.after != nil {
				test.after(f)
			}
			f.finds(t, ticket, time.Time{}, test.want)
		})
	}
}

func TestATicketSearchTakesNothingThatIsNotAboutItsPersons(t *testing.T) {
	f := newFleet(t)
	until := time.Now()
	row := func(item string, a *PeerPersons) {
		found, err := f.b.forPeer(t.Context(), Ask{Filter: Filter{Item: item}}.query(), nil)
		must(t, err)
		a.Rows = append(a.Rows, found.Rows...)
	}
	for name, test := range map[string]struct {
		lie  func(a *PeerPersons)
		want Answering
	}{
		"as it must":                 {func(*PeerPersons) {}, Answered},
		"index behind":               {func(a *PeerPersons) { a.Shards[0].CompleteTo-- }, Behind},
		"a row about somebody else":  {func(a *PeerPersons) { row("B-OTHER", a) }, Doubtful},
		"a row twice":                {func(a *PeerPersons) { row("B-1", a) }, Doubtful},
		"a row without its proof":    {func(a *PeerPersons) { a.Rows[0].Receipt = "" }, Doubtful},
		"a changed row":              {func(a *PeerPersons) { a.Rows[0].Open = strings.Replace(a.Rows[0].Open, "SJ-1", "SJ-2", 1) }, Doubtful},
		"another person's pseudonym": {func(a *PeerPersons) { a.Subjects, a.Rows = []audit.SubjectRef{f.b.ref(liMing)}, nil; row("B-OTHER", a) }, Doubtful},
		"another person's besides":   {func(a *PeerPersons) { a.Subjects = append(a.Subjects, f.b.ref(liMing)); row("B-OTHER", a) }, Doubtful},
		"no pseudonyms":              {func(a *PeerPersons) { a.Subjects = nil }, Doubtful},
		"no checkpoint":              {func(a *PeerPersons) { a.Shards[0].Checkpoint = "" }, Doubtful},
	} {
		t.Run(name, func(t *testing.T) {
			f.lie = test.lie
			ticket, _ := f.ticket()
			f.finds(t, ticket, until, test.want)
		})
	}
}

func TestARowBeforeThePseudonymsItIsAboutIsNotTaken(t *testing.T) {
	h, err := Listed{Origin: otherBase}.holds(Filter{})
	must(t, err)
	c := question{holding: h, ask: PeerAsk{Limit: 10}, about: &about{}}
	if _, err := c.read(strings.NewReader(`{"rows":[{}],"subjects":[]}`)); err == nil || !strings.Contains(err.Error(), "before the pseudonyms") {
		t.Error(err)
	}
}

func TestAGatewayGivesAnotherNothingWithoutTicketAndTwoApprovals(t *testing.T) {
	f := newFleet(t)
	other := f.apply()
	v := f.apply()
	stranger := newKey(t)
	good := Ticket{V: 1, Ticket: "T1", Origin: base, For: otherBase, Application: v.ID, Applicant: "auditor-1", Case: v.Case, Reason: v.Reason, From: v.From, To: v.To,
		Max: v.Max, Persons: v.Persons, List: v.List, Issued: second(f.a.now), Expires: second(f.a.now).Add(ticketLife)}
	signed := func(k *jose.Key, change func(*Ticket)) string {
		t.Helper()
		ticket := good
		change(&ticket)
		s, err := sign(k, TypeTicket, ticket)
		must(t, err)
		return s
	}
	one, two := f.approve("approver-1", v), f.approve("approver-2", v)
	for _, test := range []struct {
		name      string
		key       *jose.Key
		ticket    func(*Ticket)
		decisions []string
		code      string
	}{
		{"no approval", nil, nil, nil, "APPLICATION_STATE"},
		{"one approval", nil, nil, []string{one}, "APPLICATION_STATE"},
		{"one twice", nil, nil, []string{one, one}, "APPLICATION_STATE"},
		{"the applicant's own", nil, nil, []string{one, f.approve("auditor-1", v)}, "STATEMENT_INVALID"},
		{"a security administrator's", nil, nil, []string{one, f.approve("security-1", v)}, "STATEMENT_INVALID"},
		{"a rejection", nil, nil, []string{one, f.a.decision("approver-2", v.Decision(Reject, f.a.now))}, "STATEMENT_INVALID"},
		{"of another application", nil, nil, []string{one, f.approve("approver-2", other)}, "STATEMENT_INVALID"},
		{"without this gateway's list", nil, nil, []string{one, f.a.decision("approver-2", Decision{Action: Approve, Of: v.ID, List: v.List})}, "STATEMENT_INVALID"},
		{"of an hour before", nil, nil, []string{one, f.a.decision("approver-2", v.Decision(Approve, f.a.now.Add(-time.Hour)))}, "STATEMENT_INVALID"},
		{"a changed approval", nil, nil, []string{one, two + "x"}, "STATEMENT_INVALID"},
		{"signed by nobody on the roster", stranger, nil, []string{one, two}, "TICKET"},
		{"of a gateway not on the roster", stranger, func(k *Ticket) { k.Origin = "gw07.690100.example/audit" }, []string{one, two}, "TICKET"},
		{"signed by this gateway itself", f.b.node.key, func(k *Ticket) { k.Origin = otherBase }, []string{one, two}, "TICKET"},
		{"made out for a third gateway", nil, func(k *Ticket) { k.For = "gw02.690100.example/audit" }, []string{one, two}, "TICKET"},
		{"the auditor's own ticket", nil, func(k *Ticket) { k.For = "" }, []string{one, two}, "TICKET"},
		{"expired", nil, func(k *Ticket) { k.Issued, k.Expires = k.Issued.Add(-ticketLife), k.Issued }, []string{one, two}, "TICKET"},
		{"for a day", nil, func(k *Ticket) { k.Expires = k.Issued.AddDate(0, 0, 1) }, []string{one, two}, "TICKET"},
		{"of tomorrow", nil, func(k *Ticket) { k.Issued, k.Expires = k.Issued.AddDate(0, 0, 1), k.Expires.AddDate(0, 0, 1) }, []string{one, two}, "TICKET"},
		{"a longer period", nil, func(k *Ticket) { k.From = k.From.AddDate(-1, 0, 0) }, []string{one, two}, "TICKET"},
		{"more entries", nil, func(k *Ticket) { k.Max = 1000 }, []string{one, two}, "TICKET"},
		{"another applicant", nil, func(k *Ticket) { k.Applicant = "auditor-2" }, []string{one, two}, "TICKET"},
		{"an application it does not hold", nil, func(k *Ticket) { k.Application = jose.Digest("none") }, []string{one, two}, "NO_SUCH_APPLICATION"},
		{"good", nil, nil, []string{one, two}, ""},
		{"good once more", nil, nil, []string{one, two}, ""},
		{"a second ticket", nil, func(k *Ticket) { k.Ticket = "T2" }, []string{one, two}, "TICKET"},
	} {
		if test.key == nil {
			test.key = f.a.node.key
		}
		if test.ticket == nil {
			test.ticket = func(*Ticket) {}
		}
		a, err := f.b.AnswerPersons(t.Context(), Who{Node: "gw00"}, PeerPersonsAsk{Ticket: signed(test.key, test.ticket), Decisions: test.decisions, Limit: 10})
		wants(t, test.name, err, test.code)
		if got := asksFor(a.Rows); (err == nil) != slices.Equal(got, []string{"B-2", "B-1"}) || err != nil && len(a.Subjects) > 0 {
			t.Errorf("%s: %v of %v", test.name, got, a.Subjects)
		}
		want := audit.PhaseDone
		if err != nil {
			want = audit.PhaseDenied
		}
		if e := f.b.last(audit.OpAuditSearch); e.Open.Phase != want || e.Closed.Node != "gw00" {
			t.Errorf("%s: recorded %+v", test.name, e)
		}
	}
	for _, late := range []time.Duration{ticketLife + time.Second, time.Minute} {
		f.b.now = f.b.now.Add(late)
		_, err := f.b.AnswerPersons(t.Context(), Who{Node: "gw00"}, PeerPersonsAsk{Ticket: signed(f.a.node.key, func(*Ticket) {}), Decisions: []string{one, two}, Limit: 10})
		wants(t, "again after its time", err, "TICKET")
		fresh := signed(f.a.node.key, func(k *Ticket) { k.Issued, k.Expires = second(f.b.now), second(f.b.now).Add(ticketLife) })
		_, err = f.b.AnswerPersons(t.Context(), Who{Node: "gw00"}, PeerPersonsAsk{Ticket: fresh, Decisions: []string{one, two}, Limit: 10})
		wants(t, "with a new ticket after that", err, "NO_SUCH_APPLICATION")
	}
}

func TestAGatewayShowsAnotherNoMoreThanTheAuditorSignedFor(t *testing.T) {
	f := newFleet(t)
	for range 60 {
		f.b.add(f.b.query(liYu, "B"), f.b.query(liYu, "B"))
	}
	ticket, _ := f.ticket()
	f.search(Ask{Ticket: ticket, Limit: 1})
	in := f.asked[0]
	in.Limit = 100
	a, err := f.b.AnswerPersons(t.Context(), Who{Node: "gw00"}, in)
	must(t, err)
	if len(a.Rows) != 100 {
		t.Fatalf("%d rows", len(a.Rows))
	}
	_, err = f.b.AnswerPersons(t.Context(), Who{Node: "gw00"}, in)
	must(t, ignore(err, "TICKET")) // the record of the first may be among them
	in.To = time.UnixMicro(a.Rows[99].Entry.Open.Time)
	_, err = f.b.AnswerPersons(t.Context(), Who{Node: "gw00"}, in)
	wants(t, "further ones", err, "TICKET")
}

func ignore(err error, code string) error {
	if err != nil && codeOf(err) == code {
		return nil
	}
	return err
}

func TestAGatewayTakesAnApplicationOnlyAsItsAuditorSignedIt(t *testing.T) {
	f := newFleet(t)
	salt := newSalt()
	statement := f.a.application("auditor-1", salt, liYu)
	for _, test := range []struct {
		name string
		in   PeerApplication
		code string
	}{
		{"other numbers", PeerApplication{statement, []string{liMing}, salt}, "INVALID_REQUEST"},
		{"a number more", PeerApplication{statement, []string{liYu, liMing}, salt}, "INVALID_REQUEST"},
		{"another salt", PeerApplication{statement, []string{liYu}, newSalt()}, "INVALID_REQUEST"},
		{"by an approver", PeerApplication{f.a.application("approver-1", salt, liYu), []string{liYu}, salt}, "STATEMENT_INVALID"},
		{"changed", PeerApplication{statement + "x", []string{liYu}, salt}, "STATEMENT_INVALID"},
		{"as it is", PeerApplication{statement, []string{liYu}, salt}, ""},
		{"again", PeerApplication{statement, []string{liYu}, salt}, "APPLICATION_STATE"},
	} {
		held, err := f.b.TakeApplication(t.Context(), Who{Node: "gw00"}, test.in)
		wants(t, test.name, err, test.code)
		if (held.List == "") != (test.code != "") {
			t.Errorf("%s: %q", test.name, held.List)
		}
	}
	if e := f.b.entries(audit.OpAuditSearch); len(e) != 7 || e[5].Closed.Decision != "apply" || e[5].Closed.Actor != "auditor-1" || e[5].Closed.Node != "gw00" {
		t.Errorf("recorded %+v", e)
	}
	if len(f.b.Applications()) != 0 {
		t.Error("approvers of the other gateway are shown what they cannot decide there")
	}
	f.b.now = f.b.now.Add(time.Hour)
	salt = newSalt()
	_, err := f.b.TakeApplication(t.Context(), Who{Node: "gw00"}, PeerApplication{f.a.application("auditor-1", salt, liYu), []string{liYu}, salt})
	wants(t, "an hour later", err, "INVALID_REQUEST")
	if f.b.holds(liYu) {
		t.Error("the log holds the number")
	}
}
