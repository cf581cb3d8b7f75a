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
//     A leg may be given more time than a caller waits; then any gateway finishes it.
//   - A resident's values exist in memory only, and what outlives a response
//     is encrypted to the caller's reply key.
package exchange

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"yizheng/exchange/store"
	"yizheng/seal"
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
	x, settle, err := s.once(ctx, who, req, key)
	if err != nil {
		return nil, s.recordRefusal(ctx, who, req, err)
	}
	if x != nil {
		return x, nil
	}
	defer func() { settle(x) }()
	if x, err = s.begin(ctx, who, req, key); err != nil {
		return nil, s.recordRefusal(ctx, who, req, err)
	}
	return x, nil
}

// begin is everything before the first answer.
func (s *Service) begin(ctx context.Context, who Principal, req Request, key string) (*Exchange, error) {
	if err := s.quota(who); err != nil {
		return nil, err
	}
	subjects, err := s.identify(who, req)
	if err != nil {
		return nil, err
	}
	plan, err := s.authorise(who, req, subjects)
	if err != nil {
		return nil, err
	}
	if err := s.pickUp(ctx, req, plan); err != nil {
		return nil, err
	}
	x, err := s.admit(ctx, who, req, key, plan)
	if err != nil {
		return nil, err
	}
	if x.found { // at another gateway, or before a restart: nothing is left to be asked
		return x, nil
	}
	if err := s.recordIntent(ctx, x); err != nil { // first durable wait
		s.abandon(ctx, x)
		return nil, err
	}
	started := false
	defer func() {
		if !started { // something panicked, which goes on
			s.recordWithheld(ctx, x, "")
		}
	}()
	s.keepOrders(ctx, x)
	s.start(x)
	started = true
	return x, nil
}

// start fans out: every part, and in it every leg, at once. The work outlives
// the request that began it; its owner is the service, whose Close waits.
func (s *Service) start(x *Exchange) {
	ctx, cancel := context.WithTimeout(s.base, s.longest(x)+settle)
	var parts sync.WaitGroup
	for _, pt := range x.plan.parts {
		if !pt.gone { // of a repeated exchange: it has its result, or waits for it
			parts.Go(func() { s.serve(ctx, x, pt, pt.legs) })
		}
	}
	s.work.Go(func() {
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

// serve takes one proof from its questions to its release, or leaves it to
// whoever gets the late answer.
func (s *Service) serve(ctx context.Context, x *Exchange, pt *part, legs []*leg) {
	began, asked := s.now(), time.Now()
	s.gather(ctx, x, pt, legs)
	if s.deferPart(ctx, x, pt) {
		return
	}
	if err := s.conclude(ctx, x, pt, legs, began, asked); err != nil {
		s.log.Error("nothing released", "exchange", x.Number, "part", pt.id, "err", err)
		x.withhold(pt)
		if errors.Is(err, store.ErrSuperseded) { // another gateway has the exchange now, and its results
			s.drop(x)
		}
	}
}

// conclude takes a proof whose legs have ended to its release. After an error
// nothing has been released.
func (s *Service) conclude(ctx context.Context, x *Exchange, pt *part, legs []*leg, began, asked time.Time) (err error) {
	defer func() { // as in check: nothing that trips over a result takes the process with it, or leaves the intent open
		if p := recover(); p != nil {
			err = fmt.Errorf("conclusion %w (%T)", errPanic, p)
			s.recordWithheld(ctx, x, pt.id)
		}
	}()
	answered := time.Since(asked)
	v := s.judge(pt)
	is, err := s.seal(ctx, x, pt, &v)
	if err != nil {
		s.warn(x, pt, "document could not be made", err)
		v = ours(v)
		v.wording.Unsealable = !pt.proof.Sensitive && errors.Is(err, seal.ErrSealNotValid)
		is, err = s.blank(pt) // nil unless the proof is sensitive
	}
	defer is.wipe()
	if err == nil && pt.proof.Sensitive && !pt.denied {
		Mask(ctx, asked, answered)
	}
	if err == nil && x.isForgotten() {
		err = errForgotten
	}
	switch {
	case err == nil:
		err = s.handOver(ctx, x, pt, legs, v, is, s.now().Sub(began))
	case pt.proof.Sensitive: // without a release record to come with
		s.recordLegs(x, pt, legs)
	}
	return err
}

// handOver hands one proof over, after its record is durable.
func (s *Service) handOver(ctx context.Context, x *Exchange, pt *part, legs []*leg, v verdict, is *issued, took time.Duration) error {
	receipts, err := s.recordRelease(ctx, x, pt, legs, v, is, took) // second durable wait
	if err != nil {
		return err
	}
	return s.hand(ctx, x, pt, v, is, receipts, took)
}

var errForgotten = errors.New("the caller has deleted the exchange")

// ours is the verdict when the answers are good and this side failed.
func ours(v verdict) verdict {
	return verdict{code: SourceError, leg: v.leg, name: v.name, wording: Wording{Department: "本平台"}}
}

// maskStep is the grid on which sensitive proofs are released. It costs each of
// them between one and two steps.
const maskStep = 100 * time.Millisecond

// maskedUntil is when a sensitive proof is released, counted from its first
// question: the sources' time is rounded up to a step, and making a document has
// a whole step, used or not. Otherwise the times of two records in the log would
// tell whether something was found, since looking, rendering and sealing take time.
func maskedUntil(answered, ready time.Duration) time.Duration {
	due := answered.Truncate(maskStep) + 2*maskStep
	for due < ready { // an overloaded machine
		due += maskStep
	}
	return due
}

// Mask waits until an answer about a sensitive proof, to a question that was asked
// then and took the source so long, may be released; see maskedUntil.
func Mask(ctx context.Context, asked time.Time, answered time.Duration) {
	t := time.NewTimer(maskedUntil(answered, time.Since(asked)) - time.Since(asked))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// warn logs what went wrong with a part. Of a sensitive proof it does not say
// whose, since the line would tell that something was found.
func (s *Service) warn(x *Exchange, pt *part, message string, err error) {
	if pt.proof.Sensitive {
		s.log.Error(message, "proof", pt.proof.Code, "err", err)
		return
	}
	s.log.Error(message, "exchange", x.Number, "part", pt.id, "err", err)
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
			if !s.defers(l) {
				s.endLeg(x, pt, l)
			}
		})
	}
	asking.Wait()
}

// endLeg notes that a leg has ended.
func (s *Service) endLeg(x *Exchange, pt *part, l *leg) {
	s.logLeg(x, pt, l)
	if !pt.proof.Sensitive { // when a leg ended, too, would tell; see recordRelease
		s.recordLegs(x, pt, []*leg{l})
	}
	x.event(Event{Kind: "leg.ended", Part: pt.id, Leg: l.id, Millis: l.millis})
}

// logLeg tells the operators of a failed leg. Of a sensitive proof they learn
// that its source does not work, never what was wrong with an answer.
func (s *Service) logLeg(x *Exchange, pt *part, l *leg) {
	a := l.answer
	switch {
	case a.err == nil:
	case !pt.proof.Sensitive:
		s.log.Warn("leg failed", "exchange", x.Number, "leg", l.id, "source", l.source.ID, "code", a.code, "err", a.err)
	case a.unanswered:
		s.log.Warn("source failed", "source", l.source.ID, "code", Answered, "err", kind(a.err))
	}
}

// seal issues the document of a found proof; for other codes there is none,
// but a sensitive proof gets a blank in its place.
func (s *Service) seal(ctx context.Context, x *Exchange, pt *part, v *verdict) (is *issued, err error) {
	defer caught(&err)
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
		if pt.manual == "" { // a retry of another leg does not change it
			if pt.manual, err = newNumber(manualPrefix, s.slot, s.now()); err != nil {
				return nil, err
			}
		}
		v.wording.Receipt = pt.manual
	}
	return s.blank(pt)
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
	x, err := s.Find(ctx, who, number)
	if err != nil {
		return nil, err
	}
	about := Request{Item: x.plan.item.Code}
	if err := s.quota(who); err != nil {
		return nil, s.recordRefusal(ctx, who, about, err)
	}
	r, err := x.claimRetry(legID, s.now())
	if err != nil {
		return nil, s.recordRefusal(ctx, who, about, err)
	}
	if err := s.recordRetry(ctx, x, r.part, r.leg); err != nil {
		x.undo(r)
		return nil, err
	}
	work, cancel := context.WithTimeout(s.base, s.deadline(r.leg.source)+settle)
	s.work.Go(func() {
		defer cancel()
		s.serve(work, x, r.part, []*leg{r.leg})
		s.close(work, x)
	})
	return x, nil
}

// close ends the exchange once every part has ended.
func (s *Service) close(ctx context.Context, x *Exchange) {
	if x.finish() {
		s.closed(ctx, x)
	}
}

// closed writes the record of an exchange that has ended.
func (s *Service) closed(ctx context.Context, x *Exchange) {
	if err := s.recordClose(ctx, x); err != nil {
		s.log.Error("exchange could not be closed in the log", "exchange", x.Number, "err", err)
	}
}
