package pdf

import (
	"bytes"
	"math"
	"slices"
	"strconv"
	"strings"
)

const maxDepth = 40

// The values of PDF objects: nil, bool, float64, name, ref, str, array, dict.
type (
	name  string
	ref   int
	array []any
	dict  []pair // in order of the keys when it is large
	pair  struct {
		key   name
		value any
	}
)

// largeDict is from how many entries on a dictionary is searched by halves: a file may
// hold one of hundreds of thousands, and refer to it as often.
const largeDict = 16

// get returns the value of a key, nil when there is none.
func (d dict) get(key name) any {
	if i := d.find(key); i >= 0 {
		return d[i].value
	}
	return nil
}

func (d dict) has(key name) bool { return d.find(key) >= 0 }

func (d dict) find(key name) int {
	if len(d) >= largeDict {
		if i, ok := slices.BinarySearchFunc(d, key, func(p pair, key name) int { return strings.Compare(string(p.key), string(key)) }); ok {
			return i
		}
		return -1
	}
	for i := range d {
		if d[i].key == key {
			return i
		}
	}
	return -1
}

// parser reads the tokens of ISO 32000-1 7.2 and 7.3. It accepts only what has
// one meaning: a key that stands twice in a dictionary is an error, because two
// readers may choose differently.
type parser struct {
	b   []byte
	at  int
	mem *memory
}

// memory is where the values of one file are read into. Most dictionaries and arrays
// are small: many share one allocation.
type memory struct {
	left   int    // how many values may still be read
	values []any  // of arrays that are not read to their ends
	pairs  []pair // of such dictionaries
	arrays []any  // free for arrays
	dicts  []pair // and for dictionaries
}

// slab is how many values are allocated together.
const slab = 128

// closed takes what stands in open from a place on into memory of its own.
func closed[T any](open, free *[]T, from int) []T {
	n := len(*open) - from
	out := []T{}
	switch {
	case n == 0:
	case n > slab/4:
		out = make([]T, n)
	case n > len(*free):
		*free = make([]T, slab)
		fallthrough
	default:
		out, *free = (*free)[:n:n], (*free)[n:]
	}
	copy(out, (*open)[from:])
	*open = (*open)[:from]
	return out
}

// The classes of ISO 32000-1 7.2.2.
var (
	white = classOf("\x00\t\n\f\r ")
	delim = classOf("()<>[]{}/%")
)

func classOf(chars string) (class [256]bool) {
	for _, c := range []byte(chars) {
		class[c] = true
	}
	return class
}

func isWhite(c byte) bool { return white[c] }
func isDelim(c byte) bool { return delim[c] }

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

// integer reads a number of at most 15 figures, and stays where it is if there is none.
func (p *parser) integer() (int, bool) {
	p.skip()
	w := p.word()
	n := 0
	for _, c := range w {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	if len(w) == 0 || len(w) > 15 {
		return 0, false
	}
	p.at += len(w)
	return n, true
}

func (p *parser) value(depth int) (any, error) {
	if depth > maxDepth {
		return nil, p.beyond("nested too deeply")
	}
	if p.mem.left--; p.mem.left < 0 {
		return nil, p.beyond("more than %d values", maxValues)
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
	if n, ok := p.integer(); ok {
		// "n g R" is a reference; anything else leaves the number alone.
		after := p.at
		if g, ok := p.integer(); ok && g == 0 && p.keyword("R") {
			return ref(n), nil
		}
		p.at = after
		if n < len(smallNumbers) {
			return smallNumbers[n], nil
		}
		return float64(n), nil
	}
	w := string(p.word())
	switch w {
	case "null", "true", "false":
		p.at += len(w)
		if w == "null" {
			return nil, nil
		}
		return w == "true", nil
	}
	f, err := strconv.ParseFloat(w, 64)
	if w == "" || len(w) > 40 || err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, p.errorf("not an object")
	}
	p.at += len(w)
	return f, nil
}

func (p *parser) name() (any, error) {
	p.at++
	w := p.word()
	p.at += len(w)
	if known := usualNames[string(w)]; known != nil {
		return known, nil
	}
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
			return nil, p.errorf("bad escape in a name")
		}
		out = append(out, byte(unhex(w[i+1])<<4|unhex(w[i+2])))
		i += 2
	}
	return name(out), nil
}

func (p *parser) array(depth int) (array, error) {
	p.at++
	m := p.mem
	from := len(m.values)
	for {
		if p.skip(); p.at < len(p.b) && p.b[p.at] == ']' {
			p.at++
			return closed(&m.values, &m.arrays, from), nil
		}
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		m.values = append(m.values, v)
	}
}

func (p *parser) dict(depth int) (dict, error) {
	p.at += 2
	m := p.mem
	from := len(m.pairs)
	for {
		p.skip()
		if p.has(">>") {
			p.at += 2
			return p.checked(closed(&m.pairs, &m.dicts, from))
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
		m.pairs = append(m.pairs, pair{key.(name), v})
	}
}

// checked refuses a dictionary with a key that stands twice.
func (p *parser) checked(d dict) (dict, error) {
	twice := false
	if len(d) >= largeDict {
		slices.SortFunc(d, func(a, b pair) int { return strings.Compare(string(a.key), string(b.key)) })
		for i := 1; i < len(d); i++ {
			twice = twice || d[i].key == d[i-1].key
		}
	} else {
		for i := range d {
			twice = twice || d[:i].has(d[i].key)
		}
	}
	if twice {
		return nil, &Damage{Class: ErrSyntax, Byte: p.at, what: "key stands twice in a dictionary"} // at the end of the file, too
	}
	return d, nil
}
