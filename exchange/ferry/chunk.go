package ferry

import (
	"crypto/rand"
	"fmt"
	"strings"
	"time"
)

// maxAssembling bounds the bytes of unfinished messages held for one partition.
const maxAssembling = 4 * MaxBody

// chunk is the header of one piece of a message.
type chunk struct {
	id           string // random, one for each published message
	index, count int
	total        int // bytes of the whole body
}

func (c chunk) String() string {
	return fmt.Sprintf("%s %d %d %d", c.id, c.index, c.count, c.total)
}

// parseChunk accepts only what split makes: full pieces but for the last.
func parseChunk(s string) (chunk, error) {
	var c chunk
	bad := fmt.Errorf("header %s is malformed", HeaderChunk)
	if len(s) > 128 || strings.Count(s, " ") != 3 {
		return chunk{}, bad
	}
	if n, err := fmt.Sscanf(s, "%s %d %d %d", &c.id, &c.index, &c.count, &c.total); n != 4 || err != nil || c.String() != s {
		return chunk{}, bad
	}
	if c.total <= 0 || c.total > MaxBody || c.count != (c.total+ChunkSize-1)/ChunkSize || c.index < 0 || c.index >= c.count {
		return chunk{}, bad
	}
	return c, nil
}

// size returns the bytes this piece must have.
func (c chunk) size() int {
	if c.index == c.count-1 {
		return c.total - (c.count-1)*ChunkSize
	}
	return ChunkSize
}

// split cuts a message with a large body into pieces. All carry all headers, so
// that each can be judged alone; all must go to one partition, in order.
func split(m Message) ([]Message, error) {
	if len(m.Body) > MaxBody {
		return nil, fmt.Errorf("body of %d bytes: %w", len(m.Body), ErrTooLarge)
	}
	for name, value := range m.Headers {
		if len(value) > maxHeader || len(name) > 64 {
			return nil, fmt.Errorf("header %.64s: %w", name, ErrTooLarge)
		}
	}
	if len(m.Body) <= ChunkOver {
		return []Message{m}, nil
	}
	c := chunk{id: rand.Text(), count: (len(m.Body) + ChunkSize - 1) / ChunkSize, total: len(m.Body)}
	pieces := make([]Message, c.count)
	for i := range pieces {
		c.index = i
		piece := m
		piece.Headers = withHeaders(m.Headers, HeaderChunk, c.String())
		piece.Body = m.Body[i*ChunkSize : min((i+1)*ChunkSize, len(m.Body))]
		pieces[i] = piece
	}
	return pieces, nil
}

// withHeaders copies headers and sets the given pairs.
func withHeaders(headers map[string]string, pairs ...string) map[string]string {
	out := make(map[string]string, len(headers)+len(pairs)/2)
	for k, v := range headers {
		out[k] = v
	}
	for i := 0; i < len(pairs); i += 2 {
		out[pairs[i]] = pairs[i+1]
	}
	return out
}

// assembler puts the pieces of one partition together again. It is used by one
// goroutine. Offsets of held pieces are given back with the whole message, so
// that none is marked before the message has been handled.
type assembler struct {
	held  map[string]*assembly
	bytes int
}

type assembly struct {
	chunk
	body    []byte
	offsets []int64
	touched time.Time // when the last piece came
}

// add takes one record. It returns the whole message when this was the last
// piece (whole), and the offsets that are now done with: the message's own if
// whole, otherwise those of pieces that have been given up.
func (a *assembler) add(m Message, now time.Time) (message Message, offsets []int64, whole bool) {
	header := m.Headers[HeaderChunk]
	if header == "" {
		return m, []int64{m.Offset}, true
	}
	c, err := parseChunk(header)
	if err != nil || len(m.Body) != c.size() {
		return m, []int64{m.Offset}, false
	}
	h := a.held[c.id]
	switch {
	case c.index == 0 && h == nil:
		offsets = a.makeRoom(c.total)
		h = &assembly{chunk: c, body: make([]byte, 0, c.total)}
		if a.held == nil {
			a.held = map[string]*assembly{}
		}
		a.held[c.id] = h
		a.bytes += c.total
	case h == nil || h.count != c.count || h.total != c.total || len(h.offsets) != c.index:
		return m, []int64{m.Offset}, false // its beginning is gone, or it is not the next
	}
	h.body = append(h.body, m.Body...)
	h.offsets, h.touched = append(h.offsets, m.Offset), now
	if c.index < c.count-1 {
		return m, offsets, false
	}
	a.drop(c.id)
	m.Headers = withHeaders(m.Headers)
	delete(m.Headers, HeaderChunk)
	m.Body = h.body
	return m, append(offsets, h.offsets...), true
}

func (a *assembler) drop(id string) {
	a.bytes -= a.held[id].total
	delete(a.held, id)
}

// makeRoom gives up the oldest unfinished messages until total bytes more fit.
func (a *assembler) makeRoom(total int) (given []int64) {
	for a.bytes+total > maxAssembling {
		given = append(given, a.giveUpOldest()...)
	}
	return given
}

// expire gives up messages no piece of which came since the given time: their
// sender died half-way.
func (a *assembler) expire(before time.Time) (given []int64) {
	for id, h := range a.held {
		if h.touched.Before(before) {
			given = append(given, h.offsets...)
			a.drop(id)
		}
	}
	return given
}

func (a *assembler) giveUpOldest() []int64 {
	var oldest string
	for id, h := range a.held {
		if oldest == "" || h.touched.Before(a.held[oldest].touched) {
			oldest = id
		}
	}
	given := a.held[oldest].offsets
	a.drop(oldest)
	return given
}
