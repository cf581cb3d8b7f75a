package exchange

import (
	"context"
	"errors"
	"time"

	"yizheng/audit"
	"yizheng/exchange/store"
)

// Returned takes the answer to a deferred question, which any gateway may have
// asked. Nil means that the message is done with: what was in it is kept, or
// was no answer, or came late or twice, which is recorded. An error means that
// it must come again.
//
// An answer is believed after the same checks as a live one. It is kept, sealed
// as it came, until its part is finished; which gateway does that, once, the
// store decides.
func (s *Service) Returned(ctx context.Context, r Returned) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	part := partOf(r.Leg)
	d, err := s.store.Deferral(ctx, r.Exchange, part)
	if errors.Is(err, store.ErrNotFound) { // finished, deleted, or never asked
		return s.recordStray(r, "UNEXPECTED")
	}
	if err != nil {
		return err
	}
	x, pt, err := s.resume(d)
	if errors.Is(err, errLost) { // the next answers must not wait behind this one
		s.log.Error("deferred part cannot be gone on with", "exchange", d.ExchangeNo, "part", d.Part, "err", err)
		return s.recordStray(r, "LOST")
	}
	if err != nil {
		return err
	}
	l := pt.leg(r.Leg)
	if l == nil || l.until.IsZero() {
		return s.recordStray(r, "UNEXPECTED")
	}
	if !s.now().Before(l.until) {
		return s.recordStray(r, "LATE")
	}
	if _, err := s.open(x, pt, l, r); errors.Is(err, ErrNotAnswer) {
		return s.recordStray(r, "NOT_ANSWER")
	}
	switch err := s.store.PutAnswer(ctx, r.Exchange, part, r.Leg, r.Sealed); {
	case errors.Is(err, store.ErrReplay), errors.Is(err, store.ErrNotFound):
		return s.recordStray(r, "REPEATED")
	case err != nil:
		return err
	}
	s.finish(ctx, store.PartRef{ExchangeNo: r.Exchange, Part: part})
	return nil
}

// partOf is the part a leg's id names: all before its last dot.
func partOf(leg string) string {
	for i := len(leg) - 1; i >= 0; i-- {
		if leg[i] == '.' {
			return leg[:i]
		}
	}
	return leg
}

func (pt *part) leg(id string) *leg {
	for _, l := range pt.legs {
		if l.id == id {
			return l
		}
	}
	return nil
}

func (s *Service) open(x *Exchange, pt *part, l *leg, r Returned) (Answer, error) {
	source, ok := s.sources[Line(l.source)].(Deferrer)
	if !ok {
		return Answer{}, errors.New("no connection named " + Line(l.source))
	}
	return source.Returned(s.question(x, pt, l), s.fleet.Find, r)
}

// recordStray notes an answer that is not used, and why. Its headers name an
// exchange, but nobody has vouched for them.
func (s *Service) recordStray(r Returned, why string) error {
	s.log.Warn("deferred answer is not used", "exchange", clip(r.Exchange), "leg", clip(r.Leg), "reason", why)
	return s.audit.AppendAsync(audit.Entry{
		Open:   audit.Open{Op: audit.OpDeny, Phase: audit.PhaseDenied, Outcome: "ANSWER_REFUSED", Exchange: clip(r.Exchange), Leg: clip(r.Leg)},
		Closed: audit.Closed{Node: s.slot, Reason: why},
	})
}

const (
	leaseTime   = 60 * time.Second // longer than finishing may take
	dueEvery    = time.Second
	dueAtOnce   = 16
	finishLimit = 30 * time.Second
)

// finishDue finishes what nobody else has: parts whose deadline has passed, and
// those whose gateway died with all answers at hand.
func (s *Service) finishDue(ctx context.Context) {
	due, err := s.store.Due(ctx, dueAtOnce)
	if err != nil && ctx.Err() == nil {
		s.log.Warn("deferred parts not looked up", "err", err)
	}
	for _, p := range due {
		if ctx.Err() == nil {
			s.finish(ctx, p)
		}
	}
}

// finish ends a deferred part, if all its legs have ended and this gateway gets
// it. What goes wrong is tried again, here or elsewhere, when the lease is over.
func (s *Service) finish(ctx context.Context, p store.PartRef) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishLimit)
	defer cancel()
	d, answers, err := s.store.Lease(ctx, p, s.runner, s.now().Add(leaseTime))
	if errors.Is(err, store.ErrNotFound) {
		return
	}
	began, asked := s.now(), time.Now()
	var x *Exchange
	var pt *part
	if err == nil {
		x, pt, err = s.resume(d)
	}
	if err != nil {
		s.log.Error("deferred part not finished", "exchange", p.ExchangeNo, "part", p.Part, "err", err)
		if errors.Is(err, errLost) && !s.now().Before(d.Deadline) {
			s.giveUp(ctx, d)
		}
		return
	}
	x.holder = s.runner
	ended := s.collect(x, pt, answers)
	if err := s.conclude(ctx, x, pt, ended, began, asked); err != nil {
		s.log.Error("deferred part not finished", "exchange", x.Number, "part", pt.id, "err", err)
		return
	}
	s.told(ctx, x, pt)
}

// giveUp ends, with its record, a part whose deadline is over and of which too
// little is known to make a result: it is withheld.
func (s *Service) giveUp(ctx context.Context, d store.Deferral) {
	_, err := s.append(ctx, audit.Entry{
		Open:   audit.Open{Op: audit.OpRelease, Phase: audit.PhaseFailed, Outcome: "WITHHELD", Exchange: d.ExchangeNo, Leg: d.Part},
		Closed: audit.Closed{Node: s.slot, Reason: "LOST"},
	})
	if err == nil {
		err = s.store.Undefer(ctx, d.ExchangeNo, d.Part)
	}
	if err != nil {
		s.log.Error("deferred part not given up", "exchange", d.ExchangeNo, "part", d.Part, "err", err)
	}
}

// collect ends the legs that waited: each with its answer, or with none.
func (s *Service) collect(x *Exchange, pt *part, answers map[string][]byte) []*leg {
	var ended []*leg
	for _, l := range pt.legs {
		if l.until.IsZero() {
			continue
		}
		l.until = time.Time{}
		ended = append(ended, l)
		x.answered(l, s.returned(x, pt, l, answers[l.id]), s.now().Sub(x.Began))
		s.endLeg(x, pt, l)
	}
	return ended
}

func (s *Service) returned(x *Exchange, pt *part, l *leg, sealed []byte) checked {
	if sealed == nil {
		return s.failed(l, context.DeadlineExceeded)
	}
	a, err := s.open(x, pt, l, Returned{Exchange: x.Number, Leg: l.id, Sealed: sealed})
	if err != nil {
		return s.failed(l, discreet(err, pt.subject.claims.Person))
	}
	return s.examine(x, pt, l, s.check(pt, l, a), a.Document)
}

// told lets the exchange know, if it lives in this process, and closes it when
// this was its last part.
func (s *Service) told(ctx context.Context, x *Exchange, pt *part) {
	s.mu.Lock()
	here := s.exchanges[x.Number]
	s.mu.Unlock()
	switch {
	case here != nil && here.arrived(pt.id, pt.result, pt.legs) && !here.found:
		s.closed(ctx, here)
	case (here == nil || here.found) && x.left == 0:
		s.closed(ctx, x)
	}
}
