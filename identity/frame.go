package identity

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

var (
	// ErrFrame is returned for a reader's answer that is damaged.
	ErrFrame = errors.New("reader's answer is damaged / 读卡器应答损坏")
	// ErrReader is returned when a reader answers that it has no card text,
	// wrapped with its status.
	ErrReader = errors.New("reader could not read the card / 读卡器未能读卡")
)

const (
	framePreamble = "\xAA\xAA\xAA\x96\x69"
	frameSuccess  = "\x00\x00\x90"
	frameHead     = len(framePreamble) + 2 // and the length
	frameStatus   = 3
	frameCheck    = 1
)

// Frame is what a reader's security module answers to "read card": text,
// compressed photograph (WLT) and, if asked for, fingerprints.
type Frame struct {
	secret
	Text, Photo, Fingerprint []byte
}

// ParseFrame takes a security module's answer apart:
//
//	AA AA AA 96 69 | length (2) | status (3) | length of text (2), of photo (2)
//	[, of fingerprint (2)] | text | photo [| fingerprint] | XOR (1)
//
// Numbers are big-endian; length counts from the status to the XOR, which is
// over all from the length on. Errors wrap ErrFrame or ErrReader. The slices
// of the result are parts of raw.
func ParseFrame(raw []byte) (Frame, error) {
	body, ok := bytes.CutPrefix(raw, []byte(framePreamble))
	if !ok || len(raw) < frameHead+frameStatus+frameCheck {
		return Frame{}, fmt.Errorf("%w: no preamble", ErrFrame)
	}
	if int(binary.BigEndian.Uint16(body)) != len(raw)-frameHead {
		return Frame{}, fmt.Errorf("%w: length", ErrFrame)
	}
	var check byte
	for _, b := range body {
		check ^= b
	}
	if check != 0 { // the last byte cancels the XOR of the others
		return Frame{}, fmt.Errorf("%w: check byte", ErrFrame)
	}
	status, data := body[2:2+frameStatus], body[2+frameStatus:len(body)-frameCheck]
	if string(status) != frameSuccess {
		return Frame{}, fmt.Errorf("%w: status %X", ErrReader, status)
	}
	for _, lengths := range []int{2, 3} { // without and with fingerprints
		if f, ok := cutFrame(data, lengths); ok {
			return f, nil
		}
	}
	return Frame{}, fmt.Errorf("%w: lengths of its parts", ErrFrame)
}

// cutFrame cuts data that begins with n two-byte lengths into n parts, if
// those are exactly its size.
func cutFrame(data []byte, n int) (Frame, bool) {
	if len(data) < 2*n {
		return Frame{}, false
	}
	parts, rest := make([][]byte, 3), data[2*n:]
	for i := range n {
		size := int(binary.BigEndian.Uint16(data[2*i:]))
		if size > len(rest) {
			return Frame{}, false
		}
		parts[i], rest = rest[:size:size], rest[size:]
	}
	return Frame{Text: parts[0], Photo: parts[1], Fingerprint: parts[2]}, len(rest) == 0 && len(parts[0]) == CardTextSize
}
