package pdf

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/emmansun/gmsm/sm3"

	"yizheng/catalog/beijing"
)

// ErrTooLarge is wrapped by Fill when a signature does not fit its slot.
var ErrTooLarge = errors.New("pdf: signature does not fit")

// ErrFilled is returned by Fill for a Draft that was filled before.
var ErrFilled = errors.New("pdf: draft was filled already")

// Draft is a finished file whose signature is still empty. It becomes one signed file,
// in the same memory.
type Draft struct {
	prefix   *prefix
	file     []byte // zeros where the digits belong; of others once it is filled
	cut      int    // where the digits belong, between < and >
	after    int    // bytes from > to the end
	capacity int    // bytes of the largest signature
	digest   []byte
	filled   atomic.Bool
}

// ByteRange returns the four numbers of the file's ByteRange.
func (d *Draft) ByteRange() [4]int {
	return [4]int{0, d.cut - 1, d.cut + 2*d.capacity + 1, d.after}
}

// Capacity is the largest signature in bytes that Fill takes.
func (d *Draft) Capacity() int { return d.capacity }

// Digest returns SM3 over the bytes that the ByteRange covers: the dataHash of a
// SES signature, the message digest of a CMS one.
func (d *Draft) Digest() []byte { return bytes.Clone(d.digest) }

// Fill returns the file with signature (DER) as Contents, in lower-case
// hexadecimal with zeros behind it. It returns ErrTooLarge when the signature is
// empty or longer than Capacity, and ErrFilled when it returned a file before.
func (d *Draft) Fill(signature []byte) ([]byte, error) {
	switch {
	case len(signature) == 0 || len(signature) > d.Capacity():
		return nil, fmt.Errorf("%w: %d bytes, slot holds 1 to %d", ErrTooLarge, len(signature), d.Capacity())
	case d.filled.Swap(true):
		return nil, ErrFilled
	}
	d.prefix.last.put(d.file[d.cut:], signature)
	return d.file, nil
}

// lastDigits remembers a signature in hexadecimal. The next one of the same seal holds
// the same picture and certificates, and copying their digits is quicker than making
// them. The zero value is ready; it is safe for concurrent use.
type lastDigits struct{ last atomic.Pointer[digitsOf] }

// digitsOf is never changed.
type digitsOf struct{ of, digits []byte }

// put writes signature in lower-case hexadecimal.
func (m *lastDigits) put(out, signature []byte) {
	const block = 256
	last, known := m.last.Load(), 0
	for at := 0; at < len(signature); at += block {
		to := min(at+block, len(signature))
		if last != nil && to <= len(last.of) && bytes.Equal(signature[at:to], last.of[at:to]) {
			known += copy(out[2*at:2*to], last.digits[2*at:])
		} else {
			hex.Encode(out[2*at:], signature[at:to])
		}
	}
	if known < len(signature) { // less than half: of another seal
		m.last.Store(&digitsOf{bytes.Clone(signature), bytes.Clone(out[:2*len(signature)])})
	}
}

// Digest returns SM3 over the bytes of pdf that a ByteRange covers. It wraps
// ErrByteRange when the range does not lie within the file.
func Digest(pdf []byte, byteRange [4]int) ([]byte, error) {
	before, after, err := covered(pdf, byteRange)
	if err != nil {
		return nil, err
	}
	h := sm3.New()
	h.Write(before)
	h.Write(after)
	return h.Sum(nil), nil
}

func covered(pdf []byte, br [4]int) (before, after []byte, err error) {
	for _, n := range br {
		if n < 0 || n > len(pdf) {
			return nil, nil, fmt.Errorf("%w: %v in a file of %d bytes", ErrByteRange, br, len(pdf))
		}
	}
	if br[0]+br[1] > br[2] || br[2]+br[3] > len(pdf) {
		return nil, nil, fmt.Errorf("%w: %v in a file of %d bytes", ErrByteRange, br, len(pdf))
	}
	return pdf[br[0] : br[0]+br[1]], pdf[br[2] : br[2]+br[3]], nil
}

// pdfDate writes t in China Standard Time as a PDF date, to the second.
func pdfDate(t time.Time) string { return t.In(beijing.Zone()).Format("D:20060102150405+08'00'") }
