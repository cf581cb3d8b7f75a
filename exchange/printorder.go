package exchange

import (
	"context"
	"errors"
	"slices"

	"yizheng/audit"
	"yizheng/exchange/store"
)

// Bound is a print order that is ready to leave.
type Bound struct {
	File    []byte
	Numbers []string // of the documents inside
}

// PrintOrder has bind put the documents of an exchange, which who has shown again, into
// one file, and returns it once the log says so: the intent is durable before a document
// is looked at, and the outcome, with a print of each document as Print records it (of
// sensitive ones see printOrder), before the file leaves. reason is as for Print, and stands for all of them. A refusal
// of bind's is the outcome.
func (s *Service) PrintOrder(ctx context.Context, who Principal, x *Exchange, reason string, bind func(View) (Bound, error)) ([]byte, error) {
	if err := knownReason(reason); err != nil {
		return nil, s.recordRefusal(ctx, who, x.Request, err)
	}
	v := s.View(x)
	if err := s.RecordView(ctx, who, x, v); err != nil { // the cover tells what came of every proof
		return nil, err
	}
	op := audit.OpDocPrint
	if reason != "" {
		op = audit.OpDocReprint
	}
	e := x.about(s.entry(op, audit.PhaseIntent, who))
	e.Closed.Object, e.Closed.Reason = printOrder, reason
	receipts, err := s.append(ctx, e)
	if err != nil {
		return nil, err
	}
	if p := receipts[0].Pointer(); p.Origin == s.audit.Latest().Origin() {
		e.Open.Prev = &p.Index
	}
	ended := false
	defer func() {
		if !ended { // something panicked, which goes on
			_ = s.orderFailed(ctx, e, errPanic)
		}
	}()
	file, err := s.boundAndClaimed(ctx, who, x, e, v, bind)
	ended = true
	if err != nil {
		return nil, s.orderFailed(ctx, e, err)
	}
	return file, nil
}

// printOrder is the object of a print order's own entries. In the outcome's the
// sensitive proofs that were bound follow it, as Print names them.
const printOrder = "print-order"

// boundAndClaimed binds, claims the prints and records the outcome. e is the intent.
func (s *Service) boundAndClaimed(ctx context.Context, who Principal, x *Exchange, e audit.Entry, v View, bind func(View) (Bound, error)) (file []byte, err error) {
	b, err := bind(v)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			clear(b.File)
		}
	}()
	reason := e.Closed.Reason
	e.Open.Phase = audit.PhaseDone
	var prints []audit.Entry
	var first []*result
	back := func() {
		for _, r := range first {
			x.unprint(r)
		}
	}
	for _, number := range b.Numbers {
		pt, r, again, err := x.claimPrint(x.partOf(number), reason)
		if err != nil {
			back()
			return nil, err
		}
		if !again {
			first = append(first, r)
		}
		if pt.proof.Sensitive { // an entry beside the others would tell of it, whatever it says
			e.Closed.Object += " " + x.Number + "/" + pt.id
			continue
		}
		prints = append(prints, s.printed(who, x, pt, reason))
	}
	if _, err := s.append(ctx, append([]audit.Entry{e}, prints...)...); err != nil {
		back()
		return nil, err
	}
	return b.File, nil
}

// partOf is the part whose released document has a number, "" for none.
func (x *Exchange) partOf(number string) string {
	x.mu.Lock()
	defer x.mu.Unlock()
	i := slices.IndexFunc(x.plan.parts, func(pt *part) bool { return pt.result != nil && pt.result.number == number })
	if i < 0 {
		return ""
	}
	return x.plan.parts[i].id
}

// orderFailed records why there is no print order, and passes it on.
func (s *Service) orderFailed(ctx context.Context, e audit.Entry, cause error) error {
	var r *Refusal
	e.Open.Phase, e.Open.Outcome = audit.PhaseFailed, "INTERNAL"
	switch {
	case errors.As(cause, &r):
		e.Open.Outcome = string(r.Reason)
	case errors.Is(cause, store.ErrNotFound):
		e.Open.Outcome = string(ReasonNotFound)
	case errors.Is(cause, errPanic):
		e.Open.Outcome = "ABANDONED"
	}
	if _, err := s.append(ctx, e); err != nil {
		return errors.Join(err, cause)
	}
	return cause
}
