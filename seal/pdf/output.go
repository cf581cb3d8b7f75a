package pdf

import (
	"bytes"
	"encoding/hex"
	"strconv"
	"unicode/utf16"
)

// writer appends numbered objects and remembers where they begin. What is large and
// lies in memory already is not copied but named, and comes in when the file is put
// together.
type writer struct {
	b       []byte
	inserts []insert
	before  int   // bytes of all inserts
	offsets []int // by object number; 0 for none
	next    int
	scratch []byte // for font files
}

// insert is memory of others that comes before b[at].
type insert struct {
	at   int
	data []byte
}

// at is the place in the file of what is written next.
func (w *writer) at() int { return w.before + len(w.b) }

// insert puts data, which must not change any more, at the current place.
func (w *writer) insert(data []byte) {
	w.inserts = append(w.inserts, insert{len(w.b), data})
	w.before += len(data)
}

// zeros stand where a signature has no digits.
var zeros = bytes.Repeat([]byte{'0'}, 16<<10)

// blank leaves room for digits.
func (w *writer) blank(digits int) {
	for ; digits > len(zeros); digits -= len(zeros) {
		w.insert(zeros)
	}
	w.insert(zeros[:digits])
}

// whole puts the file together, in memory of its own.
func (w *writer) whole() []byte {
	parts, from := make([][]byte, 0, 64), 0
	for _, in := range w.inserts {
		parts = append(parts, w.b[from:in.at], in.data)
		from = in.at
	}
	return bytes.Join(append(parts, w.b[from:]), nil) // which does not first clear its memory
}

func (w *writer) number() int {
	w.next++
	return w.next - 1
}

func (w *writer) begin(n int) *writer {
	for len(w.offsets) <= n {
		w.offsets = append(w.offsets, 0)
	}
	w.offsets[n] = w.at()
	return w.int(n).add(" 0 obj\n")
}

func (w *writer) end() { w.add("\nendobj\n") }

// stream ends a dictionary that add began with its length, and the object with data.
func (w *writer) stream(data []byte) {
	w.add("/Length ").int(len(data)).add(">>\nstream\n")
	w.insert(data)
	w.add("\nendstream").end()
}

func (w *writer) add(s string) *writer {
	w.b = append(w.b, s...)
	return w
}

func (w *writer) int(n int) *writer {
	w.b = strconv.AppendInt(w.b, int64(n), 10)
	return w
}

// ref refers to an object.
func (w *writer) ref(n int) *writer { return w.int(n).add(" 0 R") }

// points writes numbers with two decimals.
func (w *writer) points(numbers ...float64) *writer { return w.decimals(2, numbers...) }

func (w *writer) decimals(places int, numbers ...float64) *writer {
	w.b = appendDecimals(w.b, places, numbers...)
	return w
}

func appendDecimals(b []byte, places int, numbers ...float64) []byte {
	for i, n := range numbers {
		if i > 0 {
			b = append(b, ' ')
		}
		b = strconv.AppendFloat(b, n, 'f', places, 64)
	}
	return b
}

// hex writes s as a hexadecimal string.
func (w *writer) hex(s []byte) *writer {
	w.b = append(hex.AppendEncode(append(w.b, '<'), s), '>')
	return w
}

// text writes s as a text string: ASCII or UTF-16BE, in hexadecimal.
func (w *writer) text(s string) *writer {
	w.b = appendText(w.b, s)
	return w
}

func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7E {
			b = append(b, "<feff"...)
			for _, r := range s {
				b = appendUTF16(b, r, lowerHex)
			}
			return append(b, '>')
		}
	}
	b = append(b, '<')
	for i := range len(s) {
		b = append(b, lowerHex[s[i]>>4], lowerHex[s[i]&15])
	}
	return append(b, '>')
}

// appendUTF16 writes r in UTF-16BE, with the digits of one case.
func appendUTF16(b []byte, r rune, digits string) []byte {
	if r < 0x10000 {
		return appendHex16(b, uint16(r), digits)
	}
	high, low := utf16.EncodeRune(r)
	return appendHex16(appendHex16(b, uint16(high), digits), uint16(low), digits)
}

func appendHex16(b []byte, v uint16, digits string) []byte {
	return append(b, digits[v>>12], digits[v>>8&15], digits[v>>4&15], digits[v&15])
}

const (
	lowerHex = "0123456789abcdef"
	upperHex = "0123456789ABCDEF"
)
