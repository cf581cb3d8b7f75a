package pdf

import "encoding/binary"

// Mainland typography sets these marks in the lower left of their square (GB/T
// 15834-2011 appendix); some fonts centre them, as is usual in Taiwan.
func leftPunctuation(r rune) bool {
	switch r {
	case '，', '；', '：', '．', '！', '？', '、', '。':
		return true
	}
	return false
}

// outline returns the glyph that stands at place i of the embedded font: that of
// the font file, or the same moved to the left for a centred punctuation mark.
func (s *subset) outline(i int, gid uint16) (*glyph, error) {
	g, err := s.font.glyph(gid)
	if err != nil || i > len(s.runes) || !leftPunctuation(s.runes[i-1]) || len(g.data) < 10 {
		return g, err
	}
	em := s.font.unitsPerEm
	xMin, xMax := int(int16(binary.BigEndian.Uint16(g.data[2:]))), int(int16(binary.BigEndian.Uint16(g.data[6:])))
	if centre := (xMin + xMax) / 2; centre < em*2/5 || centre > em*3/5 || xMax-xMin > em/2 {
		return g, nil
	}
	return moved(g, gid, em*12/100-xMin), nil
}

// moved wraps g, which is glyph gid of its file, into a composite glyph that
// shows it dx font units further to the right.
func moved(g *glyph, gid uint16, dx int) *glyph {
	const argsAreWordsAndOffsets = 1<<0 | 1<<1
	b := make([]byte, 20)
	copy(b, g.data[:10])
	for _, at := range []int{2, 6} { // xMin, xMax
		x := int(int16(binary.BigEndian.Uint16(b[at:]))) + dx
		binary.BigEndian.PutUint16(b[at:], uint16(int16(x)))
	}
	binary.BigEndian.PutUint16(b, 0xFFFF) // composite
	binary.BigEndian.PutUint16(b[10:], argsAreWordsAndOffsets)
	binary.BigEndian.PutUint16(b[12:], gid)
	binary.BigEndian.PutUint16(b[14:], uint16(int16(dx)))
	return &glyph{data: b, sum: sum32(b), components: []component{{12, gid}}}
}
