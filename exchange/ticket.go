package exchange

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"yizheng/audit"
	"yizheng/catalog"
	"yizheng/exchange/store"
)

// A ticket is what the store keeps of an exchange so that every gateway can show
// it and hand its results over: who began it, what for, and which proofs. It
// names no person, and is sealed under the fleet's keys, as is the open part of
// each result.

type ticketJSON struct {
	V         int                   `json:"v"`
	Who       principalJSON         `json:"who"`
	Item      catalog.ItemCode      `json:"item"`
	Situation catalog.SituationCode `json:"situation"`
	Case      string                `json:"case"`
	Purpose   string                `json:"purpose"`
	Began     int64                 `json:"began"`            // ms since the epoch
	Intent    string                `json:"intent,omitempty"` // with orders: documents name it
	Parts     []ticketPartJSON      `json:"parts"`
}

type ticketPartJSON struct {
	Part   string            `json:"part"`
	Proof  catalog.ProofCode `json:"proof"`
	Role   catalog.Role      `json:"role"`
	Denied bool              `json:"denied,omitempty"`
	Order  *orderJSON        `json:"order,omitempty"`
}

type viewJSON struct {
	V        int           `json:"v"`
	Code     Code          `json:"code"`
	Sentence string        `json:"sentence"`
	Number   string        `json:"number,omitempty"`
	Manual   string        `json:"manual,omitempty"`
	Millis   int64         `json:"ms"`
	Legs     []legViewJSON `json:"legs,omitempty"`
}

type legViewJSON struct {
	ID     string `json:"id"`
	Code   Code   `json:"code"`
	Millis int64  `json:"ms"`
}

const ticketVersion = 1

func (s *Service) sealTicket(x *Exchange) (string, error) {
	t := ticketJSON{V: ticketVersion, Who: principalJSON{Caller: x.who.Caller, Operator: x.who.Operator}, Item: x.plan.item.Code,
		Situation: x.plan.situation.Code, Case: x.Request.Case, Purpose: x.plan.purpose.Code, Began: x.Began.UnixMilli()}
	if x.intent.Origin != "" {
		t.Intent = x.intent.String()
	}
	for _, pt := range x.plan.parts {
		t.Parts = append(t.Parts, ticketPartJSON{Part: pt.id, Proof: pt.proof.Code, Role: pt.subject.role, Denied: pt.denied, Order: pt.order.encode()})
	}
	return s.sealJSON(typeTicket, t)
}

// keepOrders lets another gateway go on with documents that fronts make: they
// name the record of the intent, which is known only now.
func (s *Service) keepOrders(ctx context.Context, x *Exchange) {
	if x.repeated || !slices.ContainsFunc(x.plan.parts, func(pt *part) bool { return pt.order != nil }) {
		return
	}
	ticket, err := s.sealTicket(x)
	if err == nil {
		err = s.store.SetTicket(ctx, x.Number, s.runner, ticket)
	}
	if err != nil { // then a repeat elsewhere is answered with a document that it has not ordered
		s.log.Warn("orders not kept", "exchange", x.Number, "err", err)
	}
}

func (s *Service) sealView(pt *part, r *result) (string, error) {
	v := viewJSON{V: ticketVersion, Code: r.code, Sentence: r.sentence, Number: r.number, Manual: r.manual, Millis: r.millis}
	for _, l := range pt.legs {
		v.Legs = append(v.Legs, legViewJSON{l.id, l.answer.code.Shown(), l.millis})
	}
	return s.sealJSON(typeView, v)
}

func (s *Service) sealJSON(typ string, value any) (string, error) {
	plain, err := json.Marshal(value)
	if err != nil {
		return "", errors.New("ticket: has no JSON form")
	}
	return s.fleet.Seal(s.now(), typ, plain)
}

func (s *Service) openJSON(typ, sealed string, into any) error {
	plain, err := s.fleet.Open(typ, sealed)
	if err != nil {
		return fmt.Errorf("ticket: %w", err)
	}
	if err := json.Unmarshal(plain, into); err != nil {
		return errors.New("ticket: malformed")
	}
	return nil
}

// restore makes an exchange of its ticket; nil if there is none. Whose it is,
// the caller looks at.
func (s *Service) restore(ctx context.Context, number string) (*Exchange, error) {
	kept, err := s.store.Ticket(ctx, number)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, s.storeRefusal(err)
	}
	var t ticketJSON
	if err := s.openJSON(typeTicket, kept.Sealed, &t); err != nil || t.V != ticketVersion {
		s.log.Warn("ticket cannot be opened", "exchange", number, "err", err) // its key is over
		return nil, nil
	}
	x := &Exchange{Number: number, Began: time.UnixMilli(t.Began), Expires: kept.Expires, who: Principal(t.Who), plan: &plan{}, found: true,
		Request: Request{Item: t.Item, Situation: t.Situation, Case: t.Case, Purpose: t.Purpose}, running: 1, changed: make(chan struct{})}
	if err := s.matter(x); err != nil {
		return nil, err
	}
	if t.Intent != "" {
		if x.intent, err = audit.ParsePointer(t.Intent); err != nil {
			return nil, fmt.Errorf("ticket: %w", err)
		}
		x.intentIndex = x.intent.Index
	}
	for _, p := range t.Parts {
		pt, err := s.restorePart(p)
		if err != nil {
			return nil, err
		}
		x.plan.parts = append(x.plan.parts, pt)
	}
	return x, s.update(x, kept)
}

func (s *Service) restorePart(p ticketPartJSON) (*part, error) {
	proof, ok := s.release.Catalogue.Proof(p.Proof)
	if !ok {
		return nil, fmt.Errorf("ticket: no proof %s in the catalogue any more", p.Proof)
	}
	pt := &part{id: p.Part, proof: proof, subject: &subject{role: p.Role}, denied: p.Denied, gone: true}
	var err error
	if pt.order, err = p.Order.decode(); err != nil {
		return nil, err
	}
	for i, id := range proof.Sources {
		src, ok := s.release.Catalogue.Source(id)
		if ok && !p.Denied {
			pt.legs = append(pt.legs, &leg{id: fmt.Sprintf("%s.%d", pt.id, i+1), source: src})
		}
	}
	return pt, nil
}

// Refresh takes in what other gateways have done for an exchange meanwhile.
func (s *Service) Refresh(ctx context.Context, x *Exchange) error {
	if !x.elsewhere() {
		return nil
	}
	kept, err := s.store.Ticket(ctx, x.Number)
	if errors.Is(err, store.ErrNotFound) { // deleted at another gateway, or over
		s.drop(x)
		return noSuchExchange()
	}
	if err != nil {
		return s.storeRefusal(err)
	}
	return s.update(x, kept)
}

// elsewhere reports whether something of the exchange may change at another gateway.
func (x *Exchange) elsewhere() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return !x.forgotten && (x.found && !x.ended || slices.ContainsFunc(x.plan.parts, (*part).waits))
}

// update brings an exchange to what the store says of it.
func (s *Service) update(x *Exchange, kept store.Ticket) error {
	for _, pt := range x.plan.parts {
		sealed, done := kept.Views[pt.id]
		if !done || x.settled(pt) {
			continue
		}
		var v viewJSON
		if err := s.openJSON(typeView, sealed, &v); err != nil {
			return err
		}
		var legs []*leg
		for _, l := range v.Legs {
			legs = append(legs, &leg{id: l.ID, answer: checked{code: l.Code}, millis: l.Millis})
		}
		x.arrived(pt.id, &result{code: v.Code, sentence: v.Sentence, number: v.Number, manual: v.Manual, millis: v.Millis}, legs)
	}
	if x.found {
		x.follow(kept, s.now().After(x.Began.Add(s.longest(x)+settle)))
	}
	return nil
}

func (x *Exchange) settled(pt *part) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return pt.result != nil && !pt.result.withheld
}

// follow notes what of a restored exchange waits, runs elsewhere, or, when it is
// over, has stopped without a result because its gateway has.
func (x *Exchange) follow(kept store.Ticket, over bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.Expires, x.running = kept.Expires, 0
	for _, pt := range x.plan.parts {
		until, deferred := kept.Deferred[pt.id]
		switch {
		case pt.result != nil:
		case deferred && pt.until.IsZero():
			pt.until = until
			for _, l := range pt.legs {
				if l.source.Deferred > 0 {
					l.until = until
				}
			}
			x.add(Event{Kind: "part.deferred", Part: pt.id})
		case deferred:
		case over:
			pt.result = &result{withheld: true, sentence: interruptedSentence}
			x.add(Event{Kind: "part.withheld", Part: pt.id})
		default:
			x.running = 1
		}
	}
	x.end()
}

const interruptedSentence = "受理网关中断，本项未放行任何结果；请用同一幂等键重发请求，或重新刷证。"

// repeat is a request that was admitted before, under this number. What has its
// result keeps it; what is missing is asked again by this gateway, under the
// same number and legs, so that to fronts it is the same use of the card read
// and they answer from memory. From now on the results of the former gateway,
// should it live, are not taken any more: the store sees to it.
func (s *Service) repeat(ctx context.Context, who Principal, x *Exchange, number string) (*Exchange, error) {
	former, err := s.restore(ctx, number)
	if err != nil {
		return nil, err
	}
	if former == nil || !s.owns(who, former) {
		return nil, refuse(ReasonGone, "Idempotency-Key", "原请求的结果已删除或过期，请重新刷证并换用新的幂等键",
			"the results of this request were deleted or have expired; read the card again and use a new key")
	}
	open := func(pt *part) bool { return pt.until.IsZero() && (pt.result == nil || pt.result.withheld) }
	if !slices.ContainsFunc(former.plan.parts, open) {
		s.put(former)
		return former, nil
	}
	switch err := s.store.TakeOver(ctx, number, s.runner); {
	case errors.Is(err, store.ErrNotFound):
		return nil, refuse(ReasonGone, "Idempotency-Key", "原请求已删除或过期，请重新刷证并换用新的幂等键",
			"the request was deleted or has expired; read the card again and use a new key")
	case err != nil:
		return nil, s.storeRefusal(err)
	}
	x.Number, x.repeated, x.Began, x.Expires = number, true, former.Began, former.Expires
	x.intent, x.intentIndex = former.intent, former.intentIndex
	for _, pt := range x.plan.parts {
		i := slices.IndexFunc(former.plan.parts, func(f *part) bool { return f.id == pt.id })
		switch {
		case i < 0:
		case !open(former.plan.parts[i]):
			pt.become(former.plan.parts[i])
		case former.intent.Origin != "":
			pt.order = former.plan.parts[i].order
		}
	}
	return x, nil
}

// become takes over where a part stands that need not be asked again.
func (pt *part) become(former *part) {
	pt.result, pt.until, pt.gone = former.result, former.until, true
	for _, l := range pt.legs {
		if f := former.leg(l.id); f != nil {
			l.answer.code, l.until, l.ended, l.millis = f.answer.code, f.until, f.ended, f.millis
		}
	}
}
