package pdf

import (
	"fmt"
	"strconv"
)

// fonts writes the subsets that are used, five objects each, and returns the
// entries of a font resource dictionary.
func (w *writer) fonts(subsets []*subset) (string, error) {
	refs := append(fontKey(make([]byte, 0, 64), 0), fmt.Sprintf(" %d 0 R", objFont)...)
	for i, s := range subsets {
		if len(s.runes) == 0 {
			continue
		}
		refs = strconv.AppendInt(append(fontKey(refs, uint8(i+1)), ' '), int64(w.next), 10)
		refs = append(refs, " 0 R"...)
		if err := w.font(w.next, i+1, s, nil); err != nil {
			return "", err
		}
		w.next += fontObjects
	}
	return string(refs), nil
}

// font writes a subset as objects n to n+4, its streams compressed by pack or, if
// that is nil, as they are: compression takes longer than all the rest.
func (w *writer) font(n, index int, s *subset, pack func([]byte) []byte) error {
	f, from := s.font, len(w.scratch)
	out, err := s.file(w.scratch)
	if err != nil {
		return err
	}
	to := len(out)
	out = s.toUnicode(out)
	w.scratch = out
	file, toUnicode, packed := out[from:to], out[to:], ""
	size := len(file)
	if pack != nil {
		file, toUnicode, packed = pack(file), pack(toUnicode), "/Filter/FlateDecode"
	}
	named := func(n int, before string) *writer {
		w.begin(n).add(before).add("/YIZHE")
		w.b = append(w.b, byte('A'+index), '+')
		return w.add(f.psName)
	}
	named(n, "<</Type/Font/Subtype/Type0/BaseFont").add("/Encoding/Identity-H/DescendantFonts[").ref(n + 1)
	w.add("]/ToUnicode ").ref(n + 4).add(">>").end()
	named(n+1, "<</Type/Font/Subtype/CIDFontType2/BaseFont").add("/CIDSystemInfo<</Registry(Adobe)/Ordering(Identity)/Supplement 0>>/CIDToGIDMap/Identity/DW 1000")
	w.b = s.appendWidths(w.b)
	w.add("/FontDescriptor ").ref(n + 2).add(">>").end()
	named(n+2, "<</Type/FontDescriptor/FontName").add("/Flags 4/FontBBox[")
	for i, v := range f.bbox {
		if i > 0 {
			w.add(" ")
		}
		w.int(v)
	}
	w.add("]/ItalicAngle 0/Ascent ").int(f.ascent).add("/Descent ").int(f.descent).add("/CapHeight 700/StemV 80/FontFile2 ").ref(n + 3).add(">>").end()
	w.begin(n + 3).add("<</Length1 ").int(size).add(packed).stream(file)
	w.begin(n + 4).add("<<").add(packed).stream(toUnicode)
	return nil
}

// appendWidths writes a /W array of the advances that are not the default of 1000.
func (s *subset) appendWidths(b []byte) []byte {
	b = append(b, "/W["...)
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
	return append(b, ']')
}

// toUnicode writes the CMap that gives every CID its code point, as UTF-16BE
// with surrogate pairs (ISO 32000-1 9.10.3). Blocks hold at most 100 entries.
func (s *subset) toUnicode(b []byte) []byte {
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
			b = appendHex16(append(b, '<'), uint16(from+i+1), upperHex)
			b = appendUTF16(append(b, "><"...), r, upperHex)
			b = append(b, ">\n"...)
		}
		b = append(b, "endbfchar\n"...)
	}
	return append(b, "endcmap\nCMapName currentdict/CMap defineresource pop\nend\nend\n"...)
}
