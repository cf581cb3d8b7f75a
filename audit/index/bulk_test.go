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
		files.Go(func() error {
			return x.derive(ctx, name, first, next, func(from uint64, most int) ([]audit.Stored, error) { return generated(from, most), nil })
		})
	}
	return files.Wait()
}
