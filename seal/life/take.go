package life

import (
	"bytes"
	"slices"
	"time"

	"yizheng/identity/staff"
	"yizheng/seal"
)

// take applies a step that allow lets pass. It is the other half of the state
// machine and does no I/O. digest is the step's own.
func (b *book) take(step Step, digest string, p staff.Person) error {
	old := b.seals[step.Seal]
	if err := allow(old, step, p); err != nil {
		return err
	}
	s := &Seal{ID: step.Seal}
	if old != nil {
		*s = *old
	}
	if err := b.change(s, step, digest, p); err != nil {
		return err
	}
	b.seals[step.Seal] = s
	return nil
}

// change is what each action does to a copy of the seal.
func (b *book) change(s *Seal, step Step, digest string, p staff.Person) error {
	into := func(state State) { s.State, s.Since = state, step.At }
	switch step.Action {
	case Apply, Import, Renew, Replace, Resume, Revoke, Destroy:
		c := &Change{Action: step.Action, Asked: digest, By: p.Name, At: step.At, Reason: step.Reason, Stage: Applied, Order: step.Order}
		if err := b.ask(s, step, c); err != nil {
			return err
		}
		s.Pending = c
		if s.Current == nil {
			into(Applied)
		}
	case Suspend:
		into(Suspended)
		b.event(s.Current, seal.Suspended, step.At, step.Reason)
	case Reject:
		s.Pending = nil
		if s.Current == nil {
			into(Declined)
		}
	case Approve:
		b.approve(s, step, p, into)
	case Make:
		c := *s.Pending
		e, err := made(step, c)
		if err != nil {
			return err
		}
		c.Edition, c.Stage, c.MadeBy = e, Made, p.Name
		b.madeBy(e)
		s.Pending = &c
		if s.Current == nil {
			into(Made)
		}
	case Issue:
		e := *s.Pending.Edition
		e.Issued = step.At
		if s.Pending.Action == Replace && s.State != Revoked { // the old one must not be used any more
			b.event(s.Current, seal.Revoked, step.At, s.Pending.Reason)
		}
		if s.Pending.Action != Renew {
			into(Issued)
		}
		s.Current, s.Pending = &e, nil
	}
	return nil
}

// ask checks what a request brings with it.
func (b *book) ask(s *Seal, step Step, c *Change) error {
	refuse := func(zh, en string) error {
		return &Refusal{Seal: step.Seal, Action: string(step.Action), Chinese: zh, English: en}
	}
	switch step.Action {
	case Apply, Renew, Replace:
		o := step.Order
		if o == nil || o.ESID == "" || o.Name == "" || len(o.Picture) == 0 {
			return refuse("申请须写明印章标识、名称、印模和签章证书", "an application names identifier, name, picture and holder's certificate")
		}
		if err := seal.CheckHolderCert(o.Holder, seal.Validity{From: o.From, Until: o.Until}, nil); err != nil {
			return err
		}
		same := s.Current != nil && o.ESID == s.Current.ESID
		switch {
		case step.Action == Renew && (!same || o.Name != s.Current.Name):
			return refuse("续期不得更改印章标识和名称；要更改请用更换", "a renewal keeps identifier and name; use replace to change them")
		case step.Action != Renew && b.esids[o.ESID]:
			return refuse("印章标识已经用过，请换一个", "the identifier was used before; take another")
		}
	case Import:
		e, err := edition(step.ESeal, step.Holder)
		if err != nil {
			return err
		}
		if b.esids[e.ESID] {
			return refuse("印章标识已在登记簿中", "the identifier is in the register already")
		}
		c.Edition = e
	}
	return nil
}

// edition reads a seal and its certificate.
func edition(eseal, holder []byte) (*Edition, error) {
	f, err := seal.Inspect(eseal, holder, nil)
	if err != nil {
		return nil, err
	}
	return &Edition{ESID: f.ESID, Name: f.Name, Kid: f.HolderKid, Maker: f.MakerKid, ESeal: eseal, Holder: holder}, nil
}

// approve lets a request take effect, or go to the maker.
func (b *book) approve(s *Seal, step Step, p staff.Person, into func(State)) {
	c := *s.Pending
	c.ApprovedBy = p.Name
	switch c.Action {
	case Resume:
		into(Issued)
		b.event(s.Current, seal.Issued, step.At, c.Reason)
	case Revoke:
		into(Revoked)
		b.event(s.Current, seal.Revoked, step.At, c.Reason)
	case Destroy:
		into(Destroyed)
	case Import:
		c.Stage, c.MadeBy = Made, p.Name
		b.esids[c.Edition.ESID] = true
		b.madeBy(c.Edition)
	default:
		c.Stage = Approved
		b.esids[c.Order.ESID] = true
	}
	if c.Stage == Applied {
		s.Pending = nil
		return
	}
	s.Pending = &c
	if s.Current == nil {
		into(c.Stage)
	}
}

// made checks that the maker made what was ordered, and nothing else.
func made(step Step, c Change) (*Edition, error) {
	f, err := seal.Inspect(step.ESeal, c.Order.Holder, nil)
	if err != nil {
		return nil, err
	}
	o := c.Order
	if f.ESID != o.ESID || f.Name != o.Name || !f.Validity.From.Equal(o.From) || !f.Validity.Until.Equal(o.Until) ||
		!bytes.Equal(f.Picture.Data, o.Picture) || f.Picture.Width != o.WidthMM || f.Picture.Height != o.HeightMM {
		return nil, &Refusal{Seal: step.Seal, Action: string(step.Action), Chinese: "制作的印章与批准的申请不一致", English: "the seal made is not the one approved"}
	}
	return edition(step.ESeal, c.Order.Holder)
}

// event notes a change for the status lists of all who made an edition of the seal.
func (b *book) event(e *Edition, state seal.State, at time.Time, why Reason) {
	b.events = append(b.events, seal.Event{ESID: e.ESID, State: state, At: at, Reason: why})
}

// madeBy notes whose status list tells of an edition, from the moment it exists: the
// holder could seal with it before it is issued here.
func (b *book) madeBy(e *Edition) {
	if kids := b.makers[e.ESID]; !slices.Contains(kids, e.Maker) {
		b.makers[e.ESID] = append(slices.Clip(kids), e.Maker)
	}
}

// read takes one line at its place in the journal.
func (b *book) read(line string, persons *staff.Register) (Step, staff.Person, error) {
	step, p, err := Read(line, persons)
	if err != nil {
		return step, p, err
	}
	if step.Number != uint64(len(b.heads))+1 || step.Prev != b.head() {
		return step, p, ErrMoved
	}
	if !b.last.IsZero() && step.At.Before(b.last) {
		return step, p, ErrTime
	}
	digest := Digest(line)
	if err := b.take(step, digest, p); err != nil {
		return step, p, err
	}
	b.heads, b.last = append(b.heads, digest), step.At
	return step, p, nil
}
