package front

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"yizheng/audit"
	"yizheng/catalog"
	"yizheng/exchange"
	"yizheng/exchange/certificate"
	"yizheng/exchange/envelope"
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
	Pseudonyms     *audit.Pseudonyms
	AllowSimulated bool
	MaxAge         time.Duration // longest time from card read to question; default 10 minutes
	Now            func() time.Time
	Logger         *slog.Logger
}

// Agent answers questions beside a department's systems. It is safe for concurrent use.
type Agent struct {
	Config
	mu    sync.Mutex
	reads map[string]used // by nonce of the challenge
	swept time.Time       // when reads was last rid of what is over
}

// used remembers which exchange a card read was used for.
type used struct {
	exchange string
	until    time.Time
}

// NewAgent makes an Agent.
func NewAgent(c Config) *Agent {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.MaxAge == 0 {
		c.MaxAge = 10 * time.Minute
	}
	return &Agent{Config: c, reads: make(map[string]used)}
}

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
	if err != nil {
		return a.refuse(ctx, attrs, q, err)
	}
	if err := a.record(ctx, q, audit.PhaseIntent, ""); err != nil { // no log, no question to the department's system
		return nil, err
	}
	r, use := a.seal(ctx, src, q, a.ask(ctx, src, q))
	proof, _ := a.Release.Catalogue.Proof(q.Terms.Proof) // check found it
	outcome := string(r.State) + string(r.Refusal)
	if proof.Sensitive {
		outcome = audit.OutcomeAnswered
		if q.Order != nil {
			r.pad = exchange.PadDocument // the size would tell
		}
	}
	if err := a.record(ctx, q, audit.PhaseDone, outcome, a.uses(q, proof, use)...); err != nil {
		return nil, err
	}
	return r.encode()
}

// ask calls the department's system and keeps only what was granted. An adapter
// that panics is one that failed; what it panicked with may hold a resident's
// data, so only its type is told.
func (a *Agent) ask(ctx context.Context, src catalog.Source, q Question) (r Reply) {
	defer func() {
		if p := recover(); p != nil {
			a.Logger.Error("adapter panicked", "exchange", q.Terms.Exchange, "source", src.ID, "type", fmt.Sprintf("%T", p))
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
		a.Logger.Warn("source failed", "exchange", q.Terms.Exchange, "source", src.ID, "err", discreet(err, q.Person))
		return Reply{Refusal: Failed}
	}
	return a.granted(q, answer)
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
			a.Logger.Warn("answer does not fit the proof", "exchange", q.Terms.Exchange, "source", q.Source, "err", err)
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
	case q.Terms.Release != a.Release.Number:
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
	read, err := a.checkRead(q)
	if err != nil {
		return src, err
	}
	return src, a.checkGrant(q, proof, read)
}

// checkRead verifies that the person asked about has just shown their card, for this very matter.
func (a *Agent) checkRead(q Question) (identity.VerifiedRead, error) {
	c := a.Release.Catalogue
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
		AllowSimulated: a.AllowSimulated, MaxSkew: 30 * time.Second, MaxAge: a.MaxAge, Now: a.Now(),
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
	return v, a.once(h.Nonce, q.Terms.Exchange)
}

const sweepEvery = time.Minute

// once refuses a card read that another exchange has used.
func (a *Agent) once(nonce, exchange string) error {
	now := a.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if now.Sub(a.swept) > sweepEvery {
		maps.DeleteFunc(a.reads, func(_ string, u used) bool { return now.After(u.until) })
		a.swept = now
	}
	if u, ok := a.reads[nonce]; ok && u.exchange != exchange {
		return because("CARD_READ_REUSED", "card read was used for another exchange")
	}
	a.reads[nonce] = used{exchange, now.Add(a.MaxAge + time.Minute)}
	return nil
}

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
