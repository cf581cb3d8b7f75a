package pdf

import (
	"encoding/binary"
	"fmt"
	"sort"
)

// cmapGroup maps the code points first..last to glyphs from gid on.
type cmapGroup struct {
	first, last rune
	gid         uint16
}

// readCmap takes the Unicode subtables of format 12 and 4. Where both map a code
// point, format 12 decides.
func (f *font) readCmap(tables map[string]tableRange) error {
	b, err := f.need(tables, "cmap", 4)
	if err != nil {
		return err
	}
	var four, twelve []byte
	n := int(binary.BigEndian.Uint16(b[2:]))
	for i := range n {
		if 4+8*i+8 > len(b) {
			return f.errorf("cmap", "%d subtables do not fit", n)
		}
		rec := b[4+8*i:]
		platform, encoding := binary.BigEndian.Uint16(rec), binary.BigEndian.Uint16(rec[2:])
		at := int64(binary.BigEndian.Uint32(rec[4:]))
		if at+4 > int64(len(b)) {
			return f.errorf("cmap", "subtable %d lies outside", i)
		}
		unicode := platform == 0 && encoding != 5 || platform == 3 && (encoding == 1 || encoding == 10)
		switch format := binary.BigEndian.Uint16(b[at:]); {
		case unicode && format == 4:
			four = b[at:]
		case unicode && format == 12:
			twelve = b[at:]
		}
	}
	if four == nil && twelve == nil {
		return f.errorf("cmap", "no Unicode subtable of format 4 or 12")
	}
	f.bmp = make([]uint16, 0x10000)
	if four != nil {
		if err := f.cmapFormat4(four); err != nil {
			return f.errorf("cmap", "format 4: %w", err)
		}
	}
	if twelve != nil {
		if err := f.cmapFormat12(twelve); err != nil {
			return f.errorf("cmap", "format 12: %w", err)
		}
	}
	return nil
}

func (f *font) cmapFormat4(b []byte) error {
	if len(b) < 16 {
		return fmt.Errorf("%d bytes", len(b))
	}
	segX2 := int(binary.BigEndian.Uint16(b[6:])) &^ 1
	if 16+4*segX2 > len(b) {
		return fmt.Errorf("%d segments in %d bytes", segX2/2, len(b))
	}
	ends, starts := b[14:], b[16+segX2:]
	deltas, offsets := b[16+2*segX2:], b[16+3*segX2:]
	next := 0 // segments ascend; what an earlier one has mapped stays
	for i := 0; i < segX2; i += 2 {
		start, end := int(binary.BigEndian.Uint16(starts[i:])), int(binary.BigEndian.Uint16(ends[i:]))
		delta, offset := binary.BigEndian.Uint16(deltas[i:]), int(binary.BigEndian.Uint16(offsets[i:]))
		for c := max(start, next); c <= end; c++ {
			gid := uint16(c)
			if offset != 0 {
				at := i + offset + 2*(c-start)
				if at+2 > len(offsets) {
					if c == 0xFFFF { // the closing segment of some fonts points nowhere
						break
					}
					return fmt.Errorf("glyph of U+%04X lies outside", c)
				}
				if gid = binary.BigEndian.Uint16(offsets[at:]); gid == 0 {
					continue
				}
			}
			if gid += delta; int(gid) < f.numGlyphs {
				f.bmp[c] = gid
			}
		}
		next = max(next, end+1)
	}
	return nil
}

func (f *font) cmapFormat12(b []byte) error {
	if len(b) < 16 {
		return fmt.Errorf("%d bytes", len(b))
	}
	n := int64(binary.BigEndian.Uint32(b[12:]))
	if 16+12*n > int64(len(b)) {
		return fmt.Errorf("%d groups in %d bytes", n, len(b))
	}
	next := int64(0)
	for i := range n {
		rec := b[16+12*i:]
		first, last := int64(binary.BigEndian.Uint32(rec)), int64(binary.BigEndian.Uint32(rec[4:]))
		gid := int64(binary.BigEndian.Uint32(rec[8:]))
		if first < next || last < first || last > 0x10FFFF {
			return fmt.Errorf("group %d is U+%04X to U+%04X, out of order or range", i, first, last)
		}
		if gid+last-first >= int64(f.numGlyphs) {
			return fmt.Errorf("group %d ends at glyph %d of %d", i, gid+last-first, f.numGlyphs)
		}
		next = last + 1
		for ; first <= last && first < 0x10000; first++ {
			f.bmp[first] = uint16(gid)
			gid++
		}
		if first <= last {
			f.groups = append(f.groups, cmapGroup{rune(first), rune(last), uint16(gid)})
		}
	}
	return nil
}

// lookup returns the glyph of r, 0 when the font has none. A glyph without
// outline counts as none unless r is a space: an invisible character in a name
// would be worse than a refusal.
func (f *font) lookup(r rune) uint16 {
	var gid uint16
	if r >= 0 && r < 0x10000 {
		gid = f.bmp[r]
	} else {
		i := sort.Search(len(f.groups), func(i int) bool { return f.groups[i].last >= r })
		if i < len(f.groups) && f.groups[i].first <= r {
			gid = f.groups[i].gid + uint16(r-f.groups[i].first)
		}
	}
	if gid != 0 && f.loca[gid] == f.loca[gid+1] && !isSpace(r) {
		return 0
	}
	return gid
}

func isSpace(r rune) bool { return r == ' ' || r == 0xA0 || r == 0x3000 }
