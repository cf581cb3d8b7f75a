package front

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"yizheng/audit"
	"yizheng/catalog"
	"yizheng/exchange"
	"yizheng/exchange/certificate"
	"yizheng/seal"
	"yizheng/seal/pdf"
)

// A front that holds its department's seal makes and seals the documents of its
// own answers: what is sealed is laid out here, from what this department's
// system has just said and the words of the signed catalogue. No message makes
// it seal, or sign, anything that comes from outside.

// checkOrder refuses an order where no document may come of the question.
func (a *Agent) checkOrder(q Question, proof catalog.Proof, g catalog.Grant) error {
	switch {
	case q.Order == nil:
		return nil
	case g.Output == catalog.OutputData:
		return because("DOCUMENT", "the grant is for data only")
	case a.Release.Catalogue.HostedAt(proof) != a.Front:
		return because("DOCUMENT", "no seal of this proof is held here")
	}
	return nil
}

// aheadOfTime is how far a system's data time may lie ahead: it may be the end of the day.
const aheadOfTime = 24 * time.Hour

// seal adds the document that was ordered with the question to a found answer,
// and returns the use of the seal. An answer whose document fails is withheld: it is
// a failure of this front. Answers that the gateway will not take (about somebody
// else, too many, without a time), and those whose seal is elsewhere, stay as they are.
func (a *Agent) seal(ctx context.Context, src catalog.Source, q Question, r Reply) (_ Reply, use seal.Use) {
	defer func() {
		if p := recover(); p != nil {
			a.Logger.Error("sealing panicked", "source", src.ID, "type", fmt.Sprintf("%T", p))
			r, use = Reply{Refusal: Failed}, seal.Use{}
		}
	}()
	if q.Order == nil || r.State != exchange.StateFound {
		return r, use
	}
	r = r.asRead() // the gateway draws what it reads
	c, id, ok := a.certificate(src, q, r)
	if !ok {
		return r, use
	}
	file, use, err := a.issue(ctx, c, id)
	var missing *pdf.GlyphMissingError
	switch {
	case errors.As(err, &missing):
		r.Document = &exchange.Document{Missing: missing.Runes}
	case err != nil:
		a.Logger.Error("document could not be made", "source", src.ID, "seal", id, "err", err)
		return Reply{Refusal: Failed}, seal.Use{}
	default:
		r.Document = &exchange.Document{File: file, IssuedAt: c.IssuedAt}
	}
	return r, use
}

func (a *Agent) issue(ctx context.Context, c certificate.Certificate, id catalog.SealID) ([]byte, seal.Use, error) {
	if a.Press == nil {
		return nil, seal.Use{}, errors.New("front: no seals are configured here")
	}
	file, use, err := a.Press.Issue(ctx, c, id)
	if err == nil && len(file) > certificate.MaxFile {
		return nil, seal.Use{}, errors.New("front: document is too large")
	}
	return file, use, err
}

// certificate is what the document has to say; ok is false if none is to be
// made here of this answer.
func (a *Agent) certificate(src catalog.Source, q Question, r Reply) (c certificate.Certificate, id catalog.SealID, ok bool) {
	cat := a.Release.Catalogue
	proof, _ := cat.Proof(q.Terms.Proof) // check found them
	item, _ := cat.Item(q.Terms.Item)
	purpose, _ := cat.Purpose(q.Terms.Purpose)
	at := a.Now().UTC().Truncate(time.Second)
	n := len(r.Records)
	if n == 0 || n > proof.Cardinality.Max || r.DataTime.IsZero() || r.DataTime.After(at.Add(aheadOfTime)) {
		return c, "", false
	}
	name := q.Person.Name.Reveal()
	var whole, granted []map[string]any
	for _, rec := range r.Records {
		mapped, err := exchange.About(q.Person, src, rec, cat.Runes())
		if err != nil {
			return c, "", false
		}
		if mapped != "" {
			name = mapped
		}
		whole = append(whole, rec.Fields)
		granted = append(granted, exchange.Granted(rec.Fields, q.Terms.Fields))
	}
	sl, _ := cat.Seal(proof.Issuer.For(whole))
	if sl.Front != a.Front {
		return c, "", false
	}
	issuer, _ := cat.Department(sl.Department)
	seed := q.Order.Secret.Seed()
	root, err := exchange.FieldsRoot(seed, granted)
	if err != nil {
		return c, "", false
	}
	return certificate.Certificate{
		City: cat.City, Proof: proof, Fields: q.Terms.Fields, Item: item.Name, Purpose: purpose.Text, Issuer: issuer.Name,
		Person: q.Person, Name: name, Records: granted, DataTime: r.DataTime, Authenticity: catalog.AuthSignature,
		Scope: src.Scope, Stale: src.Stale(r.DataTime, at),
		Number: q.Order.Number, Secret: q.Order.Secret, Seed: seed, Root: root, IssuedAt: at, Receipt: q.Order.Receipt,
	}, sl.ID, true
}

// uses is the entry of the seal log that goes with an answer. A sensitive proof
// gets one whatever was found, which says of what was sealed only what whoever
// holds the document can open.
func (a *Agent) uses(q Question, proof catalog.Proof, use seal.Use) []audit.Entry {
	sealed := use.SignatureDigest != ""
	if q.Order == nil || !sealed && !proof.Sensitive {
		return nil
	}
	e := audit.Entry{
		Open: audit.Open{Op: audit.OpSeal, Phase: audit.PhaseDone, Proof: string(proof.Code), Exchange: q.Terms.Exchange, Leg: q.Terms.Leg, Release: q.Terms.Release},
		Closed: audit.Closed{Node: string(a.Front), Commitments: map[string]string{
			"signature": base64.StdEncoding.EncodeToString(exchange.UseCommitment(q.Order.Secret.Seed(), use.SignatureDigest))}},
	}
	if !proof.Sensitive {
		e.Open.Number, e.Closed.SealCert, e.Closed.Object, e.Closed.Stamp = q.Order.Number, use.CertSN, use.SealID, use.Stamp()
	}
	return []audit.Entry{e}
}
