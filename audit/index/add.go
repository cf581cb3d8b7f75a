package index

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/emmansun/gmsm/sm3"
	"modernc.org/sqlite"
	sqlitelib "modernc.org/sqlite/lib"

	"yizheng/audit"
)

// hash is what stands in the index for a number that seldom repeats.
func hash(kind, text string) int64 {
	sum := sm3.Sum([]byte(kind + "\x00" + text))
	return int64(binary.BigEndian.Uint64(sum[:8]))
}

func subjectHash(s audit.SubjectRef) int64 { return hash("subject", s.Type+"\x00"+s.Epoch+"\x00"+s.P) }

// wordsOf and numbersOf are an entry's values in the order of the columns.
func wordsOf(e audit.Entry) []string {
	o, c := e.Open, e.Closed
	return []string{string(o.Op), string(o.Phase), o.Outcome, o.Department, o.System, o.Item, o.Proof, o.Provider, o.Source, c.Actor, c.Workstation}
}

func numbersOf(e audit.Entry) []string { return []string{e.Open.Case, e.Open.Exchange, e.Open.Number} }

// Add indexes entries that follow on from the last one.
func (x *Index) Add(ctx context.Context, entries []audit.Stored) error {
	for len(entries) > 0 {
		p := x.live()
		room := int(p.first) + x.cfg.Live - int(p.next)
		if room <= 0 {
			if err := x.fill(ctx); err != nil {
				return err
			}
			continue
		}
		n := min(room, len(entries))
		if err := x.insert(ctx, p, entries[:n]); err != nil {
			return err
		}
		entries = entries[n:]
	}
	return nil
}

// insert adds to the live file in one transaction.
func (x *Index) insert(ctx context.Context, p *part, entries []audit.Stored) error {
	tx, err := p.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("audit index: %w", err)
	}
	defer tx.Rollback() //nolint:errcheck // after a commit there is nothing to roll back
	if err := x.insertAll(ctx, tx, p.next, entries); err != nil {
		var e *sqlite.Error
		if errors.As(err, &e) && e.Code()&0xff == sqlitelib.SQLITE_CONSTRAINT { // nobody else inserts
			return &changeError{Change{File: p.name, First: p.first, Next: p.next, What: "有别人插入的行 / it has rows that somebody else inserted"}}
		}
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("audit index: %w", err)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if p.next == p.first {
		p.from = entries[0].Entry.Open.Time
	}
	p.next += uint64(len(entries))
	p.to = entries[len(entries)-1].Entry.Open.Time
	return nil
}

func (x *Index) insertAll(ctx context.Context, tx *sql.Tx, next uint64, entries []audit.Stored) (err error) {
	width := 2 + len(wordColumns) + len(hashColumns)
	values := make([]any, 0, len(entries)*width)
	var refs [][2]int64 // subject's hash, entry
	for i, s := range entries {
		if s.Index != next+uint64(i) {
			return fmt.Errorf("audit index: entry %d does not follow", s.Index)
		}
		values = append(values, int64(s.Index), s.Entry.Open.Time)
		if values, err = x.values(ctx, values, s.Entry); err != nil {
			return err
		}
		for _, ref := range s.Entry.Open.Subjects {
			refs = append(refs, [2]int64{subjectHash(ref), int64(s.Index)})
		}
	}
	if err := insertRows(ctx, tx, "INSERT INTO entry VALUES ", width, values); err != nil {
		return err
	}
	// In the order of their tree, whose pages are then changed once each.
	slices.SortFunc(refs, func(a, b [2]int64) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) })
	values = values[:0]
	for _, r := range refs {
		values = append(values, r[0], r[1])
	}
	return insertRows(ctx, tx, "INSERT OR IGNORE INTO subject VALUES ", 2, values)
}

// rowsAtOnce is how many rows one statement inserts: what is around a
// statement costs as much as a row.
const rowsAtOnce = 64

// insertRows inserts rows of so many columns, whose values follow each other.
func insertRows(ctx context.Context, tx *sql.Tx, into string, width int, values []any) error {
	row := "(?" + strings.Repeat(", ?", width-1) + ")"
	for rows := rowsAtOnce; len(values) > 0; rows = len(values) / width {
		n := len(values) / width / rows // how often
		if n == 0 {
			continue
		}
		insert, err := tx.PrepareContext(ctx, into+row+strings.Repeat(", "+row, rows-1))
		if err != nil {
			return fmt.Errorf("audit index: %w", err)
		}
		for ; n > 0 && err == nil; n-- {
			_, err = insert.ExecContext(ctx, values[:rows*width]...)
			values = values[rows*width:]
		}
		if err := errors.Join(err, insert.Close()); err != nil {
			return fmt.Errorf("audit index: inserting: %w", err)
		}
	}
	return nil
}

// values appends an entry's words and hashes; what is empty is NULL.
func (x *Index) values(ctx context.Context, values []any, e audit.Entry) ([]any, error) {
	for _, text := range wordsOf(e) {
		if text == "" {
			values = append(values, nil)
			continue
		}
		id, err := x.words.number(ctx, text)
		if err != nil {
			return nil, err
		}
		values = append(values, id)
	}
	for i, text := range numbersOf(e) {
		if text == "" {
			values = append(values, nil)
			continue
		}
		values = append(values, hash(hashColumns[i], text))
	}
	return values, nil
}

// fill gives the live file, which is full, its name and begins another.
func (x *Index) fill(ctx context.Context) error {
	p := x.live()
	if _, err := p.db.ExecContext(ctx, "PRAGMA wal_checkpoint"); err != nil { // while searches go on
		return fmt.Errorf("audit index: %w", err)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := p.close(); err != nil { // connections of searches, too, would keep the mode as it is
		return err
	}
	if err := noWAL(ctx, x.cfg.Dir, p.name); err != nil {
		return err
	}
	name := fullName(p.first)
	if err := os.Rename(filepath.Join(x.cfg.Dir, liveName), filepath.Join(x.cfg.Dir, name)); err != nil {
		return fmt.Errorf("audit index: %w", err)
	}
	full, err := openPart(ctx, x.cfg.Dir, name)
	if err != nil {
		return err
	}
	full.standing.Store(p.standing.Load())
	x.parts[len(x.parts)-1] = full
	x.look() // it has no seal yet
	x.turned()
	return x.begin(ctx, full.next)
}

// noWAL makes one file of a database that nobody has open and what SQLite keeps beside it.
func noWAL(ctx context.Context, dir, name string) error {
	db, err := connect(dir, name)
	if err != nil {
		return err
	}
	var mode string
	err = db.QueryRowContext(ctx, "PRAGMA journal_mode = DELETE").Scan(&mode)
	if err == nil && mode != "delete" {
		err = fmt.Errorf("its journal mode stays %s", mode)
	}
	if err := errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("audit index: %s: %w", name, err)
	}
	return nil
}

func fullName(first uint64) string { return fmt.Sprintf("s%012d.db", first) }

// turned says that there may be enough full files to merge.
func (x *Index) turned() {
	select {
	case x.turn <- struct{}{}:
	default: // the last one has not been seen yet
	}
}

const tmpPrefix = "tmp-"

// merge makes one file of the oldest Config.Merge full ones, if there are as
// many, and reports whether it did. Searches go on meanwhile.
func (x *Index) merge(ctx context.Context) (bool, error) {
	x.shaping.Lock()
	defer x.shaping.Unlock()
	x.mu.RLock()
	var from []*part
	for _, p := range x.parts {
		if p.name[0] == 's' && len(from) < x.cfg.Merge {
			if p.standing.Load() == changed { // it is made again first
				break
			}
			from = append(from, p)
		}
	}
	x.mu.RUnlock()
	if len(from) < x.cfg.Merge {
		return false, nil
	}
	name := "l" + fullName(from[0].first)[1:]
	if err := x.write(ctx, tmpPrefix+name, from); err != nil {
		return false, err
	}
	if err := os.Rename(filepath.Join(x.cfg.Dir, tmpPrefix+name), filepath.Join(x.cfg.Dir, name)); err != nil {
		return false, fmt.Errorf("audit index: %w", err)
	}
	merged, err := openPart(ctx, x.cfg.Dir, name)
	if err != nil {
		return false, err
	}
	last := from[len(from)-1]
	merged.next, merged.from, merged.to = last.next, from[0].from, last.to // whatever is in them
	return true, x.replace(from, merged)
}

// replace puts a merged file in the place of those it was made of.
func (x *Index) replace(old []*part, merged *part) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	var parts []*part
	for _, p := range x.parts {
		switch p {
		case old[0]:
			parts = append(parts, merged)
		default:
			if p.first < merged.first || p.first >= merged.next {
				parts = append(parts, p)
			}
		}
	}
	for _, p := range old { // what was seen of them meanwhile
		merged.standing.Store(max(merged.standing.Load(), p.standing.Load()))
	}
	x.parts = parts
	x.look()
	var err error
	for _, p := range old {
		err = errors.Join(err, p.close(), removeFile(x.cfg.Dir, p.name))
	}
	return err
}

// write copies the entries of several files into a new one and indexes it at
// the end, which is several times faster than as they come.
func (x *Index) write(ctx context.Context, name string, from []*part) (err error) {
	if err := removeFile(x.cfg.Dir, name); err != nil {
		return err
	}
	db, err := connect(x.cfg.Dir, name, "journal_mode(OFF)", "synchronous(OFF)", "cache_size(-65536)")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1) // ATTACH is of one connection
	steps := []string{schema(), begins(from[0].first, from[0].words)}
	for _, p := range from {
		steps = append(steps, "ATTACH '"+byItself(x.cfg.Dir, p.name)+"' AS old",
			"INSERT INTO entry SELECT * FROM old.entry ORDER BY idx", "DETACH old")
	}
	// The subjects of all files in one order, so that the tree is written from
	// left to right: into a plain table first, as SQLite attaches ten at most.
	steps = append(steps, "CREATE TEMP TABLE every (hash INTEGER, idx INTEGER)")
	for _, p := range from {
		steps = append(steps, "ATTACH '"+byItself(x.cfg.Dir, p.name)+"' AS old",
			"INSERT INTO every SELECT hash, idx FROM old.subject", "DETACH old")
	}
	steps = append(steps, "INSERT INTO subject SELECT hash, idx FROM every ORDER BY hash, idx", "DROP TABLE every", indexes)
	for _, s := range steps {
		if _, err := db.ExecContext(ctx, s); err != nil {
			return fmt.Errorf("audit index: merging: %w", err)
		}
	}
	return syncFile(filepath.Join(x.cfg.Dir, name))
}

// derive makes a file of entries first to next-1, which read hands out in order,
// at most so many at once.
func (x *Index) derive(ctx context.Context, name string, first, next uint64, read func(from uint64, most int) ([]audit.Stored, error)) (err error) {
	if err := removeFile(x.cfg.Dir, name); err != nil {
		return err
	}
	db, err := connect(x.cfg.Dir, name, "journal_mode(OFF)", "synchronous(OFF)", "cache_size(-65536)")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1) // a temporary table is of one connection
	run := func(statements ...string) error {
		for _, s := range statements {
			if _, err := db.ExecContext(ctx, s); err != nil {
				return fmt.Errorf("audit index: making %s: %w", name, err)
			}
		}
		return nil
	}
	// The temporary table hides the other of its name while entries are added,
	// so that its tree, too, is written from left to right.
	if err := run(schema(), begins(first, x.words.name), "CREATE TEMP TABLE subject (hash INTEGER, idx INTEGER)"); err != nil {
		return err
	}
	for first < next {
		list, err := read(first, int(min(batch, next-first)))
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return fmt.Errorf("audit index: %w: entry %d", audit.ErrRange, first)
		}
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return fmt.Errorf("audit index: %w", err)
		}
		if err := x.insertAll(ctx, tx, first, list); err != nil {
			return errors.Join(err, tx.Rollback())
		}
		if err := tx.Commit(); err != nil {
			return fmt.Errorf("audit index: %w", err)
		}
		first += uint64(len(list))
	}
	if err := run("INSERT OR IGNORE INTO main.subject SELECT hash, idx FROM temp.subject ORDER BY hash, idx", "DROP TABLE temp.subject", indexes); err != nil {
		return err
	}
	return syncFile(filepath.Join(x.cfg.Dir, name))
}

func syncFile(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("audit index: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("audit index: %w", err)
	}
	return nil
}
