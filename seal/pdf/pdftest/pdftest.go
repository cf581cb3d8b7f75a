// Package pdftest makes a font for tests: the quick ones need Chinese documents
// and seals, but no font of the machine.
package pdftest

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/image/font/gofont/goregular"
)

// WriteFont writes Font as dir/test.ttf and returns its path.
func WriteFont(t testing.TB, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "test.ttf")
	if err := os.WriteFile(path, Font(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Font is a TrueType font that draws Han characters as Latin letters.
func Font() []byte {
	font := append([]byte(nil), goregular.TTF...)
	for len(font)%4 != 0 {
		font = append(font, 0)
	}
	table := hanCmap()
	at := len(font)
	font = append(font, table...)
	for i := range int(binary.BigEndian.Uint16(font[4:])) {
		if rec := font[12+16*i:]; string(rec[:4]) == "cmap" {
			binary.BigEndian.PutUint32(rec[8:], uint32(at))
			binary.BigEndian.PutUint32(rec[12:], uint32(len(table)))
		}
	}
	return font
}

// hanCmap is a cmap with one subtable of format 12, whose groups all start over at
// the same Latin letter.
func hanCmap() []byte {
	const letters, size = 36, 26
	var groups []byte
	n := 0
	add := func(first, last rune, glyph uint32) {
		for _, v := range []uint32{uint32(first), uint32(last), glyph} {
			groups = binary.BigEndian.AppendUint32(groups, v)
		}
		n++
	}
	add(0x20, 0x7e, 3)
	add(0xa0, 0xff, letters)
	add(0x2000, 0x206f, letters)
	add(0x3000, 0x303f, letters)
	for r := rune(0x4e00); r < 0xa000; r += size {
		add(r, r+size-1, letters)
	}
	add(0xff00, 0xffef, letters)
	head := []byte{0, 0, 0, 1, 0, 3, 0, 10, 0, 0, 0, 12, 0, 12, 0, 0}
	head = binary.BigEndian.AppendUint32(head, uint32(16+len(groups)))
	head = binary.BigEndian.AppendUint32(head, 0)
	head = binary.BigEndian.AppendUint32(head, uint32(n))
	return append(head, groups...)
}
