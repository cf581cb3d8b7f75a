package audit

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// sealedTest is a sealed shard of more than one tile, with an issue leaf now and then.
func sealedTest(t *testing.T, key testKey, n int) (dir string, head SignedHead, issued []uint64) {
	t.Helper()
	dir = t.TempDir()
	l := openTest(t, testConfig(dir, key))
	for i := range n {
		e := testEntry(i)
		if i%100 == 7 {
			e = Entry{Open: Open{Op: OpIssue, Number: "N", Valid: "2027-01-01"}}
			issued = append(issued, uint64(i+1))
		}
		if err := l.AppendAsync(e); err != nil {
			t.Fatal(err)
		}
	}
	head, err := l.Seal()
	if err != nil {
		t.Fatal(err)
	}
	return dir, head, issued
}

func TestArchiveProvesEveryEntryUnderTheFinalHead(t *testing.T) {
	key := newKey(t)
	for name, n := range map[string]int{"one partial tile": 20, "one full tile": 254, "full and partial": 600} {
		t.Run(name, func(t *testing.T) {
			dir, head, issued := sealedTest(t, key, n)
			a, err := OpenArchive(t.Context(), dir, newKey(t).Public(), key.Public())
			if err != nil {
				t.Fatal(err)
			}
			if a.Head().Head != head.Head || a.Origin() != testOrigin {
				t.Errorf("head %+v, sealed as %+v", a.Head(), head)
			}
			for i := range head.Size {
				s, r, err := a.Entry(t.Context(), i)
				if err != nil || s.Index != i || r.Verify(key.Public(), s.Leaf) != nil {
					t.Fatalf("entry %d: %v", i, err)
				}
			}
			if _, _, err := a.Entry(t.Context(), head.Size); !errors.Is(err, ErrRange) {
				t.Errorf("behind the end: %v", err)
			}
			var found []uint64
			err = a.Find(t.Context(), OpIssue, func(i uint64, e Stored) error {
				found = append(found, i)
				return nil
			})
			if err != nil || len(found) != len(issued) || found[0] != issued[0] || found[len(found)-1] != issued[len(issued)-1] {
				t.Errorf("found %v of %v: %v", found, issued, err)
			}
		})
	}
}

func TestArchiveFindEndsWithItsCallersError(t *testing.T) {
	key := newKey(t)
	dir, _, _ := sealedTest(t, key, 20)
	a, err := OpenArchive(t.Context(), dir, key.Public())
	if err != nil {
		t.Fatal(err)
	}
	mine := errors.New("mine")
	if err := a.Find(t.Context(), OpIssue, func(uint64, Stored) error { return mine }); err != mine {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Find(ctx, OpIssue, nil); !errors.Is(err, context.Canceled) || errors.Is(err, ErrDamaged) {
		t.Errorf("%v", err)
	}
}

func TestArchiveRefusesWhatIsNotWholeOrNotSealed(t *testing.T) {
	key := newKey(t)
	original, _, _ := sealedTest(t, key, 600)
	open := t.TempDir()
	l := openTest(t, testConfig(open, key))
	appendTest(t, l, 3)
	closeTest(t, l)
	if _, err := OpenArchive(t.Context(), open, key.Public()); !errors.Is(err, ErrNotSealed) {
		t.Errorf("a shard that was only closed: %v", err)
	}
	if _, err := OpenArchive(t.Context(), original, newKey(t).Public()); !errors.Is(err, ErrSignature) {
		t.Errorf("another key: %v", err)
	}
	flip := func(name string) func(dir string) {
		return func(dir string) {
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			b[len(bytes.TrimRight(b, "\x00"))/2] ^= 1
			writeTest(t, filepath.Join(dir, name), b)
		}
	}
	for name, change := range map[string]func(dir string){
		"checkpoint changed":   flip("checkpoint"),
		"log.json changed":     flip("log.json"),
		"entries changed":      flip("wal/000000000000.seg"),
		"full tile changed":    flip("tile/0/000"),
		"checkpoint missing":   func(dir string) { os.Remove(filepath.Join(dir, "checkpoint")) },
		"last tile missing":    func(dir string) { os.RemoveAll(filepath.Join(dir, "tile/0/002.p")) },
		"first segment gone":   func(dir string) { os.Remove(filepath.Join(dir, "wal/000000000000.seg")) },
		"checkpoint of others": func(dir string) { os.WriteFile(filepath.Join(dir, "checkpoint"), nil, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyDir(t, original)
			change(dir)
			a, err := OpenArchive(t.Context(), dir, key.Public())
			if err == nil {
				err = a.Find(t.Context(), OpIssue, func(i uint64, _ Stored) error {
					_, _, err := a.Entry(t.Context(), i)
					return err
				})
			}
			if err == nil {
				t.Error("not noticed")
			}
		})
	}
}
