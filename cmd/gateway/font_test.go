package main

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/image/font/gofont/goregular"
)

// testFont writes a font that draws Han characters as Latin letters:
// the quick tests need Chinese documents but no font of the machine.
func testFont(t testing.TB) string {
	t.Helper()
	base := goregular.TTF
	font := append([]byte(nil), base...)
	for len(font)%4 != 0 {
		font = append(font, 0)
	}
	table := hanCmap()
	at := len(font)
	font = append(font, table...)
	n := int(binary.BigEndian.Uint16(font[4:]))
	for i := range n {
		rec := font[12+16*i:]
		if string(rec[:4]) == "cmap" {
			binary.BigEndian.PutUint32(rec[8:], uint32(at))
			binary.BigEndian.PutUint32(rec[12:], uint32(len(table)))
		}
	}
	path := filepath.Join(t.TempDir(), "test.ttf")
	if err := os.WriteFile(path, font, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
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
