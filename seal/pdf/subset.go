package pdf

import "encoding/binary"

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

// subset collects the characters of one font that a document uses. Each code
// point gets a CID of its own, which is also its glyph number in the embedded
// font, even if two share an outline: only so is text extraction exact.
type subset struct {
	font   *font
	cids   map[rune]uint16
	runes  []rune   // by CID-1
	gids   []uint16 // by CID-1
	widths []uint16 // by CID-1: advance in thousandths of an em
}

func newSubset(f *font) *subset { return &subset{font: f, cids: map[rune]uint16{}} }

// wipe forgets all characters, and returns the bytes of memory the subset holds.
func (s *subset) wipe() (size int) {
	clear(s.cids)
	clear(s.runes[:cap(s.runes)])
	clear(s.gids[:cap(s.gids)])
	clear(s.widths[:cap(s.widths)])
	s.runes, s.gids, s.widths = s.runes[:0], s.gids[:0], s.widths[:0]
	return 32 * cap(s.runes) // beside the slices, about what the map holds of each
}

// runeTable is a map of the code points below U+10000 that is quick to read.
type runeTable [256]*[256]uint16

func (t *runeTable) set(r rune, cid uint16) {
	page := &t[r>>8]
	if *page == nil {
		*page = new([256]uint16)
	}
	(*page)[r&0xFF] = cid
}

func (t *runeTable) get(r rune) uint16 {
	if r < 0 || r > 0xFFFF || t[r>>8] == nil {
		return 0
	}
	return t[r>>8][r&0xFF]
}

// use returns the CID of r, whose glyph in the font file is gid.
func (s *subset) use(r rune, gid uint16) uint16 {
	cid, ok := s.cids[r]
	if !ok {
		cid = uint16(len(s.runes) + 1)
		s.cids[r] = cid
		s.runes = append(s.runes, r)
		s.gids = append(s.gids, gid)
		s.widths = append(s.widths, uint16(min(s.font.scale(int(s.font.advance[gid])), 4000)))
	}
	return cid
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

// file appends the TrueType file of the subset to out.
func (s *subset) file(out []byte) ([]byte, error) {
	list, parts, err := s.closure()
	if err != nil {
		return nil, err
	}
	f, n := s.font, len(list)
	loca := make([]byte, 4*(n+1))
	hmtx := make([]byte, 4*n)
	binary.BigEndian.PutUint16(hmtx, 1000)
	glyphs := make([]*glyph, n)
	size := 0
	for i := 1; i < n; i++ {
		gid := list[i]
		g, err := s.outline(i, gid)
		if err != nil {
			return nil, err
		}
		glyphs[i] = g
		size += len(g.data)
		binary.BigEndian.PutUint32(loca[4*(i+1):], uint32(size))
		binary.BigEndian.PutUint16(hmtx[4*i:], f.advance[gid])
		binary.BigEndian.PutUint16(hmtx[4*i+2:], uint16(f.bearing[gid]))
		if i < len(s.gids)+1 && len(g.data) >= 10 {
			copy(hmtx[4*i+2:4*i+4], g.data[2:4]) // xMin, which a moved glyph has changed
		}
	}
	t := newTables(out, 5, f.cvt, f.fpgm, f.prep)
	t.add("cvt ", f.cvt)
	t.add("fpgm", f.fpgm)
	t.addGlyphs(glyphs[1:], parts)
	t.add("head", s.head())
	hhea := append([]byte(nil), f.hhea...)
	binary.BigEndian.PutUint16(hhea[34:], uint16(n))
	t.add("hhea", hhea)
	t.add("hmtx", hmtx)
	t.add("loca", loca)
	t.add("maxp", s.maxp(n))
	t.add("prep", f.prep)
	return t.finish(), nil
}

// head is the font's, with long offsets in loca and no checksum yet.
func (s *subset) head() []byte {
	head := append([]byte(nil), s.font.head...)
	binary.BigEndian.PutUint32(head[8:], 0)
	binary.BigEndian.PutUint16(head[50:], 1)
	return head
}

// maxp is the font's for n glyphs, of which the moved marks are composites of any
// simple glyph.
func (s *subset) maxp(n int) []byte {
	maxp := append([]byte(nil), s.font.maxp...)
	binary.BigEndian.PutUint16(maxp[4:], uint16(n))
	raise := func(at int, least uint16) {
		binary.BigEndian.PutUint16(maxp[at:], max(least, binary.BigEndian.Uint16(maxp[at:])))
	}
	raise(10, binary.BigEndian.Uint16(maxp[6:]))
	raise(12, binary.BigEndian.Uint16(maxp[8:]))
	raise(28, 1)
	raise(30, 2)
	return maxp
}
