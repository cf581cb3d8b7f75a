package audit

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/emmansun/gmsm/sm3"
)

// SaltSize is the length of an entry's salt in bytes.
const SaltSize = 16

// maxEntry is the largest stored entry in bytes. It leaves an entry bundle's
// 16-bit length enough room.
const maxEntry = 65535

// LeafHash is SM3(0x00 ‖ open ‖ 0x0A ‖ SM3(salt ‖ closed)) over the bytes of
// the two halves as they are stored.
func LeafHash(open, closed []byte, salt [SaltSize]byte) Hash {
	return LeafHashWithheld(open, closedHash(closed, salt))
}

// LeafHashWithheld is LeafHash for somebody who may not see the closed half
// and was given only its salted hash.
func LeafHashWithheld(open []byte, closed Hash) Hash {
	var h hasher
	return h.leaf(open, closed)
}

func closedHash(closed []byte, salt [SaltSize]byte) Hash {
	var h hasher
	return h.closed(closed, salt)
}

// hasher is room to lay out what is hashed, so that SM3 gets it in one piece.
// It belongs to one goroutine; its zero value is ready.
type hasher struct{ buf []byte }

func (h *hasher) leaf(open []byte, closed Hash) Hash {
	h.buf = append(append(h.buf[:0], 0), open...)
	h.buf = append(append(h.buf, '\n'), closed[:]...)
	return sm3.Sum(h.buf)
}

func (h *hasher) closed(closed []byte, salt [SaltSize]byte) Hash {
	h.buf = append(append(h.buf[:0], salt[:]...), closed...)
	return sm3.Sum(h.buf)
}

// Stored is an entry as read back from a log.
type Stored struct {
	Index      uint64
	Entry      Entry
	Salt       [SaltSize]byte
	OpenJSON   []byte // as stored; hash these bytes, never a new encoding
	ClosedJSON []byte
	Leaf       Hash
}

// ClosedHash is what stands for the closed half where it is withheld, see LeafHashWithheld.
func (s Stored) ClosedHash() Hash { return closedHash(s.ClosedJSON, s.Salt) }

// Stored form: open ‖ 0x0A ‖ hex(salt) ‖ 0x20 ‖ closed ‖ 0x0A.
// Two lines, so that an inspector reads a segment with a pager.

// A time in microseconds has 16 digits, from 2001 to 2286.
const minTime = 1_000_000_000_000_000 // 2001-09-09
const maxTime = 9_999_999_999_999_999 // 2286-11-20

// timeAt is where the time stands in every entry: version and id are of one length.
const timeAt = len(`{"v":1,"id":"`) + ulidLen + len(`","ts":`)

// parseStored reads the stored form. Every byte of it is accounted for: the
// halves go into the leaf hash, and the rest has only one spelling.
func (h *hasher) parseStored(raw []byte) (Stored, error) {
	var s Stored
	var err error
	s.OpenJSON, s.ClosedJSON, err = splitStored(raw, &s.Salt)
	if err == nil {
		s.Leaf = h.leaf(s.OpenJSON, h.closed(s.ClosedJSON, s.Salt))
	}
	return s, err
}

// storedLeaf is parseStored for who wants the leaf hash only.
func (h *hasher) storedLeaf(raw []byte) (Hash, error) {
	var salt [SaltSize]byte
	open, closed, err := splitStored(raw, &salt)
	if err != nil {
		return Hash{}, err
	}
	return h.leaf(open, h.closed(closed, salt)), nil
}

func splitStored(raw []byte, salt *[SaltSize]byte) (open, closed []byte, err error) {
	i := bytes.IndexByte(raw, '\n')
	const line2 = 2*SaltSize + 1
	if i < 2 || len(raw) < i+1+line2+3 || raw[len(raw)-1] != '\n' || raw[i+line2] != ' ' {
		return nil, nil, fmt.Errorf("%w: not an open and a closed half", ErrDamaged)
	}
	enc := raw[i+1 : i+line2]
	if _, err := hex.Decode(salt[:], enc); err != nil || bytes.ContainsAny(enc, "ABCDEF") {
		return nil, nil, fmt.Errorf("%w: salt is not lower hex", ErrDamaged)
	}
	open, closed = raw[:i], raw[i+line2+1:len(raw)-1]
	if bytes.IndexByte(closed, '\n') >= 0 {
		return nil, nil, fmt.Errorf("%w: more than two lines", ErrDamaged)
	}
	return open, closed, nil
}

// decode fills Entry from the JSON of both halves.
func (s *Stored) decode() error {
	if err := json.Unmarshal(s.OpenJSON, &s.Entry.Open); err != nil {
		return fmt.Errorf("%w: open half is not the JSON of an entry", ErrDamaged)
	}
	if err := json.Unmarshal(s.ClosedJSON, &s.Entry.Closed); err != nil {
		return fmt.Errorf("%w: closed half is not the JSON of an entry", ErrDamaged)
	}
	if s.Entry.Open.V != Version {
		return fmt.Errorf("%w: entry of version %d", ErrDamaged, s.Entry.Open.V)
	}
	return nil
}
