package spool

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// Range is a run of sequence numbers, both ends included.
type Range struct{ From, To uint64 }

const maxRanges = 512

// ackBody is the body of an Ack: u8 count and, for each epoch (at most two,
// newest first),
//
//	u64 epoch ‖ u64 contiguous ‖ mark (8) ‖ u16 length, bitmap ‖ marks (8 each)
//
// Everything up to contiguous has been received or voided; mark is the first 8
// bytes of the digest of file contiguous. Bit i of the bitmap, counted from the
// lowest bit of the first byte, stands for contiguous+2+i (contiguous+1 is
// missing by definition); the last byte is not zero. There is one mark for each
// bit that is set, in their order. A mark is zero if the file was voided. By
// the marks a sender notices that the other side has other files under its
// numbers: it has gone back to an old state.
type ackBody []ackEpoch

type ackEpoch struct {
	epoch, contiguous uint64
	mark              mark
	bitmap            []byte
	marks             []mark
}

// mark is the beginning of a file's digest.
type mark [8]byte

const (
	maxAckEpochs = 2
	maxBitmap    = Window / 8
)

func (a ackBody) marshal() []byte {
	b := []byte{byte(len(a))}
	for _, e := range a {
		b = binary.BigEndian.AppendUint64(b, e.epoch)
		b = binary.BigEndian.AppendUint64(b, e.contiguous)
		b = append(b, e.mark[:]...)
		b = binary.BigEndian.AppendUint16(b, uint16(len(e.bitmap)))
		b = append(b, e.bitmap...)
		for _, m := range e.marks {
			b = append(b, m[:]...)
		}
	}
	return b
}

func parseAck(b []byte) (ackBody, error) {
	d := decoder{b: b}
	n := d.u8()
	if n < 1 || n > maxAckEpochs {
		return nil, fmt.Errorf("%w: ack of %d epochs", ErrFormat, n)
	}
	var a ackBody
	for range n {
		e := ackEpoch{epoch: d.u64(), contiguous: d.u64()}
		copy(e.mark[:], d.take(8))
		e.bitmap = d.take(d.u16())
		if e.epoch == 0 || e.epoch > maxMillis || e.contiguous > maxSeq-2*Window || len(e.bitmap) > maxBitmap ||
			len(e.bitmap) > 0 && e.bitmap[len(e.bitmap)-1] == 0 || len(a) > 0 && e.epoch >= a[len(a)-1].epoch {
			return nil, fmt.Errorf("%w: ack", ErrFormat)
		}
		for _, octet := range e.bitmap {
			for range bits.OnesCount8(octet) {
				var m mark
				copy(m[:], d.take(8))
				e.marks = append(e.marks, m)
			}
		}
		a = append(a, e)
	}
	return a, d.end("ack")
}

// each calls fn for every sequence above contiguous that is acknowledged.
func (e ackEpoch) each(fn func(seq uint64, m mark)) {
	n := 0
	for i := range uint64(len(e.bitmap)) * 8 {
		if e.bitmap[i/8]&(1<<(i%8)) != 0 {
			fn(e.contiguous+2+i, e.marks[n])
			n++
		}
	}
}

// has reports whether seq is acknowledged.
func (e ackEpoch) has(seq uint64) bool {
	if seq <= e.contiguous {
		return true
	}
	i := seq - e.contiguous - 2 // wraps for contiguous+1: out of range below
	return i < uint64(len(e.bitmap))*8 && e.bitmap[i/8]&(1<<(i%8)) != 0
}

// highest is the highest sequence acknowledged.
func (e ackEpoch) highest() uint64 {
	n := len(e.bitmap)
	if n == 0 {
		return e.contiguous
	}
	return e.contiguous + 2 + uint64(n-1)*8 + uint64(bits.Len8(e.bitmap[n-1])) - 1
}

// nackBody is the body of a Nack: u64 epoch ‖ u16 count, each u64 from ‖ u64 to,
// ascending and apart.
type nackBody struct {
	epoch  uint64
	ranges []Range
}

func (n nackBody) marshal() []byte {
	return appendRanges(binary.BigEndian.AppendUint64(nil, n.epoch), n.ranges)
}

func parseNack(b []byte) (nackBody, error) {
	d := decoder{b: b}
	n := nackBody{epoch: d.u64()}
	var err error
	if n.ranges, err = parseRanges(&d); err != nil {
		return n, err
	}
	if n.epoch == 0 || n.epoch > maxMillis || len(n.ranges) == 0 {
		return n, fmt.Errorf("%w: nack", ErrFormat)
	}
	return n, d.end("nack")
}

func appendRanges(b []byte, ranges []Range) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(ranges)))
	for _, r := range ranges {
		b = binary.BigEndian.AppendUint64(b, r.From)
		b = binary.BigEndian.AppendUint64(b, r.To)
	}
	return b
}

func parseRanges(d *decoder) ([]Range, error) {
	n := d.u16()
	if n > maxRanges {
		return nil, fmt.Errorf("%w: %d ranges", ErrFormat, n)
	}
	var ranges []Range
	last := uint64(0)
	for range n {
		r := Range{d.u64(), d.u64()}
		if d.failed || r.From <= last || r.To < r.From || r.To > maxSeq {
			return nil, fmt.Errorf("%w: ranges", ErrFormat)
		}
		ranges, last = append(ranges, r), r.To
	}
	return ranges, nil
}

// Reason says why a file will not come any more.
type Reason byte

// Reasons of a Void.
const (
	Expired      Reason = 1 // its not-after has passed
	Acknowledged Reason = 2 // it was acknowledged before: the receiver has forgotten
	Lost         Reason = 3 // the sender no longer has it, or has it damaged
)

func (r Reason) String() string {
	switch r {
	case Expired:
		return "expired"
	case Acknowledged:
		return "acknowledged"
	case Lost:
		return "lost"
	}
	return "?"
}

// voidBody is the body of a Void: u64 epoch ‖ u64 from ‖ u64 to ‖ u8 reason ‖
// digest of file `to` (32), zero if unknown.
type voidBody struct {
	epoch uint64
	Range
	reason Reason
	digest [32]byte
}

func (v voidBody) marshal() []byte {
	b := binary.BigEndian.AppendUint64(nil, v.epoch)
	b = binary.BigEndian.AppendUint64(b, v.From)
	b = binary.BigEndian.AppendUint64(b, v.To)
	b = append(b, byte(v.reason))
	return append(b, v.digest[:]...)
}

func parseVoid(b []byte) (voidBody, error) {
	d := decoder{b: b}
	v := voidBody{epoch: d.u64(), Range: Range{d.u64(), d.u64()}, reason: Reason(d.u8()), digest: d.digest()}
	if v.epoch == 0 || v.epoch > maxMillis || v.From == 0 || v.To < v.From || v.To > maxSeq || v.reason < Expired || v.reason > Lost {
		return v, fmt.Errorf("%w: void", ErrFormat)
	}
	return v, d.end("void")
}

// beatBody is the body of a heartbeat:
//
//	u64 epoch ‖ u64 last sequence sent ‖ u32 files not acknowledged ‖ u64 their
//	bytes ‖ i64 age of the oldest, ms ‖ i64 age of the last file received, ms
//	(-1: none yet)
type beatBody struct {
	epoch, sent uint64
	unacked     int
	bytes       uint64
	oldest      int64
	lastIn      int64
}

func (v beatBody) marshal() []byte {
	b := binary.BigEndian.AppendUint64(nil, v.epoch)
	b = binary.BigEndian.AppendUint64(b, v.sent)
	b = binary.BigEndian.AppendUint32(b, uint32(v.unacked))
	b = binary.BigEndian.AppendUint64(b, v.bytes)
	b = binary.BigEndian.AppendUint64(b, uint64(v.oldest))
	return binary.BigEndian.AppendUint64(b, uint64(v.lastIn))
}

func parseBeat(b []byte) (beatBody, error) {
	d := decoder{b: b}
	v := beatBody{epoch: d.u64(), sent: d.u64(), unacked: d.u32(), bytes: d.u64(), oldest: d.i64(), lastIn: d.i64()}
	if v.epoch == 0 || v.epoch > maxMillis || v.sent > maxSeq || v.oldest < 0 || v.lastIn < -1 {
		return v, fmt.Errorf("%w: beat", ErrFormat)
	}
	return v, d.end("beat")
}
