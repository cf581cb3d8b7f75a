package search

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"errors"
	"maps"
	"net/http"
	"slices"
	"time"

	"yizheng/audit"
	"yizheng/audit/index"
	"yizheng/identity/jose"
	"yizheng/identity/staff"
)

const (
	approvals   = 2              // persons, neither of them the applicant
	pendingLife = 24 * time.Hour // from the application to its ticket
	ticketLife  = 15 * time.Minute
	maxPending  = 100 // applications in memory
)

// application is one on its way, and the ticket it has become.
type application struct {
	id        string
	statement string
	applicant string
	Application
	list      string
	destroyed []string // quarters in which nobody can be found
	// elsewhere are the other gateways that it was sent on to.
	elsewhere []Elsewhere
	// subjects are those of the quarter in which it was made, for its records;
	// all of them when the ticket is issued.
	subjects  []audit.SubjectRef
	approvers []string
	decisions []string // the approvers' statements
	rejected  string   // by whom
	expires   time.Time
	released  bool   // subjects are all
	ticket    string // number of its ticket
	shown     int    // entries the ticket has shown
}

// State of an application.
type State string

// States.
const (
	Pending  State = "pending"
	Approved State = "approved"
	Rejected State = "rejected"
	Ticketed State = "ticketed"
)

// View is an application as approvers see it: everything but the numbers.
type View struct {
	ID        string    `json:"id"`
	State     State     `json:"state"`
	Applicant string    `json:"applicant"`
	Case      string    `json:"case"`
	Reason    string    `json:"reason"`
	From      time.Time `json:"from"`
	To        time.Time `json:"to"`
	Max       int       `json:"max"`
	Persons   int       `json:"persons"`
	Subjects  string    `json:"subjects"`            // what the applicant committed to
	List      string    `json:"list"`                // digest of the pseudonyms, which an approval names
	Destroyed []string  `json:"destroyed,omitempty"` // quarters whose pseudonyms were destroyed in due course
	Approvers []string  `json:"approvers"`
	Rejecter  string    `json:"rejected_by,omitempty"`
	Expires   time.Time `json:"expires"`
	// Elsewhere are the other gateways of the roster. An approval is good at those
	// whose lists it names, too.
	Elsewhere []Elsewhere `json:"elsewhere,omitempty"`
}

// Decision is one about the application, as its approvers sign it: it names the
// lists of pseudonyms of all gateways that hold it.
func (v View) Decision(a Action, at time.Time) Decision {
	d := Decision{Action: a, Of: v.ID, List: v.List, At: at}
	for _, e := range v.Elsewhere {
		if e.List != "" {
			d.Others = append(d.Others, e.List)
		}
	}
	return d
}

func (a *application) view() View {
	v := View{ID: a.id, State: Pending, Applicant: a.applicant, Case: a.Case, Reason: a.Reason, From: a.From, To: a.To, Max: a.Max, Persons: a.Persons,
		Subjects: a.Subjects, List: a.list, Destroyed: a.destroyed, Approvers: slices.Clone(a.approvers), Rejecter: a.rejected, Expires: second(a.expires),
		Elsewhere: slices.Clone(a.elsewhere)}
	switch {
	case a.rejected != "":
		v.State = Rejected
	case a.ticket != "":
		v.State = Ticketed
	case len(a.approvers) >= approvals:
		v.State = Approved
	}
	if v.Approvers == nil {
		v.Approvers = []string{}
	}
	return v
}

// entry is a record about an application. It names the persons looked for by
// their pseudonyms, so that who searched for somebody can be found as well.
func (a *application) entry(status string) audit.Entry {
	return audit.Entry{
		Open: audit.Open{Op: audit.OpAuditSearch, Phase: audit.PhaseDone, Subjects: a.subjects, Case: a.Case, Disclose: audit.DiscloseNever},
		Closed: audit.Closed{Object: "application/" + a.id, Decision: status, Reason: a.Reason, Approvals: slices.Clone(a.approvers),
			Digests: map[string]string{"list": a.list, "subjects": a.Subjects}},
	}
}

// Apply takes an auditor's application. numbers and salt are what its statement
// commits to; they are not kept, and the caller wipes them.
func (s *Service) Apply(ctx context.Context, who Who, statement string, numbers []string, salt []byte) (View, error) {
	v, err := s.apply(ctx, who, statement, numbers, salt)
	return v, s.denied(ctx, who, "", err)
}

func (s *Service) apply(ctx context.Context, who Who, statement string, numbers []string, salt []byte) (View, error) {
	a, err := s.taken(ctx, PeerApplication{statement, numbers, salt}, func(p staff.Person) bool { return p.Name == who.Actor })
	if err != nil {
		return View{}, err
	}
	if err := s.note(ctx, who, a.entry("apply")); err != nil {
		return View{}, err
	}
	a.elsewhere = s.sendOn(ctx, PeerApplication{statement, numbers, salt})
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.once(a.id); err != nil {
		return View{}, err
	}
	s.applications[a.id] = a
	return a.view(), nil
}

// taken is an auditor's application that verifies, with its pseudonyms held. whose
// tells who may have signed it.
func (s *Service) taken(ctx context.Context, sent PeerApplication, whose func(staff.Person) bool) (*application, error) {
	statement, numbers, salt := sent.Statement, sent.Numbers, sent.Salt
	in, p, err := openApplication(s.Persons, statement)
	if err != nil || p.Role != staff.Auditor || !whose(p) {
		return nil, badStatement(err)
	}
	if where, zh, en := in.fault(s.Now(), numbers, salt); en != "" {
		return nil, invalid(where, zh, en)
	}
	if err := s.limits.apply(p.Name); err != nil {
		return nil, err
	}
	a := &application{id: ID(statement), statement: statement, applicant: p.Name, Application: in, expires: s.Now().Add(pendingLife)}
	for _, n := range numbers {
		ref, err := s.Pseudonyms.Of(audit.SubjectIDNumber, n, s.Now())
		if err != nil {
			return nil, namingFailed(err)
		}
		a.subjects = append(a.subjects, ref)
	}
	if err := s.room(a.id); err != nil {
		return nil, err
	}
	held, err := s.Pseudonyms.Hold(ctx, Sought{Statement: statement, Numbers: numbers, Salt: salt, Quarters: s.quarters()})
	if err != nil {
		return nil, namingFailed(err)
	}
	a.list, a.destroyed = held.List, held.Destroyed
	return a, nil
}

// once refuses an application that was made before; the caller holds mu.
func (s *Service) once(id string) error {
	if s.applications[id] != nil || s.visiting[id] != nil {
		return refuse(http.StatusConflict, "APPLICATION_STATE", "statement", "这份申请已提交过", "the application has been made already")
	}
	return nil
}

// room makes an application wait its turn, and refuses one that was made before.
func (s *Service) room(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget()
	if err := s.once(id); err != nil {
		return err
	}
	if len(s.applications) >= maxPending || len(s.visiting) >= maxPending {
		return refuse(http.StatusTooManyRequests, "TOO_MANY_REQUESTS", "", "请求过于频繁，请稍后再试", "too many requests; try again later")
	}
	return nil
}

// namingFailed is why there are no pseudonyms: a Refusal of who has the keys, or
// that nobody answers.
func namingFailed(err error) error {
	var r *Refusal
	switch {
	case errors.As(err, &r):
		return r
	case errors.Is(err, audit.ErrNumber):
		return invalid("numbers", "号码为空或无法处理", "a number is empty or cannot be used")
	}
	return unavailable(err)
}

func badStatement(err error) error {
	r := refuse(http.StatusUnprocessableEntity, "STATEMENT_INVALID", "statement", "声明无法核实，或不是提交者本人签名的", "the statement cannot be verified, or is not signed by who sends it")
	r.Err = err
	return r
}

// forget drops what is over; the caller holds mu.
func (s *Service) forget() {
	for id, a := range s.applications {
		if s.Now().After(a.expires) {
			delete(s.applications, id)
			delete(s.tickets, a.ticket)
		}
	}
	maps.DeleteFunc(s.visiting, func(_ string, v *visitor) bool { return s.Now().After(v.expires) })
}

func noApplication() error {
	return refuse(http.StatusNotFound, "NO_SUCH_APPLICATION", "id", "没有这份申请，或已过期；网关重启后须重新申请", "no such application, or it has expired; after a restart of the gateway apply again")
}

// Applications lists what is on its way, the newest last.
func (s *Service) Applications() []View {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget()
	list := []View{}
	for _, a := range s.applications {
		list = append(list, a.view())
	}
	slices.SortFunc(list, func(a, b View) int { return a.Expires.Compare(b.Expires) })
	return list
}

// Find shows one application.
func (s *Service) Find(id string) (View, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget()
	a := s.applications[id]
	if a == nil {
		return View{}, noApplication()
	}
	return a.view(), nil
}

// Decide takes an approver's signed decision about an application.
func (s *Service) Decide(ctx context.Context, who Who, id, statement string) (View, error) {
	v, err := s.decide(ctx, who, id, statement)
	return v, s.denied(ctx, who, id, err)
}

func (s *Service) decide(ctx context.Context, who Who, id, statement string) (View, error) {
	d, p, err := OpenDecision(s.Persons, statement)
	if err != nil || p.Name != who.Actor || d.Of != id {
		return View{}, badStatement(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget()
	a := s.applications[id]
	if a == nil {
		return View{}, noApplication()
	}
	if err := a.allow(d, p, s.Now()); err != nil {
		return View{}, err
	}
	next := *a
	if d.Action == Reject {
		next.rejected = p.Name
	} else {
		next.approvers = append(slices.Clone(a.approvers), p.Name)
		next.decisions = append(slices.Clone(a.decisions), statement)
	}
	e := next.entry(string(d.Action))
	e.Closed.Digests["statement"] = jose.Digest(statement)
	if d.Action == Reject {
		e.Open.Phase = audit.PhaseDenied
	}
	if err := s.note(ctx, who, e); err != nil {
		return View{}, err
	}
	*a = next
	return a.view(), nil
}

// allow is the rule of who may decide what.
func (a *application) allow(d Decision, p staff.Person, now time.Time) error {
	no := func(where, zh, en string) error {
		return refuse(http.StatusConflict, "APPLICATION_STATE", where, zh, en)
	}
	age := now.Sub(d.At)
	switch {
	case age > statementLife || age < -statementLife:
		return no("statement", "声明已过时，请校时后重新签名", "the statement is too old or in the future; check the clock and sign anew")
	case p.Role != staff.Approver && p.Role != staff.Auditor:
		return no("statement", "您的角色不可办理此步", "your role does not allow this")
	case p.Name == a.applicant:
		return no("statement", "申请人不得批准自己的申请，须由另外两人办理", "nobody approves their own application; two others must")
	case d.List != a.list:
		return no("statement", "声明所指的名单不是这份申请的", "the statement names another list")
	case a.rejected != "" || a.ticket != "":
		return no("id", "这份申请已办结", "the application is closed")
	case d.Action == Reject:
		return nil
	case d.Action != Approve:
		return no("statement", "没有这种步骤", "no such action")
	case slices.Contains(a.approvers, p.Name):
		return no("statement", "您已批准过，须由另一人批准", "you have approved already; somebody else must")
	case len(a.approvers) >= approvals:
		return no("id", "这份申请已获批准", "the application is approved already")
	}
	return nil
}

// Issue turns an approved application into a ticket, once, for its applicant.
func (s *Service) Issue(ctx context.Context, who Who, id string) (ticket string, err error) {
	ticket, err = s.issue(ctx, who, id)
	return ticket, s.denied(ctx, who, id, err)
}

func (s *Service) issue(ctx context.Context, who Who, id string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget()
	a := s.applications[id]
	switch {
	case a == nil || a.applicant != who.Actor:
		return "", noApplication()
	case a.rejected != "" || len(a.approvers) < approvals:
		return "", notApproved()
	case a.ticket != "":
		return "", refuse(http.StatusConflict, "APPLICATION_STATE", "id", "票据已发过，每份申请一张", "its ticket was issued already; an application gives one")
	}
	if err := s.release(ctx, a); err != nil {
		return "", err
	}
	now := second(s.Now())
	t := Ticket{V: 1, Ticket: rand.Text(), Origin: s.Origin, Application: a.id, Applicant: a.applicant, Approvers: a.approvers, Case: a.Case, Reason: a.Reason,
		From: a.From, To: a.To, Max: a.Max, Persons: a.Persons, List: a.list, Issued: now, Expires: now.Add(ticketLife)}
	signed, err := sign(s.Key, TypeTicket, t)
	if err != nil {
		return "", err
	}
	e := a.entry("ticket")
	e.Closed.Digests["ticket"] = jose.Digest(signed)
	if err := s.note(ctx, who, e); err != nil {
		return "", err
	}
	a.ticket, a.expires = t.Ticket, t.Expires
	s.tickets[t.Ticket] = a
	return signed, nil
}

// release gets the pseudonyms that the approvers have signed for.
func (s *Service) release(ctx context.Context, a *application) error {
	if a.released {
		return nil // the record of an earlier try failed
	}
	subjects, err := s.Pseudonyms.Release(ctx, a.id, a.decisions)
	if err != nil {
		return namingFailed(err)
	}
	if len(subjects) == 0 || ListDigest(subjects) != a.list {
		return unavailable(errors.New("audit search: other pseudonyms than those approved"))
	}
	a.subjects, a.released = subjects, true
	return nil
}

// opened is the payload of a ticket that this gateway has signed.
func (s *Service) opened(token string) ([]byte, error) {
	payload, _, err := jose.Verify(token, TypeTicket, func(kid string) *ecdsa.PublicKey {
		if kid == s.Key.ID() {
			return s.Key.Public()
		}
		return nil
	})
	return payload, err
}

func badTicket() error {
	return refuse(http.StatusForbidden, "TICKET", "ticket", "票据无效、已过期、已用尽，或不是发给您的；请重新申请", "the ticket is not valid, has expired, is used up, or is not yours; apply again")
}

// claim holds a ticket to who brings it, and sets aside what it may still show.
func (s *Service) claim(who Who, token string, wanted int) (a *application, t Ticket, rows int, err error) {
	payload, err := s.opened(token)
	if err != nil || jose.Unmarshal(payload, &t) != nil {
		return nil, t, 0, badTicket()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a = s.tickets[t.Ticket]
	if a == nil || t.Applicant != who.Actor || !s.Now().Before(t.Expires) || t.List != a.list || a.shown >= t.Max {
		return nil, t, 0, badTicket()
	}
	rows = min(wanted, t.Max-a.shown)
	a.shown += rows
	return a, t, rows, nil
}

// settle counts what a search has found instead of what was set aside for it, and
// returns how much of it the ticket may show.
func (s *Service) settle(a *application, aside, found int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.shown -= aside
	found = min(found, a.Max-a.shown)
	a.shown += found
	return found
}

// byTicket looks for the persons of a ticket.
func (s *Service) byTicket(ctx context.Context, who Who, ask Ask) (Answer, error) {
	q := ask.query()
	if ask.Before != nil && len(s.gateways()) > 0 {
		return Answer{}, invalid("before", "各节点一并检索时以 to 翻页", "a search everywhere goes on with to")
	}
	a, t, rows, err := s.claim(who, ask.Ticket, q.Limit)
	if err != nil {
		return Answer{}, err
	}
	q.From, q.To, q.Subjects, q.Limit = t.From, earlier(t.To, ask.Filter.To), a.subjects, rows
	e := a.entry("search")
	e.Closed.Digests["ticket"] = jose.Digest(ask.Ticket)
	rec, err := s.begin(ctx, who, e)
	if err != nil {
		s.settle(a, rows, 0)
		return Answer{}, err
	}
	defer rec.abandoned(ctx)
	answer, err := s.persons(ctx, a, t, q, ask.Proofs)
	answer.Rows = answer.Rows[:s.settle(a, rows, len(answer.Rows))]
	if err := rec.done(ctx, len(answer.Rows), answer.Complete, err); err != nil {
		return Answer{}, err
	}
	answer.Record = rec.intent.Pointer().String()
	return answer, nil
}

// earlier is the earlier of the end of a ticket's period and where a page begins.
func earlier(to, page time.Time) time.Time {
	if page.IsZero() || page.After(to) {
		return to
	}
	return page
}

// persons searches by pseudonym: this gateway's log, and those of the other
// gateways that hold the application. What has other keys is named.
func (s *Service) persons(ctx context.Context, a *application, t Ticket, q index.Query, proofs bool) (Answer, error) {
	own, err := s.here(ctx, q, proofs)
	if err != nil {
		return Answer{}, err
	}
	own.Logs[0] = own.Logs[0].lacking(a.destroyed)
	if len(s.gateways()) > 0 {
		return own.with(s.askAbout(ctx, a, t, q), q.Limit, proofs), nil
	}
	own.Logs = append(own.Logs, s.others(OtherKeys)...)
	own.Complete = !slices.ContainsFunc(own.Logs, func(l Log) bool { return !l.whole() })
	return own, nil
}
