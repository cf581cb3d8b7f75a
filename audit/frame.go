package audit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// A frame is one batch as it lies in a segment, all integers big-endian:
//
//	header  magic "AUB1" | u8 version 1 | u8 hash 1 (SM3) | u16 flags 0
//	        | u64 first index | u32 count | u32 body length | u32 CRC-32C of the 24 bytes before
//	body    count × ( u32 length | stored entry )
//	head    u64 size | 32 root | i64 time, µs | 32 SM3(previous head)
//	sig     u16 length | SM2 signature (DER) over the head's note text
//	crc     u32 CRC-32C of everything before
//	zeros   to the next multiple of 512
const (
	frameMagic   = "AUB1"
	frameVersion = 1
	hashSM3      = 1
	frameAlign   = 512
	headerLen    = 28
	trailerMax   = headLen + 2 + maxSignature + 4
	maxBatch     = 2048    // entries
	maxBody      = 1 << 20 // bytes; a single entry always fits
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// alignUp rounds up to a whole number of 512-byte sectors.
func alignUp(n int64) int64 { return (n + frameAlign - 1) &^ (frameAlign - 1) }

// frameSize is the most that a frame with this body can take in a segment.
func frameSize(body int) int64 { return alignUp(int64(headerLen + body + trailerMax)) }

// appendHeader starts a frame; the body follows.
func appendHeader(b []byte, first uint64, count, body int) []byte {
	at := len(b)
	b = append(b, frameMagic...)
	b = append(b, frameVersion, hashSM3, 0, 0)
	b = binary.BigEndian.AppendUint64(b, first)
	b = binary.BigEndian.AppendUint32(b, uint32(count))
	b = binary.BigEndian.AppendUint32(b, uint32(body))
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b[at:], castagnoli))
}

// finishFrame appends head, signature, checksum and padding to header and body.
func finishFrame(b []byte, h Head, sig []byte) []byte {
	b = h.appendTo(b)
	b = binary.BigEndian.AppendUint16(b, uint16(len(sig)))
	b = append(b, sig...)
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	return append(b, make([]byte, alignUp(int64(len(b)))-int64(len(b)))...)
}

// A frame that has been read. Its slices point into the segment.
type frame struct {
	first   uint64
	entries [][]byte
	head    Head
	sig     []byte
	length  int64 // with padding
}

// What can be wrong with the bytes at a frame's place.
var (
	errNoFrame   = errors.New("zeros where a frame could begin")
	errTornFrame = errors.New("not a whole frame")     // header or checksum do not hold
	errBadFrame  = errors.New("frame was not made so") // checksums hold, content does not
)

type frameHeader struct {
	first       uint64
	count, body int
}

// parseHeader reads a header whose checksum holds.
func parseHeader(b []byte) (frameHeader, error) {
	if len(b) < headerLen || string(b[:4]) != frameMagic {
		return frameHeader{}, fmt.Errorf("%w: no header", errTornFrame)
	}
	if crc32.Checksum(b[:headerLen-4], castagnoli) != binary.BigEndian.Uint32(b[headerLen-4:]) {
		return frameHeader{}, fmt.Errorf("%w: checksum of header", errTornFrame)
	}
	if b[4] != frameVersion || b[5] != hashSM3 || b[6] != 0 || b[7] != 0 {
		return frameHeader{}, fmt.Errorf("%w: version %d, hash %d, flags %02x%02x are unknown", errBadFrame, b[4], b[5], b[6], b[7])
	}
	h := frameHeader{
		first: binary.BigEndian.Uint64(b[8:]),
		count: int(binary.BigEndian.Uint32(b[16:])),
		body:  int(binary.BigEndian.Uint32(b[20:])),
	}
	if h.count < 1 || h.count > maxBatch || h.body > maxBody+maxEntry {
		return frameHeader{}, fmt.Errorf("%w: %d entries in %d bytes", errBadFrame, h.count, h.body)
	}
	return h, nil
}

// parseFrame reads the frame at the beginning of b, which is the rest of a
// segment. It checks everything that the frame alone can tell.
func parseFrame(origin string, b []byte) (*frame, error) {
	if len(b) == 0 || len(b) >= frameAlign && allZero(b[:frameAlign]) {
		return nil, errNoFrame
	}
	h, err := parseHeader(b)
	if err != nil {
		return nil, err
	}
	at := headerLen + h.body
	if len(b) < at+headLen+2 {
		return nil, fmt.Errorf("%w: longer than its segment", errTornFrame)
	}
	sigLen := int(binary.BigEndian.Uint16(b[at+headLen:]))
	end := at + headLen + 2 + sigLen
	if sigLen > maxSignature || len(b) < end+4 {
		return nil, fmt.Errorf("%w: signature of %d bytes", errTornFrame, sigLen)
	}
	if crc32.Checksum(b[:end], castagnoli) != binary.BigEndian.Uint32(b[end:]) {
		return nil, fmt.Errorf("%w: checksum", errTornFrame)
	}
	f := &frame{first: h.first, head: headFrom(origin, b[at:]), sig: b[at+headLen+2 : end], length: alignUp(int64(end + 4))}
	if int64(len(b)) < f.length || !allZero(b[end+4:f.length]) {
		return nil, fmt.Errorf("%w: padding is not zero", errBadFrame)
	}
	f.entries, err = splitBody(b[headerLen:at], h.count)
	return f, err
}

func splitBody(body []byte, count int) ([][]byte, error) {
	entries := make([][]byte, 0, count)
	for range count {
		if len(body) < 4 {
			return nil, fmt.Errorf("%w: body ends early", errBadFrame)
		}
		n := binary.BigEndian.Uint32(body)
		if n > maxEntry || int(n) > len(body)-4 {
			return nil, fmt.Errorf("%w: entry of %d bytes", errBadFrame, n)
		}
		entries = append(entries, body[4:4+n:4+n])
		body = body[4+n:]
	}
	if len(body) != 0 {
		return nil, fmt.Errorf("%w: body is longer than its entries", errBadFrame)
	}
	return entries, nil
}

var zeros [64 << 10]byte

func allZero(b []byte) bool {
	for len(b) > len(zeros) {
		if string(b[:len(zeros)]) != string(zeros[:]) {
			return false
		}
		b = b[len(zeros):]
	}
	return string(b) == string(zeros[:len(b)])
}

// lastNonZero is the length of b without its trailing zeros.
func lastNonZero(b []byte) int {
	for len(b) > len(zeros) && allZero(b[len(b)-len(zeros):]) {
		b = b[:len(b)-len(zeros)]
	}
	n := len(b)
	for n > 0 && b[n-1] == 0 {
		n--
	}
	return n
}
