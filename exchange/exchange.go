// Package exchange is the request's way: who asks, what they may ask, every
// department at once, each answer checked, rendered, sealed, recorded, released.
//
// [Service.Exchange] is the whole story in the order in which it happens; the
// other files are its steps. docs/REQUEST.md tells it with file names.
//
// Guarantees:
//   - One person per subject token, one matter per exchange; nothing here takes an ID number as a key.
//   - Nothing is asked before the intent of all legs is durable in the audit
//     log, and nothing is released before its own release record is.
//   - Every leg ends by its deadline in exactly one [Code]; a slow source delays only its own proof.
//   - A resident's values exist in memory only, and what outlives a response
//     is encrypted to the caller's reply key.
package exchange

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Exchange runs a request up to its fan-out and returns the exchange, whose
// results arrive as its parts end. The same idempotency key (not empty) with
// the same request returns the exchange that already runs. Errors are a
// *Refusal, or an internal error after which nothing has been released.
func (s *Service) Exchange(ctx context.Context, who Principal, req Request, key string) (*Exchange, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	if x, err := s.repeated(who, req, key); x != nil || err != nil {
		return x, err
	}
	if err := s.quota(who); err != nil {
		return nil, s.recordRefusal(ctx, who, req, err)
	}
	subjects, err := s.identify(who, req)
	if err != nil {
		return nil, s.recordRefusal(ctx, who, req, err)
	}
	plan, err := s.authorise(who, req, subjects)
	if err != nil {
		return nil, s.recordRefusal(ctx, who, req, err)
	}
	x, err := s.admit(ctx, who, req, key, plan)
	if err != nil {
		return nil, s.recordRefusal(ctx, who, req, err)
	}
	if err := s.recordIntent(ctx, x); err != nil { // first durable wait
		s.abandon(ctx, x)
		return nil, err
	}
	s.start(x)
	return x, nil
}

// start fans out: every part, and in it every leg, at once. The work outlives
// the request that began it; its owner is the service, whose Close waits.
func (s *Service) start(x *Exchange) {
	ctx, cancel := context.WithTimeout(s.base, s.longest(x)+settle)
	var parts sync.WaitGroup
	for _, pt := range x.plan.parts {
		parts.Go(func() { s.serve(ctx, x, pt, pt.legs) })
	}
	s.running.Go(func() {
		defer cancel()
		parts.Wait()
		s.close(ctx, x)
	})
}

// settle is what rendering, sealing and recording may take after the last leg.
const settle = 10 * time.Second

// longest is the longest deadline of any leg.
func (s *Service) longest(x *Exchange) time.Duration {
	var longest time.Duration
	for _, pt := range x.plan.parts {
		for _, l := range pt.legs {
			longest = max(longest, s.deadline(l.source))
		}
	}
	return longest
}

// serve takes one proof from its questions to its release.
func (s *Service) serve(ctx context.Context, x *Exchange, pt *part, legs []*leg) {
	began := s.now()
	s.gather(ctx, x, pt, legs)
	v := s.judge(pt)
	is, err := s.seal(ctx, x, pt, &v)
	if err != nil {
		s.log.Error("document could not be made", "exchange", x.Number, "part", pt.id, "err", err)
		v.code, v.records, is = SourceError, nil, nil
		v.wording.Department = "本平台"
	}
	receipt, err := s.recordRelease(ctx, x, pt, v, is, s.now().Sub(began)) // second durable wait
	if err != nil {
		s.log.Error("nothing released: no durable record", "exchange", x.Number, "part", pt.id, "err", err)
		x.withhold(pt)
		return
	}
	if err := s.hand(ctx, x, pt, v, is, receipt, s.now().Sub(began)); err != nil {
		s.log.Error("result could not be stored", "exchange", x.Number, "part", pt.id, "err", err)
		x.withhold(pt)
	}
}

// gather asks all of a part's legs at once and waits for each to end.
func (s *Service) gather(ctx context.Context, x *Exchange, pt *part, legs []*leg) {
	var asking sync.WaitGroup
	for _, l := range legs {
		asking.Go(func() {
			began := s.now()
			x.event(Event{Kind: "leg.asked", Part: pt.id, Leg: l.id})
			a := s.ask(ctx, x, pt, l)
			x.answered(l, a, s.now().Sub(began))
			if a.err != nil {
				s.log.Warn("leg failed", "exchange", x.Number, "leg", l.id, "source", l.source.ID,
					"code", a.code.Public(pt.proof.Sensitive), "err", a.err)
			}
			s.recordLeg(x, pt, l)
			x.event(Event{Kind: "leg.ended", Part: pt.id, Leg: l.id, Millis: l.millis})
		})
	}
	asking.Wait()
}

// seal issues the document of a found proof; for other codes there is none.
func (s *Service) seal(ctx context.Context, x *Exchange, pt *part, v *verdict) (*issued, error) {
	switch v.code {
	case Found:
		is, err := s.issue(ctx, x, pt, *v)
		if err != nil {
			return nil, err
		}
		v.wording.Issuer = is.issuer
		if len(is.glyphs) > 0 {
			v.code = GlyphMissing
			v.wording.Glyphs = codePoints(is.glyphs)
		}
		return is, nil
	case Pending, NotIssuable:
		n, err := newNumber("S", s.slot, s.now())
		if err != nil {
			return nil, err
		}
		v.wording.Receipt = n
	}
	return nil, nil
}

func codePoints(runes []rune) string {
	s := ""
	for i, r := range runes {
		if i > 0 {
			s += " "
		}
		s += fmt.Sprintf("U+%04X", r)
	}
	return s
}

// Retry asks again the one leg that failed, without spending the tokens again;
// the answers of the proof's other sources stay as they are.
func (s *Service) Retry(ctx context.Context, who Principal, number, legID string) (*Exchange, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	x, err := s.Find(who, number)
	if err != nil {
		return nil, err
	}
	pt, l, err := x.claimRetry(legID)
	if err != nil {
		return nil, s.recordRefusal(ctx, who, Request{Item: x.plan.item.Code, Case: x.Request.Case, Purpose: x.Request.Purpose}, err)
	}
	if err := s.recordRetry(ctx, x, l); err != nil {
		x.withhold(pt)
		return nil, err
	}
	work, cancel := context.WithTimeout(s.base, s.deadline(l.source)+settle)
	s.running.Go(func() {
		defer cancel()
		s.serve(work, x, pt, []*leg{l})
		s.close(work, x)
	})
	return x, nil
}

// close writes the exchange's own record once every part has ended.
func (s *Service) close(ctx context.Context, x *Exchange) {
	if !x.finish() {
		return
	}
	if err := s.recordClose(ctx, x); err != nil && !errors.Is(err, context.Canceled) {
		s.log.Error("exchange could not be closed in the log", "exchange", x.Number, "err", err)
	}
	x.event(Event{Kind: "exchange.ended"})
}
