package exchange

import (
	"context"
	"errors"

	"yizheng/exchange/store"
)

// A deferral is noted before its questions are sent, so that no answer can come
// to nothing. A gateway that dies in between leaves questions that nobody has
// sent; after postGrace any gateway sends them. A question that had been sent is
// then sent twice: its front answers once more, which is recorded as REPEATED.

// postGrace is longer than sending may take, and short against the time that a
// card read counts as fresh at a front.
const postGrace = 4 * postTime

// postDue sends what another gateway has left behind.
func (s *Service) postDue(ctx context.Context) {
	left, err := s.store.Unposted(ctx, dueAtOnce)
	if err != nil && ctx.Err() == nil {
		s.log.Warn("unsent questions not looked up", "err", err)
	}
	for _, p := range left {
		if ctx.Err() != nil {
			return
		}
		if err := s.postAgain(ctx, p); err != nil {
			s.log.Error("deferred questions not sent", "exchange", p.ExchangeNo, "part", p.Part, "err", err)
		}
	}
}

// postAgain sends one part's questions. What goes wrong is tried again, here or
// elsewhere, after postGrace.
func (s *Service) postAgain(ctx context.Context, p store.PartRef) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), postTime)
	defer cancel()
	d, err := s.store.TakePost(ctx, p, s.now().Add(postGrace))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	key, err := s.fleet.Current(s.now())
	if err != nil {
		return err
	}
	x, pt, err := s.resume(d)
	if err != nil {
		return err
	}
	var waiting []*leg
	for _, l := range pt.legs {
		if !pt.denied && !l.until.IsZero() && s.now().Before(l.until) {
			waiting = append(waiting, l)
		}
	}
	if len(waiting) == 0 { // nothing to ask any more; the deadline ends the part
		return s.store.Posted(ctx, p)
	}
	if err := s.recordDeferral(ctx, x, pt, waiting, "DEFERRED_AGAIN"); err != nil {
		return err
	}
	if err := s.send(ctx, x, pt, waiting, key.Public()); err != nil {
		return err
	}
	return s.store.Posted(ctx, p)
}
