package index

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"yizheng/audit"
)

// Query says what to look for. Empty members do not filter; of Subjects any
// one is enough (one resident has a pseudonym for each quarter).
type Query struct {
	From, To time.Time // from inclusive, to exclusive; zero: open

	Op, Phase, Outcome string
	Department, System string // who asked
	Item, Proof, Case  string
	Provider, Source   string // who answered
	Actor, Workstation string
	Exchange, Number   string
	Subjects           []audit.SubjectRef

	Before      uint64 // only entries before this one; 0: up to the newest
	BeforeShard string // of Shards: Before is of this quarter, and only it and older ones are searched
	Limit       int    // at most so many; 0: 100, never more than 1,000
}

// Found is what a search yields: positions of candidates, newest first.
type Found struct {
	Entries    []uint64
	CompleteTo uint64 // entries from here on were not searched, or in a file that may lack some
	More       bool   // there are older ones: search again with Before the last of these
}

const maxLimit = 1000

// ErrQuery is returned for a query that asks for nothing in particular or is out of bounds.
var ErrQuery = errors.New("audit index: bad query")

// words and numbers in the order of the columns, as of an entry.
func (q Query) entry() audit.Entry {
	return audit.Entry{
		Open: audit.Open{Op: audit.Op(q.Op), Phase: audit.Phase(q.Phase), Outcome: q.Outcome, Department: q.Department, System: q.System,
			Item: q.Item, Proof: q.Proof, Provider: q.Provider, Source: q.Source, Case: q.Case, Exchange: q.Exchange, Number: q.Number},
		Closed: audit.Closed{Actor: q.Actor, Workstation: q.Workstation},
	}
}

// Matches holds an entry, read from the log itself, to the query. A candidate
// that does not match shared a hash by chance, or the index was tampered with.
func (q Query) Matches(e audit.Entry) bool {
	same := func(want, have []string) bool {
		for i, w := range want {
			if w != "" && w != have[i] {
				return false
			}
		}
		return true
	}
	at := time.UnixMicro(e.Open.Time)
	if !q.From.IsZero() && at.Before(q.From) || !q.To.IsZero() && !at.Before(q.To) {
		return false
	}
	about := len(q.Subjects) == 0 || slices.ContainsFunc(e.Open.Subjects, func(s audit.SubjectRef) bool {
		return slices.ContainsFunc(q.Subjects, func(w audit.SubjectRef) bool { return w.Type == s.Type && w.Epoch == s.Epoch && w.P == s.P })
	})
	return about && same(wordsOf(q.entry()), wordsOf(e)) && same(numbersOf(q.entry()), numbersOf(e))
}

// limit is how many entries are asked for. Errors wrap ErrQuery.
func (q Query) limit() (int, error) {
	if q.Limit < 0 || q.Limit > maxLimit || len(q.Subjects) > maxLimit {
		return 0, fmt.Errorf("%w: at most %d", ErrQuery, maxLimit)
	}
	if q.Limit == 0 {
		return 100, nil
	}
	return q.Limit, nil
}

// Search finds candidates. It never blocks Add for longer than a file is opened.
func (x *Index) Search(ctx context.Context, q Query) (Found, error) {
	var err error
	if q.Limit, err = q.limit(); err != nil {
		return Found{}, err
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	f := Found{CompleteTo: x.live().next}
	where, args, possible := x.where(q)
	for _, p := range slices.Backward(x.parts) {
		if p.next == p.first || q.Before > 0 && p.first >= q.Before ||
			!q.From.IsZero() && p.to < q.From.UnixMicro() || !q.To.IsZero() && p.from >= q.To.UnixMicro() {
			continue
		}
		if possible {
			odd, err := p.search(ctx, q, where, args, &f)
			if err != nil {
				return Found{}, err
			}
			if odd {
				x.doubt(p)
			}
		}
		if p.standing.Load() != sound { // after it was searched
			f.CompleteTo = p.first
		}
		if f.More {
			break
		}
	}
	return f, nil
}

// where is the condition for every file; not possible if a word was never indexed.
func (x *Index) where(q Query) (text string, args []any, possible bool) {
	var conds []string
	add := func(cond string, arg any) { conds, args = append(conds, cond), append(args, arg) }
	for i, w := range wordsOf(q.entry()) {
		if w == "" {
			continue
		}
		id, ok := x.words.find(w)
		if !ok {
			return "", nil, false
		}
		add("e."+wordColumns[i]+" = ?", id)
	}
	for i, n := range numbersOf(q.entry()) {
		if n != "" {
			add("e."+hashColumns[i]+" = ?", hash(hashColumns[i], n))
		}
	}
	if !q.From.IsZero() {
		add("e.ts >= ?", q.From.UnixMicro())
	}
	if !q.To.IsZero() {
		add("e.ts < ?", q.To.UnixMicro())
	}
	if q.Before > 0 {
		add("e.idx < ?", int64(q.Before))
	}
	return strings.Join(conds, " AND "), args, true
}

// search adds the file's candidates, one more than wanted to see whether there
// are more. odd: it has rows of entries that are not its own, which are left out.
func (p *part) search(ctx context.Context, q Query, where string, args []any, f *Found) (odd bool, err error) {
	text := "SELECT e.idx FROM entry e"
	if len(q.Subjects) > 0 { // CROSS JOIN: the few entries of a person first
		var hashes []any
		for _, s := range q.Subjects {
			hashes = append(hashes, subjectHash(s))
		}
		text = "SELECT DISTINCT e.idx FROM subject s CROSS JOIN entry e ON e.idx = s.idx WHERE s.hash IN (?" + strings.Repeat(", ?", len(hashes)-1) + ")"
		args = append(hashes, args...)
		if where != "" {
			text += " AND " + where
		}
	} else if where != "" {
		text += " WHERE " + where
	}
	want := q.Limit - len(f.Entries) + 1
	rows, err := p.db.QueryContext(ctx, fmt.Sprintf("%s ORDER BY e.idx DESC LIMIT %d", text, want), args...)
	if err != nil {
		return false, fmt.Errorf("audit index: searching %s: %w", p.name, err)
	}
	defer rows.Close()
	for rows.Next() {
		var idx int64
		if err := rows.Scan(&idx); err != nil {
			return false, fmt.Errorf("audit index: searching %s: %w", p.name, err)
		}
		if uint64(idx) < p.first || uint64(idx) >= p.next {
			odd = true
			continue
		}
		if len(f.Entries) == q.Limit {
			f.More = true
			break
		}
		f.Entries = append(f.Entries, uint64(idx))
	}
	if err := rows.Err(); err != nil {
		return false, fmt.Errorf("audit index: searching %s: %w", p.name, err)
	}
	return odd, nil
}
