package pdf

import (
	"fmt"
	"strconv"
	"unicode/utf16"
)

// fonts writes the subsets that are used, five objects each, and returns the
// entries of a font resource dictionary.
func (w *writer) fonts(subsets []*subset) (string, error) {
	refs := fmt.Appendf(nil, "/F0 %d 0 R", objFont)
	for i, s := range subsets {
		if len(s.runes) == 0 {
			continue
		}
		n := w.next
		w.next += fontObjects
		refs = fmt.Appendf(fontKey(refs, uint8(i+1)), " %d 0 R", n)
		if err := w.font(n, i+1, s, nil); err != nil {
			return "", err
		}
	}
	return string(refs), nil
}

// font writes a subset as objects n to n+4, its streams compressed by pack or, if
// that is nil, as they are: compression takes longer than all the rest.
func (w *writer) font(n, index int, s *subset, pack func([]byte) []byte) error {
	f := s.font
	file, err := s.file(w.scratch[:0])
	if err != nil {
		return err
	}
	w.scratch = file
	dict, toUnicode := "/Length1 "+strconv.Itoa(len(file)), s.toUnicode()
	packed := ""
	if pack != nil {
		file, toUnicode, packed = pack(file), pack(toUnicode), "/Filter/FlateDecode"
	}
	name := fmt.Sprintf("YIZHE%c+%s", 'A'+index, f.psName)
	w.object(n, "<</Type/Font/Subtype/Type0/BaseFont/%s/Encoding/Identity-H/DescendantFonts[%d 0 R]/ToUnicode %d 0 R>>", name, n+1, n+4)
	w.object(n+1, "<</Type/Font/Subtype/CIDFontType2/BaseFont/%s/CIDSystemInfo<</Registry(Adobe)/Ordering(Identity)/Supplement 0>>/CIDToGIDMap/Identity/DW 1000%s/FontDescriptor %d 0 R>>",
		name, s.widthArray(), n+2)
	w.object(n+2, "<</Type/FontDescriptor/FontName/%s/Flags 4/FontBBox[%d %d %d %d]/ItalicAngle 0/Ascent %d/Descent %d/CapHeight 700/StemV 80/FontFile2 %d 0 R>>",
		name, f.bbox[0], f.bbox[1], f.bbox[2], f.bbox[3], f.ascent, f.descent, n+3)
	w.stream(n+3, dict+packed, file)
	w.stream(n+4, packed, toUnicode)
	return nil
}

// widthArray returns a /W array of the advances that are not the default of 1000.
func (s *subset) widthArray() string {
	b := []byte("/W[")
	open := false
	for i, w := range s.widths {
		if w == 1000 {
			if open {
				b, open = append(b, ']'), false
			}
			continue
		}
		if !open {
			b = strconv.AppendInt(b, int64(i+1), 10)
			b, open = append(b, '['), true
		}
		b = strconv.AppendInt(b, int64(w), 10)
		b = append(b, ' ')
	}
	if open {
		b = append(b, ']')
	}
	return string(append(b, ']'))
}

// toUnicode returns the CMap that gives every CID its code point, as UTF-16BE
// with surrogate pairs (ISO 32000-1 9.10.3). Blocks hold at most 100 entries.
func (s *subset) toUnicode() []byte {
	b := make([]byte, 0, 512+24*len(s.runes))
	b = append(b, `/CIDInit/ProcSet findresource begin
12 dict begin
begincmap
/CIDSystemInfo<</Registry(Adobe)/Ordering(UCS)/Supplement 0>>def
/CMapName/Adobe-Identity-UCS def
/CMapType 2 def
1 begincodespacerange
<0000><FFFF>
endcodespacerange
`...)
	for from := 0; from < len(s.runes); from += 100 {
		block := s.runes[from:min(from+100, len(s.runes))]
		b = strconv.AppendInt(b, int64(len(block)), 10)
		b = append(b, " beginbfchar\n"...)
		for i, r := range block {
			b = appendHex16(append(b, '<'), uint16(from+i+1))
			b = append(b, "><"...)
			if r < 0x10000 {
				b = appendHex16(b, uint16(r))
			} else {
				high, low := utf16.EncodeRune(r)
				b = appendHex16(appendHex16(b, uint16(high)), uint16(low))
			}
			b = append(b, ">\n"...)
		}
		b = append(b, "endbfchar\n"...)
	}
	return append(b, "endcmap\nCMapName currentdict/CMap defineresource pop\nend\nend\n"...)
}

func appendHex16(b []byte, v uint16) []byte {
	const digits = "0123456789ABCDEF"
	return append(b, digits[v>>12], digits[v>>8&15], digits[v>>4&15], digits[v&15])
}
