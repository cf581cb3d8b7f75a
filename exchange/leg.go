package exchange

import (
	"context"
	"errors"
	"fmt"
	"strings"
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
	document *hosted   // made by the front, examined; nil if none was to be made there
	err      error     // why, for the log; never holds the person's data

	unanswered bool // err is the source's or the line's, not about an answer
}

// ask runs one leg to its end: by its deadline, in exactly one code, whatever the source does.
func (s *Service) ask(ctx context.Context, x *Exchange, pt *part, l *leg) checked {
	source, ok := s.sources[Line(l.source)]
	if !ok {
		return checked{code: SourceError, err: errors.New("no connection named " + l.source.Connection)}
	}
	ctx, cancel := context.WithTimeout(ctx, s.deadline(l.source))
	defer cancel()
	ask := s.question(x, pt, l)
	type reply struct {
		answer Answer
		err    error
	}
	replies := make(chan reply, 1)
	s.asking.Go(func() { // a source that ignores its context must not hold the leg; Close waits for it
		var r reply
		defer func() { replies <- r }()
		defer caught(&r.err)
		r.answer, r.err = source.Query(ctx, ask)
	})
	select {
	case <-ctx.Done():
		return s.failed(l, ctx.Err())
	case r := <-replies:
		if r.err != nil {
			return s.failed(l, discreet(r.err, ask.Subject))
		}
		s.outages.up(Line(l.source))
		return s.examine(x, pt, l, s.check(pt, l, r.answer), r.answer.Document)
	}
}

// caught turns a panic into an error. What was panicked with may hold a
// resident's data, so only its type is told.
func caught(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w (%T)", errPanic, p)
	}
}

var errPanic = errors.New("panicked")

// discreet withholds the text of a source's error that, against the rule for
// sources, tells whom it is about.
func discreet(err error, p identity.Person) error {
	old, _ := p.Number.Old15()
	for _, secret := range []string{p.Number.Reveal(), p.Name.Reveal(), old} {
		if secret != "" && strings.Contains(err.Error(), secret) {
			return fmt.Errorf("%w: its text held the person's data and is withheld", kind(err))
		}
	}
	return err
}

// kind is what sort of failure an error is, without its text.
func kind(err error) error {
	for _, k := range []error{ErrUnreachable, context.DeadlineExceeded, context.Canceled, errPanic} {
		if errors.Is(err, k) {
			return k
		}
	}
	return errUnusable
}

var errUnusable = errors.New("answer not usable")

// failed tells a source that is not there from one that is late and one that talks nonsense.
func (s *Service) failed(l *leg, err error) checked {
	switch {
	case errors.Is(err, ErrUnreachable):
		return checked{code: Unreachable, since: s.outages.down(Line(l.source), s.now()), err: err, unanswered: true}
	case errors.Is(err, ErrDenied):
		return checked{code: Denied, err: err}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return checked{code: Timeout, err: err, unanswered: true}
	default:
		s.outages.up(Line(l.source)) // it is there, if not well
		return checked{code: SourceError, err: err, unanswered: true}
	}
}

// Limits of an answer.
const (
	maxAnswer = 1 << 20        // bytes of one answer's texts and values, about
	maxAhead  = 24 * time.Hour // a data time may be the end of the day, no later
)

// check holds an answer to the question: authenticity, person, number of
// records, size, schema. Whose they are is asked of all records before anything else.
func (s *Service) check(pt *part, l *leg, a Answer) (c checked) {
	defer func() { // a checker that trips over an answer must not take the process with it
		if p := recover(); p != nil {
			c = checked{code: SourceError, auth: a.Authenticity, err: fmt.Errorf("check %w (%T)", errPanic, p)}
		}
	}()
	return s.hold(pt, l, a)
}

func (s *Service) hold(pt *part, l *leg, a Answer) checked {
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
	switch {
	case c.code == Found && a.DataTime.IsZero():
		return fail(SourceError, "answer without the source's data time")
	case a.DataTime.After(s.now().Add(maxAhead)):
		return fail(SourceError, "data time lies in the future")
	case c.code == NotFound && len(a.Records) > 0:
		return fail(SourceError, "not found, but with records")
	case c.code != Found:
		return c
	case len(a.Records) == 0:
		return fail(SourceError, "found, but no record")
	}
	for _, r := range a.Records {
		name, err := About(pt.subject.claims.Person, l.source, r, s.release.Catalogue.Runes())
		if err != nil {
			return fail(Mismatch, err.Error())
		}
		if name != "" {
			c.name = name
		}
	}
	if len(a.Records) > pt.proof.Cardinality.Max {
		return fail(Multiple, "more records than one answer may have")
	}
	size := 0
	for _, r := range a.Records {
		fields := only(r.Fields, pt.proof)
		if size += weight(fields, 0); size > maxAnswer {
			return fail(SourceError, "answer is too large")
		}
		validate := s.release.Catalogue.ValidateRecord
		if l.source.Front != "" {
			validate = s.release.Catalogue.ValidateGranted
		}
		if err := validate(pt.proof.Code, fields); err != nil {
			return fail(SourceError, err.Error())
		}
		c.records = append(c.records, fields)
	}
	return c
}

// About reports whether a record is about the person asked for. The number
// decides; a name that conflicts refuses, one that only differs by a private
// code point (runes: the catalogue's) is taken from the source. Errors name no person.
func About(p identity.Person, src catalog.Source, r Record, runes map[rune]rune) (mapped string, err error) {
	if src.Answer.Subject.Number != "" {
		old, hasOld := p.Number.Old15()
		same := r.Number == p.Number.Reveal() || (src.Answer.Accept15 && hasOld && r.Number == old)
		if !same {
			return "", errors.New("record is about another number")
		}
	}
	if src.Answer.Subject.Name != "" {
		switch identity.CompareNames(p.Name, r.Name, runes) {
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

// weight is about how many bytes a value has; one that is nested without end is too heavy.
func weight(value any, depth int) int {
	if depth > 16 {
		return maxAnswer + 1
	}
	w := 8
	switch v := value.(type) {
	case string:
		w += len(v)
	case []any:
		for _, e := range v {
			w += weight(e, depth+1)
		}
	case map[string]any:
		for n, e := range v {
			w += len(n) + weight(e, depth+1)
		}
	}
	return w
}
