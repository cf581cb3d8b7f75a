package exchange

import (
	"context"
	"encoding/hex"
	"errors"
	"time"

	"github.com/emmansun/gmsm/sm3"

	"yizheng/audit"
	"yizheng/exchange/store"
)

// A resident whose proof needs a check by hand leaves with a 受理号. With it and
// a new card read the proof is asked for again, at any window: the department
// answers anew, nothing of the first answer was kept. The store only has keyed
// digests of the number and of whom and what it was given for.

// manualKept is how long a 受理号 can be used.
const manualKept = 30 * 24 * time.Hour

// pickup is a 受理号 that has been accepted.
type pickup struct {
	number  string
	earlier string // exchange in which it was given
	silent  bool   // the log must not tell
}

// pickUp holds a 受理号 to person, item and proof. Whatever is wrong with it,
// the refusal is the same: it must not tell whether somebody has one.
func (s *Service) pickUp(ctx context.Context, req Request, p *plan) error {
	if req.Pickup == "" {
		return nil
	}
	if len(p.parts) != 1 {
		return refuse(ReasonInvalid, "proofs", "凭受理号取件一次只办一项证明，请在 proofs 中只列该项", "a pick-up is for one proof: name it alone in proofs")
	}
	pt := p.parts[0]
	earlier, err := s.store.HeldBy(ctx, req.Pickup, holder(pt, req))
	if errors.Is(err, store.ErrNotFound) {
		return refuse(ReasonPickup, "pickup", "受理号与本人、事项或证明不符，或已过期；请核对受理号，或不带受理号重新办理",
			"the manual number does not belong to this person, item and proof, or has expired; check it, or ask without it")
	}
	if err != nil {
		return s.storeRefusal(err)
	}
	p.pickup = pickup{number: req.Pickup, earlier: earlier, silent: pt.proof.Sensitive}
	pt.manual = req.Pickup // still pending: the number stays
	return nil
}

// record notes in a record's closed half that a number was used, and in which
// exchange it was given. The number itself is random and stays out of the log.
// Of a sensitive proof nothing is noted: that a number was given in an earlier
// exchange would tell its outcome.
func (p pickup) record(e *audit.Entry) {
	if p.number != "" && !p.silent {
		e.Closed.Reason, e.Closed.Object = "PICKUP", p.earlier
		e.Closed.Digests = map[string]string{"manual": manualDigest(p.number)}
	}
}

// holder digests whom a number is given and for what.
func holder(pt *part, req Request) string {
	p := pt.subject.claims.Person
	h := sm3.New()
	h.Write([]byte("yizheng-holder-v1\n"))
	put(h, []byte(p.Type))
	put(h, []byte(p.Number.Reveal()))
	put(h, []byte(req.Item))
	put(h, []byte(pt.proof.Code))
	return hex.EncodeToString(h.Sum(nil))
}

// manual is what the store keeps of a part's 受理号. A sensitive proof leaves the
// same row whatever it found, with a number that nobody has been given.
func (s *Service) manual(x *Exchange, pt *part, number string) (m store.Manual, err error) {
	if number == "" && !pt.proof.Sensitive {
		return m, nil
	}
	if number == "" {
		if number, err = newNumber(manualPrefix, s.slot, s.now()); err != nil {
			return m, err
		}
	}
	return store.Manual{Number: number, Holder: holder(pt, x.Request), Expires: s.now().Add(manualKept)}, nil
}
