package pdf

import (
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/emmansun/gmsm/sm3"
)

// ErrTooLarge is wrapped by Fill when a signature does not fit its slot.
var ErrTooLarge = errors.New("pdf: signature does not fit")

// Draft is a finished file whose signature is still empty: the prefix, then b, in
// which the digits of the signature are left out.
type Draft struct {
	prefix   *prefix
	b        []byte
	cut      int // where in b the digits belong, between < and >
	capacity int // bytes of the largest signature
}

// ByteRange returns the four numbers of the file's ByteRange.
func (d *Draft) ByteRange() [4]int {
	from := len(d.prefix.b) + d.cut - 1
	return [4]int{0, from, from + 2*d.capacity + 2, len(d.b) - d.cut - 1}
}

// Capacity is the largest signature in bytes that Fill takes.
func (d *Draft) Capacity() int { return d.capacity }

// Digest returns SM3 over the bytes that the ByteRange covers: the dataHash of a
// SES signature, the message digest of a CMS one.
func (d *Draft) Digest() []byte {
	return d.prefix.digest(d.b[:d.cut-1], d.b[d.cut+1:])
}

// Fill returns the file with signature (DER) as Contents, in lower-case
// hexadecimal with zeros behind it. The draft itself stays empty. It returns
// ErrTooLarge when the signature is empty or longer than Capacity.
func (d *Draft) Fill(signature []byte) ([]byte, error) {
	if len(signature) == 0 || len(signature) > d.Capacity() {
		return nil, fmt.Errorf("%w: %d bytes, slot holds 1 to %d", ErrTooLarge, len(signature), d.Capacity())
	}
	return d.file(signature), nil
}

func (d *Draft) file(signature []byte) []byte {
	f := make([]byte, 0, len(d.prefix.b)+len(d.b)+2*d.capacity)
	f = append(append(f, d.prefix.b...), d.b[:d.cut]...)
	f = hex.AppendEncode(f, signature)
	for n := len(f) + 2*(d.capacity-len(signature)); len(f) < n; {
		f = append(f, zeros[:min(n-len(f), len(zeros))]...)
	}
	return append(f, d.b[d.cut:]...)
}

const zeros = "0000000000000000000000000000000000000000000000000000000000000000"

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
func pdfDate(t time.Time) string { return t.In(china).Format("D:20060102150405+08'00'") }
