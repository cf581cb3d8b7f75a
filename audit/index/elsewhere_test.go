package index

import (
	"os"
	"path/filepath"
	"testing"
)

// A start while the disk is full, or there is no handle left: SQLite cannot open
// what it keeps beside its files. Nothing is thrown away for that, or told.
func TestAnIndexThatCannotBeOpenedNowStaysAsItIs(t *testing.T) {
	for _, name := range []string{wordsName, liveName} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := keptIndex(t)
			obstacle := filepath.Join(k.dir, name+"-wal")
			if err := os.Mkdir(obstacle, 0o700); err != nil {
				t.Fatal(err)
			}
			before := k.files(t)
			s := NewShards(k.conf)
			t.Cleanup(func() { s.Close() })
			s.Add(k.log)
			wait(t, "tried", func() bool { err := s.State()[0].Err; return err != nil && err != ErrOpening })
			if after := k.files(t); after != before {
				t.Errorf("%d files of %d are left", after, before)
			}
			if err := os.Remove(obstacle); err != nil {
				t.Fatal(err)
			}
			wait(t, "complete again", func() bool {
				same, complete := k.found(t, s, asked["case"])
				return same && complete
			})
			if len(s.Changes()) > 0 {
				t.Errorf("told %+v", s.Changes())
			}
			if len(k.told) > 0 {
				t.Errorf("told %+v", <-k.told)
			}
		})
	}
}

// files counts the full files and their seals.
func (k *kept) files(t *testing.T) int {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(k.dir, "s*.db*"))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
