package audit

import (
	"bytes"
	"errors"
	"path/filepath"
	"slices"
	"testing"
)

// From every size, the rest is read, of a running log and of a sealed one; and
// only if what comes before is what it was.
func TestSinceGoesOnFromWhatWasRead(t *testing.T) {
	key := newKey(t)
	cfg := testConfig(t.TempDir(), key)
	l := openTest(t, cfg)
	var keys []uint64
	for range 3 {
		appendTest(t, l, 200)
		keys = append(keys, l.Head().Size)
		if _, err := l.Append(t.Context(), Entry{Open: Open{Op: OpKey, Outcome: "NO", Item: `"op":"admin"`}}); err != nil {
			t.Fatal(err)
		}
	}
	ops := []Op{OpKey, OpAdmin}
	held := func(size uint64, since func(from uint64, root Hash, fn func(Stored) error) (SignedHead, error)) {
		t.Helper()
		for _, from := range []uint64{0, 1, 2, 255, 256, 300, size - 1, size} {
			root, err := l.Root(from)
			if err != nil {
				t.Fatal(err)
			}
			var want, got []uint64
			for _, i := range keys {
				if i >= from {
					want = append(want, i)
				}
			}
			head, err := since(from, root, func(s Stored) error {
				got = append(got, s.Index)
				return nil
			})
			if err != nil || !slices.Equal(got, want) || head.Size != size {
				t.Errorf("from %d: found %v, want %v, %v", from, got, want, err)
			}
			root[0] ^= 1
			if _, err := since(from, root, func(Stored) error { return nil }); from > 0 && !errors.Is(err, ErrProof) {
				t.Errorf("from %d of another log: %v", from, err)
			}
		}
		if _, err := since(size+1, Hash{}, nil); !errors.Is(err, ErrRange) {
			t.Errorf("behind the end: %v", err)
		}
	}
	held(l.Head().Size, func(from uint64, root Hash, fn func(Stored) error) (SignedHead, error) {
		return l.Since(t.Context(), from, root, ops, fn)
	})
	if _, err := l.Seal(); err != nil {
		t.Fatal(err)
	}
	a, err := OpenArchive(t.Context(), cfg.Dir, key.Public())
	if err != nil {
		t.Fatal(err)
	}
	held(a.Head().Size, func(from uint64, root Hash, fn func(Stored) error) (SignedHead, error) {
		return a.Since(t.Context(), from, root, ops, fn)
	})
	mine := errors.New("mine")
	if _, err := a.Since(t.Context(), 0, Hash{}, ops, func(Stored) error { return mine }); err != mine {
		t.Errorf("its caller's error: %v", err)
	}
}

// Who changes an entry can change its hash in the tile as well, which nobody has
// signed; the root tells.
func TestSinceDoesNotBelieveTiles(t *testing.T) {
	key := newKey(t)
	dir, _, _ := sealedTest(t, key, 600)
	segment, tile := filepath.Join(dir, nameWAL, segmentName(0)), filepath.Join(dir, tilePath(0, 0, tileWidth))
	seg, hashes := readTest(t, segment), readTest(t, tile)
	from, to := frameAt(t, seg, 1)
	at := bytes.Index(seg[from:to], []byte("clerk-"))
	copy(seg[int(from)+at:], "Clerk-")
	reseal(seg[from:to])
	f, err := parseFrame(testOrigin, seg[from:])
	if err != nil {
		t.Fatal(err)
	}
	for i, raw := range f.entries {
		if index := int(f.first) + i; index < tileWidth {
			leaf, err := new(hasher).storedLeaf(raw)
			if err != nil {
				t.Fatal(err)
			}
			copy(hashes[index*len(leaf):], leaf[:])
		}
	}
	writeTest(t, segment, seg)
	writeTest(t, tile, hashes)
	a, err := OpenArchive(t.Context(), dir, key.Public())
	if err != nil {
		t.Fatal(err)
	}
	if _, err = a.Since(t.Context(), 0, Hash{}, []Op{OpKey}, nil); !errors.Is(err, ErrDamaged) {
		t.Errorf("%v", err)
	}
}
