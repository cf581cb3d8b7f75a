package front

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"yizheng/audit"
	"yizheng/catalog"
	"yizheng/exchange"
	"yizheng/exchange/certificate"
	"yizheng/exchange/envelope"
	"yizheng/exchange/ferry"
	"yizheng/identity"
)

// Config is what an Agent is made of.
type Config struct {
	Front          catalog.FrontID
	Release        *catalog.Release
	GatewayKeys    func(kid string) *ecdsa.PublicKey // who may sign challenges
	Sources        map[string]exchange.Source        // by connection name
	Press          *certificate.Press                // with the seals that are held here; nil: none
	Audit          *audit.Log
	Pseudonyms     audit.SubjectNamer
	AllowSimulated bool
	Reads          string        // file of used card reads; needed if a department here may take days
	MaxAge         time.Duration // longest time from card read to question; default 10 minutes
	DeferredAge    time.Duration // the same to a deferred question's first arrival here; default 1 hour
	Deferring      int           // deferred questions of which the department is asked at once; default 64
	Now            func() time.Time
	Logger         *slog.Logger
}

// Agent answers questions beside a department's systems. It is safe for concurrent use.
type Agent struct {
	Config
	reads   *reads
	longest time.Duration // that a department here may take
	places  chan struct{} // one token for each deferred question that is asked
}

// ErrNoReads is returned for a front whose department may take days, and that
// would forget at a restart which card reads were used.
var ErrNoReads = errors.New("front: deferred sources need a file for used card reads")

// NewAgent makes an Agent. Close it after its last question.
func NewAgent(c Config) (*Agent, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.MaxAge == 0 {
		c.MaxAge = 10 * time.Minute
	}
	if c.DeferredAge == 0 {
		c.DeferredAge = time.Hour
	}
	if c.Deferring == 0 {
		c.Deferring = 64
	}
	a := &Agent{Config: c, places: make(chan struct{}, c.Deferring), longest: c.Release.Catalogue.LongestDeferred(func(s catalog.Source) bool { return s.Front == c.Front })}
	if a.longest > 0 && c.Reads == "" {
		return nil, ErrNoReads
	}
	var err error
	a.reads, err = openReads(c.Reads, c.Now())
	return a, err
}

// Deferred is the longest time that a department here may take; 0: none is
// asked with more time than a caller waits.
func (a *Agent) Deferred() time.Duration { return a.longest }

// Close closes the file of used card reads.
func (a *Agent) Close() error { return a.reads.close() }

// Handle takes the body of a request's opened envelope to the signed plaintext
// of its reply. An error means that not even a refusal could be recorded: then
// nothing is answered.
func (a *Agent) Handle(ctx context.Context, attrs envelope.Attributes, body []byte) ([]byte, error) {
	ctx, cancel := context.WithDeadline(ctx, attrs.Deadline)
	defer cancel()
	q, err := decodeQuestion(body)
	if err != nil {
		return a.refuse(ctx, attrs, q, err)
	}
	src, err := a.check(attrs, q)
	if errors.Is(err, errForgetful) {
		return nil, err
	}
	if err != nil {
		return a.refuse(ctx, attrs, q, err)
	}
	if isDeferred(attrs) { // checked as it came; the department may be busy for long
		select {
		case a.places <- struct{}{}:
			defer func() { <-a.places }()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err := a.record(ctx, q, audit.PhaseIntent, ""); err != nil { // no log, no question to the department's system
		return nil, err
	}
	ended := false
	defer func() {
		if !ended { // something panicked, which goes on
			_ = a.record(ctx, q, audit.PhaseFailed, abandoned(a.Release, q))
		}
	}()
	asked := time.Now()
	answer := a.ask(ctx, src, q)
	for wait := again; isDeferred(attrs) && (answer.Refusal == Unreachable || answer.Refusal == TooLate) && sleep(ctx, wait); wait = min(2*wait, seldom) {
		answer = a.ask(ctx, src, q)
	}
	if errors.Is(ctx.Err(), context.Canceled) { // this process stops; the deadline has not passed
		ended = true // it will be asked again
		return nil, ctx.Err()
	}
	answered := time.Since(asked)
	r, use := a.seal(ctx, src, q, answer)
	proof, _ := a.Release.Catalogue.Proof(q.Terms.Proof) // check found it
	outcome := string(r.State) + string(r.Refusal)
	if proof.Sensitive {
		outcome = audit.OutcomeAnswered
		r.pad = padStep(q)                  // the size would tell
		exchange.Mask(ctx, asked, answered) // and so would the time that sealing took
	}
	with := a.uses(q, proof, use)
	ended = true
	if err := a.record(ctx, q, audit.PhaseDone, outcome, with...); err != nil {
		return nil, err
	}
	return r.encode()
}

// abandoned is the outcome of a question whose handling broke off.
func abandoned(r *catalog.Release, q Question) string {
	if p, ok := r.Catalogue.Proof(q.Terms.Proof); ok && p.Sensitive {
		return audit.OutcomeAnswered
	}
	return "ABANDONED"
}

// padStep is to whole numbers of how many bytes a sensitive answer is filled up.
func padStep(q Question) int {
	if q.Order != nil {
		return exchange.PadDocument
	}
	return exchange.PadData
}

// isDeferred reports whether the department has more time than anybody waits.
func isDeferred(attrs envelope.Attributes) bool { return attrs.ReplyTo == ferry.TopicDeferredReply }

// A department's system that is down when a deferred question comes is asked
// again, after these times at least and at most.
const (
	again  = time.Second
	seldom = 5 * time.Minute
)

// sleep reports whether it was not cut short.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// ask calls the department's system and keeps only what was granted. An adapter
// that panics is one that failed; what it panicked with may hold a resident's
// data, so only its type is told.
func (a *Agent) ask(ctx context.Context, src catalog.Source, q Question) (r Reply) {
	defer func() {
		if p := recover(); p != nil {
			a.about(q).Error("adapter panicked", "source", src.ID, "type", fmt.Sprintf("%T", p))
			r = Reply{Refusal: Failed}
		}
	}()
	source, ok := a.Sources[src.Connection]
	if !ok {
		a.Logger.Error("no such connection", "source", src.ID, "connection", src.Connection)
		return Reply{Refusal: Failed}
	}
	answer, err := source.Query(ctx, exchange.Ask{Source: src, Terms: q.Terms, Digest: q.Terms.Digest(), Subject: q.Person,
		Salts: q.Salts, Attestation: q.Attestation, Operator: q.Operator, Caller: q.Caller})
	switch {
	case errors.Is(err, exchange.ErrUnreachable):
		return Reply{Refusal: Unreachable}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return Reply{Refusal: TooLate}
	case err != nil:
		a.about(q).Warn("source failed", "source", src.ID, "err", discreet(err, q.Person))
		return Reply{Refusal: Failed}
	}
	return a.granted(q, answer)
}

// about is the logger for what came of a question. Of a sensitive proof its lines
// do not say whose, since they tell that something was found.
func (a *Agent) about(q Question) *slog.Logger {
	if proof, _ := a.Release.Catalogue.Proof(q.Terms.Proof); proof.Sensitive { // check found it
		return a.Logger
	}
	return a.Logger.With("exchange", q.Terms.Exchange)
}

// discreet withholds the text of an adapter's error that, against the rule for
// sources, tells whom it is about.
func discreet(err error, p identity.Person) error {
	old, _ := p.Number.Old15()
	for _, secret := range []string{p.Number.Reveal(), p.Name.Reveal(), old} {
		if secret != "" && strings.Contains(err.Error(), secret) {
			return errors.New("its text held the person's data and is withheld")
		}
	}
	return err
}

// granted holds the records to the proof's schema and keeps the granted fields,
// and the one by which the issuer's seal is chosen.
func (a *Agent) granted(q Question, answer exchange.Answer) Reply {
	r := Reply{State: answer.State, DataTime: answer.DataTime}
	if answer.State != exchange.StateFound {
		return r
	}
	proof, _ := a.Release.Catalogue.Proof(q.Terms.Proof) // check found it
	for _, rec := range answer.Records {
		own, kept := make(map[string]any), make(map[string]any)
		for _, f := range proof.Fields {
			v, ok := rec.Fields[f.Name]
			if !ok {
				continue
			}
			own[f.Name] = v
			if slices.Contains(q.Terms.Fields, f.Name) || f.Name == proof.Issuer.By {
				kept[f.Name] = v
			}
		}
		if err := a.Release.Catalogue.ValidateRecord(proof.Code, own); err != nil {
			a.about(q).Warn("answer does not fit the proof", "source", q.Source, "err", err)
			return Reply{Refusal: Failed}
		}
		r.Records = append(r.Records, exchange.Record{Number: rec.Number, Name: rec.Name, Fields: kept})
	}
	return r
}

// doubt is why a question was refused: a code for the log, and the cause for the operator.
type doubt struct {
	code string
	err  error
}

func (d *doubt) Error() string { return d.code + ": " + d.err.Error() }
func (d *doubt) Unwrap() error { return d.err }

func because(code, why string) error { return &doubt{code, errors.New(why)} }

// check finds the first thing that is not as it should be. What it is goes to
// the front's log; the asker learns only DENIED.
func (a *Agent) check(attrs envelope.Attributes, q Question) (catalog.Source, error) {
	c := a.Release.Catalogue
	digest := q.Terms.Digest()
	switch {
	case attrs.LegDigest != digest || attrs.Exchange != q.Terms.Exchange || attrs.Leg != q.Terms.Leg:
		return catalog.Source{}, because("LEG_DIGEST", "leg digest is not that of the question")
	case q.Terms.Release != a.Release.Number && !(isDeferred(attrs) && q.Terms.Release < a.Release.Number): // grants are checked as they are now
		return catalog.Source{}, because("RELEASE", fmt.Sprintf("question under catalogue release %d, here %d", q.Terms.Release, a.Release.Number))
	case !a.Now().Before(a.Release.Expires):
		return catalog.Source{}, because("RELEASE", "the catalogue release has expired")
	case !a.Now().Before(attrs.Deadline):
		return catalog.Source{}, because("DEADLINE", "deadline is over")
	}
	src, ok := c.Source(q.Source)
	proof, known := c.Proof(q.Terms.Proof)
	if !ok || !known || src.Front != a.Front || !slices.Contains(proof.Sources, src.ID) {
		return src, because("SOURCE", "source is not of this front, or not of the proof")
	}
	if err := a.checkTime(attrs, src); err != nil {
		return src, err
	}
	read, err := a.checkRead(q, isDeferred(attrs))
	if err != nil {
		return src, err
	}
	return src, a.checkGrant(q, proof, read)
}

const maxSkew = 30 * time.Second // between clocks

// checkTime holds a deferred question to the time that its source is given.
func (a *Agent) checkTime(attrs envelope.Attributes, src catalog.Source) error {
	if !isDeferred(attrs) {
		return nil
	}
	switch {
	case src.Deferred == 0:
		return because("DEFERRED", "this source is not asked with more time")
	case attrs.SignedAt.After(a.Now().Add(maxSkew)):
		return because("DEFERRED", "question of a later time")
	case attrs.Deadline.Sub(attrs.SignedAt) > time.Duration(src.Deferred)+maxSkew:
		return because("DEFERRED", "deadline beyond what the source is given")
	}
	return nil
}

// checkRead verifies that the person asked about has just shown their card, for this very matter.
// "Just" is by this front's clock, whatever time a gateway has signed. A deferred
// question that comes again, after a restart perhaps, was fresh when it first came.
func (a *Agent) checkRead(q Question, deferred bool) (identity.VerifiedRead, error) {
	c := a.Release.Catalogue
	now, maxAge := a.Now(), a.MaxAge
	if deferred {
		maxAge = a.DeferredAge + a.longest // for one that comes again
	}
	v, err := identity.VerifyAttestation(q.Attestation, identity.AttestationPolicy{
		GatewayKey: a.GatewayKeys,
		AgentKey: func(ws, kid string) *ecdsa.PublicKey {
			if w, ok := c.Workstation(catalog.WorkstationID(ws)); !ok || w.Caller != q.Caller {
				return nil
			}
			return c.AgentKey(catalog.WorkstationID(ws))
		},
		SAMAllowed: func(ws, sam string) bool {
			w, ok := c.Workstation(catalog.WorkstationID(ws))
			return ok && slices.Contains(w.SAMs, sam)
		},
		AllowSimulated: a.AllowSimulated, MaxSkew: maxSkew, MaxAge: maxAge, Now: now,
	})
	if err != nil {
		return v, &doubt{"CARD_READ", err}
	}
	h := v.Challenge
	if h.Caller != string(q.Caller) || h.Operator != string(q.Operator) || h.Item != string(q.Terms.Item) ||
		h.Case != q.Terms.Case || h.Purpose != q.Terms.Purpose {
		return v, because("CARD_READ_ELSEWHERE", "card was read for another caller, operator, item, case or purpose")
	}
	if err := v.Matches(q.Person, q.Salts); err != nil {
		return v, &doubt{"PERSON", err}
	}
	commitment := identity.IDDigest(q.Salts.ID, q.Person.Type, q.Person.Number)
	if string(commitment[:]) != string(q.Terms.Commitment) {
		return v, because("COMMITMENT", "commitment is not that of the person")
	}
	if !deferred {
		return v, a.once(h.Nonce, q.Terms.Exchange)
	}
	this := h.Nonce + "\n" + q.Terms.Digest().String()
	old := now.Sub(time.UnixMilli(v.Attestation.ReadAt)) > a.DeferredAge+maxSkew
	if old && !a.reads.knows(this, q.Terms.Exchange) {
		return v, because("CARD_READ", "card was read too long before the question came")
	}
	if err := a.once(h.Nonce, q.Terms.Exchange); err != nil {
		return v, err
	}
	return v, a.once(this, q.Terms.Exchange) // so that it is known when it comes again
}

// once refuses a card read that another exchange has used. It is remembered as
// long as the slowest department here may still be asked on its strength.
func (a *Agent) once(nonce, exchange string) error {
	now := a.Now()
	err := a.reads.take(nonce, exchange, now, now.Add(max(a.MaxAge, a.DeferredAge)+time.Minute+a.longest))
	if errors.Is(err, errUsed) {
		return &doubt{"CARD_READ_REUSED", err}
	}
	if err != nil {
		return fmt.Errorf("%w: used card read: %w", errForgetful, err)
	}
	return nil
}

// errForgetful ends a question that could not be remembered: nothing is asked,
// and nothing answered.
var errForgetful = errors.New("front: not remembered")

// checkGrant holds the question to the matter's purposes, the countersigned
// grant and the proof's demand for evidence.
func (a *Agent) checkGrant(q Question, proof catalog.Proof, read identity.VerifiedRead) error {
	item, ok := a.Release.Catalogue.Item(q.Terms.Item)
	if !ok || !slices.Contains(item.Purposes, q.Terms.Purpose) {
		return because("PURPOSE", "the matter does not allow this purpose")
	}
	g, ok := a.Release.Catalogue.GrantFor(q.Caller, q.Terms.Item, q.Terms.Proof)
	if !ok || !a.Now().Before(g.NotAfter) {
		return because("NO_GRANT", "no grant")
	}
	for _, f := range q.Terms.Fields {
		if !slices.Contains(g.Fields, f) {
			return because("FIELD", "field outside the grant")
		}
	}
	checks := identity.Checks{Card: true, OperatorChecked: read.Attestation.OperatorChecked}
	claims := identity.SubjectClaims{Level: identity.Level(checks), Evidence: checks.Evidence()}
	if !claims.Satisfies(proof.MinLevel, proof.Evidence) {
		return because("EVIDENCE", "not enough evidence of identity")
	}
	return a.checkOrder(q, proof, g)
}

// refuse records why and answers DENIED.
func (a *Agent) refuse(ctx context.Context, attrs envelope.Attributes, q Question, cause error) ([]byte, error) {
	a.Logger.Warn("question refused", "exchange", attrs.Exchange, "leg", attrs.Leg, "sender", attrs.Sender, "err", cause)
	reason := "MESSAGE"
	var d *doubt
	if errors.As(cause, &d) {
		reason = d.code
	}
	e := audit.Entry{
		Open:   audit.Open{Op: audit.OpDeny, Phase: audit.PhaseDenied, Outcome: string(Denied), Exchange: attrs.Exchange, Leg: attrs.Leg, System: attrs.Sender},
		Closed: audit.Closed{Node: string(a.Front), Reason: reason},
	}
	if _, err := a.Audit.Append(context.WithoutCancel(ctx), e); err != nil {
		return nil, fmt.Errorf("front: refusal not recorded: %w", err)
	}
	return Reply{Refusal: Denied}.encode()
}

// record writes one entry about the question, and in the same batch those that go with it.
func (a *Agent) record(ctx context.Context, q Question, phase audit.Phase, outcome string, with ...audit.Entry) error {
	ref, err := a.Pseudonyms.Of(string(q.Person.Type), q.Person.Number.Reveal(), a.Now())
	if err != nil {
		return fmt.Errorf("front: pseudonym: %w", err)
	}
	src, _ := a.Release.Catalogue.Source(q.Source)
	e := audit.Entry{
		Open: audit.Open{Op: audit.OpSourceCall, Phase: phase, Outcome: outcome, Subjects: []audit.SubjectRef{ref}, System: string(q.Caller),
			Item: string(q.Terms.Item), Case: q.Terms.Case, Purpose: q.Terms.Purpose, Proof: string(q.Terms.Proof),
			Provider: string(src.Department), Source: string(src.ID), Route: string(src.Route), Fields: q.Terms.Fields,
			Exchange: q.Terms.Exchange, Leg: q.Terms.Leg, Release: q.Terms.Release},
		Closed: audit.Closed{Actor: string(q.Operator), Node: string(a.Front), Legs: []string{q.Terms.Digest().String()}},
	}
	if _, err := a.Audit.Append(context.WithoutCancel(ctx), append([]audit.Entry{e}, with...)...); err != nil {
		return fmt.Errorf("front: not recorded: %w", err)
	}
	return nil
}
