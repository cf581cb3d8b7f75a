// Package adapters asks departments' systems in their own protocols. Each kind
// of system is one file behind exchange.Source: the national and provincial
// platform (HTTPS with signed headers) and SQL databases (read-only).
//
// Every adapter ends in the same step: the source's answer as JSON, turned
// into records by the jq expressions of the catalogue (see catalog.Mapping).
// An adapter neither judges an answer nor retries; whether it is about the
// right person and of the right shape is the exchange's decision.
//
// Errors name what failed, never what was asked or answered.
package adapters

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/itchyny/gojq"

	"yizheng/catalog"
	"yizheng/exchange"
)

// ErrAnswer means the source answered, but not in a way its catalogue entry
// knows: not JSON, no condition holds, an expression fails or yields the wrong
// type. The exchange reports SOURCE_ERROR.
var ErrAnswer = errors.New("answer not understood")

// ErrSource means the catalogue's entry of a source does not fit its adapter.
var ErrSource = errors.New("source entry refused")

const (
	maxRecords  = 1000    // of one answer
	maxNodes    = 100_000 // values an expression may yield, nested ones counted
	maxText     = 4 << 20 // bytes of text an expression may yield
	evaluations = 2 * time.Second
)

// mapping is one source's catalog.Mapping, compiled. It may be used by many
// goroutines at once.
type mapping struct {
	conditions []condition // in the order in which they are tried
	records    *expression
	dataTime   *expression
	number     *expression
	name       *expression
	fields     map[string]*expression
	within     time.Duration // for all of one answer
}

type condition struct {
	state exchange.State
	when  *expression
}

type expression struct {
	what string // for errors
	code *gojq.Code
}

// CheckMapping reports every expression of a mapping that does not compile.
func CheckMapping(m catalog.Mapping) error {
	_, err := compileMapping(m)
	return err
}

func compileMapping(m catalog.Mapping) (*mapping, error) {
	var errs []error
	compile := func(what, source string) *expression {
		e, err := compileExpression(what, source)
		if err != nil {
			errs = append(errs, err)
		}
		return e
	}
	out := &mapping{fields: make(map[string]*expression, len(m.Fields)), within: evaluations}
	for _, c := range [...]struct {
		what, source string
		state        exchange.State
	}{
		{"not_found_when", m.NotFoundWhen, exchange.StateNotFound},
		{"not_issuable_when", m.NotIssuableWhen, exchange.StateNotIssuable},
		{"pending_when", m.PendingWhen, exchange.StatePending},
		{"multiple_when", m.MultipleWhen, exchange.StateMultiple},
		{"found_when", m.FoundWhen, exchange.StateFound},
	} {
		if when := compile(c.what, c.source); when != nil {
			out.conditions = append(out.conditions, condition{c.state, when})
		}
	}
	if m.NotFoundWhen == "" || m.FoundWhen == "" || m.Records == "" {
		errs = append(errs, errors.New("not_found_when, found_when and records are required"))
	}
	out.records = compile("records", m.Records)
	out.dataTime = compile("data_time", m.DataTime)
	out.number = compile("subject.number", m.Subject.Number)
	out.name = compile("subject.name", m.Subject.Name)
	for field, source := range m.Fields {
		if e := compile("fields."+field, source); e != nil {
			out.fields[field] = e
		}
	}
	if len(errs) > 0 {
		return nil, fmt.Errorf("%w: answer: %w", ErrSource, errors.Join(errs...))
	}
	return out, nil
}

// compileExpression returns nil for an empty expression. Expressions see the
// answer and nothing else: no environment, no files, no further input.
func compileExpression(what, source string) (*expression, error) {
	if source == "" {
		return nil, nil
	}
	query, err := gojq.Parse(source)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	code, err := gojq.Compile(query)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return &expression{what, code}, nil
}

// apply maps one raw answer. It returns ErrAnswer, or the context's error if
// its deadline passes meanwhile.
func (m *mapping) apply(ctx context.Context, raw []byte) (exchange.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, m.within)
	defer cancel()
	root, err := decodeJSON(raw)
	if err != nil {
		return exchange.Answer{}, err
	}
	state, err := m.state(ctx, root)
	if err != nil {
		return exchange.Answer{}, err
	}
	answer := exchange.Answer{State: state}
	if answer.DataTime, err = m.time(ctx, root); err != nil {
		return exchange.Answer{}, err
	}
	if state == exchange.StateFound {
		if answer.Records, err = m.all(ctx, root); err != nil {
			return exchange.Answer{}, err
		}
	}
	return answer, nil
}

func (m *mapping) state(ctx context.Context, root any) (exchange.State, error) {
	for _, c := range m.conditions {
		v, err := c.when.value(ctx, root)
		if err != nil {
			return "", err
		}
		holds, ok := v.(bool)
		if !ok {
			return "", fmt.Errorf("%w: %s is not true or false", ErrAnswer, c.when.what)
		}
		if holds {
			return c.state, nil
		}
	}
	return "", fmt.Errorf("%w: no condition of the catalogue holds", ErrAnswer)
}

func (m *mapping) time(ctx context.Context, root any) (time.Time, error) {
	s, err := m.dataTime.text(ctx, root)
	if err != nil || s == "" {
		return time.Time{}, err
	}
	t, err := parseDataTime(s)
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: data_time is neither RFC 3339 nor YYYYMMDDhhmmss", ErrAnswer)
	}
	return t, nil
}

func (m *mapping) all(ctx context.Context, root any) ([]exchange.Record, error) {
	v, err := m.records.value(ctx, root)
	if err != nil {
		return nil, err
	}
	raws, ok := v.([]any)
	if !ok {
		return nil, fmt.Errorf("%w: records is not an array", ErrAnswer)
	}
	if len(raws) == 0 || len(raws) > maxRecords {
		return nil, fmt.Errorf("%w: found with %d records, want 1 to %d", ErrAnswer, len(raws), maxRecords)
	}
	records := make([]exchange.Record, len(raws))
	for i, raw := range raws {
		if records[i], err = m.record(ctx, raw); err != nil {
			return nil, err
		}
	}
	return records, nil
}

func (m *mapping) record(ctx context.Context, raw any) (r exchange.Record, err error) {
	if r.Number, err = m.number.text(ctx, raw); err != nil {
		return r, err
	}
	if r.Name, err = m.name.text(ctx, raw); err != nil {
		return r, err
	}
	r.Fields = make(map[string]any, len(m.fields))
	for field, e := range m.fields {
		v, err := e.value(ctx, raw)
		if err != nil {
			return r, err
		}
		if v == nil {
			continue // what the source does not say is absent; the proof's schema says whether it may be
		}
		r.Fields[field] = v
	}
	return r, nil
}

// text is the value of an expression that must yield a string or null.
func (e *expression) text(ctx context.Context, input any) (string, error) {
	if e == nil {
		return "", nil
	}
	v, err := e.value(ctx, input)
	if err != nil || v == nil {
		return "", err
	}
	s, ok := v.(string)
	if !ok {
		return "", fmt.Errorf("%w: %s is not text", ErrAnswer, e.what)
	}
	return s, nil
}

// value runs an expression that must yield exactly one value. gojq's own
// errors quote the input and are therefore dropped.
func (e *expression) value(ctx context.Context, input any) (any, error) {
	results := e.code.RunWithContext(ctx, input)
	v, ok := results.Next()
	if !ok {
		return nil, fmt.Errorf("%w: %s yields nothing", ErrAnswer, e.what)
	}
	if _, failed := v.(error); failed {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%s: %w", e.what, ctx.Err())
		}
		return nil, fmt.Errorf("%w: %s fails on it", ErrAnswer, e.what)
	}
	if _, more := results.Next(); more {
		return nil, fmt.Errorf("%w: %s yields more than one value", ErrAnswer, e.what)
	}
	size := budget{nodes: maxNodes, text: maxText}
	v, err := size.exact(v)
	if err != nil {
		return nil, fmt.Errorf("%w: %s %w", ErrAnswer, e.what, err)
	}
	return v, nil
}

// compiled remembers what Prepare made of each source, until its catalogue
// entry changes.
type compiled[T any] struct {
	mu      sync.RWMutex
	entries map[catalog.SourceID]compiledEntry[T]
}

type compiledEntry[T any] struct {
	query  catalog.Query
	answer catalog.Mapping
	plan   T
}

func (c *compiled[T]) get(src catalog.Source, prepare func(catalog.Source) (T, error)) (T, error) {
	c.mu.RLock()
	e, ok := c.entries[src.ID]
	c.mu.RUnlock()
	if ok && reflect.DeepEqual(e.query, src.Query) && reflect.DeepEqual(e.answer, src.Answer) {
		return e.plan, nil
	}
	plan, err := prepare(src)
	if err != nil {
		return plan, fmt.Errorf("source %s: %w", src.ID, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries == nil {
		c.entries = make(map[catalog.SourceID]compiledEntry[T])
	}
	c.entries[src.ID] = compiledEntry[T]{src.Query, src.Answer, plan}
	return plan, nil
}
