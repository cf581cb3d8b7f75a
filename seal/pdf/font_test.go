package pdf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func parse(data []byte) (*font, error) {
	return parseFont("test.ttf", bytes.NewReader(data), int64(len(data)))
}

func mustParse(t testing.TB, data []byte) *font {
	t.Helper()
	f, err := parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFontFindsGlyphsInAndBeyondTheBMP(t *testing.T) {
	f := mustParse(t, makeFont([]rune("A 王㐂𬸚"), ""))
	for _, r := range "A王㐂𬸚 " {
		if f.lookup(r) == 0 {
			t.Errorf("no glyph for U+%04X", r)
		}
	}
	for _, r := range []rune{'B', '李', 0x2CE19, 0x2CE1B, 0x10FFFF} {
		if gid := f.lookup(r); gid != 0 {
			t.Errorf("glyph %d for U+%04X, which the font has not", gid, r)
		}
	}
	if f.psName != "SquareSong" {
		t.Errorf("PostScript name %q", f.psName)
	}
}

func TestFontWithoutOutlineCountsAsMissing(t *testing.T) {
	data := makeFont([]rune("AB "), "")
	f := mustParse(t, data)
	f.loca[f.lookup('A')+1] = f.loca[f.lookup('A')]
	if f.lookup('A') != 0 {
		t.Error("an empty glyph was accepted for A")
	}
	if f.lookup(' ') == 0 {
		t.Error("a space needs no outline")
	}
}

// tableAt returns where a table of a font file begins.
func tableAt(t *testing.T, data []byte, tag string) int {
	t.Helper()
	for i := 12; i+16 <= len(data); i += 16 {
		if string(data[i:i+4]) == tag {
			return int(binary.BigEndian.Uint32(data[i+8:]))
		}
	}
	t.Fatalf("no table %s", tag)
	return 0
}

func TestCorruptFontNamesFileAndTable(t *testing.T) {
	good := makeFont([]rune("AB 李𬸚"), "")
	be := binary.BigEndian
	cases := []struct {
		name, table string
		change      func(b []byte) []byte
	}{
		{"empty", "directory", func(b []byte) []byte { return nil }},
		{"cut in the directory", "directory", func(b []byte) []byte { return b[:40] }},
		{"cut in the tables", "name", func(b []byte) []byte { return b[:len(b)-30] }},
		{"PostScript outlines", "directory", func(b []byte) []byte { copy(b, "OTTO"); return b }},
		{"missing glyf", "glyf", func(b []byte) []byte {
			copy(b[bytes.Index(b, []byte("glyf")):], "gxyf")
			return b
		}},
		{"units per em", "head", func(b []byte) []byte { be.PutUint16(b[tableAt(t, b, "head")+18:], 0); return b }},
		{"loca format", "head", func(b []byte) []byte { be.PutUint16(b[tableAt(t, b, "head")+50:], 7); return b }},
		{"too many glyphs", "hmtx", func(b []byte) []byte { be.PutUint16(b[tableAt(t, b, "maxp")+4:], 9000); return b }},
		{"loca beyond glyf", "loca", func(b []byte) []byte { be.PutUint32(b[tableAt(t, b, "loca")+8:], 1<<30); return b }},
		{"loca descends", "loca", func(b []byte) []byte { be.PutUint32(b[tableAt(t, b, "loca")+8:], 1); return b }},
		{"cmap subtable outside", "cmap", func(b []byte) []byte { be.PutUint32(b[tableAt(t, b, "cmap")+8:], 1<<31); return b }},
		{"cmap groups", "cmap", func(b []byte) []byte {
			at := tableAt(t, b, "cmap")
			be.PutUint32(b[at+int(be.Uint32(b[at+16:]))+12:], 1<<28)
			return b
		}},
		{"metrics", "hhea", func(b []byte) []byte { be.PutUint16(b[tableAt(t, b, "hhea")+34:], 0); return b }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "broken.ttf")
			if err := os.WriteFile(path, c.change(bytes.Clone(good)), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := LoadFonts(path, nil)
			if !errors.Is(err, ErrFont) {
				t.Fatalf("got %v, want ErrFont", err)
			}
			if !strings.Contains(err.Error(), "broken.ttf") || !strings.Contains(err.Error(), "table "+c.table) {
				t.Errorf("%q does not name broken.ttf and table %s", err, c.table)
			}
		})
	}
}

func TestLoadFontsNamesAMissingFile(t *testing.T) {
	_, err := LoadFonts(filepath.Join(t.TempDir(), "none.ttf"), nil)
	if !errors.Is(err, ErrFont) || !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "none.ttf") {
		t.Errorf("got %v", err)
	}
}

func TestSubsetKeepsUsedGlyphsAndTheirComponents(t *testing.T) {
	f := mustParse(t, makeFont([]rune("ABCDEF，"), "D"))
	s := newSubset(f)
	for _, r := range "DA，D" {
		s.use(r, f.lookup(r))
	}
	file, err := s.file(nil)
	if err != nil {
		t.Fatal(err)
	}
	if tableSum(file) != 0xB1B0AFBA {
		t.Errorf("whole-file checksum %08x", tableSum(file))
	}
	// The subset has no cmap, as CIDs are glyph numbers; give the parser one.
	sub := reparse(t, file)
	if want := 1 + 3 + 2; sub.numGlyphs != want { // .notdef, D A ，, the parts of D and ，
		t.Fatalf("%d glyphs, want %d", sub.numGlyphs, want)
	}
	d, err := sub.glyph(1)
	if err != nil || len(d.components) != 1 {
		t.Fatalf("D has components %v, error %v", d, err)
	}
	part, _ := sub.glyph(d.components[0].gid)
	want, _ := f.glyph(f.lookup('C'))
	if !bytes.Equal(part.data, want.data) {
		t.Error("the component of D is not C")
	}
	comma, _ := sub.glyph(3)
	if len(comma.components) != 1 || int16(binary.BigEndian.Uint16(comma.data[2:])) != 120 {
		t.Errorf("a centred comma was not moved to the left: xMin %d", binary.BigEndian.Uint16(comma.data[2:]))
	}
}

func reparse(t *testing.T, file []byte) *font {
	t.Helper()
	f := &font{file: "subset", src: bytes.NewReader(file), glyphs: map[uint16]*glyph{}}
	tables, err := f.directory(int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []func(map[string]tableRange) error{f.readHead, f.readMetrics, f.readLoca} {
		if err := step(tables); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func TestSubsetRefusesGlyphThatContainsItself(t *testing.T) {
	data := makeFont([]rune("ABCD"), "C")
	f := mustParse(t, data)
	gid := f.lookup('C')
	binary.BigEndian.PutUint16(data[int(f.glyfOffset)+int(f.loca[gid])+12:], gid)
	f = mustParse(t, data)
	s := newSubset(f)
	s.use('C', gid)
	if _, err := s.file(nil); !errors.Is(err, ErrFont) {
		t.Errorf("got %v, want ErrFont", err)
	}
}

func TestToUnicodeUsesSurrogatePairs(t *testing.T) {
	s := newSubset(mustParse(t, makeFont([]rune("李𬸚"), "")))
	for _, r := range "李𬸚" {
		s.use(r, s.font.lookup(r))
	}
	m := string(s.toUnicode(nil))
	for _, want := range []string{"2 beginbfchar", "<0001><674E>", "<0002><D873DE1A>"} {
		if !strings.Contains(m, want) {
			t.Errorf("no %s in\n%s", want, m)
		}
	}
}

func FuzzFont(f *testing.F) {
	good := makeFont([]rune("AB，李𬸚"), "B")
	f.Add(good)
	f.Add(good[:60])
	for _, at := range []int{4, 20, 150, 200, 260, 320} {
		b := bytes.Clone(good)
		b[at] ^= 0xFF
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		ft, err := parse(data)
		if err != nil {
			if !errors.Is(err, ErrFont) {
				t.Errorf("error without ErrFont: %v", err)
			}
			return
		}
		s := newSubset(ft)
		for _, r := range "AB，李𬸚" {
			if gid := ft.lookup(r); gid != 0 {
				s.use(r, gid)
			}
		}
		if _, err := s.file(nil); err != nil && !errors.Is(err, ErrFont) {
			t.Errorf("error without ErrFont: %v", err)
		}
	})
}
