package pdf

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// str is a string token (ISO 32000-1 7.3.4) with its place in the file, delimiters
// included.
type str struct {
	bytes    []byte
	hex      bool
	from, to int
	// Of a hexadecimal string: what it has beside digits of one case, in pairs.
	upper, lower, spaced, odd bool
}

// The kinds of bytes in hexDigits, above the value of a digit.
const (
	hexFigure = 1 << (4 + iota)
	hexLower
	hexUpper
	hexOther // no digit
)

// digits are looked up: Contents alone has tens of thousands of them.
var digits = hexDigits()

// hexDigits has the kind of each byte and, of a digit, its value.
func hexDigits() (kinds [256]byte) {
	for c := range kinds {
		kinds[c] = hexOther
	}
	for i, c := range []byte("0123456789") {
		kinds[c] = hexFigure | byte(i)
	}
	for i, c := range []byte("abcdef") {
		kinds[c] = hexLower | byte(10+i)
		kinds[c-'a'+'A'] = hexUpper | byte(10+i)
	}
	return kinds
}

// unhex returns the value of a digit, -1 for other bytes.
func unhex(c byte) int {
	if k := digits[c]; k&hexOther == 0 {
		return int(k & 0xF)
	}
	return -1
}

func (p *parser) hexString() (str, error) {
	s := str{hex: true, from: p.at}
	end := bytes.IndexByte(p.b[p.at:], '>')
	if end < 0 {
		return s, p.cut("hexadecimal string has no end")
	}
	s.to = p.at + end + 1
	text := p.b[p.at+1 : p.at+end]
	if !s.decodePairs(text) {
		if err := s.decode(text); err != nil {
			return s, p.errorf("%v", err)
		}
	}
	p.at = s.to
	return s, nil
}

// decodePairs decodes what is nothing but pairs of digits, as every usual string is.
func (s *str) decodePairs(text []byte) bool {
	if len(text)%2 != 0 {
		return false
	}
	s.bytes = make([]byte, len(text)/2)
	from := lowerPairs(s.bytes, text)
	kinds := byte(0)
	if len(bytes.Trim(text[:2*from], "0123456789")) > 0 {
		kinds = hexLower
	}
	for i := from; i < len(s.bytes); i++ {
		high, low := digits[text[2*i]], digits[text[2*i+1]]
		kinds |= high | low
		s.bytes[i] = high<<4 | low&0xF
	}
	s.lower, s.upper = kinds&hexLower != 0, kinds&hexUpper != 0
	return kinds&hexOther == 0
}

// lowerPairs decodes figures and lower-case digits, eight at a time, as far as there
// are no others, and returns how many bytes that makes. Contents alone has tens of
// thousands of them, and hardly any others in files of this package.
func lowerPairs(out, text []byte) (n int) {
	const ones, low = 0x0101010101010101, 0x0F0F0F0F0F0F0F0F
	for ; len(text) >= 8; n, text = n+4, text[8:] {
		x := binary.LittleEndian.Uint64(text)
		letter := x >> 6 & ones // 1 where a letter stands, 0 where a figure
		v := x & low
		if x&^low != 0x30*ones+0x30*letter || // of the wrong row of ASCII
			((v+6*ones-6*letter)|(v+9*letter)|(v-letter))&^low != 0 { // above 9, above f, below a
			return n
		}
		v += 9 * letter
		v = (v<<4 | v>>8) & 0x00FF00FF00FF00FF
		v = (v | v>>8) & 0x0000FFFF0000FFFF
		binary.LittleEndian.PutUint32(out[n:], uint32(v|v>>16))
	}
	return n
}

var errNoDigit = errors.New("what is no digit in a hexadecimal string")

// decode decodes any other string (7.3.4.3): white space is passed over, and the
// second digit of a last pair may be missing.
func (s *str) decode(text []byte) error {
	s.bytes, s.lower, s.upper = s.bytes[:0], false, false
	high := -1
	for _, c := range text {
		v := unhex(c)
		if v < 0 {
			if s.spaced = true; !white[c] {
				return errNoDigit
			}
			continue
		}
		s.lower = s.lower || digits[c]&hexLower != 0
		s.upper = s.upper || digits[c]&hexUpper != 0
		if high < 0 {
			high = v
			continue
		}
		s.bytes = append(s.bytes, byte(high<<4|v))
		high = -1
	}
	if s.odd = high >= 0; s.odd {
		s.bytes = append(s.bytes, byte(high<<4))
	}
	return nil
}

func (p *parser) literalString() (str, error) {
	s := str{from: p.at}
	p.at++
	for open := 1; p.at < len(p.b); p.at++ {
		c := p.b[p.at]
		switch c {
		case '(':
			open++
		case ')':
			if open--; open == 0 {
				p.at++
				s.to = p.at
				return s, nil
			}
		case '\\':
			if p.at++; p.at >= len(p.b) {
				return s, p.cut("string has no end")
			}
			s.bytes = p.escape(s.bytes)
			continue
		}
		s.bytes = append(s.bytes, c)
	}
	return s, p.cut("string has no end")
}

// escape appends the character behind a backslash; p.at is left on its last byte.
func (p *parser) escape(out []byte) []byte {
	c := p.b[p.at]
	switch c {
	case 'n':
		return append(out, '\n')
	case 'r':
		return append(out, '\r')
	case 't':
		return append(out, '\t')
	case 'b':
		return append(out, '\b')
	case 'f':
		return append(out, '\f')
	case '\n':
		return out
	case '\r':
		if p.at+1 < len(p.b) && p.b[p.at+1] == '\n' {
			p.at++
		}
		return out
	}
	if c < '0' || c > '7' {
		return append(out, c)
	}
	v := int(c - '0')
	for i := 0; i < 2 && p.at+1 < len(p.b) && p.b[p.at+1] >= '0' && p.b[p.at+1] <= '7'; i++ {
		p.at++
		v = v*8 + int(p.b[p.at]-'0')
	}
	return append(out, byte(v))
}
