package index

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"yizheng/audit"
)

// Each hands out the entries of a log in order, as audit.Each does.
type Each func(func(audit.Stored) error) error

// Build makes the index of a log that is not running. What was there of it
// before is removed.
func Build(ctx context.Context, c Config, each Each) (err error) {
	if err := Rebuild(c.Dir); err != nil {
		return err
	}
	x, err := Open(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, x.Close()) }()
	var pending []audit.Stored
	err = each(func(s audit.Stored) error {
		s.OpenJSON, s.ClosedJSON = nil, nil
		if pending = append(pending, s); len(pending) < batch {
			return nil
		}
		defer func() { pending = pending[:0] }()
		return x.Add(ctx, pending)
	})
	if err == nil {
		err = x.Add(ctx, pending)
	}
	for again := err == nil; again && err == nil; {
		again, err = x.merge(ctx)
	}
	return err
}

// Difference is a place where an index is not what its log says.
type Difference struct {
	Index uint64 // of the entry; audit.NoIndex if it is none in particular
	What  string
}

// Compared is what Compare saw.
type Compared struct {
	Entries     uint64 // of the log
	Indexed     uint64 // of these, the index claims
	Differences uint64
}

// Compare holds every row of an index to its log, and calls differ for each
// that is missing, too many or changed. It changes nothing, and may run beside
// the process that uses the index. Entries beyond the end of the index are not
// indexed yet, which is no difference.
func Compare(ctx context.Context, dir string, each Each, differ func(Difference)) (done Compared, err error) {
	c := comparison{ctx: ctx, dir: dir, differ: func(d Difference) { done.Differences++; differ(d) }}
	defer func() { err = errors.Join(err, c.close()) }()
	if err := c.open(); err != nil {
		return done, err
	}
	if n := len(c.parts); n > 0 {
		done.Indexed = c.parts[n-1].next
	}
	err = each(func(s audit.Stored) error {
		done.Entries = s.Index + 1
		if s.Index >= done.Indexed {
			return nil
		}
		return c.entry(s)
	})
	if err == nil {
		err = c.turn()
	}
	if err == nil && done.Indexed > done.Entries {
		c.differ(Difference{audit.NoIndex, fmt.Sprintf("索引到 %d 为止，日志只有 %d 条 / indexed up to %d, the log has %d", done.Indexed, done.Entries, done.Indexed, done.Entries)})
	}
	return done, err
}

// comparison walks through the files of an index beside its log.
type comparison struct {
	ctx    context.Context
	dir    string
	differ func(Difference)
	words  *words

	parts    []*part // those to come; the first is walked through
	rows     *sql.Rows
	row      *row  // the next one; nil: none left
	subjects int64 // of the entries seen of this part
}

func (c *comparison) open() error {
	if _, err := os.Stat(filepath.Join(c.dir, wordsName)); err != nil {
		return fmt.Errorf("audit index: 没有索引 / there is none: %w", err)
	}
	var err error
	if c.words, err = openWords(c.ctx, c.dir, "query_only(1)"); err != nil {
		return err
	}
	names, err := listFiles(c.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		p, err := openPart(c.ctx, c.dir, name, "query_only(1)")
		if err != nil {
			return err
		}
		if n := len(c.parts); n > 0 && p.first < c.parts[n-1].next { // made into another one, and not removed yet
			if err := p.close(); err != nil {
				return err
			}
			continue
		}
		c.parts = append(c.parts, p)
	}
	return c.begin()
}

func (c *comparison) close() error {
	var err error
	if c.rows != nil {
		err = c.rows.Close()
	}
	for _, p := range c.parts {
		err = errors.Join(err, p.close())
	}
	if c.words != nil {
		err = errors.Join(err, c.words.db.Close())
	}
	return err
}

// begin starts with the first of the parts, if there is one.
func (c *comparison) begin() error {
	c.rows, c.row, c.subjects = nil, nil, 0
	if len(c.parts) == 0 {
		return nil
	}
	p := c.parts[0]
	if p.words != c.words.name {
		return fmt.Errorf("audit index: %s was written with other words", p.name)
	}
	var sound string
	if err := p.db.QueryRowContext(c.ctx, "PRAGMA integrity_check(1)").Scan(&sound); err != nil {
		return fmt.Errorf("audit index: %s: %w", p.name, err)
	}
	if sound != "ok" {
		c.differ(Difference{audit.NoIndex, p.name + ": " + sound})
	}
	var err error
	if c.rows, err = p.db.QueryContext(c.ctx, "SELECT * FROM entry WHERE idx < ? ORDER BY idx", int64(p.next)); err != nil {
		return fmt.Errorf("audit index: %s: %w", p.name, err)
	}
	return c.next()
}

// next reads the next row.
func (c *comparison) next() error {
	if !c.rows.Next() {
		c.row = nil
		return c.failed(c.rows.Err())
	}
	c.row = newRow()
	return c.failed(c.rows.Scan(c.row.into...))
}

func (c *comparison) failed(err error) error {
	if err != nil {
		return fmt.Errorf("audit index: comparing: %w", err)
	}
	return nil
}

// turn ends the present part and begins the next.
func (c *comparison) turn() error {
	if len(c.parts) == 0 {
		return nil
	}
	p := c.parts[0]
	var n int64
	err := p.db.QueryRowContext(c.ctx, "SELECT COUNT(*) FROM subject WHERE idx < ?", int64(p.next)).Scan(&n)
	if err != nil {
		return c.failed(err)
	}
	if n > c.subjects {
		c.differ(Difference{audit.NoIndex, fmt.Sprintf("%s：多出 %d 行化名 / %d rows of pseudonyms too many", p.name, n-c.subjects, n-c.subjects)})
	}
	err = errors.Join(c.rows.Close(), p.close())
	c.rows, c.parts = nil, c.parts[1:]
	return errors.Join(err, c.begin())
}

// entry holds one entry to its rows.
func (c *comparison) entry(s audit.Stored) error {
	for len(c.parts) > 1 && s.Index >= c.parts[1].first {
		if err := c.turn(); err != nil {
			return err
		}
	}
	for c.row != nil && c.row.index() < s.Index {
		if err := c.next(); err != nil {
			return err
		}
	}
	if c.row == nil || c.row.index() != s.Index {
		c.differ(Difference{s.Index, "没有索引行 / its row is missing"})
	} else if odd := c.words.odd(c.row.values, s.Entry); len(odd) > 0 {
		c.differ(Difference{s.Index, "索引行与日志不符 / its row is not what the log says: " + strings.Join(odd, ", ")})
	}
	return c.about(s)
}

// row is one of the table entry.
type row struct {
	values []any // int64 or nil
	into   []any // for Scan: converting each would cost more than reading it
}

func (r *row) index() uint64 {
	i, _ := r.values[0].(int64)
	return uint64(i)
}

func newRow() *row {
	r := &row{values: make([]any, 2+len(wordColumns)+len(hashColumns))}
	for i := range r.values {
		r.into = append(r.into, &r.values[i])
	}
	return r
}

// odd names the columns of a row that are not the entry's.
func (w *words) odd(row []any, e audit.Entry) (columns []string) {
	if row[1] != any(e.Open.Time) {
		columns = append(columns, "ts")
	}
	have := row[2:]
	for i, text := range wordsOf(e) {
		id, known := w.find(text)
		if text == "" && have[i] != nil || text != "" && (!known || have[i] != any(id)) {
			columns = append(columns, wordColumns[i])
		}
	}
	have = have[len(wordColumns):]
	for i, text := range numbersOf(e) {
		var want any
		if text != "" {
			want = hash(hashColumns[i], text)
		}
		if have[i] != want {
			columns = append(columns, hashColumns[i])
		}
	}
	return columns
}

// about looks for the rows of an entry's pseudonyms.
func (c *comparison) about(s audit.Stored) error {
	var hashes []int64
	for _, ref := range s.Entry.Open.Subjects {
		hashes = append(hashes, subjectHash(ref))
	}
	slices.Sort(hashes)
	for _, h := range slices.Compact(hashes) {
		c.subjects++
		var n int
		if err := c.parts[0].db.QueryRowContext(c.ctx, "SELECT COUNT(*) FROM subject WHERE hash = ? AND idx = ?", h, int64(s.Index)).Scan(&n); err != nil {
			return c.failed(err)
		}
		if n == 0 {
			c.differ(Difference{s.Index, "缺一行化名 / a row of a pseudonym is missing"})
		}
	}
	return nil
}
