package audit

import (
	"context"
	"fmt"
	"slices"
)

// Since calls fn with the entries of some operations from index from on, up to the
// head, which it returns. root is that of the entries before, as it was when they
// were read: so nothing is passed over, neither now nor then. Of a whole log (from 0)
// it is not asked for. What fn has seen is what was signed only if Since returns nil.
// It stops at fn's first error and returns it.
//
// Errors wrap ErrRange if the log is shorter than that, ErrProof if it begins
// otherwise, ErrDamaged.
func (l *Log) Since(ctx context.Context, from uint64, root Hash, ops []Op, fn func(Stored) error) (SignedHead, error) {
	head := l.Head()
	if from > head.Size {
		return head, fmt.Errorf("%w: entry %d, log has %d", ErrRange, from, head.Size)
	}
	tree, err := l.tiles.frontier(from)
	if err != nil {
		return head, err
	}
	if from > 0 && tree.root() != root {
		return head, fmt.Errorf("%w: the log's first %d entries are others", ErrProof, from)
	}
	r, likely := l.NewReader(from), ofOps(ops)
	defer r.Close()
	r.choose = func(s *Stored) bool {
		tree.add(s.Leaf, nil)
		return likely(s)
	}
	_, err = r.upTo(ctx, head.Size, func(s Stored) error {
		if !slices.Contains(ops, s.Entry.Open.Op) {
			return nil
		}
		return fn(s)
	})
	if err != nil {
		return head, err
	}
	if tree.root() != head.Root {
		return head, fmt.Errorf("%w: entries %d to %d do not make the root of size %d", ErrDamaged, from, head.Size, head.Size)
	}
	return head, nil
}

// Since is that of the log which the shard was.
func (a *Archive) Since(ctx context.Context, from uint64, root Hash, ops []Op, fn func(Stored) error) (SignedHead, error) {
	return a.log.Since(ctx, from, root, ops, fn)
}
