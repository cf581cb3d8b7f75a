package audit

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// request is one call of Append on its way to the committer: all that can be
// made of its entries without knowing their places.
type request struct {
	entries []encoded
	body    []byte // as in a frame
	last    bool
	state   atomic.Int32
	done    chan result // buffered: nobody need wait
	timer   *time.Timer // of a writer who does
	hasher  hasher
}

// States of a request. A writer whose deadline has passed gives it up, if the
// committer has not taken it yet.
const (
	waiting int32 = iota
	taken
	givenUp
)

type result struct {
	batch *batch
	first uint64
	err   error
}

// emptyRequest is one that was freed, or a new one. They are used again, since
// their room is most of what an Append would ask of the memory.
func (l *Log) emptyRequest() *request {
	if r, ok := l.requests.Get().(*request); ok {
		return r
	}
	return &request{done: make(chan result, 1)}
}

// mostKept is the longest body whose room is kept.
const mostKept = 16 << 10

// free gives back a request whose result was taken, so that nobody else knows
// of it. One that was given up is the committer's for ever.
func (l *Log) free(r *request) {
	if cap(r.body) > mostKept {
		return
	}
	r.entries, r.body = r.entries[:0], r.body[:0]
	r.state.Store(waiting)
	r.timer.Stop()
	l.requests.Put(r)
}

// expectResult readies a request for a result, for which a writer waits until
// something comes from the channel returned.
func (r *request) expectResult(within time.Duration) (timeout <-chan time.Time) {
	if r.timer == nil {
		r.timer = time.NewTimer(within)
	} else {
		r.timer.Reset(within)
	}
	return r.timer.C
}

// encoded is an entry within a request's body, complete but for its time, which
// the committer fills in, so that times are monotonic in the order of the log.
type encoded struct {
	at     int  // offset of the stored form in the body
	open   int  // length of the open half
	closed Hash // SM3(salt ‖ closed)
}

// add appends an entry to the body as a frame has it: its length, its stored form.
func (r *request) add(e *Entry, prev *uint64, now time.Time) error {
	if e.Open.Op == "" {
		return fmt.Errorf("%w: no operation", ErrEntry)
	}
	var random [SaltSize + ulidRandom]byte
	rand.Read(random[:]) // never fails (crypto/rand, Go 1.24)
	open := e.Open
	open.V, open.Time, open.Prev = Version, minTime, prev
	if open.ID == "" {
		open.ID = newULID(now, [ulidRandom]byte(random[SaltSize:]))
	} else if len(open.ID) != ulidLen || strings.Trim(open.ID, crockford) != "" {
		return fmt.Errorf("%w: id is not a ULID", ErrEntry)
	}
	return r.assemble(&open, &e.Closed, [SaltSize]byte(random[:SaltSize]))
}

func (r *request) assemble(open *Open, closed *Closed, salt [SaltSize]byte) error {
	e := encoded{at: len(r.body) + 4}
	b := open.appendTo(append(r.body, 0, 0, 0, 0))
	e.open = len(b) - e.at
	b = hex.AppendEncode(append(b, '\n'), salt[:])
	b = append(b, ' ')
	from := len(b)
	b = closed.appendTo(b)
	n := len(b) + 1 - e.at
	if n > maxEntry {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrEntry, n, maxEntry)
	}
	if err := errors.Join(withoutNumbers("open", b[e.at:e.at+e.open]), withoutNumbers("closed", b[from:])); err != nil {
		return err
	}
	e.closed = r.hasher.closed(b[from:], salt)
	r.body = append(b, '\n')
	binary.BigEndian.PutUint32(r.body[e.at-4:], uint32(n))
	r.entries = append(r.entries, e)
	return nil
}

// stamp writes an entry's time and returns its leaf hash.
func (r *request) stamp(e *encoded, us int64, h *hasher) Hash {
	strconv.AppendInt(r.body[e.at+timeAt:e.at+timeAt], us, 10) // 16 digits over 16 digits
	return h.leaf(r.body[e.at:e.at+e.open], e.closed)
}

const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

const (
	ulidLen    = 26
	ulidRandom = 10 // bytes
)

// newULID makes a ULID: 48 bits of milliseconds, 80 random bits, 26 characters.
func newULID(now time.Time, random [ulidRandom]byte) string {
	// 130 bits, the first two of them zero: five bits a character.
	high := uint64(now.UnixMilli())<<16 | uint64(binary.BigEndian.Uint16(random[:]))
	low := binary.BigEndian.Uint64(random[2:])
	var out [ulidLen]byte
	for i := ulidLen - 1; i >= 0; i-- {
		out[i] = crockford[low&31]
		low = low>>5 | high<<59
		high >>= 5
	}
	return string(out[:])
}
