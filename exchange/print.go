package exchange

import (
	"context"
	"slices"

	"yizheng/audit"
	"yizheng/exchange/store"
)

// What leaves on paper is out of anybody's hands, so a window or kiosk records a
// print before it prints. This gateway holds the results as ciphertext only and
// cannot see a printer: it is the client's word that the log keeps. A print
// counts as another one if this gateway recorded one of the same result, or if
// the client says so by giving a reason; a client that prints at two gateways
// and says nothing leaves two first prints in the log, which shows all of them.

// reprintReasons is why a result may be printed again.
var reprintReasons = []string{"PAPER_JAM", "DAMAGED", "RESIDENT_ASKS", "OTHER"}

// Print is a recorded print.
type Print struct {
	Op     audit.Op `json:"op"`     // doc.print, or doc.reprint
	Record string   `json:"record"` // pointer to its entry in the audit log
}

// Print records that who is about to print the result of a part, the document or
// the slip with its sentence, and returns once that is durable. reason is one of
// reprintReasons and is only given, and then must be, if it was printed before.
func (s *Service) Print(ctx context.Context, who Principal, x *Exchange, partID, reason string) (Print, error) {
	if err := knownReason(reason); err != nil {
		return Print{}, s.recordRefusal(ctx, who, x.Request, err)
	}
	pt, result, again, err := x.claimPrint(partID, reason)
	if err != nil {
		return Print{}, s.recordRefusal(ctx, who, x.Request, err)
	}
	e := s.printed(who, x, pt, reason)
	receipts, err := s.append(ctx, e)
	if err != nil {
		if !again {
			x.unprint(result)
		}
		return Print{}, err
	}
	return Print{Op: e.Open.Op, Record: receipts[0].Pointer().String()}, nil
}

// knownReason refuses a reason that is none of reprintReasons.
func knownReason(reason string) error {
	if reason == "" || slices.Contains(reprintReasons, reason) {
		return nil
	}
	return refuse(ReasonInvalid, "reason", "没有这个重打原因；可用：PAPER_JAM 卡纸、DAMAGED 污损、RESIDENT_ASKS 群众要求、OTHER 其他",
		"no such reason; use PAPER_JAM, DAMAGED, RESIDENT_ASKS or OTHER")
}

// printed is the record. Of a sensitive proof only its closed half says what was
// printed: the open one would tell that there was something to print.
func (s *Service) printed(who Principal, x *Exchange, pt *part, reason string) audit.Entry {
	op := audit.OpDocPrint
	if reason != "" {
		op = audit.OpDocReprint
	}
	e := s.entry(op, audit.PhaseDone, who)
	e.Closed.Reason = reason
	if pt.proof.Sensitive {
		e.Closed.Object = x.Number + "/" + pt.id
		return e
	}
	e = x.about(e)
	e.Open.Leg, e.Open.Proof, e.Open.Provider = pt.id, string(pt.proof.Code), string(pt.proof.Owner)
	return e
}

// claimPrint finds a released part, notes that its result is printed, and
// reports whether it was before.
func (x *Exchange) claimPrint(partID, reason string) (*part, *result, bool, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	i := slices.IndexFunc(x.plan.parts, func(pt *part) bool { return pt.id == partID })
	if i < 0 || x.plan.parts[i].result == nil || x.plan.parts[i].result.withheld {
		return nil, nil, false, store.ErrNotFound
	}
	r := x.plan.parts[i].result
	if r.printed && reason == "" {
		return nil, nil, false, refuse(ReasonReprint, "reason", "这份结果已打印过；再次打印请注明原因：PAPER_JAM 卡纸、DAMAGED 污损、RESIDENT_ASKS 群众要求、OTHER 其他",
			"this result has been printed; to print it again give a reason: PAPER_JAM, DAMAGED, RESIDENT_ASKS or OTHER")
	}
	again := r.printed
	r.printed = true
	return x.plan.parts[i], r, again, nil
}

// unprint takes a claim back whose record failed: nothing may be printed.
func (x *Exchange) unprint(r *result) {
	x.mu.Lock()
	defer x.mu.Unlock()
	r.printed = false
}
