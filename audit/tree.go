package audit

import (
	"fmt"

	"github.com/emmansun/gmsm/sm3"
	"github.com/transparency-dev/merkle/proof"
)

// sm3Hasher is the RFC 6962 §2.1 hashing with SM3 in SHA-256's place, for
// the proof algorithms of transparency-dev/merkle.
type sm3Hasher struct{}

func (sm3Hasher) EmptyRoot() []byte        { h := Hash(sm3.Sum(nil)); return h[:] }
func (sm3Hasher) Size() int                { return len(Hash{}) }
func (sm3Hasher) HashLeaf(l []byte) []byte { h := leafOf(l); return h[:] }
func (sm3Hasher) HashChildren(l, r []byte) []byte {
	var buf [65]byte
	buf[0] = 1
	copy(buf[1:], l)
	copy(buf[33:], r)
	h := sm3.Sum(buf[:])
	return h[:]
}

// leafOf is SM3(0x00 ‖ data).
func leafOf(data []byte) Hash {
	h := sm3.New()
	h.Write([]byte{0})
	h.Write(data)
	var out Hash
	h.Sum(out[:0])
	return out
}

// nodeOf is SM3(0x01 ‖ l ‖ r).
func nodeOf(l, r *Hash) Hash {
	var buf [65]byte
	buf[0] = 1
	copy(buf[1:], l[:])
	copy(buf[33:], r[:])
	return sm3.Sum(buf[:])
}

// frontier is the right edge of a growing tree: the roots of the perfect
// subtrees that its size is made of, the largest first.
type frontier struct {
	size  uint64
	roots []Hash
}

// add appends a leaf. visit, if not nil, sees every perfect node that comes
// to be: the leaf at level 0 first, then upwards.
func (f *frontier) add(leaf Hash, visit func(level uint, index uint64, h *Hash)) {
	h := leaf
	if visit != nil {
		visit(0, f.size, &h)
	}
	level := uint(0)
	for n := f.size; n&1 == 1; n >>= 1 {
		last := len(f.roots) - 1
		h = nodeOf(&f.roots[last], &h)
		f.roots = f.roots[:last]
		level++
		if visit != nil {
			visit(level, f.size>>level, &h)
		}
	}
	f.roots = append(f.roots, h)
	f.size++
}

// root is the tree's root; that of the empty tree is SM3 of nothing.
func (f *frontier) root() Hash {
	if f.size == 0 {
		return sm3.Sum(nil)
	}
	h := f.roots[len(f.roots)-1]
	for i := len(f.roots) - 2; i >= 0; i-- {
		h = nodeOf(&f.roots[i], &h)
	}
	return h
}

// nodeFunc returns the hash of a perfect node of the tree.
type nodeFunc func(level uint, index uint64) (Hash, error)

// inclusionPath collects the path of a leaf in the tree of the given size.
func inclusionPath(index, size uint64, node nodeFunc) ([]Hash, error) {
	n, err := proof.Inclusion(index, size)
	if err != nil {
		return nil, fmt.Errorf("%w: entry %d in size %d", ErrRange, index, size)
	}
	return collect(n, node)
}

// consistencyPath collects the proof between two sizes.
func consistencyPath(from, to uint64, node nodeFunc) ([]Hash, error) {
	n, err := proof.Consistency(from, to)
	if err != nil {
		return nil, fmt.Errorf("%w: size %d is larger than %d", ErrRange, from, to)
	}
	return collect(n, node)
}

func collect(n proof.Nodes, node nodeFunc) ([]Hash, error) {
	hashes := make([][]byte, len(n.IDs))
	for i, id := range n.IDs {
		h, err := node(id.Level, id.Index)
		if err != nil {
			return nil, err
		}
		hashes[i] = h[:]
	}
	path, err := n.Rehash(hashes, sm3Hasher{}.HashChildren)
	if err != nil {
		return nil, fmt.Errorf("audit: building proof: %w", err)
	}
	out := make([]Hash, len(path))
	for i := range path {
		copy(out[i][:], path[i])
	}
	return out, nil
}

// VerifyConsistency checks that the tree of size "to" with root toRoot grew
// out of the tree of size "from" with root fromRoot. Errors wrap ErrProof.
func VerifyConsistency(from, to uint64, path []Hash, fromRoot, toRoot Hash) error {
	hashes := make([][]byte, len(path))
	for i := range path {
		hashes[i] = path[i][:]
	}
	if err := proof.VerifyConsistency(sm3Hasher{}, from, to, hashes, fromRoot[:], toRoot[:]); err != nil {
		return fmt.Errorf("%w: size %d is not a beginning of size %d", ErrProof, from, to)
	}
	return nil
}

// rangeRoot is the root over a full, power-of-two list of nodes.
func rangeRoot(nodes []Hash) Hash {
	buf := append([]Hash(nil), nodes...)
	for len(buf) > 1 {
		for i := 0; i < len(buf)/2; i++ {
			buf[i] = nodeOf(&buf[2*i], &buf[2*i+1])
		}
		buf = buf[:len(buf)/2]
	}
	return buf[0]
}
