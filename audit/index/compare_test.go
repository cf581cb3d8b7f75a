package index

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"testing"

	"yizheng/audit"
)

// built makes the index of n generated entries, of full, merged and live files.
func built(t *testing.T, n int) (dir string, each Each) {
	t.Helper()
	dir = t.TempDir()
	each = func(fn func(audit.Stored) error) error { return run(fn, entries(0, n)) }
	if err := Build(t.Context(), Config{Dir: dir, Live: 50, Merge: 3}, each); err != nil {
		t.Fatal(err)
	}
	return dir, each
}

func run(fn func(audit.Stored) error, list []audit.Stored) error {
	for _, s := range list {
		if err := fn(s); err != nil {
			return err
		}
	}
	return nil
}

func compare(t *testing.T, dir string, each Each) (Compared, []uint64) {
	t.Helper()
	var at []uint64
	done, err := Compare(t.Context(), dir, each, func(d Difference) { at = append(at, d.Index) })
	if err != nil {
		t.Fatal(err)
	}
	return done, at
}

func TestWhatWasDoneToAnIndexIsFound(t *testing.T) {
	none := uint64(audit.NoIndex)
	for name, c := range map[string]struct {
		file, statement string
		want            []uint64
	}{
		"a row removed from a merged file": {"l000000000000.db", "DELETE FROM entry WHERE idx = 70", []uint64{70}},
		"the last row of a full file":      {"s000000000150.db", "DELETE FROM entry WHERE idx = 199", []uint64{199}},
		"a row removed from the live file": {liveName, "DELETE FROM entry WHERE idx = 205", []uint64{205}},
		"another case":                     {liveName, "UPDATE entry SET kase = kase + 1 WHERE idx = 207", []uint64{207}},
		"another operator":                 {liveName, "UPDATE entry SET actor = NULL WHERE idx = 207", []uint64{207}},
		"another time":                     {liveName, "UPDATE entry SET ts = ts + 1 WHERE idx = 207", []uint64{207}},
		"a pseudonym hidden":               {liveName, "DELETE FROM subject WHERE (hash, idx) IN (SELECT hash, idx FROM subject ORDER BY idx LIMIT 1)", nil},
		"a pseudonym added":                {liveName, "INSERT INTO subject VALUES (1, 203)", []uint64{none}},
	} {
		t.Run(name, func(t *testing.T) {
			dir, each := built(t, 220)
			if done, at := compare(t, dir, each); done != (Compared{220, 220, 0}) {
				t.Fatalf("before: %+v at %v", done, at)
			}
			alter(t, dir, c.file, c.statement)
			done, at := compare(t, dir, each)
			if done.Differences != 1 || c.want != nil && !slices.Equal(at, c.want) {
				t.Errorf("%+v at %v, want %v", done, at, c.want)
			}
		})
	}
}

func alter(t *testing.T, dir, file, statement string) {
	t.Helper()
	db, err := connect(dir, file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if r, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	} else if n, err := r.RowsAffected(); err != nil || n != 1 {
		t.Fatalf("%d rows changed: %v", n, err)
	}
}

func TestAnIndexThatEndsEarlyOrLateIsTold(t *testing.T) {
	dir, _ := built(t, 60)
	longer := func(fn func(audit.Stored) error) error { return run(fn, entries(0, 75)) }
	if done, _ := compare(t, dir, longer); done != (Compared{75, 60, 0}) {
		t.Errorf("not indexed yet: %+v", done)
	}
	shorter := func(fn func(audit.Stored) error) error { return run(fn, entries(0, 55)) }
	if done, _ := compare(t, dir, shorter); done.Differences == 0 {
		t.Errorf("the log lost entries: %+v", done)
	}
	if _, err := Compare(context.Background(), filepath.Join(dir, "none"), longer, func(Difference) {}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no index: %v", err)
	}
}
