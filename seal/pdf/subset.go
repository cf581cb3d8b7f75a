package pdf

import (
	"encoding/binary"
	"sort"
)

// glyph returns the outline of gid, read from the file when first used.
func (f *font) glyph(gid uint16) (*glyph, error) {
	f.mu.RLock()
	g := f.glyphs[gid]
	f.mu.RUnlock()
	if g != nil {
		return g, nil
	}
	g, err := f.readGlyph(gid)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cached+len(g.data) > glyphCache {
		clear(f.glyphs)
		f.cached = 0
	}
	if f.glyphs[gid] == nil {
		f.cached += len(g.data)
	}
	f.glyphs[gid] = g
	return g, nil
}

func (f *font) readGlyph(gid uint16) (*glyph, error) {
	if int(gid) >= f.numGlyphs {
		return nil, f.errorf("glyf", "glyph %d of %d", gid, f.numGlyphs)
	}
	from, to := f.loca[gid], f.loca[gid+1]
	size := int(to - from)
	if size > maxGlyph {
		return nil, f.errorf("glyf", "glyph %d has %d bytes, at most %d", gid, size, maxGlyph)
	}
	g := &glyph{data: make([]byte, (size+3)&^3)}
	if size == 0 {
		return g, nil
	}
	if _, err := f.src.ReadAt(g.data[:size], f.glyfOffset+int64(from)); err != nil {
		return nil, f.errorf("glyf", "glyph %d: %w", gid, err)
	}
	if size < 10 {
		return nil, f.errorf("glyf", "glyph %d has %d bytes", gid, size)
	}
	g.sum = sum32(g.data)
	if int16(binary.BigEndian.Uint16(g.data)) >= 0 {
		return g, nil
	}
	return g, f.components(gid, g, size)
}

// components lists the parts of a composite glyph (ISO/IEC 14496-22, glyf).
func (f *font) components(gid uint16, g *glyph, size int) error {
	const (
		argsAreWords = 1 << 0
		haveScale    = 1 << 3
		more         = 1 << 5
		haveXYScale  = 1 << 6
		have2x2      = 1 << 7
	)
	for at := 10; ; {
		if at+4 > size || len(g.components) > 256 {
			return f.errorf("glyf", "composite glyph %d is cut off", gid)
		}
		flags := binary.BigEndian.Uint16(g.data[at:])
		part := binary.BigEndian.Uint16(g.data[at+2:])
		if int(part) >= f.numGlyphs {
			return f.errorf("glyf", "glyph %d uses glyph %d of %d", gid, part, f.numGlyphs)
		}
		g.components = append(g.components, component{at + 2, part})
		at += 6
		if flags&argsAreWords != 0 {
			at += 2
		}
		switch {
		case flags&haveScale != 0:
			at += 2
		case flags&haveXYScale != 0:
			at += 4
		case flags&have2x2 != 0:
			at += 8
		}
		if flags&more == 0 {
			return nil
		}
	}
}

func sum32(b []byte) (s uint32) {
	for ; len(b) >= 4; b = b[4:] {
		s += binary.BigEndian.Uint32(b)
	}
	return s
}

// subset collects the characters of one font that a document uses. Each code
// point gets a CID of its own, which is also its glyph number in the embedded
// font, even if two share an outline: only so is text extraction exact.
type subset struct {
	font  *font
	cids  map[rune]uint16
	runes []rune   // by CID-1
	gids  []uint16 // by CID-1
}

// use returns the CID of r, whose glyph in the font file is gid.
func (s *subset) use(r rune, gid uint16) uint16 {
	cid, ok := s.cids[r]
	if !ok {
		cid = uint16(len(s.runes) + 1)
		s.cids[r] = cid
		s.runes = append(s.runes, r)
		s.gids = append(s.gids, gid)
	}
	return cid
}

// width returns the advance of a CID in thousandths of an em.
func (s *subset) width(cid int) int {
	return s.font.scale(int(s.font.advance[s.gids[cid-1]]))
}

// closure returns the glyph numbers of the embedded font: an empty .notdef, the
// used ones by CID, then the components they need, with the new numbers of
// components by old number.
func (s *subset) closure() (list []uint16, parts map[uint16]uint16, err error) {
	list = append(make([]uint16, 1, len(s.gids)+1), s.gids...)
	parts = map[uint16]uint16{}
	for i := 1; i < len(list); i++ {
		g, err := s.outline(i, list[i])
		if err != nil {
			return nil, nil, err
		}
		for _, c := range g.components {
			if _, ok := parts[c.gid]; !ok {
				if len(list) > 0xFFFF {
					return nil, nil, s.font.errorf("glyf", "too many component glyphs")
				}
				parts[c.gid] = uint16(len(list))
				list = append(list, c.gid)
			}
		}
	}
	state := map[uint16]visit{}
	for _, gid := range list {
		if err := s.font.checkCycle(gid, state); err != nil {
			return nil, nil, err
		}
	}
	return list, parts, nil
}

type visit int

const (
	open visit = iota + 1
	done
)

// checkCycle refuses composite glyphs that contain themselves.
func (f *font) checkCycle(gid uint16, state map[uint16]visit) error {
	switch state[gid] {
	case open:
		return f.errorf("glyf", "composite glyph %d contains itself", gid)
	case done:
		return nil
	}
	g, err := f.glyph(gid)
	if err != nil || len(g.components) == 0 {
		return err
	}
	state[gid] = open
	for _, c := range g.components {
		if err := f.checkCycle(c.gid, state); err != nil {
			return err
		}
	}
	state[gid] = done
	return nil
}

type fontTable struct {
	tag  string
	data []byte
	sum  uint32
}

// file returns the TrueType file of the subset.
func (s *subset) file() ([]byte, error) {
	list, parts, err := s.closure()
	if err != nil {
		return nil, err
	}
	f, n := s.font, len(list)
	loca := make([]byte, 4*(n+1))
	hmtx := make([]byte, 4*n)
	size := 0
	for i, gid := range list {
		if i == 0 {
			binary.BigEndian.PutUint16(hmtx, 1000)
			continue
		}
		g, err := s.outline(i, gid)
		if err != nil {
			return nil, err
		}
		size += len(g.data)
		binary.BigEndian.PutUint32(loca[4*(i+1):], uint32(size))
		binary.BigEndian.PutUint16(hmtx[4*i:], f.advance[gid])
		binary.BigEndian.PutUint16(hmtx[4*i+2:], uint16(f.bearing[gid]))
		if i < len(s.gids)+1 && len(g.data) >= 10 {
			copy(hmtx[4*i+2:4*i+4], g.data[2:4]) // xMin, which a moved glyph has changed
		}
	}
	glyf, glyfSum := make([]byte, 0, size), uint32(0)
	for i, gid := range list[1:] {
		g, err := s.outline(i+1, gid)
		if err != nil {
			return nil, err
		}
		at := len(glyf)
		glyf = append(glyf, g.data...)
		if len(g.components) == 0 {
			glyfSum += g.sum
			continue
		}
		for _, c := range g.components {
			binary.BigEndian.PutUint16(glyf[at+c.at:], parts[c.gid])
		}
		glyfSum += sum32(glyf[at:])
	}
	head := append([]byte(nil), f.head...)
	binary.BigEndian.PutUint32(head[8:], 0)
	binary.BigEndian.PutUint16(head[50:], 1)
	hhea := append([]byte(nil), f.hhea...)
	binary.BigEndian.PutUint16(hhea[34:], uint16(n))
	maxp := append([]byte(nil), f.maxp...)
	binary.BigEndian.PutUint16(maxp[4:], uint16(n))
	raise := func(at int, least uint16) {
		binary.BigEndian.PutUint16(maxp[at:], max(least, binary.BigEndian.Uint16(maxp[at:])))
	}
	raise(10, binary.BigEndian.Uint16(maxp[6:])) // moved marks are composites of any simple glyph
	raise(12, binary.BigEndian.Uint16(maxp[8:]))
	raise(28, 1)
	raise(30, 2)
	tables := []fontTable{{"glyf", glyf, glyfSum}}
	for _, t := range []fontTable{{tag: "cvt ", data: f.cvt}, {tag: "fpgm", data: f.fpgm}, {tag: "head", data: head},
		{tag: "hhea", data: hhea}, {tag: "hmtx", data: hmtx}, {tag: "loca", data: loca}, {tag: "maxp", data: maxp}, {tag: "prep", data: f.prep}} {
		if t.data != nil {
			t.sum = tableSum(t.data)
			tables = append(tables, t)
		}
	}
	sort.Slice(tables, func(i, j int) bool { return tables[i].tag < tables[j].tag })
	return assemble(tables), nil
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

// assemble writes directory and tables, with the checksums of the format.
func assemble(tables []fontTable) []byte {
	n := len(tables)
	size := 12 + 16*n
	for _, t := range tables {
		size += (len(t.data) + 3) &^ 3
	}
	pow := 1
	sel := 0
	for pow*2 <= n {
		pow, sel = pow*2, sel+1
	}
	out := make([]byte, 12+16*n, size)
	binary.BigEndian.PutUint32(out, 0x00010000)
	binary.BigEndian.PutUint16(out[4:], uint16(n))
	binary.BigEndian.PutUint16(out[6:], uint16(16*pow))
	binary.BigEndian.PutUint16(out[8:], uint16(sel))
	binary.BigEndian.PutUint16(out[10:], uint16(16*(n-pow)))
	total, headAt := uint32(0), 0
	for i, t := range tables {
		if t.tag == "head" {
			headAt = len(out)
		}
		rec := out[12+16*i:]
		copy(rec, t.tag)
		binary.BigEndian.PutUint32(rec[4:], t.sum)
		binary.BigEndian.PutUint32(rec[8:], uint32(len(out)))
		binary.BigEndian.PutUint32(rec[12:], uint32(len(t.data)))
		total += t.sum
		out = append(out, t.data...)
		for len(out)%4 != 0 {
			out = append(out, 0)
		}
	}
	total += sum32(out[:12+16*n])
	binary.BigEndian.PutUint32(out[headAt+8:], 0xB1B0AFBA-total)
	return out
}
