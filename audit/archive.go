package audit

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Archive is a sealed shard, read without a running log. Nothing of it
// changes any more, so it holds no lock and any number of readers may use it
// at once. What it hands out is proven under the shard's final head; it is
// left to VerifyDir to judge the directory as a whole.
type Archive struct {
	log *Log // no goroutine, no lock: only what reading needs
	pub *ecdsa.PublicKey
}

// OpenArchive opens the directory of a sealed shard. keys are the log's pinned
// keys. Errors wrap ErrNotSealed, ErrDamaged, ErrProof or ErrSignature.
func OpenArchive(ctx context.Context, dir string, keys ...*ecdsa.PublicKey) (*Archive, error) {
	d, err := openDir(dir, keys)
	if err != nil {
		return nil, err
	}
	note, err := os.ReadFile(filepath.Join(dir, nameCheckpoint))
	if err != nil {
		return nil, fmt.Errorf("audit: reading checkpoint: %w", err)
	}
	head, err := ParseCheckpoint(note)
	if err != nil {
		return nil, fmt.Errorf("%w: checkpoint: %w", ErrDamaged, err)
	}
	if head.Origin != d.meta.Origin || head.Size == 0 {
		return nil, fmt.Errorf("%w: checkpoint is not of %s", ErrDamaged, d.meta.Origin)
	}
	l := &Log{cfg: Config{Dir: dir, Origin: d.meta.Origin, files: osFiles{}}}
	l.wal = newWAL(osFiles{}, filepath.Join(dir, nameWAL), d.meta.Segment)
	l.tiles = &tileStore{fs: osFiles{}, dir: dir}
	if err := l.tiles.open(head.Size); err != nil {
		return nil, err
	}
	l.head.Store(&head)
	a := &Archive{log: l, pub: d.pub}
	last, _, err := a.Entry(ctx, head.Size-1)
	if err != nil {
		return nil, err
	}
	if last.Entry.Open.Op != OpLogClose {
		return nil, fmt.Errorf("%w: %s ends with %s", ErrNotSealed, d.meta.Origin, last.Entry.Open.Op)
	}
	return a, nil
}

// Head is the shard's final head.
func (a *Archive) Head() SignedHead { return a.log.Head() }

// Origin is the shard's name.
func (a *Archive) Origin() string { return a.log.Origin() }

// NewReader begins at entry from, which may be the shard's size. Close it.
func (a *Archive) NewReader(from uint64) *Reader { return a.log.NewReader(from) }

// Receipt proves an entry under the final head.
func (a *Archive) Receipt(index uint64) (Receipt, error) { return a.log.Receipt(index) }

// Entry reads one entry and proves it under the final head.
func (a *Archive) Entry(ctx context.Context, index uint64) (Stored, Receipt, error) {
	s, r, err := a.log.Entry(ctx, index)
	if err != nil {
		return s, r, err
	}
	return s, r, r.Head.Verify(a.pub)
}

// Find calls fn with every entry of one operation, in order. The whole shard
// is hashed again and held against the final head, so that nothing can be
// missing once Find returns nil. It stops at fn's first error.
func (a *Archive) Find(ctx context.Context, op Op, fn func(index uint64, e Stored) error) error {
	d, err := openDir(a.log.cfg.Dir, []*ecdsa.PublicKey{a.pub})
	if err != nil {
		return err
	}
	if err := d.find(ctx, []Op{op}, func(s Stored) error { return fn(s.Index, s) }); err != nil {
		return err
	}
	if d.chain.last != a.Head().Head {
		return fmt.Errorf("%w: %s does not end at its checkpoint of size %d", ErrDamaged, a.Origin(), a.Head().Size)
	}
	return nil
}

// open reads the partial tiles of a tree of the given size; full ones are read
// when they are needed.
func (t *tileStore) open(size uint64) error {
	var failed error
	tilesOf(size, func(path string, level int, first uint64, width int) {
		if len(t.levels) <= level {
			t.levels = append(t.levels, tileLevel{})
		}
		t.levels[level].base = first / tileWidth * tileWidth
		if width == tileWidth {
			t.levels[level].base += tileWidth
			return
		}
		raw, err := t.fs.ReadFile(filepath.Join(t.dir, path))
		if err == nil {
			t.levels[level].hashes, err = splitTile(raw)
		}
		if err == nil && len(t.levels[level].hashes) != width {
			err = ErrDamaged
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("audit: %s: %w", path, err))
		}
	})
	return failed
}

// ReadOrigin reads the name of the shard in a directory out of its signed
// log.json, sealed or not.
func ReadOrigin(dir string, keys ...*ecdsa.PublicKey) (string, error) {
	d, err := openDir(dir, keys)
	if err != nil {
		return "", err
	}
	return d.meta.Origin, nil
}
