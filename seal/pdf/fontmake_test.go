package pdf

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"unicode/utf16"
)

// makeFont builds a TrueType font in memory whose glyphs are squares, one for
// each of the given runes, with cmap formats 4 and 12. Latin characters are half
// as wide as the others; the glyph of each rune in composites is composed of the
// glyph before it.
func makeFont(runes []rune, composites string) []byte {
	rs := slices.Clone(runes)
	slices.Sort(rs)
	rs = slices.Compact(rs)
	be := binary.BigEndian
	glyf := squareGlyph(100, 0, 700)
	loca := be.AppendUint32(be.AppendUint32(nil, 0), uint32(len(glyf)))
	hmtx := []byte{3, 232, 0, 100}
	for i, r := range rs {
		switch {
		case isSpace(r):
		case slices.Contains([]rune(composites), r) && i > 0:
			glyf = append(glyf, 0xFF, 0xFF, 0, 50, 0, 0, 1, 0, 1, 0) // header
			glyf = append(glyf, 0, 0x02, byte(i>>8), byte(i), 0, 0)  // offsets as bytes, glyph before
		case leftPunctuation(r):
			glyf = append(glyf, squareGlyph(450, 0, 100)...)
		default:
			glyf = append(glyf, squareGlyph(50, int16(i), 300)...)
		}
		loca = be.AppendUint32(loca, uint32(len(glyf)))
		advance := uint16(1000)
		if r < 0x80 {
			advance = 500
		}
		hmtx = be.AppendUint16(be.AppendUint16(hmtx, advance), 50)
	}
	n := len(rs) + 1
	head := make([]byte, 54)
	be.PutUint32(head, 0x00010000)
	be.PutUint16(head[18:], 1000)
	be.PutUint16(head[42:], 880)
	be.PutUint16(head[50:], 1)
	hhea := make([]byte, 36)
	be.PutUint16(hhea[4:], 880)
	be.PutUint16(hhea[34:], uint16(n))
	maxp := make([]byte, 32)
	be.PutUint32(maxp, 0x00010000)
	be.PutUint16(maxp[4:], uint16(n))
	t := newTables(nil, 7)
	for _, e := range []struct {
		tag  string
		data []byte
	}{{"cmap", makeCmap(rs)}, {"glyf", glyf}, {"head", head}, {"hhea", hhea}, {"hmtx", hmtx}, {"loca", loca}, {"maxp", maxp}, {"name", makeName("SquareSong")}} {
		t.add(e.tag, e.data)
	}
	return t.finish()
}

// squareGlyph is a simple glyph of one square contour, side font units wide.
func squareGlyph(x, y, side int16) []byte {
	var b []byte
	for _, v := range []int16{1, x, y, x + side, y + side, 3, 0} {
		b = binary.BigEndian.AppendUint16(b, uint16(v))
	}
	b = append(b, 1, 1, 1, 1) // on the curve, words
	for _, v := range []int16{x, side, 0, -side, y, 0, side, 0} {
		b = binary.BigEndian.AppendUint16(b, uint16(v))
	}
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// makeCmap maps rs[i] to glyph i+1: format 4 for the BMP, format 12 for all.
func makeCmap(rs []rune) []byte {
	be := binary.BigEndian
	var ends, starts, deltas []byte
	for i, r := range rs {
		if r < 0xFFFF {
			ends, starts = be.AppendUint16(ends, uint16(r)), be.AppendUint16(starts, uint16(r))
			deltas = be.AppendUint16(deltas, uint16(i+1)-uint16(r))
		}
	}
	ends, starts, deltas = append(ends, 0xFF, 0xFF), append(starts, 0xFF, 0xFF), append(deltas, 0, 1)
	four := []byte{0, 4, 0, 0, 0, 0}
	four = be.AppendUint16(four, uint16(len(ends)))
	four = append(four, make([]byte, 6)...)
	four = slices.Concat(four, ends, []byte{0, 0}, starts, deltas, make([]byte, len(ends)))
	be.PutUint16(four[2:], uint16(len(four)))
	twelve := []byte{0, 12, 0, 0}
	twelve = be.AppendUint32(twelve, uint32(16+12*len(rs)))
	twelve = be.AppendUint32(twelve, 0)
	twelve = be.AppendUint32(twelve, uint32(len(rs)))
	for i, r := range rs {
		twelve = be.AppendUint32(be.AppendUint32(twelve, uint32(r)), uint32(r))
		twelve = be.AppendUint32(twelve, uint32(i+1))
	}
	b := []byte{0, 0, 0, 2, 0, 3, 0, 1, 0, 0, 0, 20, 0, 3, 0, 10}
	b = be.AppendUint32(b, uint32(20+len(four)))
	return slices.Concat(b, four, twelve)
}

func makeName(s string) []byte {
	var text []byte
	for _, u := range utf16.Encode([]rune(s)) {
		text = binary.BigEndian.AppendUint16(text, u)
	}
	b := []byte{0, 0, 0, 1, 0, 18, 0, 3, 0, 1, 4, 9, 0, 6, 0, byte(len(text)), 0, 0}
	return append(b, text...)
}

func runesOf(d Document) []rune {
	var rs []rune
	for r := rune(' '); r < 0x7F; r++ {
		rs = append(rs, r)
	}
	d.texts(func(s string) {
		for _, r := range s {
			if r != '\n' {
				rs = append(rs, r)
			}
		}
	})
	return rs
}

// testFonts writes two synthetic fonts and loads them: the body has all
// characters of the documents but those beyond the BMP, the fallback has those.
func testFonts(t testing.TB, docs ...Document) *Fonts {
	t.Helper()
	var low, high []rune
	for _, d := range docs {
		for _, r := range runesOf(d) {
			if r < 0x10000 {
				low = append(low, r)
			} else {
				high = append(high, r)
			}
		}
	}
	dir := t.TempDir()
	body, rare := filepath.Join(dir, "body.ttf"), filepath.Join(dir, "rare.ttf")
	for path, data := range map[string][]byte{body: makeFont(low, "姓"), rare: makeFont(append(high, '一', '丁'), "")} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fs, err := LoadFonts(body, []string{rare})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fs.Close() })
	return fs
}
