package search

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/identity/jose"
)

// application is a good one about numbers.
func (o *office) application(by string, salt []byte, numbers ...string) string {
	o.t.Helper()
	return o.signed(by, Application{Case: "XF-2026-17", Reason: "COMPLAINT", From: o.now.Add(-time.Hour), To: o.now.Add(time.Hour), Max: 100,
		Persons: len(numbers), Subjects: Commit(salt, numbers), At: o.now})
}

func (o *office) signed(by string, a Application) string {
	o.t.Helper()
	s, err := a.Sign(o.keys[by])
	must(o.t, err)
	return s
}

func (o *office) decision(by string, d Decision) string {
	o.t.Helper()
	if d.At.IsZero() {
		d.At = o.now
	}
	s, err := d.Sign(o.keys[by])
	must(o.t, err)
	return s
}

func (o *office) decides(by string, v View, a Action) error {
	o.t.Helper()
	_, err := o.Decide(o.t.Context(), as(by), v.ID, o.decision(by, Decision{Action: a, Of: v.ID, List: v.List}))
	return err
}

// ticket is that of an application which two persons have approved.
func (o *office) ticketFor(numbers ...string) (string, View) {
	o.t.Helper()
	salt := newSalt()
	v, err := o.Apply(o.t.Context(), as("auditor-1"), o.application("auditor-1", salt, numbers...), numbers, salt)
	must(o.t, err)
	must(o.t, o.decides("approver-1", v, Approve))
	must(o.t, o.decides("auditor-2", v, Approve))
	ticket, err := o.Issue(o.t.Context(), as("auditor-1"), v.ID)
	must(o.t, err)
	return ticket, v
}

func TestATicketShowsThePersonsItWasAppliedFor(t *testing.T) {
	o := newOffice(t)
	o.add(o.query(liYu, "PRH"))
	o.add(o.query(liMing, "PRH"))
	o.add(o.query(liYu, "HPW"))
	ticket, v := o.ticketFor(liYu)
	a, err := o.Search(t.Context(), as("auditor-1"), Ask{Ticket: ticket})
	must(t, err)
	queries := slices.DeleteFunc(slices.Clone(a.Rows), func(r Row) bool { return r.Entry.Open.Op != audit.OpQuery })
	if len(queries) != 2 || !a.Complete {
		t.Fatalf("%d rows about the person, complete %v", len(queries), a.Complete)
	}
	done := o.last(audit.OpAuditSearch)
	if *done.Closed.Rows != len(a.Rows) || !slices.Equal(done.Closed.Approvals, []string{"approver-1", "auditor-2"}) || done.Closed.Digests["ticket"] != jose.Digest(ticket) ||
		len(done.Open.Subjects) != 1 || done.Open.Subjects[0].P != o.ref(liYu).P || done.Open.Case != "XF-2026-17" || done.Open.Disclose != audit.DiscloseNever {
		t.Errorf("record %+v", done)
	}
	var claims Ticket
	payload, err := jose.Unverified(ticket)
	must(t, err)
	must(t, json.Unmarshal(payload, &claims))
	if claims.List != v.List || claims.Expires.Sub(claims.Issued) != ticketLife || claims.Applicant != "auditor-1" {
		t.Errorf("ticket %+v", claims)
	}
	if o.holds(liYu) {
		t.Error("the log holds the number")
	}
}

func TestATicketIsGoodForItsHolderItsTimeAndItsNumberOfEntries(t *testing.T) {
	o := newOffice(t)
	for range 30 {
		o.add(o.query(liYu, "PRH"), o.query(liYu, "HPW"), o.query(liYu, "HPW"), o.query(liYu, "HPW"))
	}
	ticket, _ := o.ticketFor(liYu)
	_, err := o.Search(t.Context(), as("auditor-2"), Ask{Ticket: ticket})
	wants(t, "somebody else", err, "TICKET")
	_, err = o.Search(t.Context(), as("auditor-1"), Ask{Ticket: ticket + "x"})
	wants(t, "a changed one", err, "TICKET")
	_, err = newOffice(t).Search(t.Context(), as("auditor-1"), Ask{Ticket: ticket})
	wants(t, "another gateway", err, "TICKET")
	a, err := o.Search(t.Context(), as("auditor-1"), Ask{Ticket: ticket, Limit: 60})
	must(t, err)
	if len(a.Rows) != 60 {
		t.Fatalf("%d rows", len(a.Rows))
	}
	a, err = o.Search(t.Context(), as("auditor-1"), Ask{Ticket: ticket, Limit: 60, Before: a.Next})
	must(t, err)
	if len(a.Rows) != 40 { // of 100 in all
		t.Errorf("%d rows on the second page", len(a.Rows))
	}
	_, err = o.Search(t.Context(), as("auditor-1"), Ask{Ticket: ticket})
	wants(t, "used up", err, "TICKET")

	ticket, _ = o.ticketFor(liYu)
	o.now = o.now.Add(ticketLife + time.Second)
	_, err = o.Search(t.Context(), as("auditor-1"), Ask{Ticket: ticket})
	wants(t, "after its time", err, "TICKET")
}

func TestAnApplicationNeedsTwoOthersApproval(t *testing.T) {
	o := newOffice(t)
	salt := newSalt()
	apply := func() View {
		t.Helper()
		o.limits = newLimits()
		o.now = o.now.Add(time.Second) // another statement
		v, err := o.Apply(t.Context(), as("auditor-1"), o.application("auditor-1", salt, liYu), []string{liYu}, salt)
		must(t, err)
		return v
	}
	issue := func(v View) error {
		_, err := o.Issue(t.Context(), as("auditor-1"), v.ID)
		return err
	}
	v := apply()
	wants(t, "ticket without approval", issue(v), "APPLICATION_STATE")
	wants(t, "the applicant's own", o.decides("auditor-1", v, Approve), "APPLICATION_STATE")
	wants(t, "a security administrator's", o.decides("security-1", v, Approve), "APPLICATION_STATE")
	wants(t, "no action", o.decides("approver-1", v, "perhaps"), "APPLICATION_STATE")
	wants(t, "the first", o.decides("approver-1", v, Approve), "")
	wants(t, "ticket after one", issue(v), "APPLICATION_STATE")
	wants(t, "the same person twice", o.decides("approver-1", v, Approve), "APPLICATION_STATE")
	_, err := o.Decide(t.Context(), as("approver-2"), v.ID, o.decision("approver-2", Decision{Action: Approve, Of: v.ID, List: "another"}))
	wants(t, "of another list", err, "APPLICATION_STATE")
	_, err = o.Decide(t.Context(), as("approver-2"), v.ID, o.decision("approver-2", Decision{Action: Approve, Of: v.ID, List: v.List, At: o.now.Add(-time.Hour)}))
	wants(t, "of an hour ago", err, "APPLICATION_STATE")
	_, err = o.Decide(t.Context(), as("approver-2"), v.ID, o.decision("auditor-2", Decision{Action: Approve, Of: v.ID, List: v.List}))
	wants(t, "signed by somebody else", err, "STATEMENT_INVALID")
	_, err = o.Decide(t.Context(), as("approver-2"), "other", o.decision("approver-2", Decision{Action: Approve, Of: v.ID, List: v.List}))
	wants(t, "sent for another", err, "STATEMENT_INVALID")
	wants(t, "the second", o.decides("approver-2", v, Approve), "")
	_, err = o.Issue(t.Context(), as("auditor-2"), v.ID)
	wants(t, "ticket for somebody else", err, "NO_SUCH_APPLICATION")
	wants(t, "its ticket", issue(v), "")
	wants(t, "a second ticket", issue(v), "APPLICATION_STATE")

	v = apply()
	wants(t, "an approval", o.decides("approver-1", v, Approve), "")
	wants(t, "a rejection", o.decides("approver-2", v, Reject), "")
	wants(t, "approval of what is rejected", o.decides("auditor-2", v, Approve), "APPLICATION_STATE")
	wants(t, "ticket of what is rejected", issue(v), "APPLICATION_STATE")
	if e := o.last(audit.OpAuditSearch); e.Open.Phase != audit.PhaseDenied {
		t.Errorf("recorded as %+v", e.Open)
	}

	v = apply()
	o.now = o.now.Add(pendingLife + time.Second)
	wants(t, "approval a day later", o.decides("approver-1", v, Approve), "NO_SUCH_APPLICATION")
	if n := len(o.Applications()); n != 0 {
		t.Errorf("%d applications are still there", n)
	}
}

func TestApply_RefusesWhatTheStatementDoesNotSay(t *testing.T) {
	o := newOffice(t)
	salt := newSalt()
	many := make([]string, 21)
	for i := range many {
		many[i] = liYu + string(rune('A'+i))
	}
	good := Application{Case: "XF-2026-17", Reason: "COMPLAINT", From: o.now.Add(-time.Hour), To: o.now, Max: 100, Persons: 1, Subjects: Commit(salt, []string{liYu}), At: o.now}
	for name, test := range map[string]struct {
		by      string
		change  func(*Application)
		numbers []string
		code    string
	}{
		"another number":      {"auditor-1", func(*Application) {}, []string{liMing}, "INVALID_REQUEST"},
		"no number":           {"auditor-1", func(a *Application) { a.Persons, a.Subjects = 0, Commit(salt, nil) }, nil, "INVALID_REQUEST"},
		"21 numbers":          {"auditor-1", func(a *Application) { a.Persons, a.Subjects = 21, Commit(salt, many) }, many, "INVALID_REQUEST"},
		"a number twice":      {"auditor-1", func(a *Application) { a.Persons = 2 }, []string{liYu, liYu}, "INVALID_REQUEST"},
		"no reason":           {"auditor-1", func(a *Application) { a.Reason = "curiosity" }, []string{liYu}, "INVALID_REQUEST"},
		"the number as case":  {"auditor-1", func(a *Application) { a.Case = liYu }, []string{liYu}, "INVALID_REQUEST"},
		"no period":           {"auditor-1", func(a *Application) { a.To = a.From }, []string{liYu}, "INVALID_REQUEST"},
		"too many entries":    {"auditor-1", func(a *Application) { a.Max = 1001 }, []string{liYu}, "INVALID_REQUEST"},
		"an hour old":         {"auditor-1", func(a *Application) { a.At = o.now.Add(-time.Hour) }, []string{liYu}, "INVALID_REQUEST"},
		"by an approver":      {"approver-1", func(*Application) {}, []string{liYu}, "STATEMENT_INVALID"},
		"by an administrator": {"security-1", func(*Application) {}, []string{liYu}, "STATEMENT_INVALID"},
	} {
		a := good
		test.change(&a)
		_, err := o.Apply(t.Context(), as(test.by), o.signed(test.by, a), test.numbers, salt)
		wants(t, name, err, test.code)
	}
	_, err := o.Apply(t.Context(), as("auditor-2"), o.signed("auditor-1", good), []string{liYu}, salt)
	wants(t, "sent by somebody else", err, "STATEMENT_INVALID")
	line := o.signed("auditor-1", good)
	_, err = o.Apply(t.Context(), as("auditor-1"), line, []string{liYu}, salt)
	wants(t, "good", err, "")
	_, err = o.Apply(t.Context(), as("auditor-1"), line, []string{liYu}, salt)
	wants(t, "the same again", err, "APPLICATION_STATE")
	for range applyBurst {
		o.now = o.now.Add(time.Second)
		good.At = o.now
		_, err = o.Apply(t.Context(), as("auditor-1"), o.signed("auditor-1", good), []string{liYu}, salt)
	}
	wants(t, "again and again", err, "TOO_MANY_REQUESTS")
	if o.holds(liYu) || o.holds(liMing) {
		t.Error("the log holds a number")
	}
}
