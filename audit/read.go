package audit

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Read calls fn with the durable entries from index from up to, but not
// including, to. Every entry is hashed again and held against the tree. It
// stops at fn's first error and returns it. The Stored's bytes are fn's to keep.
func (l *Log) Read(ctx context.Context, from, to uint64, fn func(index uint64, e Stored) error) error {
	if n := l.Head().Size; to > n || from > to {
		return fmt.Errorf("%w: entries %d to %d, log has %d", ErrRange, from, to, n)
	}
	r := l.NewReader(from)
	_, err := r.upTo(ctx, to, func(s Stored) error { return fn(s.Index, s) })
	return errors.Join(err, r.Close())
}

// Entry reads one entry and proves it under the present head.
func (l *Log) Entry(ctx context.Context, index uint64) (Stored, Receipt, error) {
	var s Stored
	err := l.Read(ctx, index, index+1, func(_ uint64, e Stored) error {
		s = e
		return nil
	})
	if err != nil {
		return s, Receipt{}, err
	}
	r, err := l.Receipt(index)
	if err != nil {
		return s, r, err
	}
	return s, r, r.Includes(s.Leaf)
}

func segmentFirst(name string) (uint64, error) {
	var first uint64
	if _, err := fmt.Sscanf(name, "%d.seg", &first); err != nil || segmentName(first) != name {
		return 0, fmt.Errorf("%w: wal/%s is no segment", ErrDamaged, name)
	}
	return first, nil
}

// Prove reads one entry out of a log's directory, without the running log,
// and proves it under the last head in its segments. keys are the log's
// pinned keys. The directory may be that of a running log. Errors wrap
// ErrRange if there is no such entry, ErrDamaged or ErrSignature.
//
// Prove recomputes the whole tree, but leaves it to VerifyDir to judge the
// rest of the directory.
func Prove(dir string, index uint64, keys ...*ecdsa.PublicKey) (Stored, Receipt, error) {
	found, head, err := prove(dir, keys, func(s *Stored) (bool, error) {
		if s.Index != index {
			return false, nil
		}
		return true, s.decode()
	})
	switch {
	case err != nil:
		return Stored{}, Receipt{}, err
	case len(found) == 0:
		return Stored{}, Receipt{}, fmt.Errorf("%w: entry %d, log has %d", ErrRange, index, head.Size)
	}
	return found[0].Stored, found[0].Receipt, nil
}

// Proven is an entry with its proof.
type Proven struct {
	Stored
	Receipt Receipt
}

// ProveEach is Prove for all entries that want chooses, under one head, which
// it returns too. They are held in memory.
func ProveEach(dir string, want func(Stored) bool, keys ...*ecdsa.PublicKey) ([]Proven, SignedHead, error) {
	return prove(dir, keys, func(s *Stored) (bool, error) {
		err := s.decode()
		return err == nil && want(*s), err
	})
}

func prove(dir string, keys []*ecdsa.PublicKey, want func(*Stored) (bool, error)) ([]Proven, SignedHead, error) {
	d, err := openDir(dir, keys)
	if err != nil {
		return nil, SignedHead{}, err
	}
	var found []Proven
	tree := &tileStore{}
	err = d.frames(func(f *frame, _ string, _ int64) error {
		return d.chain.follow(f, func(s *Stored) error {
			wanted, err := want(s)
			if err != nil {
				return fmt.Errorf("entry %d: %w", s.Index, err)
			}
			if wanted {
				mine := *s // the segment need not stay in memory for it
				mine.OpenJSON, mine.ClosedJSON = bytes.Clone(s.OpenJSON), bytes.Clone(s.ClosedJSON)
				found = append(found, Proven{Stored: mine})
			}
			return nil
		}, func(level uint, _ uint64, h *Hash) { tree.add(level, *h) })
	})
	if err != nil {
		return nil, SignedHead{}, err
	}
	head := d.head()
	for i := range found {
		p := &found[i]
		path, err := inclusionPath(p.Index, head.Size, tree.node)
		if err != nil {
			return nil, SignedHead{}, err
		}
		p.Receipt = Receipt{Origin: d.meta.Origin, Index: p.Index, Leaf: p.Leaf, Head: head, Proof: path}
		if err := p.Receipt.Verify(d.pub, p.Leaf); err != nil {
			return nil, SignedHead{}, err
		}
	}
	return found, head, nil
}

// Each calls fn with every entry of a log's directory, in order, without the
// running log. It stops at fn's first error and returns it. What fn has seen is
// what was signed only if Each returns nil; errors are those of Prove. The
// Stored's bytes are fn's to keep.
func Each(dir string, fn func(Stored) error, keys ...*ecdsa.PublicKey) error {
	d, err := openDir(dir, keys)
	if err != nil {
		return err
	}
	err = d.frames(func(f *frame, _ string, _ int64) error {
		return d.chain.follow(f, func(s *Stored) error {
			if err := s.decoded(); err != nil {
				return err
			}
			return fn(*s)
		}, nil)
	})
	if err != nil || d.chain.last.Size == 0 {
		return err
	}
	return d.head().Verify(d.pub)
}

// Find is Each for the entries of some operations only, which spares the decoding
// of all others.
func Find(ctx context.Context, dir string, ops []Op, fn func(Stored) error, keys ...*ecdsa.PublicKey) error {
	d, err := openDir(dir, keys)
	if err != nil {
		return err
	}
	if err := d.find(ctx, ops, fn); err != nil || d.chain.last.Size == 0 {
		return err
	}
	return d.head().Verify(d.pub)
}

// find follows the whole chain and calls fn with the entries of some operations.
func (d *directory) find(ctx context.Context, ops []Op, fn func(Stored) error) error {
	likely := ofOps(ops)
	var stopped error // by fn or ctx, not by the shard
	each := func(s *Stored) error {
		if !likely(s) {
			return nil
		}
		if err := s.decoded(); err != nil {
			return err
		}
		if slices.Contains(ops, s.Entry.Open.Op) {
			stopped = fn(*s)
		}
		return stopped
	}
	err := d.frames(func(f *frame, _ string, _ int64) error {
		if err := ctx.Err(); err != nil {
			stopped = fmt.Errorf("audit: reading: %w", err)
			return stopped
		}
		return d.chain.follow(f, each, nil)
	})
	if stopped != nil {
		return stopped
	}
	return err
}

// ofOps tells, without decoding, entries that may be of some operations from those
// that are not.
func ofOps(ops []Op) func(*Stored) bool {
	var marks [][]byte
	for _, op := range ops {
		marks = append(marks, fmt.Appendf(nil, `"op":%q`, op))
	}
	return func(s *Stored) bool {
		return slices.ContainsFunc(marks, func(mark []byte) bool { return bytes.Contains(s.OpenJSON, mark) })
	}
}

// directory is a shard read offline.
type directory struct {
	dir   string
	meta  meta
	pub   *ecdsa.PublicKey // the pinned key that signed log.json
	chain chain
	sig   []byte // of the last frame followed
	names []string
}

// openDir reads log.json and lists the segments.
func openDir(dir string, keys []*ecdsa.PublicKey) (*directory, error) {
	note, err := os.ReadFile(filepath.Join(dir, nameMeta))
	if err != nil {
		return nil, fmt.Errorf("audit: reading log.json: %w", err)
	}
	d := &directory{dir: dir}
	if d.meta, d.pub, err = readMeta(note, keys); err != nil {
		return nil, err
	}
	d.chain = chain{origin: d.meta.Origin, prev: metaDigest(note)}
	entries, err := os.ReadDir(filepath.Join(dir, nameWAL))
	if err != nil {
		return nil, fmt.Errorf("audit: reading wal: %w", err)
	}
	d.names, _ = segments(entries)
	return d, nil
}

// frames calls follow with every frame up to the first place where none
// begins; what is there is left to VerifyDir. It stops at follow's error.
func (d *directory) frames(follow func(f *frame, name string, off int64) error) error {
	for i, name := range d.names {
		if name != segmentName(d.chain.last.Size) {
			return fmt.Errorf("%w: entry %d: wal/%s is missing", ErrDamaged, d.chain.last.Size, segmentName(d.chain.last.Size))
		}
		seg, err := os.ReadFile(filepath.Join(d.dir, nameWAL, name))
		if err != nil {
			return fmt.Errorf("audit: reading segment: %w", err)
		}
		off, err := d.chain.walk(seg, 0, func(f *frame, off int64) error {
			d.sig = f.sig
			return follow(f, name, off)
		})
		lastOne := i == len(d.names)-1
		if !errors.Is(err, errNoFrame) && !(lastOne && isTorn(err)) {
			return fmt.Errorf("%w: entry %d, wal/%s offset %d: %w", ErrDamaged, d.chain.last.Size, name, off, err)
		}
	}
	return nil
}

// head is the signed head of the last frame followed.
func (d *directory) head() SignedHead {
	kh, _ := noteKeyHash(d.meta.Origin, d.pub) // computed before, in readMeta
	return SignedHead{Head: d.chain.last, KeyHash: kh, Signature: d.sig}
}
