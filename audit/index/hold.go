package index

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/emmansun/gmsm/sm3"

	"yizheng/audit"
)

// holding holds one file to the log, from which all of its rows are derived
// again. It reads little at a time: searches and Add go on between.
type holding struct {
	ctx  context.Context
	x    *Index
	p    *part
	db   *sql.DB
	upTo uint64 // rows from here on are being added
	at   *pace

	want map[string]*prints // of each tree, what the log says
	what string             // the first thing that does not hold
}

// atOnce is how many rows are read before others have their turn.
const atOnce = 1024

// errGone: the file was made into another one meanwhile.
var errGone = errors.New("audit index: the file was made into another one")

// hold says what is wrong with a file: an entry without its row, a row that
// says something else, a tree (of pseudonyms, cases …) that does not lead to
// the rows or leads elsewhere. "" if nothing is.
func (x *Index) hold(ctx context.Context, p *part, l Shard, at *pace) (_ string, err error) {
	h := &holding{ctx: ctx, x: x, p: p, db: p.db, at: at, want: make(map[string]*prints)}
	if p.name != liveName { // the file as it is, not as it was opened
		if h.db, err = connectTo(p.name, byItself(x.cfg.Dir, p.name)); err != nil {
			return "", err
		}
		defer func() { err = errors.Join(err, h.db.Close()) }()
	}
	if err := h.all(l); err != nil {
		if spoilt(err) {
			return "文件不可读 / it cannot be read", nil
		}
		return "", err
	}
	return h.what, nil
}

func (h *holding) all(l Shard) error {
	if err := h.read(h.outline); err != nil || h.what != "" {
		return err
	}
	if err := h.entries(l); err != nil || h.what != "" {
		return err
	}
	for _, t := range trees {
		if err := h.tree(t); err != nil || h.what != "" {
			return err
		}
	}
	return nil
}

// read lets fn read the file while it is in use.
func (h *holding) read(fn func() error) error {
	if err := h.at.rest(); err != nil {
		return err
	}
	if h.p.name != liveName {
		return fn()
	}
	h.x.mu.RLock()
	defer h.x.mu.RUnlock()
	if !slices.Contains(h.x.parts, h.p) {
		return errGone
	}
	return fn()
}

// outline is what can be seen without the log: the tables are those that were
// made, the file is in order, and it has no row of an entry that is not its own.
func (h *holding) outline() error {
	h.upTo = h.p.next
	var tables, sound string
	err := h.db.QueryRowContext(h.ctx, tablesOf).Scan(&tables)
	if err == nil {
		err = h.db.QueryRowContext(h.ctx, "PRAGMA quick_check(1)").Scan(&sound)
	}
	var foreign int
	if err == nil {
		most := int64(math.MaxInt64)
		if h.p.name != liveName {
			most = int64(h.upTo)
		}
		err = h.db.QueryRowContext(h.ctx, "SELECT EXISTS (SELECT 1 FROM entry WHERE idx < ?) + EXISTS (SELECT 1 FROM entry WHERE idx >= ?)", int64(h.p.first), most).Scan(&foreign)
	}
	switch {
	case err != nil:
		return fmt.Errorf("audit index: %s: %w", h.p.name, err)
	case tables != h.x.schema:
		h.what = "表结构不符 / its tables are not those that were made"
	case sound != "ok":
		h.what = sound
	case foreign > 0:
		h.what = "多出不属于本文件的行 / it has rows of entries that are not its own"
	}
	return nil
}

// entries holds the rows of entries to the log.
func (h *holding) entries(l Shard) (err error) {
	r := l.NewReader(h.p.first)
	defer func() { err = errors.Join(err, r.Close()) }()
	for next := h.p.first; next < h.upTo && h.what == ""; {
		list, err := readSome(h.ctx, r, int(min(atOnce, h.upTo-next)))
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return fmt.Errorf("audit index: %w: entry %d", audit.ErrRange, next)
		}
		if err := h.read(func() error { return h.rows(list) }); err != nil {
			return err
		}
		next += uint64(len(list))
	}
	return nil
}

var errEnough = errors.New("enough")

// readSome reads the next entries, at most so many.
func readSome(ctx context.Context, r *audit.Reader, most int) (list []audit.Stored, err error) {
	_, err = r.Next(ctx, func(s audit.Stored) error {
		if len(list) == most {
			return errEnough
		}
		s.OpenJSON, s.ClosedJSON = nil, nil
		list = append(list, s)
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, fmt.Errorf("audit index: %w", err)
	}
	return list, nil
}

// rows holds the rows of some entries that follow each other to them.
func (h *holding) rows(list []audit.Stored) error {
	rows, err := h.db.QueryContext(h.ctx, "SELECT * FROM entry WHERE idx >= ? AND idx <= ? ORDER BY idx", int64(list[0].Index), int64(list[len(list)-1].Index))
	if err != nil {
		return fmt.Errorf("audit index: %s: %w", h.p.name, err)
	}
	defer rows.Close()
	row := newRow()
	for _, s := range list {
		if !rows.Next() || rows.Scan(row.into...) != nil || row.index() != s.Index {
			if err := rows.Err(); err != nil {
				return fmt.Errorf("audit index: %s: %w", h.p.name, err)
			}
			h.what = fmt.Sprintf("第 %d 条没有索引行 / the row of entry %d is missing", s.Index, s.Index)
			return nil
		}
		if odd := h.x.words.odd(row.values, s.Entry); len(odd) > 0 {
			h.what = fmt.Sprintf("第 %d 条的索引行与日志不符 / the row of entry %d is not what the log says: %s", s.Index, s.Index, strings.Join(odd, ", "))
			return nil
		}
		h.expect(s)
	}
	return rows.Err()
}

// expect notes what the trees have to hold of an entry.
func (h *holding) expect(s audit.Stored) {
	note := func(tree string, value int64) {
		if h.want[tree] == nil {
			h.want[tree] = new(prints)
		}
		h.want[tree].add(&h.x.secret, value, int64(s.Index))
	}
	var hashes []int64
	for _, ref := range s.Entry.Open.Subjects {
		hashes = append(hashes, subjectHash(ref))
	}
	slices.Sort(hashes)
	for _, value := range slices.Compact(hashes) {
		note("subject", value)
	}
	for i, text := range numbersOf(s.Entry) {
		if text != "" {
			note(hashColumns[i], hash(hashColumns[i], text))
		}
	}
	if s.Entry.Closed.Actor != "" {
		if id, ok := h.x.words.find(s.Entry.Closed.Actor); ok {
			note("actor", id)
		}
	}
}

// tree is one that searches go down: pairs of a value and an entry's index.
type tree struct{ name, from, value string }

var trees = []tree{
	{"subject", "subject", "hash"},
	{"kase", "entry INDEXED BY entry_kase", "kase"},
	{"exchange", "entry INDEXED BY entry_exchange", "exchange"},
	{"number", "entry INDEXED BY entry_number", "number"},
	{"actor", "entry INDEXED BY entry_actor", "actor"},
}

// tree holds all pairs of a tree to what was expected. Of the live file, those
// of entries that came since are not looked at.
func (h *holding) tree(t tree) error {
	var have prints
	for value, idx, more := int64(math.MinInt64), int64(math.MinInt64), true; more; {
		err := h.read(func() error {
			// The rest of one value, then those of the next ones: each a step down the tree.
			n, err := h.pairs(fmt.Sprintf("SELECT %[2]s, idx FROM %[1]s WHERE %[2]s = ? AND idx > ? ORDER BY idx LIMIT %[3]d", t.from, t.value, atOnce), &have, &value, &idx, value, idx)
			if err == nil && n < atOnce {
				n, err = h.pairs(fmt.Sprintf("SELECT %[2]s, idx FROM %[1]s WHERE %[2]s > ? ORDER BY %[2]s, idx LIMIT %[3]d", t.from, t.value, atOnce), &have, &value, &idx, value)
				more = n == atOnce
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	want := h.want[t.name]
	if want == nil {
		want = new(prints)
	}
	if *want != have {
		h.what = fmt.Sprintf("检索树 %s 与日志不符 / its tree %s does not lead to what the log says", t.name, t.name)
	}
	return nil
}

// pairs adds the pairs that a query yields, and tells how many and the last.
func (h *holding) pairs(query string, have *prints, value, idx *int64, args ...any) (n int, err error) {
	rows, err := h.db.QueryContext(h.ctx, query, args...)
	if err != nil {
		return 0, fmt.Errorf("audit index: %s: %w", h.p.name, err)
	}
	defer rows.Close()
	var v, i any // int64; converting them would cost more than reading them
	into := []any{&v, &i}
	for ; rows.Next(); n++ {
		if err := rows.Scan(into...); err != nil {
			return n, fmt.Errorf("audit index: %s: %w", h.p.name, err)
		}
		*value, _ = v.(int64)
		*idx, _ = i.(int64)
		if h.p.name != liveName || uint64(*idx) < h.upTo {
			have.add(&h.x.secret, *value, *idx)
		}
	}
	return n, rows.Err()
}

// prints is a fingerprint of a set of pairs, in whatever order they come. It is
// keyed, so that nobody can find another set with the same one.
type prints struct {
	lo, hi uint64
	n      uint64
}

func (f *prints) add(secret *[32]byte, value, idx int64) {
	var b [48]byte
	copy(b[:], secret[:])
	binary.BigEndian.PutUint64(b[32:], uint64(value))
	binary.BigEndian.PutUint64(b[40:], uint64(idx))
	sum := sm3.Sum(b[:])
	f.lo += binary.BigEndian.Uint64(sum[:])
	f.hi += binary.BigEndian.Uint64(sum[8:])
	f.n++
}

// pace keeps what is done beside everything else from taking a whole processor.
type pace struct {
	ctx   context.Context
	share func() int // for each part of work so many of rest
	since time.Time
}

func newPace(ctx context.Context, share func() int) *pace { return &pace{ctx, share, time.Now()} }

// rest rests in proportion to what was worked since the last time.
func (p *pace) rest() error {
	worked := time.Since(p.since)
	if worked < 5*time.Millisecond {
		return p.ctx.Err()
	}
	select {
	case <-p.ctx.Done():
	case <-time.After(time.Duration(p.share()) * min(worked, time.Second)):
	}
	p.since = time.Now()
	return p.ctx.Err()
}
