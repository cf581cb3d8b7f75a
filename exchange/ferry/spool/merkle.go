package spool

import (
	"encoding/binary"

	"github.com/emmansun/gmsm/sm3"
)

// Merkle trees as RFC 6962 section 2.1 with SM3.

func leafHash(data []byte) [32]byte { return sm3.Sum(append([]byte{0}, data...)) }

func treeRoot(leaves [][32]byte) [32]byte {
	switch len(leaves) {
	case 0:
		return sm3.Sum(nil)
	case 1:
		return leaves[0]
	}
	split := 1
	for split*2 < len(leaves) {
		split *= 2
	}
	left, right := treeRoot(leaves[:split]), treeRoot(leaves[split:])
	node := make([]byte, 0, 65)
	node = append(append(append(node, 1), left[:]...), right[:]...)
	return sm3.Sum(node)
}

// recordsRoot is the root over the records' ids in their order.
func recordsRoot(messages []Message) [32]byte {
	leaves := make([][32]byte, len(messages))
	for i, m := range messages {
		leaves[i] = leafHash([]byte(m.ID))
	}
	return treeRoot(leaves)
}

// fileLeaf is a file's leaf in the tree of a period.
func fileLeaf(seq uint64, root [32]byte) [32]byte {
	return leafHash(append(binary.BigEndian.AppendUint64(nil, seq), root[:]...))
}

// idHash is what a receiver remembers of a record's id.
func idHash(id string) (h [16]byte) {
	sum := sm3.Sum([]byte(id))
	copy(h[:], sum[:])
	return h
}
