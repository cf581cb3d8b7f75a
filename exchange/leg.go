package exchange

import (
	"context"
	"errors"
	"time"

	"yizheng/catalog"
	"yizheng/identity"
)

// checked is a leg's answer after everything that can be checked has been:
// who it is about, whether it fits the schema, what the grant lets through.
type checked struct {
	code     Code
	records  []map[string]any // proof fields, before the grant is applied
	name     string           // how this source writes the person's name, if it had to be mapped
	dataTime time.Time
	auth     catalog.Authenticity
	since    time.Time // for UNREACHABLE
	err      error     // why, for the log; never holds the person's data
}

// ask runs one leg to its end: by its deadline, in exactly one code, whatever the source does.
func (s *Service) ask(ctx context.Context, x *Exchange, pt *part, l *leg) checked {
	source, ok := s.sources[l.source.Connection]
	if !ok {
		return checked{code: SourceError, err: errors.New("no connection named " + l.source.Connection)}
	}
	ctx, cancel := context.WithTimeout(ctx, s.deadline(l.source))
	defer cancel()
	claims := pt.subject.claims
	ask := Ask{
		Source: l.source, Terms: l.terms, Digest: l.digest, Subject: claims.Person, Salts: claims.Salts,
		Attestation: claims.Attestation, Operator: x.who.Operator, Caller: x.who.Caller,
	}
	type reply struct {
		answer Answer
		err    error
	}
	replies := make(chan reply, 1)
	s.running.Go(func() { // a source that ignores its context must not hold the leg; Close waits for it
		a, err := source.Query(ctx, ask)
		replies <- reply{a, err}
	})
	select {
	case <-ctx.Done():
		return s.failed(l, ctx.Err())
	case r := <-replies:
		if r.err != nil {
			return s.failed(l, r.err)
		}
		s.outages.up(l.source.Connection)
		return s.check(pt, l, r.answer)
	}
}

// failed tells a source that is not there from one that is late and one that talks nonsense.
func (s *Service) failed(l *leg, err error) checked {
	switch {
	case errors.Is(err, ErrUnreachable):
		return checked{code: Unreachable, since: s.outages.down(l.source.Connection, s.now()), err: err}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return checked{code: Timeout, err: err}
	default:
		return checked{code: SourceError, err: err}
	}
}

// check holds an answer to the question: authenticity, person, number of records, schema.
func (s *Service) check(pt *part, l *leg, a Answer) checked {
	c := checked{dataTime: a.DataTime, auth: a.Authenticity}
	fail := func(code Code, why string) checked {
		return checked{code: code, dataTime: a.DataTime, auth: a.Authenticity, err: errors.New(why)}
	}
	if a.Authenticity.Less(pt.grant.Authenticity) {
		return fail(SourceError, "answer is less authentic than the grant demands")
	}
	switch a.State {
	case StateNotFound:
		c.code = NotFound
	case StateMultiple:
		c.code = Multiple
	case StatePending:
		c.code = Pending
	case StateNotIssuable:
		c.code = NotIssuable
	case StateFound:
		c.code = Found
	default:
		return fail(SourceError, "answer in an unknown state")
	}
	if (c.code == Found || c.code == NotFound) && a.DataTime.IsZero() {
		return fail(SourceError, "answer without the source's data time")
	}
	if c.code != Found {
		return c
	}
	if len(a.Records) == 0 {
		return fail(SourceError, "found, but no record")
	}
	if len(a.Records) > pt.proof.Cardinality.Max {
		return fail(Multiple, "more records than one answer may have")
	}
	for _, r := range a.Records {
		name, err := s.about(pt.subject.claims.Person, l.source, r)
		if err != nil {
			return fail(Mismatch, err.Error())
		}
		if name != "" {
			c.name = name
		}
		fields := only(r.Fields, pt.proof)
		if err := s.release.Catalogue.ValidateRecord(pt.proof.Code, fields); err != nil {
			return fail(SourceError, err.Error())
		}
		c.records = append(c.records, fields)
	}
	return c
}

// about reports whether a record is about the person asked for. The number
// decides; a name that conflicts refuses, one that only differs by a private
// code point is taken from the source.
func (s *Service) about(p identity.Person, src catalog.Source, r Record) (mapped string, err error) {
	if src.Answer.Subject.Number != "" {
		old, hasOld := p.Number.Old15()
		same := r.Number == p.Number.Reveal() || (src.Answer.Accept15 && hasOld && r.Number == old)
		if !same {
			return "", errors.New("record is about another number")
		}
	}
	if src.Answer.Subject.Name != "" {
		switch identity.CompareNames(p.Name, r.Name, s.release.Catalogue.Runes()) {
		case identity.NameConflict:
			return "", errors.New("record is about another name")
		case identity.NameMapped:
			return r.Name, nil
		}
	}
	return "", nil
}

// only keeps the proof's own fields: what a source sends on top is dropped unread.
func only(fields map[string]any, proof catalog.Proof) map[string]any {
	kept := make(map[string]any, len(proof.Fields))
	for _, f := range proof.Fields {
		if v, ok := fields[f.Name]; ok {
			kept[f.Name] = v
		}
	}
	return kept
}
