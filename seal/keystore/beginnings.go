package keystore

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm3"
)

// Beginnings hashes messages with SM3 of which many begin alike, as what is signed
// with one seal does: it remembers the state after a beginning. The zero value is
// ready; it is safe for concurrent use.
type Beginnings struct {
	before []byte // hashed before every message

	mu     sync.RWMutex
	states map[mark]known
	size   int // bytes of memory of states, about
}

// known is a beginning and the state of SM3 behind it. It is never changed.
type known struct{ before, beginning, state []byte }

// mark finds a beginning quicker than all of its bytes would. It may be that of
// another one: only the bytes themselves tell.
type mark struct {
	length int
	some   [9]uint64
}

func markOf(before, beginning []byte) mark {
	m := mark{length: len(beginning)}
	last := len(m.some) - 1
	if len(before) >= 8 {
		m.some[last] = binary.LittleEndian.Uint64(before)
	}
	if len(beginning) >= 8 {
		for i := range last {
			m.some[i] = binary.LittleEndian.Uint64(beginning[(len(beginning)-8)*i/(last-1):])
		}
	}
	return m
}

// The memory is bounded, since strangers' documents are verified too: a seal has
// a handful of beginnings, which hold lengths, and a city some hundred kinds of
// documents.
const (
	maxBeginning  = 128 << 10 // bytes of one
	maxBeginnings = 16 << 20  // bytes of all
	stateSize     = 512       // bytes of a state and its place in the map, about
)

var userID = []byte("1234567812345678")

// Sum is SM3 over beginning ‖ rest, the parts of rest one after the other.
func (b *Beginnings) Sum(beginning []byte, rest ...[]byte) ([]byte, error) {
	return b.sum(b.before, beginning, rest...)
}

// Digest is what SM2 signs of the message beginning ‖ rest: SM3 over Z ‖ message with
// the user id 1234567812345678 (GB/T 32918.2).
func (b *Beginnings) Digest(public *ecdsa.PublicKey, beginning, rest []byte) ([]byte, error) {
	z, err := sm2.CalculateZA(public, userID)
	if err != nil {
		return nil, fmt.Errorf("keystore: %w", err)
	}
	return b.sum(z, beginning, rest)
}

func (b *Beginnings) sum(before, beginning []byte, rest ...[]byte) ([]byte, error) {
	m := markOf(before, beginning)
	b.mu.RLock()
	k := b.states[m]
	b.mu.RUnlock()
	h := sm3.New()
	if k.state != nil && bytes.Equal(k.before, before) && bytes.Equal(k.beginning, beginning) {
		if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(k.state); err != nil {
			return nil, fmt.Errorf("keystore: state of SM3: %w", err)
		}
	} else {
		h.Write(before)
		h.Write(beginning)
		state, err := h.(encoding.BinaryMarshaler).MarshalBinary()
		if err != nil {
			return nil, fmt.Errorf("keystore: state of SM3: %w", err)
		}
		b.remember(m, before, beginning, state)
	}
	for _, part := range rest {
		h.Write(part)
	}
	return h.Sum(nil), nil
}

// remember keeps a state, in the place of another of the same mark.
func (b *Beginnings) remember(m mark, before, beginning, state []byte) {
	if len(beginning) > maxBeginning {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	size := len(beginning) + stateSize
	if old := b.states[m]; old.state != nil {
		b.size -= len(old.beginning) + stateSize
	}
	if b.size += size; b.states == nil || b.size > maxBeginnings {
		b.states, b.size = make(map[mark]known), size
	}
	b.states[m] = known{bytes.Clone(before), bytes.Clone(beginning), state}
}

// begun signs messages whose beginnings are remembered with a key in memory.
type begun struct {
	key  *sm2.PrivateKey
	hash Beginnings // over Z ‖ message, GB/T 32918.2
}

func newBegun(key *sm2.PrivateKey) (*begun, error) {
	z, err := sm2.CalculateZA(&key.PublicKey, userID)
	if err != nil {
		return nil, fmt.Errorf("keystore: %w", err)
	}
	return &begun{key: key, hash: Beginnings{before: z}}, nil
}

func (b *begun) sign(beginning, rest []byte) ([]byte, error) {
	sum, err := b.hash.Sum(beginning, rest)
	if err != nil {
		return nil, err
	}
	return b.key.Sign(rand.Reader, sum, nil) // nil: sum is the digest
}

// SignBegun signs the message beginning ‖ rest and returns DER. Where the key is in
// memory, the next message that begins the same is signed without hashing its
// beginning again.
func (k *Key) SignBegun(beginning, rest []byte) ([]byte, error) {
	if k.begun != nil {
		return k.begun.sign(beginning, rest)
	}
	return k.sign(append(append(make([]byte, 0, len(beginning)+len(rest)), beginning...), rest...))
}
