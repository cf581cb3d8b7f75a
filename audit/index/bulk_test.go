package index

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sync/errgroup"

	"yizheng/audit"
)

func TestBulkMakesTheFilesThatAddingMakes(t *testing.T) {
	const size = 537 // three merged files, one full and a live one
	each := func(f func(audit.Stored) error) error {
		for _, s := range generated(0, size) {
			if err := f(s); err != nil {
				return err
			}
		}
		return nil
	}
	added, made := Config{Dir: t.TempDir(), Live: 50, Merge: 3}, Config{Dir: t.TempDir(), Live: 50, Merge: 3}
	if err := errors.Join(Build(t.Context(), added, each), bulk(t.Context(), made, size)); err != nil {
		t.Fatal(err)
	}
	want, err := listFiles(added.Dir)
	if err != nil {
		t.Fatal(err)
	}
	have, err := listFiles(made.Dir)
	if err != nil || !slices.Equal(have, want) {
		t.Fatalf("files %v, want %v: %v", have, want, err)
	}
	c, err := Compare(t.Context(), made.Dir, each, func(d Difference) { t.Errorf("%+v", d) })
	if err != nil || c.Indexed != size || c.Differences > 0 {
		t.Errorf("%+v: %v", c, err)
	}
}

// bulk makes the index that Add and merge would have left of generated entries:
// as many merged files as there can be, the full ones that are too few for
// another, and the live one. What is in them is the same; they are indexed at
// the end, as by a merge, and several at once.
func bulk(ctx context.Context, c Config, size uint64) (err error) {
	w, err := makeWords(ctx, c.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.db.Close()) }()
	x := &Index{cfg: c.withDefaults(), words: w}
	for _, s := range generated(0, batch) { // numbers all words there are, which is for one goroutine
		if _, err := x.values(ctx, nil, s.Entry); err != nil {
			return err
		}
	}
	files, ctx := errgroup.WithContext(ctx)
	files.SetLimit(runtime.GOMAXPROCS(0))
	full, merged := uint64(x.cfg.Live), uint64(x.cfg.Live*x.cfg.Merge)
	for first, next := uint64(0), uint64(0); first < size; first = next {
		var name string
		switch rest := size - first; {
		case rest > merged:
			name, next = fmt.Sprintf("l%012d.db", first), first+merged
		case rest > full:
			name, next = fmt.Sprintf("s%012d.db", first), first+full
		default:
			name, next = liveName, size
		}
		files.Go(func() error { return x.bulkFile(ctx, name, first, next) })
	}
	return files.Wait()
}

// bulkFile makes one file.
func (x *Index) bulkFile(ctx context.Context, name string, first, next uint64) (err error) {
	db, err := connect(x.cfg.Dir, name, "journal_mode(OFF)", "synchronous(OFF)", "cache_size(-65536)")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1) // a temporary table is of one connection
	run := func(statements ...string) error {
		for _, s := range statements {
			if _, err := db.ExecContext(ctx, s); err != nil {
				return fmt.Errorf("bulk: %s: %w", name, err)
			}
		}
		return nil
	}
	// The temporary table hides the other of its name while entries are added,
	// so that this one, too, is written from left to right.
	if err := run(schema(), begins(first, x.words.name), "CREATE TEMP TABLE subject (hash INTEGER, idx INTEGER)"); err != nil {
		return err
	}
	for first < next {
		list := generated(first, int(min(batch, next-first)))
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		if err := x.insertAll(ctx, tx, first, list); err != nil {
			return errors.Join(err, tx.Rollback())
		}
		if err := tx.Commit(); err != nil {
			return err
		}
		first += uint64(len(list))
	}
	return run("INSERT INTO main.subject SELECT hash, idx FROM temp.subject ORDER BY hash, idx", "DROP TABLE temp.subject", indexes)
}
