package exchange

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"yizheng/audit"
	"yizheng/catalog"
	"yizheng/exchange/store"
	"yizheng/identity"
	"yizheng/identity/jose"
)

// A leg whose department is given more time than a caller waits (catalogue:
// deferred) is asked live first. When that passes without an answer its part is
// deferred: what finishing it takes is sealed under the fleet's keys and put
// into the store, and the question is sent again with the long deadline, to be
// answered to the fleet. From then on no process matters any more: the gateway
// that receives the last answer, or any one once the deadline has passed,
// finishes the part (finish.go).

// Deferrer is a Source that can be asked for an answer that may take days.
type Deferrer interface {
	Source
	// Defer sends the question; nil means that it is durable on its way. The
	// answer is sealed to reply and comes to any gateway's Service.Returned.
	Defer(ctx context.Context, ask Ask, deadline time.Time, reply *ecdsa.PublicKey) error
	// Returned opens an answer that came. Errors are ErrNotAnswer or those of Query.
	Returned(ask Ask, keys func(keyID string) *jose.Key, r Returned) (Answer, error)
}

// ErrNotAnswer is returned for a message that is no answer of the source's
// front to this question.
var ErrNotAnswer = errors.New("not an answer to this question")

// Returned is a sealed answer to a deferred question, as it came by ferry.
type Returned struct {
	Exchange, Leg string            // what its headers say
	Headers       map[string]string // nil once they have been compared
	Sealed        []byte
}

// deferring are the legs of a part that are to be asked again with more time.
func (s *Service) deferring(pt *part) []*leg {
	var list []*leg
	for _, l := range pt.legs {
		if s.defers(l) {
			list = append(list, l)
		}
	}
	return list
}

// defers reports whether a leg that was asked live is to be asked again.
func (s *Service) defers(l *leg) bool {
	_, able := s.sources[Line(l.source)].(Deferrer)
	return able && l.source.Deferred > 0 && l.answer.unanswered && (l.answer.code == Timeout || l.answer.code == Unreachable)
}

// postTime bounds how long the questions of a part may take to be sent.
const postTime = 15 * time.Second

// deferPart turns a part over to whoever receives its answers. It reports
// whether it has: otherwise the part ends here and now, with what there is.
func (s *Service) deferPart(ctx context.Context, x *Exchange, pt *part) bool {
	late := s.deferring(pt)
	if len(late) == 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.post) // a gateway that stops leaves the question behind
	defer cancel()
	if err := s.postPart(ctx, x, pt, late); err != nil {
		s.warn(x, pt, "part could not be deferred", err)
		x.undefers(pt)
		for _, l := range late {
			s.endLeg(x, pt, l)
		}
		return false
	}
	return true
}

func (s *Service) postPart(ctx context.Context, x *Exchange, pt *part, late []*leg) error {
	if x.isForgotten() {
		return errForgotten
	}
	key, err := s.fleet.Current(s.now())
	if err != nil {
		return err
	}
	last := x.waitsFor(late, s.now())
	if err := s.recordDeferral(ctx, x, pt, late, "DEFERRED"); err != nil { // no question without its record
		return err
	}
	sealed, err := s.sealDeferral(x, pt)
	if err != nil {
		return err
	}
	expires := last.Add(max(s.lifetime, deferredKept))
	x.defers(pt, last) // before an answer can come
	err = s.store.Defer(ctx, store.Deferral{ExchangeNo: x.Number, Part: pt.id, Context: sealed, Legs: len(late), Deadline: last, Expires: expires,
		PostAfter: s.now().Add(postGrace)}, s.runner)
	if err != nil {
		return err
	}
	if err := s.send(ctx, x, pt, late, key.Public()); err != nil {
		// ctx may be what ran out; the store bounds its own call
		undone := s.store.Undefer(context.WithoutCancel(ctx), x.Number, pt.id)
		return errors.Join(err, undone)
	}
	x.keepUntil(expires)
	if err := s.store.Posted(ctx, store.PartRef{ExchangeNo: x.Number, Part: pt.id}); err != nil {
		s.warn(x, pt, "deferred questions may be sent twice", err)
	}
	return nil
}

// send asks the legs with their long deadlines.
func (s *Service) send(ctx context.Context, x *Exchange, pt *part, late []*leg, reply *ecdsa.PublicKey) (err error) {
	defer caught(&err)
	for _, l := range late {
		source, able := s.sources[Line(l.source)].(Deferrer)
		if !able {
			return fmt.Errorf("no connection named %s that takes deferred questions", Line(l.source))
		}
		if err := source.Defer(ctx, s.question(x, pt, l), l.until, reply); err != nil {
			return discreet(err, pt.subject.claims.Person)
		}
	}
	return nil
}

// deferredKept is how long a deferred result can be fetched after the last
// moment for it: who was told to come back comes the next day.
const deferredKept = 24 * time.Hour

// question is what a leg asks its source.
func (s *Service) question(x *Exchange, pt *part, l *leg) Ask {
	claims := pt.subject.claims
	return Ask{
		Source: l.source, Terms: l.terms, Digest: l.digest, Subject: claims.Person, Salts: claims.Salts,
		Attestation: claims.Attestation, Operator: x.who.Operator, Caller: x.who.Caller, Order: pt.ordered(x),
	}
}

// recordDeferral is the intent of asking again with more time.
func (s *Service) recordDeferral(ctx context.Context, x *Exchange, pt *part, late []*leg, why string) error {
	e := x.about(s.entry(audit.OpQuery, audit.PhaseIntent, x.who))
	ref, err := s.ref(pt.subject)
	if err != nil {
		return err
	}
	e.Open.Subjects, e.Open.Proof, e.Open.Prev = []audit.SubjectRef{ref}, string(pt.proof.Code), s.prev(x)
	for _, l := range late {
		e.Closed.Legs = append(e.Closed.Legs, l.id+" "+string(l.source.ID)+" "+l.digest.String()+" "+l.until.UTC().Format(time.RFC3339))
	}
	e.Closed.Reason = why
	_, err = s.append(ctx, e)
	return err
}

// Types of what gateways seal for each other under the fleet's keys.
const (
	typeDeferral = "yz-deferral+jwe"
	typeTicket   = "yz-ticket+jwe"
	typeView     = "yz-view+jwe"
)

// deferralJSON is what finishing a part takes. It holds a resident's data and
// leaves this process sealed only.
type deferralJSON struct {
	V         int                   `json:"v"`
	Exchange  string                `json:"exchange"`
	Part      string                `json:"part"`
	Who       principalJSON         `json:"who"`
	Item      catalog.ItemCode      `json:"item"`
	Situation catalog.SituationCode `json:"situation"`
	Case      string                `json:"case"`
	Purpose   string                `json:"purpose"`
	Release   uint64                `json:"release"` // under which it was asked
	ReplyKey  json.RawMessage       `json:"reply_key"`
	Began     int64                 `json:"began"` // ms since the epoch
	Intent    string                `json:"intent"`
	Proof     catalog.ProofCode     `json:"proof"`
	Fields    []string              `json:"fields"`
	Manual    string                `json:"manual,omitempty"`
	Order     *orderJSON            `json:"order,omitempty"`
	Subject   string                `json:"subject"` // a subject token under the fleet's keys
	Legs      []deferredLegJSON     `json:"legs"`
}

// orderJSON is the order of a document that a front makes.
type orderJSON struct {
	Number string `json:"number"`
	Secret []byte `json:"secret"`
}

func (o *Order) encode() *orderJSON {
	if o == nil {
		return nil
	}
	return &orderJSON{o.Number, o.Secret[:]}
}

func (w *orderJSON) decode() (*Order, error) {
	if w == nil {
		return nil, nil
	}
	o := &Order{Number: w.Number}
	if len(w.Secret) != len(o.Secret) {
		return nil, errDeferral
	}
	copy(o.Secret[:], w.Secret)
	return o, nil
}

type principalJSON struct {
	Caller       catalog.CallerID        `json:"caller"`
	Operator     catalog.OperatorID      `json:"operator,omitempty"`
	Workstations []catalog.WorkstationID `json:"workstations,omitempty"`
	Certificate  string                  `json:"certificate,omitempty"`
	Session      string                  `json:"session,omitempty"`
	Address      string                  `json:"address,omitempty"`
	Trace        string                  `json:"trace,omitempty"`
}

type deferredLegJSON struct {
	ID     string           `json:"id"`
	Source catalog.SourceID `json:"source"`
	Until  int64            `json:"until,omitempty"` // waits for its answer until then; 0: has ended
	Millis int64            `json:"ms,omitempty"`
	Answer *endedJSON       `json:"answer,omitempty"`
}

type endedJSON struct {
	Code     Code                 `json:"code"`
	Records  []map[string]any     `json:"records,omitempty"`
	Name     string               `json:"name,omitempty"`
	DataTime *time.Time           `json:"data_time,omitempty"`
	Auth     catalog.Authenticity `json:"auth,omitempty"`
	Since    *time.Time           `json:"since,omitempty"`
}

const deferralVersion = 1

func (s *Service) sealDeferral(x *Exchange, pt *part) (string, error) {
	id, key, err := s.fleet.Today(s.now())
	if err != nil {
		return "", err
	}
	claims := pt.subject.claims
	claims.Expires = s.now().Add(catalog.MaxDeferred + 24*time.Hour).UnixMilli() // the deferral's own end counts
	subject, err := identity.MintSubject(key, id, claims)
	if err != nil {
		return "", err
	}
	d := deferralJSON{
		V: deferralVersion, Exchange: x.Number, Part: pt.id, Who: principalJSON(x.who), Item: x.plan.item.Code, Situation: x.plan.situation.Code,
		Case: x.Request.Case, Purpose: x.plan.purpose.Code, Release: pt.legs[0].terms.Release, ReplyKey: x.plan.reply.JWK(),
		Began: x.Began.UnixMilli(), Intent: x.intent.String(), Proof: pt.proof.Code,
		Fields: pt.fields, Manual: pt.manual, Order: pt.order.encode(), Subject: subject,
	}
	for _, l := range pt.legs {
		d.Legs = append(d.Legs, l.deferred())
	}
	plain, err := json.Marshal(d)
	if err != nil {
		return "", errors.New("defer: the part has no JSON form")
	}
	defer clear(plain)
	return s.fleet.Seal(s.now(), typeDeferral, plain)
}

func (l *leg) deferred() deferredLegJSON {
	w := deferredLegJSON{ID: l.id, Source: l.source.ID, Millis: l.millis}
	if !l.until.IsZero() {
		w.Until = l.until.UnixMilli()
		return w
	}
	a := l.answer
	w.Answer = &endedJSON{Code: a.code, Records: a.records, Name: a.name, Auth: a.auth, DataTime: given(a.dataTime), Since: given(a.since)}
	return w
}

func given(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// resume makes the exchange and its one part of a sealed deferral, as they were.
// What makes it fail does not pass with time, but for fleet keys that cannot be
// read now: those errors are not errLost.
func (s *Service) resume(d store.Deferral) (*Exchange, *part, error) {
	plain, err := s.openDeferral(d.Context)
	if err != nil {
		return nil, nil, err
	}
	x, pt, err := s.resumed(d, plain)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errLost, err)
	}
	return x, pt, nil
}

// errLost is returned for a deferral that cannot be gone on with under this catalogue.
var errLost = errors.New("deferral is lost")

// openDeferral looks again if the key is not known: another gateway may have
// made it a moment ago.
func (s *Service) openDeferral(sealed string) ([]byte, error) {
	if plain, err := s.fleet.Open(typeDeferral, sealed); err == nil {
		return plain, nil
	}
	if err := s.fleet.Look(); err != nil {
		return nil, fmt.Errorf("resume: %w", err)
	}
	plain, err := s.fleet.Open(typeDeferral, sealed)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errLost, err)
	}
	return plain, nil
}

func (s *Service) resumed(d store.Deferral, plain []byte) (*Exchange, *part, error) {
	defer clear(plain)
	w, err := decodeDeferral(plain)
	if err != nil {
		return nil, nil, err
	}
	if w.Exchange != d.ExchangeNo || w.Part != d.Part {
		return nil, nil, errors.New("resume: the deferral is another part's")
	}
	return s.rebuild(w, d.Expires)
}

var errDeferral = errors.New("resume: malformed deferral")

func decodeDeferral(plain []byte) (w deferralJSON, err error) {
	dec := json.NewDecoder(bytes.NewReader(plain))
	dec.DisallowUnknownFields()
	dec.UseNumber() // numbers of records stay as they are written
	if err := dec.Decode(&w); err != nil || w.V != deferralVersion || len(w.Legs) == 0 {
		return w, errDeferral
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return w, errDeferral
	}
	for _, l := range w.Legs {
		if (l.Until == 0) == (l.Answer == nil) {
			return w, errDeferral
		}
	}
	return w, nil
}

// rebuild holds what was asked to the catalogue as it is now: what has lost its
// grant meanwhile is denied.
func (s *Service) rebuild(w deferralJSON, expires time.Time) (*Exchange, *part, error) {
	claims, err := identity.OpenSubject(s.fleet.Symmetric, w.Subject, s.now())
	if err != nil {
		return nil, nil, fmt.Errorf("resume: %w", err)
	}
	reply, err := jose.ParseReplyKey(w.ReplyKey)
	if err != nil {
		return nil, nil, fmt.Errorf("resume: %w", err)
	}
	intent, err := audit.ParsePointer(w.Intent)
	if err != nil {
		return nil, nil, fmt.Errorf("resume: %w", err)
	}
	x := &Exchange{Number: w.Exchange, Request: Request{Item: w.Item, Situation: w.Situation, Case: w.Case, Purpose: w.Purpose}, Began: time.UnixMilli(w.Began),
		Expires: expires, who: Principal(w.Who), plan: &plan{reply: reply}, intent: intent, intentIndex: intent.Index, running: 1, changed: make(chan struct{})}
	if err := s.matter(x); err != nil {
		return nil, nil, err
	}
	proof, ok := s.release.Catalogue.Proof(w.Proof)
	if !ok {
		return nil, nil, fmt.Errorf("resume: no proof %s in the catalogue any more", w.Proof)
	}
	pt := &part{id: w.Part, proof: proof, subject: &subject{role: catalog.Role(claims.Role), claims: claims}, fields: w.Fields, manual: w.Manual}
	if pt.order, err = w.Order.decode(); err != nil {
		return nil, nil, err
	}
	x.plan.parts = []*part{pt}
	g, ok := s.release.Catalogue.GrantFor(x.who.Caller, w.Item, w.Proof)
	outside := func(f string) bool { return !slices.Contains(g.Fields, f) }
	pt.grant, pt.denied = g, !ok || !s.now().Before(g.NotAfter) || slices.ContainsFunc(w.Fields, outside)
	for _, l := range w.Legs {
		s.rebuildLeg(pt, l)
	}
	x.plan.bind(x.Number, x.Request, w.Release)
	return x, pt, nil
}

// matter looks the codes of an exchange up.
func (s *Service) matter(x *Exchange) error {
	c := s.release.Catalogue
	item, ok := c.Item(x.Request.Item)
	if !ok {
		return fmt.Errorf("resume: no item %s in the catalogue any more", x.Request.Item)
	}
	x.plan.item = item
	x.plan.situation, _ = item.Situation(x.Request.Situation)
	x.plan.purpose, _ = c.Purpose(x.Request.Purpose)
	x.plan.basis, _ = c.LegalBasis(item.LegalBasis)
	return nil
}

func (s *Service) rebuildLeg(pt *part, w deferredLegJSON) {
	src, ok := s.release.Catalogue.Source(w.Source)
	if !ok { // it has no connection any more, so that the leg ends as SOURCE_ERROR
		src = catalog.Source{ID: w.Source, Department: pt.proof.Owner}
	}
	l := &leg{id: w.ID, source: src, millis: w.Millis}
	if w.Until != 0 {
		l.until = time.UnixMilli(w.Until)
	} else {
		a := w.Answer
		l.ended = true
		l.answer = checked{code: a.Code, records: a.Records, name: a.Name, auth: a.Auth}
		if a.DataTime != nil {
			l.answer.dataTime = *a.DataTime
		}
		if a.Since != nil {
			l.answer.since = *a.Since
		}
	}
	pt.legs = append(pt.legs, l)
}
