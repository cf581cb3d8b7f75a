package exchange

import (
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"yizheng/catalog"
	"yizheng/exchange/certificate"
	"yizheng/seal"
)

// A seal may be hosted: its key stays in the department, whose front makes and
// seals the documents of its own answers. The gateway orders such a document
// with the question and believes nothing of what comes back: it is examined
// before the leg counts as answered. docs/protocol/front.md has both messages.

// hosted is a document that came with an answer and has been examined.
type hosted struct {
	file   []byte
	at     time.Time // of issue
	use    seal.Use
	glyphs []rune // not empty: no file, these characters are missing
}

const (
	maxGlyphs = 64              // more are no answer
	clockSkew = 5 * time.Minute // between a front's clock and ours
)

// order numbers the documents that a front may make. The number stays the same
// when a leg is retried: a front that has answered repeats its answer.
func (s *Service) order(p *plan) (err error) {
	for _, pt := range p.parts {
		if !pt.mayIssue() || s.release.Catalogue.HostedAt(pt.proof) == "" {
			continue
		}
		pt.order = &Order{}
		if _, err := rand.Read(pt.order.Secret[:]); err != nil {
			return fmt.Errorf("order: %w", err)
		}
		if pt.order.Number, err = newNumber(s.release.Catalogue.City.Code, s.slot, s.now()); err != nil {
			return err
		}
	}
	return nil
}

// ordered is the part's order as it goes out with a question, after the intent
// is recorded.
func (pt *part) ordered(x *Exchange) *Order {
	if pt.order == nil {
		return nil
	}
	o := *pt.order
	o.Receipt = x.intent.String()
	return &o
}

// examine holds the document that came with an answer to that answer, the
// order and the catalogue. An answer that should have one and has none, has one
// that nobody ordered, or has a wrong one, is an error of the source.
func (s *Service) examine(x *Exchange, pt *part, l *leg, c checked, d *Document) (result checked) {
	defer func() { // as in check: what trips over a document must not take the process with it
		if p := recover(); p != nil {
			result = c.refused(SourceError, fmt.Errorf("examination of the document %w (%T)", errPanic, p))
		}
	}()
	var want catalog.Seal
	if c.code == Found && pt.order != nil {
		want, _ = s.release.Catalogue.Seal(pt.proof.Issuer.For(c.records))
	}
	switch {
	case want.Front == "" && d == nil:
		return c
	case want.Front == "" && c.code == Found:
		return c.refused(SourceError, errors.New("a document that was not ordered"))
	case want.Front == "": // whatever was wrong with the answer is worse
		return c
	case d == nil:
		return c.refused(SourceError, errors.New("no document, though the front holds the seal"))
	}
	if err := s.hosted(x, pt, l, &c, d, want); err != nil {
		if errors.Is(err, certificate.ErrPerson) {
			return c.refused(Mismatch, err)
		}
		return c.refused(SourceError, err)
	}
	return c
}

// refused is the answer as it counts when it is not taken.
func (c checked) refused(code Code, err error) checked {
	return checked{code: code, dataTime: c.dataTime, auth: c.auth, err: err}
}

func (s *Service) hosted(x *Exchange, pt *part, l *leg, c *checked, d *Document, want catalog.Seal) error {
	if len(d.Missing) > 0 {
		if len(d.File) > 0 || len(d.Missing) > maxGlyphs {
			return errors.New("characters are missing, but there is a document")
		}
		c.document = &hosted{at: s.now(), glyphs: d.Missing}
		return nil
	}
	if at := d.IssuedAt; at.Before(x.Began.Add(-clockSkew)) || at.After(s.now().Add(clockSkew)) {
		return errors.New("document issued at an impossible time")
	}
	c.document = &hosted{at: d.IssuedAt, file: d.File}
	alone, only := *pt, *l // what the document has to say is what this answer amounts to by itself
	only.answer, alone.legs = *c, []*leg{&only}
	v := s.judge(&alone)
	is, err := s.begun(pt, v)
	if err != nil {
		return err
	}
	is.issuer = s.department(want.Department).Name
	// Not within the leg's deadline: the answer was there in time.
	c.document.use, err = s.examiner.Examine(s.base, d.File, s.certificate(x, pt, v, is, d.IssuedAt), want, s.release.Catalogue.FrontKey(want.Front), s.now())
	return err
}
