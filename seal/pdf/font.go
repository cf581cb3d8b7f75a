package pdf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// ErrFont is wrapped by every error about a font file. The message names the
// file and the table.
var ErrFont = errors.New("pdf: font cannot be used")

const (
	maxTable   = 32 << 20 // bytes of a table read whole; glyf is never read whole
	maxGlyph   = 256 << 10
	glyphCache = 8 << 20 // bytes of glyphs kept per font
)

// font is one TrueType file. The small tables are parsed once; glyph outlines
// are read when first used and kept up to glyphCache bytes, because the three
// usual files together hold 100 MB of them.
type font struct {
	file   string // base name, for errors
	psName string
	src    io.ReaderAt
	closer io.Closer

	head, hhea, maxp     []byte
	cvt, fpgm, prep      []byte
	unitsPerEm           int
	ascent, descent      int
	bbox                 [4]int
	numGlyphs            int
	loca                 []uint32 // numGlyphs+1 offsets into glyf
	advance              []uint16 // one per glyph, font units
	bearing              []int16
	glyfOffset, glyfSize int64
	bmp                  []uint16    // glyph of each code point below U+10000, 0 none
	groups               []cmapGroup // code points from U+10000, ascending

	mu     sync.RWMutex
	glyphs map[uint16]*glyph
	cached int
}

// glyph is one outline, padded to four bytes, with the sum of its words (for
// table checksums) and where its component glyph numbers stand.
type glyph struct {
	data       []byte
	sum        uint32
	components []component
}

type component struct {
	at  int // offset of the glyph number in data
	gid uint16
}

type tableRange struct{ offset, size int64 }

func openFont(path string) (*font, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFont, err)
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("%w: %s: %w", ErrFont, path, err)
	}
	f, err := parseFont(filepath.Base(path), file, info.Size())
	if err != nil {
		file.Close()
		return nil, err
	}
	f.closer = file
	return f, nil
}

// parseFont reads the tables of a TrueType font (ISO/IEC 14496-22) of the given
// size in bytes. Fonts with PostScript outlines and collections are refused.
func parseFont(name string, src io.ReaderAt, size int64) (*font, error) {
	f := &font{file: name, src: src, glyphs: map[uint16]*glyph{}}
	tables, err := f.directory(size)
	if err != nil {
		return nil, err
	}
	for _, step := range []func(map[string]tableRange) error{f.readHead, f.readMetrics, f.readLoca, f.readCmap, f.readRest} {
		if err := step(tables); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func (f *font) errorf(table, format string, args ...any) error {
	return fmt.Errorf("%w: %s: table %s: %w", ErrFont, f.file, table, fmt.Errorf(format, args...))
}

func (f *font) read(table string, at tableRange) ([]byte, error) {
	if at.size > maxTable {
		return nil, f.errorf(table, "%d bytes, at most %d", at.size, maxTable)
	}
	b := make([]byte, at.size)
	if _, err := f.src.ReadAt(b, at.offset); err != nil {
		return nil, f.errorf(table, "read %d bytes at %d: %w", at.size, at.offset, err)
	}
	return b, nil
}

func (f *font) directory(size int64) (map[string]tableRange, error) {
	if size < 12 {
		return nil, f.errorf("directory", "file of %d bytes", size)
	}
	head, err := f.read("directory", tableRange{0, 12})
	if err != nil {
		return nil, err
	}
	if v := binary.BigEndian.Uint32(head); v != 0x00010000 && v != 0x74727565 {
		return nil, f.errorf("directory", "not a TrueType font (version %08x); fonts with PostScript outlines and collections are not supported", v)
	}
	n := int64(binary.BigEndian.Uint16(head[4:]))
	if 12+16*n > size {
		return nil, f.errorf("directory", "%d tables in a file of %d bytes", n, size)
	}
	list, err := f.read("directory", tableRange{12, 16 * n})
	if err != nil {
		return nil, err
	}
	tables := make(map[string]tableRange, n)
	for ; len(list) >= 16; list = list[16:] {
		tag := string(list[:4])
		at := tableRange{int64(binary.BigEndian.Uint32(list[8:])), int64(binary.BigEndian.Uint32(list[12:]))}
		if at.offset+at.size > size {
			return nil, f.errorf(strings.ToValidUTF8(tag, "?"), "ends at %d in a file of %d bytes", at.offset+at.size, size)
		}
		tables[tag] = at
	}
	return tables, nil
}

// need reads a table that must be there and at least min bytes long.
func (f *font) need(tables map[string]tableRange, tag string, min int) ([]byte, error) {
	at, ok := tables[tag]
	if !ok {
		return nil, f.errorf(tag, "missing")
	}
	if at.size < int64(min) {
		return nil, f.errorf(tag, "%d bytes, want at least %d", at.size, min)
	}
	return f.read(tag, at)
}

func (f *font) readHead(tables map[string]tableRange) (err error) {
	if f.head, err = f.need(tables, "head", 54); err != nil {
		return err
	}
	f.head = f.head[:54]
	f.unitsPerEm = int(binary.BigEndian.Uint16(f.head[18:]))
	if f.unitsPerEm < 16 || f.unitsPerEm > 16384 {
		return f.errorf("head", "%d units per em", f.unitsPerEm)
	}
	for i := range f.bbox {
		f.bbox[i] = f.scale(int(int16(binary.BigEndian.Uint16(f.head[36+2*i:]))))
	}
	if f.maxp, err = f.need(tables, "maxp", 32); err != nil {
		return err
	}
	f.maxp = f.maxp[:32]
	f.numGlyphs = int(binary.BigEndian.Uint16(f.maxp[4:]))
	if f.numGlyphs == 0 {
		return f.errorf("maxp", "no glyphs")
	}
	return nil
}

// scale converts font units to thousandths of an em.
func (f *font) scale(units int) int { return units * 1000 / f.unitsPerEm }

func (f *font) readMetrics(tables map[string]tableRange) (err error) {
	if f.hhea, err = f.need(tables, "hhea", 36); err != nil {
		return err
	}
	f.hhea = f.hhea[:36]
	f.ascent = f.scale(int(int16(binary.BigEndian.Uint16(f.hhea[4:]))))
	f.descent = f.scale(int(int16(binary.BigEndian.Uint16(f.hhea[6:]))))
	n := int(binary.BigEndian.Uint16(f.hhea[34:]))
	if n == 0 || n > f.numGlyphs {
		return f.errorf("hhea", "%d metrics for %d glyphs", n, f.numGlyphs)
	}
	hmtx, err := f.need(tables, "hmtx", 4*n+2*(f.numGlyphs-n))
	if err != nil {
		return err
	}
	f.advance = make([]uint16, f.numGlyphs)
	f.bearing = make([]int16, f.numGlyphs)
	for i := range f.numGlyphs {
		if i < n {
			f.advance[i] = binary.BigEndian.Uint16(hmtx[4*i:])
			f.bearing[i] = int16(binary.BigEndian.Uint16(hmtx[4*i+2:]))
			continue
		}
		f.advance[i] = f.advance[n-1]
		f.bearing[i] = int16(binary.BigEndian.Uint16(hmtx[4*n+2*(i-n):]))
	}
	return nil
}

func (f *font) readLoca(tables map[string]tableRange) error {
	glyf, ok := tables["glyf"]
	if !ok {
		return f.errorf("glyf", "missing")
	}
	f.glyfOffset, f.glyfSize = glyf.offset, glyf.size
	long := binary.BigEndian.Uint16(f.head[50:])
	if long > 1 {
		return f.errorf("head", "indexToLocFormat %d", long)
	}
	width := 2 + 2*int(long)
	loca, err := f.need(tables, "loca", width*(f.numGlyphs+1))
	if err != nil {
		return err
	}
	f.loca = make([]uint32, f.numGlyphs+1)
	for i := range f.loca {
		if long == 1 {
			f.loca[i] = binary.BigEndian.Uint32(loca[4*i:])
		} else {
			f.loca[i] = 2 * uint32(binary.BigEndian.Uint16(loca[2*i:]))
		}
		if int64(f.loca[i]) > glyf.size || i > 0 && f.loca[i] < f.loca[i-1] {
			return f.errorf("loca", "glyph %d at %d, outside glyf or not ascending", i, f.loca[i])
		}
	}
	return nil
}

// readRest keeps what hinting needs and finds the PostScript name.
func (f *font) readRest(tables map[string]tableRange) (err error) {
	for tag, to := range map[string]*[]byte{"cvt ": &f.cvt, "fpgm": &f.fpgm, "prep": &f.prep} {
		if at, ok := tables[tag]; ok {
			if *to, err = f.read(tag, at); err != nil {
				return err
			}
		}
	}
	f.psName = "Font"
	if at, ok := tables["name"]; ok {
		name, err := f.read("name", at)
		if err != nil {
			return err
		}
		if n := postScriptName(name); n != "" {
			f.psName = n
		}
	}
	return nil
}

// postScriptName finds name 6 in UTF-16 (platform 3) in a name table; "" when
// there is none that can be written as a PDF name.
func postScriptName(b []byte) string {
	if len(b) < 6 {
		return ""
	}
	n, base := int(binary.BigEndian.Uint16(b[2:])), int(binary.BigEndian.Uint16(b[4:]))
	for i := range n {
		if 6+12*i+12 > len(b) {
			return ""
		}
		rec := b[6+12*i:]
		if binary.BigEndian.Uint16(rec) != 3 || binary.BigEndian.Uint16(rec[6:]) != 6 {
			continue
		}
		length, at := int(binary.BigEndian.Uint16(rec[8:])), base+int(binary.BigEndian.Uint16(rec[10:]))
		if at+length > len(b) {
			continue
		}
		var s strings.Builder
		for j := 0; j+1 < length; j += 2 {
			if b[at+j] != 0 {
				return ""
			}
			s.WriteByte(b[at+j+1])
		}
		if plainName(s.String()) {
			return s.String()
		}
	}
	return ""
}
