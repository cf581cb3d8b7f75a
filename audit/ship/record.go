package ship

import (
	"encoding/base64"
	"strconv"
	"time"

	"yizheng/audit"
)

// Record is one entry as sinks get it.
type Record struct {
	Origin string
	Index  uint64
	Leaf   audit.Hash
	Entry  audit.Entry // its closed half is empty where it is withheld
	Open   []byte      // as stored
	Closed []byte      // as stored; nil where it is withheld
	Salt   []byte      // nil where the closed half is withheld
	// JSON is the whole record on one line, without its end: the form in which
	// syslog, HTTPS and Kafka carry it.
	JSON []byte
}

func newRecord(origin string, e audit.Stored, closed bool) Record {
	r := Record{Origin: origin, Index: e.Index, Leaf: e.Leaf, Entry: e.Entry, Open: e.OpenJSON}
	// The stored bytes go in as they are: who wants to check the leaf hash takes
	// them as they stand.
	b := make([]byte, 0, len(e.OpenJSON)+len(e.ClosedJSON)+len(origin)+160)
	b = append(b, `{"origin":`...)
	b = strconv.AppendQuote(b, origin) // host/path/quarter: ASCII
	b = append(b, `,"index":`...)
	b = strconv.AppendUint(b, e.Index, 10)
	b = member(b, "leaf", e.Leaf[:])
	b = append(append(b, `,"open":`...), e.OpenJSON...)
	if closed {
		r.Closed, r.Salt = e.ClosedJSON, e.Salt[:]
		b = append(append(b, `,"closed":`...), e.ClosedJSON...)
		b = member(b, "salt", e.Salt[:])
	} else {
		r.Entry.Closed = audit.Closed{}
		h := e.ClosedHash()
		b = member(b, "closed_sm3", h[:])
	}
	r.JSON = append(b, '}')
	return r
}

func member(b []byte, name string, value []byte) []byte {
	b = append(append(append(b, `,"`...), name...), `":"`...)
	return append(base64.StdEncoding.AppendEncode(b, value), '"')
}

// Time is when the entry was written.
func (r Record) Time() time.Time { return time.UnixMicro(r.Entry.Open.Time) }
