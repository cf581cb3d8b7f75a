package audit

import (
	"fmt"
	"math/bits"
)

// Root is the root of the tree of the log's first size entries: what binds to
// this log whatever is derived from so many of them.
func (l *Log) Root(size uint64) (Hash, error) {
	if n := l.Head().Size; size > n {
		return Hash{}, fmt.Errorf("%w: size %d, log has %d", ErrRange, size, n)
	}
	f := frontier{size: size}
	for at := uint64(0); at < size; {
		level := uint(bits.Len64(size-at)) - 1
		h, err := l.tiles.node(level, at>>level)
		if err != nil {
			return Hash{}, err
		}
		f.roots, at = append(f.roots, h), at+1<<level
	}
	return f.root(), nil
}

// Consistency proves that the shard grew out of its first size entries.
func (a *Archive) Consistency(from, to uint64) ([]Hash, error) { return a.log.Consistency(from, to) }
