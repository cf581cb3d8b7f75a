package exchange

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"yizheng/catalog"
	"yizheng/catalog/beijing"
	"yizheng/exchange/certificate"
	"yizheng/seal"
	"yizheng/seal/pdf"
)

// issued is one sealed document on its way out. The bytes are wiped after release.
type issued struct {
	number string
	issuer string
	secret Secret
	file   []byte
	until  time.Time
	use    seal.Use
	root   []byte // FieldsRoot of what was handed over
	glyphs []rune // not empty: no document, these characters are missing
	blank  bool   // stands in the place of a sensitive proof's document
}

// wipe clears what can be cleared. The secret and the file are out by now, encrypted.
func (is *issued) wipe() {
	if is != nil {
		clear(is.file)
		clear(is.secret[:])
	}
}

// blank is what a sensitive proof without a document gets in the log: a random
// commitment and, where a document could have been, a number that none bears.
// It is nil for other proofs.
func (s *Service) blank(pt *part) (*issued, error) {
	if !pt.proof.Sensitive {
		return nil, nil
	}
	is := &issued{blank: true}
	if _, err := rand.Read(is.secret[:]); err != nil {
		return nil, fmt.Errorf("blank: %w", err)
	}
	is.root = mac(is.secret.Seed(), []byte("yizheng-nothing-v1"))
	is.until = pt.proof.Validity.Until(s.now().In(beijing.Zone()))
	var err error
	is.number, err = newNumber(s.release.Catalogue.City.Code, s.slot, s.now())
	return is, err
}

// issue makes the document of a found proof, sealed with its issuer's seal, or
// takes the one that the front which holds the seal has made. A character
// without a glyph is not an error: the data may go, the document may not.
func (s *Service) issue(ctx context.Context, x *Exchange, pt *part, v verdict) (*issued, error) {
	is, err := s.begun(pt, v)
	if err != nil {
		return nil, err
	}
	sl, issuer, err := s.issuer(pt.proof, v)
	if err != nil {
		return nil, err
	}
	is.issuer = issuer.Name
	switch {
	case pt.grant.Output == catalog.OutputData:
		return is, nil
	case sl.Front != "":
		// The front may not know yet what the register of seals says; one that is not in it has what trust says.
		if err := s.press.Seals.CheckHosted(ctx, string(sl.ID), s.now()); err != nil && !errors.Is(err, seal.ErrUnknownSeal) {
			return nil, fmt.Errorf("issue: %w", err)
		}
		is.take(pt, v.leg.answer.document)
		return is, nil
	}
	c := s.certificate(x, pt, v, is, s.now())
	is.until = c.Until()
	is.file, is.use, err = s.press.Issue(ctx, c, sl.ID)
	var missing *pdf.GlyphMissingError
	if errors.As(err, &missing) {
		is.glyphs = missing.Runes
		return is, nil
	}
	if err != nil {
		return nil, fmt.Errorf("issue: %w", err)
	}
	return is, nil
}

// begun has what a document and the commitments to an answer begin with: the
// number and the secret that were ordered with the question, or new ones.
func (s *Service) begun(pt *part, v verdict) (is *issued, err error) {
	is = &issued{}
	if pt.order != nil {
		is.number, is.secret = pt.order.Number, pt.order.Secret
	} else {
		if _, err = rand.Read(is.secret[:]); err != nil {
			return nil, fmt.Errorf("issue: %w", err)
		}
		if is.number, err = newNumber(s.release.Catalogue.City.Code, s.slot, s.now()); err != nil {
			return nil, err
		}
	}
	if is.root, err = FieldsRoot(is.secret.Seed(), v.records); err != nil {
		return nil, fmt.Errorf("issue: %w", err)
	}
	return is, nil
}

// take makes an examined document of a front one's own to hand over.
func (is *issued) take(pt *part, h *hosted) {
	is.file, is.use, is.glyphs = h.file, h.use, h.glyphs
	is.until = pt.proof.Validity.Until(h.at.In(beijing.Zone()))
}

// issuer applies the proof's issuer rule to the answer.
func (s *Service) issuer(proof catalog.Proof, v verdict) (catalog.Seal, catalog.Department, error) {
	id := proof.Issuer.For(v.full)
	sl, ok := s.release.Catalogue.Seal(id)
	if !ok {
		return sl, catalog.Department{}, fmt.Errorf("issue: proof %s: no seal for this issuer", proof.Code)
	}
	return sl, s.department(sl.Department), nil
}

// certificate is what the document of a found proof says.
func (s *Service) certificate(x *Exchange, pt *part, v verdict, is *issued, at time.Time) certificate.Certificate {
	return certificate.Certificate{
		City: s.release.Catalogue.City, Proof: pt.proof, Fields: pt.fields, Item: x.plan.item.Name, Purpose: x.plan.purpose.Text,
		Issuer: is.issuer, Person: pt.subject.claims.Person, Name: v.name, Records: v.records, DataTime: v.dataTime,
		Authenticity: v.auth, Scope: v.wording.Scope, Stale: v.stale, Missing: v.missing,
		Number: is.number, Secret: is.secret, Seed: is.secret.Seed(), Root: is.root, IssuedAt: at, Receipt: x.intent.String(),
	}
}
