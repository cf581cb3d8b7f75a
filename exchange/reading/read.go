package reading

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"yizheng/audit"
	"yizheng/catalog"
	"yizheng/exchange/store"
	"yizheng/identity"
)

// Ask is a clerk's wish to have a card read for one case.
type Ask struct {
	Workstation catalog.WorkstationID `json:"workstation,omitempty"` // default: the session's first
	Item        catalog.ItemCode      `json:"item"`
	Case        string                `json:"case"`
	Purpose     string                `json:"purpose"`
	Role        catalog.Role          `json:"role"`
}

// View is a read session as its clerk may see it. It shows no card data: the
// photo and the name are on the agent's own screen.
type View struct {
	ReadSession string                `json:"read_session"`
	Workstation catalog.WorkstationID `json:"workstation"`
	Role        catalog.Role          `json:"role"`
	State       string                `json:"state"` // waiting, read, failed
	Failure     string                `json:"failure,omitempty"`
	Token       string                `json:"subject_token,omitempty"`
	Expires     time.Time             `json:"expires"`
}

// Who is the clerk, as the HTTPS door knows them.
type Who struct {
	Operator     catalog.Operator
	Workstations []catalog.WorkstationID
	Session      string
	Address      string
	Trace        string
}

type read struct {
	who       Who
	ask       Ask
	challenge string // the JWS that was sent
	nonce     string
	view      View
	busy      bool // an attestation is being checked
	changed   chan struct{}
}

// Start sends a challenge to the session's agent.
func (d *Desk) Start(ctx context.Context, who Who, ask Ask) (View, error) {
	if err := d.allowed(who, &ask); err != nil {
		return View{}, err
	}
	now := d.Now()
	id := rand.Text()
	c := identity.Challenge{
		Origin: d.Origin, ReadSession: id, Caller: string(who.Operator.Caller), Workstation: string(ask.Workstation),
		Operator: string(who.Operator.ID), Item: string(ask.Item), Case: ask.Case, Purpose: ask.Purpose, Role: string(ask.Role),
		Nonce: identity.NewNonce(), IssuedAt: now.UnixMilli(), Expires: now.Add(challengeLife).UnixMilli(),
	}
	token, err := identity.SignChallenge(d.Key, c)
	if err != nil {
		return View{}, unavailable(err)
	}
	r := &read{who: who, ask: ask, challenge: token, nonce: c.Nonce, changed: make(chan struct{}),
		view: View{ReadSession: id, Workstation: ask.Workstation, Role: ask.Role, State: "waiting", Expires: now.Add(challengeLife)}}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.forget(now)
	a := d.agents[ask.Workstation]
	if a == nil {
		return View{}, refuse(http.StatusConflict, "AGENT_OFFLINE", "workstation", "读卡代理未连接，请检查后重新配对", "the read agent is not connected; check it and pair again")
	}
	select {
	case a.Events <- AgentEvent{Kind: "challenge", ReadSession: id, Challenge: token}:
	default:
		return View{}, refuse(http.StatusConflict, "AGENT_BUSY", "workstation", "读卡代理忙，请稍候", "the read agent is busy; wait a moment")
	}
	d.reads[id] = r
	return r.view, nil
}

// allowed holds the wish to session and catalogue before any card is touched.
func (d *Desk) allowed(who Who, ask *Ask) error {
	if ask.Workstation == "" && len(who.Workstations) > 0 {
		ask.Workstation = who.Workstations[0]
	}
	item, ok := d.Catalogue.Item(ask.Item)
	chinese, english := catalog.CaseFault(ask.Case)
	switch {
	case !slices.Contains(who.Workstations, ask.Workstation):
		return refuse(http.StatusForbidden, "WORKSTATION", "workstation", "会话未与该工位配对", "the session is not paired with that workstation")
	case !ok:
		return refuse(http.StatusNotFound, "UNKNOWN_ITEM", "item", "没有这个事项，请核对事项编码", "no such item; check the item code")
	case english != "":
		return refuse(http.StatusUnprocessableEntity, "INVALID_REQUEST", "case", chinese, english)
	case !slices.Contains(item.Purposes, ask.Purpose):
		return refuse(http.StatusForbidden, "PURPOSE_NOT_ALLOWED", "purpose", "本事项不允许此用途", "the item does not allow this purpose")
	case !slices.Contains(item.Roles, ask.Role):
		return refuse(http.StatusUnprocessableEntity, "INVALID_REQUEST", "role", "本事项没有这种身份", "the item has no such role")
	}
	return nil
}

// Get returns the clerk's own read session, and a channel closed when it changes.
func (d *Desk) Get(op catalog.OperatorID, id string) (View, <-chan struct{}, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.reads[id]
	if r == nil || r.who.Operator.ID != op {
		return View{}, nil, refuse(http.StatusNotFound, "NO_SUCH_READ", "id", "没有这次读卡，或已过期", "no such read session, or it has expired")
	}
	if r.view.State == "waiting" && !r.busy && d.Now().After(r.view.Expires) {
		d.end(r, "EXPIRED", "")
	}
	return r.view, r.changed, nil
}

// end fixes the outcome of a read; the caller holds mu.
func (d *Desk) end(r *read, failure, token string) {
	if r.view.State != "waiting" {
		return
	}
	r.view.State, r.view.Failure = "failed", failure
	if token != "" {
		r.view.State, r.view.Token, r.view.Expires = "read", token, d.Now().Add(tokenLife)
	}
	close(r.changed)
}

// forget drops reads whose time is long over; the caller holds mu.
func (d *Desk) forget(now time.Time) {
	for id, r := range d.reads {
		if now.After(r.view.Expires.Add(time.Minute)) {
			d.end(r, "EXPIRED", "")
			delete(d.reads, id)
		}
	}
}

// failures an agent may report.
var failures = []string{"CARD_EXPIRED", "NO_CARD", "READER_ERROR", "CARD_UNREADABLE"}

// Fail takes an agent's word that no card could be read.
func (d *Desk) Fail(ctx context.Context, ws catalog.WorkstationID, id, code string) error {
	if !slices.Contains(failures, code) {
		return refuse(http.StatusUnprocessableEntity, "INVALID_REQUEST", "code", "未知的失败代码", "unknown failure code")
	}
	r, err := d.claim(ws, id)
	if err != nil {
		return err
	}
	return d.fail(ctx, r, code, nil)
}

// claim takes a waiting read for one attestation at a time.
func (d *Desk) claim(ws catalog.WorkstationID, id string) (*read, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.reads[id]
	if r == nil || r.ask.Workstation != ws {
		return nil, refuse(http.StatusNotFound, "NO_SUCH_READ", "id", "没有这次读卡", "no such read session")
	}
	if r.busy || r.view.State != "waiting" || d.Now().After(r.view.Expires) {
		return nil, refuse(http.StatusConflict, "READ_OVER", "id", "本次读卡已结束，请重新发起", "this read is over; start a new one")
	}
	r.busy = true
	return r, nil
}

// Attest checks what the agent read and mints the token.
func (d *Desk) Attest(ctx context.Context, ws catalog.WorkstationID, id, attestation, card string) error {
	r, err := d.claim(ws, id)
	if err != nil {
		return err
	}
	v, read, err := d.check(r, attestation, card)
	if err != nil {
		return d.fail(ctx, r, failureOf(err), err)
	}
	expires := r.view.Expires.Add(maxSkew)
	if holdsNumber(r.ask.Case, read.Person.Number) {
		return d.fail(ctx, r, "CASE_HOLDS_NUMBER", errors.New("the case number holds the ID number"))
	}
	if err := d.Store.ConsumeNonce(ctx, r.nonce, string(ws), v.Attestation.Seq, expires); err != nil {
		if errors.Is(err, store.ErrReplay) {
			return d.fail(ctx, r, "REPLAY", err)
		}
		return d.fail(ctx, r, "UNAVAILABLE", err)
	}
	token, err := d.mint(r, v, attestation, read)
	if err != nil {
		return d.fail(ctx, r, "UNAVAILABLE", err)
	}
	if err := d.record(ctx, r, audit.PhaseDone, "", &read.Person); err != nil {
		d.mu.Lock()
		d.end(r, "UNAVAILABLE", "")
		d.mu.Unlock()
		return err
	}
	d.mu.Lock()
	d.end(r, "", token)
	d.mu.Unlock()
	return nil
}

// holdsNumber reports whether a clerk typed the card holder's number into the
// case number, which would carry it into every record.
func holdsNumber(text string, n identity.Number) bool {
	old, ok := n.Old15()
	text = strings.ToUpper(text)
	return strings.Contains(text, strings.ToUpper(n.Reveal())) || ok && strings.Contains(text, old)
}

// errReading is a failure with the code that the clerk sees.
type errReading struct {
	code string
	err  error
}

func (e errReading) Error() string { return e.code + ": " + e.err.Error() }
func (e errReading) Unwrap() error { return e.err }

func failureOf(err error) string {
	var e errReading
	if errors.As(err, &e) {
		return e.code
	}
	return "REFUSED"
}

// check verifies attestation and card text against the challenge and each other.
func (d *Desk) check(r *read, attestation, card string) (identity.VerifiedRead, identity.CardRead, error) {
	v, err := identity.VerifyAttestation(attestation, identity.AttestationPolicy{
		GatewayKey: func(kid string) *ecdsa.PublicKey {
			if kid == d.Key.ID() {
				return d.Key.Public()
			}
			return nil
		},
		AgentKey: d.agentKey, SAMAllowed: d.samAllowed, AllowSimulated: d.AllowSimulated, MaxSkew: maxSkew, Now: d.Now(),
	})
	if err != nil {
		return v, identity.CardRead{}, errReading{"ATTESTATION", err}
	}
	if v.Attestation.Challenge != r.challenge {
		return v, identity.CardRead{}, errReading{"ATTESTATION", errors.New("attestation answers another challenge")}
	}
	read, err := identity.OpenCard(d.Key, card)
	if err != nil {
		return v, read, errReading{"CARD_UNREADABLE", err}
	}
	if err := v.MatchesCard(read); err != nil {
		return v, read, errReading{"ATTESTATION", err}
	}
	if err := read.CheckValidity(d.Now()); err != nil {
		if errors.Is(err, identity.ErrExpired) {
			return v, read, errReading{"CARD_EXPIRED", err}
		}
		return v, read, errReading{"CARD_UNREADABLE", err}
	}
	return v, read, nil
}

// mint makes the subject token, bound to everything the challenge named.
func (d *Desk) mint(r *read, v identity.VerifiedRead, attestation string, card identity.CardRead) (string, error) {
	now := d.Now()
	checks := identity.Checks{Card: true, OperatorChecked: v.Attestation.OperatorChecked}
	return identity.MintSubject(d.TokenKey, d.TokenKeyID, identity.SubjectClaims{
		JTI: rand.Text(), Caller: string(r.who.Operator.Caller), Workstation: string(r.ask.Workstation),
		Operator: string(r.who.Operator.ID), Item: string(r.ask.Item), Case: r.ask.Case, Purpose: r.ask.Purpose, Role: string(r.ask.Role),
		Level: identity.Level(checks), Evidence: checks.Evidence(), Person: card.Person, Salts: card.Salts, Attestation: attestation,
		IssuedAt: now.UnixMilli(), Expires: now.Add(tokenLife).UnixMilli(),
	})
}

// fail records a failed read and tells clerk and agent.
func (d *Desk) fail(ctx context.Context, r *read, code string, cause error) error {
	if cause != nil {
		d.Logger.Warn("card read refused", "read_session", r.view.ReadSession, "workstation", r.ask.Workstation, "code", code, "err", cause)
	}
	err := d.record(ctx, r, audit.PhaseFailed, code, nil)
	d.mu.Lock()
	d.end(r, code, "")
	d.mu.Unlock()
	switch {
	case err != nil:
		return err
	case cause == nil:
		return nil // the agent itself reported it
	case code == "UNAVAILABLE":
		return unavailable(cause)
	}
	return &Refusal{Status: http.StatusUnprocessableEntity, Code: code, Where: "attestation", Chinese: "读卡未被接受，请重新刷证",
		English: "the card read was not accepted; read the card again", Err: cause}
}

// record writes the read into the audit log and waits until it is durable.
func (d *Desk) record(ctx context.Context, r *read, phase audit.Phase, outcome string, p *identity.Person) error {
	e := audit.Entry{
		Open: audit.Open{Op: audit.OpCardRead, Phase: phase, Outcome: outcome, System: string(r.who.Operator.Caller),
			Item: string(r.ask.Item), Purpose: r.ask.Purpose},
		Closed: audit.Closed{Actor: string(r.who.Operator.ID), CertSN: r.who.Operator.Certificate, Session: r.who.Session,
			Workstation: string(r.ask.Workstation), IP: r.who.Address, Trace: r.who.Trace},
	}
	if p != nil { // only then it is known that the case number holds no ID number
		e.Open.Case = r.ask.Case
		ref, err := d.Pseudonyms.Of(string(p.Type), p.Number.Reveal(), d.Now())
		if err != nil {
			return unavailable(err)
		}
		ref.Role = string(r.ask.Role)
		e.Open.Subjects = []audit.SubjectRef{ref}
	}
	if _, err := d.Audit.Append(context.WithoutCancel(ctx), e); err != nil {
		return unavailable(err)
	}
	return nil
}
