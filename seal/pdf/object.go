package pdf

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// errSyntax is what the object parser returns; readers wrap it in ErrStructure.
var errSyntax = errors.New("syntax error")

const maxDepth = 40

// The values of PDF objects: nil, bool, float64, name, ref, str, array, dict.
type (
	name  string
	ref   int
	array []any
	dict  map[name]any
	// str is a string token with its place in the file, delimiters included.
	str struct {
		bytes    []byte
		hex      bool
		from, to int
		// Of a hexadecimal string: what it has beside digits of one case, in pairs.
		upper, lower, spaced, odd bool
	}
)

// parser reads the tokens of ISO 32000-1 7.2 and 7.3. It accepts only what has
// one meaning: a key that stands twice in a dictionary is an error, because two
// readers may choose differently.
type parser struct {
	b    []byte
	at   int
	left *int // how many values may still be read
}

func (p *parser) errorf(format string, args ...any) error {
	return fmt.Errorf("%w at byte %d: %s", errSyntax, p.at, fmt.Sprintf(format, args...))
}

// The classes of ISO 32000-1 7.2.2, and the values of hexadecimal digits. Contents
// alone is tens of thousands of digits, so they are looked up.
var (
	white  = classOf("\x00\t\n\f\r ")
	delim  = classOf("()<>[]{}/%")
	digits = hexDigits()
)

func classOf(chars string) (class [256]bool) {
	for _, c := range []byte(chars) {
		class[c] = true
	}
	return class
}

// hexDigits has the value of each digit, -1 for other bytes.
func hexDigits() (value [256]int8) {
	for c := range value {
		value[c] = -1
	}
	for i, c := range []byte("0123456789abcdef") {
		value[c] = int8(i)
	}
	for i, c := range []byte("ABCDEF") {
		value[c] = int8(10 + i)
	}
	return value
}

func isWhite(c byte) bool { return white[c] }
func isDelim(c byte) bool { return delim[c] }
func unhex(c byte) int    { return int(digits[c]) }

func (p *parser) skipWhite() {
	for p.at < len(p.b) && isWhite(p.b[p.at]) {
		p.at++
	}
}

// skip moves over white space and comments.
func (p *parser) skip() {
	for p.at < len(p.b) {
		switch c := p.b[p.at]; {
		case isWhite(c):
			p.at++
		case c == '%':
			for p.at < len(p.b) && p.b[p.at] != '\n' && p.b[p.at] != '\r' {
				p.at++
			}
		default:
			return
		}
	}
}

func (p *parser) has(s string) bool { return bytes.HasPrefix(p.b[p.at:], []byte(s)) }

// word returns the regular characters at the current place without moving.
func (p *parser) word() []byte {
	end := p.at
	for end < len(p.b) && !isWhite(p.b[end]) && !isDelim(p.b[end]) {
		end++
	}
	return p.b[p.at:end]
}

// keyword moves over word if it stands next.
func (p *parser) keyword(word string) bool {
	p.skip()
	if string(p.word()) != word {
		return false
	}
	p.at += len(word)
	return true
}

func (p *parser) integer() (int, bool) {
	p.skip()
	w := p.word()
	n, err := strconv.Atoi(string(w))
	if err != nil || n < 0 || len(w) > 15 {
		return 0, false
	}
	p.at += len(w)
	return n, true
}

func (p *parser) value(depth int) (any, error) {
	if depth > maxDepth {
		return nil, p.errorf("nested too deeply")
	}
	if *p.left--; *p.left < 0 {
		return nil, p.errorf("more than %d values", maxValues)
	}
	p.skip()
	if p.at >= len(p.b) {
		return nil, p.errorf("unexpected end")
	}
	switch {
	case p.has("<<"):
		return p.dict(depth)
	case p.b[p.at] == '[':
		return p.array(depth)
	case p.b[p.at] == '/':
		return p.name()
	case p.b[p.at] == '<':
		return p.hexString()
	case p.b[p.at] == '(':
		return p.literalString()
	}
	return p.scalar()
}

func (p *parser) scalar() (any, error) {
	w := string(p.word())
	switch w {
	case "null", "true", "false":
		p.at += len(w)
		if w == "null" {
			return nil, nil
		}
		return w == "true", nil
	}
	if n, ok := p.integer(); ok {
		// "n g R" is a reference; anything else leaves the number alone.
		after := p.at
		if g, ok := p.integer(); ok && g == 0 && p.keyword("R") {
			return ref(n), nil
		}
		p.at = after
		return float64(n), nil
	}
	f, err := strconv.ParseFloat(w, 64)
	if w == "" || len(w) > 40 || err != nil {
		return nil, p.errorf("not an object")
	}
	p.at += len(w)
	return f, nil
}

func (p *parser) name() (name, error) {
	p.at++
	w := p.word()
	p.at += len(w)
	if !bytes.ContainsRune(w, '#') {
		return name(w), nil
	}
	out := make([]byte, 0, len(w))
	for i := 0; i < len(w); i++ {
		if w[i] != '#' {
			out = append(out, w[i])
			continue
		}
		if i+2 >= len(w) || unhex(w[i+1]) < 0 || unhex(w[i+2]) < 0 {
			return "", p.errorf("bad escape in a name")
		}
		out = append(out, byte(unhex(w[i+1])<<4|unhex(w[i+2])))
		i += 2
	}
	return name(out), nil
}

func (p *parser) hexString() (str, error) {
	s := str{hex: true, from: p.at}
	end := bytes.IndexByte(p.b[p.at:], '>')
	if end < 0 {
		return s, p.errorf("hexadecimal string has no end")
	}
	s.to = p.at + end + 1
	s.bytes = make([]byte, 0, end/2+1)
	if err := s.decode(p.b[p.at+1 : p.at+end]); err != nil {
		return s, p.errorf("%v", err)
	}
	p.at = s.to
	return s, nil
}

// eightZeros is what unused Contents consist of.
const eightZeros = "0000000000000000"

func (s *str) decode(text []byte) error {
	high := int8(-1)
	for i := 0; i < len(text); i++ {
		if high < 0 && text[i] == '0' && len(text)-i >= len(eightZeros) && string(text[i:i+len(eightZeros)]) == eightZeros {
			s.bytes = append(s.bytes, 0, 0, 0, 0, 0, 0, 0, 0)
			i += len(eightZeros) - 1
			continue
		}
		c := text[i]
		v := digits[c]
		if v < 0 {
			if s.spaced = true; !white[c] {
				return fmt.Errorf("byte %#x in a hexadecimal string", c)
			}
			continue
		}
		s.lower = s.lower || c >= 'a'
		s.upper = s.upper || c >= 'A' && c < 'a'
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
				return s, p.errorf("string has no end")
			}
			s.bytes = p.escape(s.bytes)
			continue
		}
		s.bytes = append(s.bytes, c)
	}
	return s, p.errorf("string has no end")
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

func (p *parser) array(depth int) (array, error) {
	p.at++
	out := array{}
	for {
		if p.skip(); p.at < len(p.b) && p.b[p.at] == ']' {
			p.at++
			return out, nil
		}
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
}

func (p *parser) dict(depth int) (dict, error) {
	p.at += 2
	out := dict{}
	for {
		p.skip()
		if p.has(">>") {
			p.at += 2
			return out, nil
		}
		if p.at >= len(p.b) || p.b[p.at] != '/' {
			return nil, p.errorf("dictionary key expected")
		}
		key, err := p.name()
		if err != nil {
			return nil, err
		}
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		if _, ok := out[key]; ok {
			return nil, p.errorf("key stands twice in a dictionary")
		}
		out[key] = v
	}
}
