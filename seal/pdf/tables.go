package pdf

import "encoding/binary"

// tables writes a TrueType file: the directory, which is filled while tables are
// added in the order of their tags, and the checksums of the format.
type tables struct {
	out     []byte
	start   int // where the file begins in out
	records int // how many are in the directory
	sum     uint32
	headAt  int
}

// newTables begins a file with the tables that are always there and those of the
// optional ones that are not nil.
func newTables(out []byte, always int, optional ...[]byte) *tables {
	n := always + 1 // glyf
	for _, o := range optional {
		if o != nil {
			n++
		}
	}
	t := &tables{out: out, start: len(out)}
	pow, sel := 1, 0
	for pow*2 <= n {
		pow, sel = pow*2, sel+1
	}
	t.out = binary.BigEndian.AppendUint32(t.out, 0x00010000)
	for _, v := range []int{n, 16 * pow, sel, 16 * (n - pow)} {
		t.out = binary.BigEndian.AppendUint16(t.out, uint16(v))
	}
	t.out = append(t.out, make([]byte, 16*n)...)
	return t
}

// add writes a table, unless it is nil.
func (t *tables) add(tag string, data []byte) {
	if data == nil {
		return
	}
	if tag == "head" {
		t.headAt = len(t.out)
	}
	at := len(t.out)
	t.out = append(t.out, data...)
	t.record(tag, at, tableSum(data))
}

// addGlyphs writes the glyf table, with the new numbers of components.
func (t *tables) addGlyphs(glyphs []*glyph, parts map[uint16]uint16) {
	at, sum := len(t.out), uint32(0)
	for _, g := range glyphs {
		from := len(t.out)
		t.out = append(t.out, g.data...)
		if len(g.components) == 0 {
			sum += g.sum
			continue
		}
		for _, c := range g.components {
			binary.BigEndian.PutUint16(t.out[from+c.at:], parts[c.gid])
		}
		sum += sum32(t.out[from:])
	}
	t.record("glyf", at, sum)
}

// record enters the table that stands from at to the end, and pads it.
func (t *tables) record(tag string, at int, sum uint32) {
	rec := t.out[t.start+12+16*t.records:]
	copy(rec, tag)
	binary.BigEndian.PutUint32(rec[4:], sum)
	binary.BigEndian.PutUint32(rec[8:], uint32(at-t.start))
	binary.BigEndian.PutUint32(rec[12:], uint32(len(t.out)-at))
	t.records++
	t.sum += sum
	for (len(t.out)-t.start)%4 != 0 {
		t.out = append(t.out, 0)
	}
}

func (t *tables) finish() []byte {
	t.sum += sum32(t.out[t.start : t.start+12+16*t.records])
	binary.BigEndian.PutUint32(t.out[t.headAt+8:], 0xB1B0AFBA-t.sum)
	return t.out
}

// tableSum is the checksum of a table whose length need not divide by four.
func tableSum(b []byte) uint32 {
	s := sum32(b)
	if tail := len(b) % 4; tail != 0 {
		var last [4]byte
		copy(last[:], b[len(b)-tail:])
		s += sum32(last[:])
	}
	return s
}

func sum32(b []byte) (s uint32) {
	for ; len(b) >= 4; b = b[4:] {
		s += binary.BigEndian.Uint32(b)
	}
	return s
}
