package exchange

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"yizheng/catalog"
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
	is.until = pt.proof.Validity.Until(s.now().In(beijing))
	var err error
	is.number, err = newNumber(s.release.Catalogue.City.Code, s.slot, s.now())
	return is, err
}

// issue makes the document of a found proof, sealed with its issuer's seal. A
// character without a glyph is not an error: the data may go, the document may not.
func (s *Service) issue(ctx context.Context, x *Exchange, pt *part, v verdict) (*issued, error) {
	is := &issued{}
	if _, err := rand.Read(is.secret[:]); err != nil {
		return nil, fmt.Errorf("issue: %w", err)
	}
	var err error
	if is.root, err = FieldsRoot(is.secret.Seed(), v.records); err != nil {
		return nil, fmt.Errorf("issue: %w", err)
	}
	sealID, issuer, err := s.issuer(pt.proof, v)
	if err != nil {
		return nil, err
	}
	is.issuer = issuer.Name
	if pt.grant.Output == catalog.OutputData {
		return is, nil
	}
	at := s.now()
	if is.number, err = newNumber(s.release.Catalogue.City.Code, s.slot, at); err != nil {
		return nil, err
	}
	c := s.certificate(x, pt, v, is, at)
	is.until = c.Until()
	is.file, is.use, err = s.press.Issue(ctx, c, sealID)
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

// issuer applies the proof's issuer rule to the answer.
func (s *Service) issuer(proof catalog.Proof, v verdict) (catalog.SealID, catalog.Department, error) {
	id := proof.Issuer.For(v.full)
	sl, ok := s.release.Catalogue.Seal(id)
	if !ok {
		return "", catalog.Department{}, fmt.Errorf("issue: proof %s: no seal for this issuer", proof.Code)
	}
	return id, s.department(sl.Department), nil
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
