package audit

import (
	"fmt"
	"math/bits"
	"sync"
)

// batch remembers enough of one commit to prove its entries: the tree's right
// edge before it, and every perfect node that it made.
type batch struct {
	start uint64
	head  SignedHead
	left  []Hash   // frontier roots of size start
	made  [][]Hash // by level, from index start>>level on

	// The tree's right edge after it, by level: the roots over what the last node
	// covers. Hashed for the first receipt.
	edge func() ([]Hash, error)
}

// newBatch is for so many entries behind those of the tree.
func newBatch(tree *frontier, count int) *batch {
	start := tree.size
	end := start + uint64(count)
	b := &batch{start: start, left: append([]Hash(nil), tree.roots...), made: make([][]Hash, bits.Len64(end))}
	room := make([]Hash, 2*count+len(b.made)) // for all nodes: half as many on every level, and one
	for level := range b.made {
		n := end>>level - start>>level
		b.made[level], room = room[:0:n], room[n:]
	}
	b.edge = sync.OnceValues(b.edges)
	return b
}

// take is called with the tree's new nodes.
func (b *batch) take(level uint, _ uint64, h *Hash) { b.made[level] = append(b.made[level], *h) }

// addBatch takes over the nodes of a durable batch.
func (t *tileStore) addBatch(b *batch) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for level := 0; level < len(b.made); level += 8 {
		if len(b.made[level]) > 0 {
			t.add(uint(level), b.made[level]...)
		}
	}
}

// node finds a perfect node of the tree of size head.Size that an inclusion
// proof of one of the batch's entries can need.
func (b *batch) node(level uint, index uint64) (Hash, error) {
	if from := b.start >> level; index >= from {
		if made := b.made[level]; index-from < uint64(len(made)) {
			return made[index-from], nil
		}
	} else if b.start>>level&1 == 1 && index == from-1 {
		// The left subtree of this size: after those of all higher levels.
		return b.left[bits.OnesCount64(b.start>>level>>1)], nil
	}
	return Hash{}, fmt.Errorf("%w: node %d at level %d", ErrRange, index, level)
}

// edges hashes the tree's right edge from the last leaf up to the root, which
// the paths of all entries share.
func (b *batch) edges() (edge []Hash, err error) {
	last := b.head.Size - 1
	h, err := b.node(0, last)
	for level := uint(0); err == nil; level++ {
		edge = append(edge, h)
		if last>>level == 0 {
			return edge, nil
		}
		if last>>level&1 == 1 {
			var left Hash
			left, err = b.node(level, last>>level-1)
			h = nodeOf(&left, &h)
		}
	}
	return nil, err
}

// path is the inclusion path of one of the batch's entries (RFC 6962 §2.1.1):
// on every level the neighbour, which is a perfect node, or the edge, or is
// missing where the edge has none.
func (b *batch) path(index uint64, edge []Hash) ([]Hash, error) {
	last := b.head.Size - 1
	path := make([]Hash, 0, len(edge))
	for level := uint(0); last>>level > 0; level++ {
		switch neighbour := index>>level ^ 1; {
		case neighbour == last>>level:
			path = append(path, edge[level])
		case neighbour < last>>level:
			h, err := b.node(level, neighbour)
			if err != nil {
				return nil, err
			}
			path = append(path, h)
		}
	}
	return path, nil
}

// receipts proves n of the batch's entries. It runs in the writer's goroutine,
// so that proofs cost the committer nothing.
func (b *batch) receipts(first uint64, n int) ([]Receipt, error) {
	edge, err := b.edge()
	if err != nil {
		return nil, err
	}
	out := make([]Receipt, n)
	for i := range out {
		index := first + uint64(i)
		path, err := b.path(index, edge)
		if err != nil {
			return nil, err
		}
		out[i] = Receipt{Origin: b.head.Origin, Index: index, Leaf: b.made[0][index-b.start], Head: b.head, Proof: path}
	}
	return out, nil
}
