package audit

import "fmt"

// Root is the root of the tree of the log's first size entries: what binds to
// this log whatever is derived from so many of them.
func (l *Log) Root(size uint64) (Hash, error) {
	if n := l.Head().Size; size > n {
		return Hash{}, fmt.Errorf("%w: size %d, log has %d", ErrRange, size, n)
	}
	tree, err := l.tiles.frontier(size)
	return tree.root(), err
}

// Consistency proves that the shard grew out of its first size entries.
func (a *Archive) Consistency(from, to uint64) ([]Hash, error) { return a.log.Consistency(from, to) }
