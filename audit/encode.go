package audit

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

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
	h := sm3.New()
	h.Write([]byte{0})
	h.Write(open)
	h.Write([]byte{'\n'})
	h.Write(closed[:])
	var out Hash
	h.Sum(out[:0])
	return out
}

func closedHash(closed []byte, salt [SaltSize]byte) Hash {
	h := sm3.New()
	h.Write(salt[:])
	h.Write(closed)
	var out Hash
	h.Sum(out[:0])
	return out
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

// timeDigits is the width of a time in microseconds, from 2001 to 2286.
const timeDigits = 16

// encoded is an entry ready to be written but for its time, which the
// committer fills in, so that times are monotonic in the order of the log.
type encoded struct {
	raw    []byte // stored form
	open   int    // length of the open half
	timeAt int    // offset of the 16 digits
	closed Hash   // SM3(salt ‖ closed)
}

const minTime = 1_000_000_000_000_000 // 2001-09-09, the first of 16 digits
const maxTime = 9_999_999_999_999_999 // 2286-11-20

func encode(e Entry, now time.Time) (*encoded, error) {
	if e.Open.Op == "" {
		return nil, fmt.Errorf("%w: no operation", ErrEntry)
	}
	e.Open.V = Version
	e.Open.Time = minTime
	if e.Open.ID == "" {
		e.Open.ID = newULID(now)
	} else if len(e.Open.ID) != 26 || strings.Trim(e.Open.ID, crockford) != "" {
		return nil, fmt.Errorf("%w: id is not a ULID", ErrEntry)
	}
	open, err := json.Marshal(e.Open)
	if err != nil {
		return nil, fmt.Errorf("%w: open half: %w", ErrEntry, err)
	}
	closed, err := json.Marshal(e.Closed)
	if err != nil {
		return nil, fmt.Errorf("%w: closed half: %w", ErrEntry, err)
	}
	if err := errors.Join(withoutNumbers("open", open), withoutNumbers("closed", closed)); err != nil {
		return nil, err
	}
	var salt [SaltSize]byte
	rand.Read(salt[:]) // never fails (crypto/rand, Go 1.24)
	return assemble(open, closed, salt)
}

func assemble(open, closed []byte, salt [SaltSize]byte) (*encoded, error) {
	n := len(open) + 1 + 2*SaltSize + 1 + len(closed) + 1
	if n > maxEntry {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrEntry, n, maxEntry)
	}
	at := bytes.Index(open, []byte(`,"ts":`))
	if at < 0 || at+6+timeDigits > len(open) {
		return nil, fmt.Errorf("%w: no time", ErrEntry)
	}
	raw := append(make([]byte, 0, n), open...)
	raw = append(raw, '\n')
	raw = hex.AppendEncode(raw, salt[:])
	raw = append(raw, ' ')
	raw = append(append(raw, closed...), '\n')
	return &encoded{raw: raw, open: len(open), timeAt: at + 6, closed: closedHash(closed, salt)}, nil
}

// stamp writes the time and returns the leaf hash.
func (e *encoded) stamp(us int64) Hash {
	strconv.AppendInt(e.raw[e.timeAt:e.timeAt], us, 10) // 16 digits over 16 digits
	return LeafHashWithheld(e.raw[:e.open], e.closed)
}

// parseStored reads the stored form. Every byte of it is accounted for: the
// halves go into the leaf hash, and the rest has only one spelling.
func parseStored(raw []byte) (Stored, error) {
	var s Stored
	var err error
	s.OpenJSON, s.ClosedJSON, err = splitStored(raw, &s.Salt)
	if err == nil {
		s.Leaf = LeafHash(s.OpenJSON, s.ClosedJSON, s.Salt)
	}
	return s, err
}

// storedLeaf is parseStored for who wants the leaf hash only.
func storedLeaf(raw []byte) (Hash, error) {
	var salt [SaltSize]byte
	open, closed, err := splitStored(raw, &salt)
	if err != nil {
		return Hash{}, err
	}
	return LeafHash(open, closed, salt), nil
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

const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// newULID makes a ULID: 48 bits of milliseconds, 80 random bits, 26 characters.
func newULID(now time.Time) string {
	var b [16]byte
	ms := uint64(now.UnixMilli())
	for i := range 6 {
		b[i] = byte(ms >> (40 - 8*i))
	}
	rand.Read(b[6:])
	var out [26]byte
	// 130 bits, the first two of them zero: five bits a character.
	for i := range out {
		var v byte
		for j := range 5 {
			bit := i*5 + j - 2
			v <<= 1
			if bit >= 0 {
				v |= b[bit/8] >> (7 - bit%8) & 1
			}
		}
		out[i] = crockford[v]
	}
	return string(out[:])
}
