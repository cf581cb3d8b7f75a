package keystore

import (
	"crypto/ecdsa"
	"crypto/rand"
	"encoding"
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
	states map[string][]byte
	size   int // bytes of memory of states, about
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
	b.mu.RLock()
	state := b.states[string(beginning)]
	b.mu.RUnlock()
	h := sm3.New()
	if state != nil {
		if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(state); err != nil {
			return nil, fmt.Errorf("keystore: state of SM3: %w", err)
		}
	} else {
		h.Write(b.before)
		h.Write(beginning)
		state, err := h.(encoding.BinaryMarshaler).MarshalBinary()
		if err != nil {
			return nil, fmt.Errorf("keystore: state of SM3: %w", err)
		}
		b.remember(beginning, state)
	}
	for _, part := range rest {
		h.Write(part)
	}
	return h.Sum(nil), nil
}

// Digest is what SM2 signs of the message beginning ‖ rest: SM3 over Z ‖ message with
// the user id 1234567812345678 (GB/T 32918.2).
func (b *Beginnings) Digest(public *ecdsa.PublicKey, beginning, rest []byte) ([]byte, error) {
	z, err := sm2.CalculateZA(public, userID)
	if err != nil {
		return nil, fmt.Errorf("keystore: %w", err)
	}
	return b.Sum(append(z, beginning...), rest)
}

func (b *Beginnings) remember(beginning, state []byte) {
	if len(beginning) > maxBeginning {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.states[string(beginning)] != nil {
		return
	}
	size := len(beginning) + stateSize
	if b.size += size; b.states == nil || b.size > maxBeginnings {
		b.states, b.size = make(map[string][]byte), size
	}
	b.states[string(beginning)] = state
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
