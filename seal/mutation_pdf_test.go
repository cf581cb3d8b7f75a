package seal

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"

	"yizheng/seal/pdf/pdftest"
)

// numbers is the good document with another ByteRange of the same length.
func (w *workshop) numbers(format string, numbers ...any) []byte {
	w.t.Helper()
	old := fmt.Sprintf("[%d %d %d %d]", w.rng[0], w.rng[1], w.rng[2], w.rng[3])
	return w.replaced(old, fmt.Sprintf(format, numbers...))
}

func rangeMutations(w *workshop) []mutation {
	a, b, c := w.rng[1], w.rng[2], w.rng[3]
	broken := []int{CheckDigest}
	return []mutation{
		{name: "begins at 1", file: w.numbers("[1 %d %d %d]", a-1, b, c), fails: broken},
		{name: "ends a byte early", file: w.numbers("[0 %d %d %d]", a, b, c-1), fails: broken},
		{name: "ends a hundred bytes early", file: w.numbers("[0 %d %d %d]", a, b, c-100), fails: broken},
		{name: "ends behind the file", file: w.numbers("[0 %d %d %d]", a, b, c+1), fails: broken},
		{name: "gap a byte wider before", file: w.numbers("[0 %d %d %d]", a-1, b, c), fails: broken},
		{name: "gap a byte wider behind", file: w.numbers("[0 %d %d %d]", a, b+1, c-1), fails: broken},
		{name: "gap a hundred bytes wider behind", file: w.numbers("[0 %d %d %d]", a, b+100, c-100), fails: broken},
		{name: "gap without the brackets", file: w.numbers("[0 %d %d %d]", a+1, b-1, c+1), fails: broken},
		{name: "gap in the middle of the digits", file: w.numbers("[0 %d %d %d]", a+1000, b, c), fails: broken},
		{name: "no gap", file: w.numbers("[0 %d %d %d]", b, b, c), fails: broken},
		{name: "first part empty", file: w.numbers("[0 0 %d %d]", b, c), fails: broken},
		{name: "second part empty", file: w.numbers("[0 %d %d 0]", a, b), fails: broken},
		{name: "parts exchanged", file: w.numbers("[%d %d 0 %d]", b, c, a), fails: broken},
		{name: "all zero", file: w.numbers("[0 0 0 0]"), fails: broken},
		{name: "two numbers", file: w.numbers("[0 %d]", a), fails: broken},
		{name: "three numbers", file: w.numbers("[0 %d %d]", a, b), fails: broken},
		{name: "six numbers", file: w.numbers("[0 9 9 9 9 9]"), fails: broken},
		{name: "negative", file: w.numbers("[0 -1 %d %d]", b, c), fails: broken},
		{name: "not whole", file: w.numbers("[0 %d %d.5 9]", a, b), fails: broken},
		{name: "beyond what a number holds", file: w.numbers("[0 9e99 9 9]"), fails: broken},
		{name: "names in place of numbers", file: w.numbers("[/a /b /c /d]"), fails: broken},
		{name: "a string in place of the array", file: w.numbers("(0 1 2 3)"), fails: broken},
		{name: "null in place of the array", file: w.numbers("null"), fails: broken},
		{name: "a reference in place of the array", file: w.numbers("1 0 R"), fails: broken},
	}
}

func contentsMutations(w *workshop) []mutation {
	from, to := w.rng[1], w.rng[2]
	token := func(change func(token []byte)) []byte {
		b := bytes.Clone(w.good)
		change(b[from:to])
		return b
	}
	format := []int{CheckFormat}
	last := to - from - 2
	letter := bytes.IndexAny(w.good[from+1:to], "abcdef") + 1
	return []mutation{
		{name: "last octet of the padding", file: token(func(b []byte) { b[last] = '1' }), fails: format},
		{name: "an octet in the middle of the padding", file: token(func(b []byte) { b[last-4001] = 'f' }), fails: format},
		{name: "one letter in upper case", file: token(func(b []byte) { b[letter] -= 0x20 }), fails: format},
		{name: "all letters in upper case", file: token(func(b []byte) { copy(b, bytes.ToUpper(b)) }), fails: format},
		{name: "white space between digits", file: token(func(b []byte) { b[last-1], b[last] = ' ', ' ' }), fails: format},
		{name: "a line end between digits", file: token(func(b []byte) { b[last-3], b[last] = '\n', '\n' }), fails: format},
		{name: "an odd number of digits", file: token(func(b []byte) { b[last] = ' ' }), fails: format},
		{name: "a letter that is no digit", file: token(func(b []byte) { b[last-1] = 'g' }), fails: []int{CheckFormat}},
		{name: "a bracket before the end", file: token(func(b []byte) { b[last-1] = '>' }), fails: []int{CheckFormat}},
		{name: "a comment between digits", file: token(func(b []byte) { b[last-1] = '%' }), fails: []int{CheckFormat}},
		{name: "a literal string of the same bytes", file: token(func(b []byte) { b[0], b[last+1] = '(', ')' }), fails: format},
		{name: "all zero", file: token(func(b []byte) { copy(b[1:last+1], strings.Repeat("0", last)) }), fails: format},
		{name: "only white space", file: token(func(b []byte) { copy(b[1:last+1], strings.Repeat(" ", last)) }), fails: format},
		{name: "the key in another spelling", file: w.replaced("/Contents <", "/contents <"), fails: format},
		{name: "the seal alone", file: w.fill(w.seal), fails: format},
		{name: "a certificate", file: w.fill(w.holder.Cert.Raw), fails: format},
		{name: "digits in another file of mixed case", file: w.mixedCase(), fails: format},
	}
}

// mixedCase is a file of another program, whose digits may be in either case, with
// one digit of the other.
func (w *workshop) mixedCase() []byte {
	w.t.Helper()
	b := w.foreign(pdftest.Foreign{Upper: true})
	from := bytes.Index(b, []byte("/Contents <")) + len("/Contents <")
	i := from + bytes.IndexAny(b[from:], "ABCDEF")
	b[i] += 0x20
	return b
}

func widgetMutations(w *workshop) []mutation {
	only, format := []int{CheckDigest}, []int{CheckFormat}
	other := w.foreign(pdftest.Foreign{})
	return []mutation{
		{name: "rectangle moved", file: w.replaced("/Rect[4", "/Rect[1"), fails: only},
		{name: "flags: hidden", file: w.replaced("/F 132", "/F 134"), fails: only},
		{name: "flags: not locked", file: w.replaced("/F 132", "/F 004"), fails: only},
		{name: "appearance under another key", file: w.replaced("/AP<<", "/AQ<<"), fails: only},
		{name: "field of another type", file: w.replaced("/FT/Sig", "/FT/Btn"), fails: format},
		{name: "field renamed", file: w.replaced("/T(Seal)", "/T(Seel)"), fails: only},
		{name: "another program's: field holds the page", file: w.swap(other, "/V 6 0 R", "/V 3 0 R"), fails: format},
		{name: "another program's: field without value", file: w.swap(other, "/V 6 0 R", "/W 6 0 R"), fails: format},
		{name: "another program's: form without the field", file: w.swap(other, "/Fields [ 4", "/Fields [ 3"), fails: format},
		{name: "another program's: no form", file: w.swap(other, "/AcroForm", "/AcroFrom"), fails: format},
		{name: "another program's: widget made visible", file: w.swap(other, "/Rect [ 0 0 0 0 ]", "/Rect [ 0 0 9 9 ]"), fails: only},
		{name: "another program's: widget of another page", file: w.swap(other, "/Annots [ 5 0 R ]", "/Annots [ 4 0 R ]"), fails: only},
		{name: "another program's: content exchanged", file: w.swap(other, "signed text", "forged text"), fails: only},
	}
}

func tableMutations(w *workshop) []mutation {
	format := []int{CheckFormat}
	table := bytes.LastIndex(w.good, []byte("xref\n0 "))
	first := table + bytes.IndexByte(w.good[table+5:], '\n') + 6
	entry := func(n int) []byte { return w.good[first+20*n : first+20*n+20] }
	change := func(edit func(b []byte)) []byte {
		b := bytes.Clone(w.good)
		edit(b)
		return b
	}
	at := func(n int) int { return first + 20*n }
	stream := w.foreign(pdftest.Foreign{Form: pdftest.Stream})
	hybrid := w.foreign(pdftest.Foreign{Form: pdftest.Hybrid})
	start := bytes.LastIndex(w.good, []byte("startxref\n")) + len("startxref\n")
	return []mutation{
		{name: "an entry by one byte", file: change(func(b []byte) { b[at(1)+9] ^= 1 }), fails: format},
		{name: "two entries exchanged", file: change(func(b []byte) { copy(b[at(1):], entry(2)); copy(b[at(2):], entry(1)) }), fails: format},
		{name: "an entry that points to another object", file: change(func(b []byte) { copy(b[at(3):], entry(4)) }), fails: format},
		{name: "an entry that points to the signature's bytes", file: change(func(b []byte) { copy(b[at(2):], fmt.Sprintf("%010d", w.rng[1]+9)) }), fails: format},
		{name: "the catalogue freed", file: change(func(b []byte) { b[at(1)+17] = 'f' }), fails: format},
		{name: "startxref into the middle", file: change(func(b []byte) { b[start] = '1' }), fails: format},
		{name: "startxref at zero", file: change(func(b []byte) { copy(b[start:], "0000000") }), fails: format},
		{name: "a table that begins at another number", file: w.replaced("xref\n0 ", "xref\n1 "), fails: format},
		{name: "the root is another object", file: w.replaced("/Root 1 0 R", "/Root 2 0 R"), fails: format},
		{name: "the root is nothing", file: w.replaced("/Root 1 0 R", "/Rood 1 0 R"), fails: format},
		{name: "Prev points at the table itself", file: w.prev(table), fails: format},
		{name: "Prev points at nothing", file: w.prev(5), fails: format},
		{name: "an object number twice", file: w.replaced("\n2 0 obj", "\n1 0 obj"), fails: format},
		{name: "an object that no table names", file: w.replaced("\n2 0 obj", "\n0 0 obj"), fails: format},
		{name: "a key twice in a dictionary", file: w.replaced("/Type/Sig/Filter/Gomain.GMPkiLite", "/Type/Sig/M 1"), fails: format},
		{name: "cross-reference stream: another predictor", file: w.swap(stream, "/Predictor 12", "/Predictor 15"), fails: []int{CheckDigest}},
		{name: "cross-reference stream: another width", file: w.swap(stream, "/W[1 3 2]", "/W[1 2 3]"), fails: format},
		{name: "cross-reference stream: other filter", file: w.swap(stream, "/Filter[/FlateDecode]", "/Filter[/LZWDecode]"), fails: format},
		{name: "object stream: one object less", file: w.swap(stream, "/N 6/First", "/N 5/First"), fails: format},
		{name: "hybrid: stream at another place", file: w.swap(hybrid, "/XRefStm ", "/XRefStm-"), fails: format},
		{name: "encrypted", file: w.encrypted(), fails: format, unknown: true},
	}
}

// prev has a trailer that names an earlier table.
func (w *workshop) prev(at int) []byte {
	w.t.Helper()
	i := bytes.LastIndex(w.good, []byte("/ID["))
	j := i + bytes.IndexByte(w.good[i:], ']') + 1
	return w.replaced(string(w.good[i:j]), fmt.Sprintf("/Prev %d", at))
}

// encrypted is a signed file that says it is encrypted.
func (w *workshop) encrypted() []byte {
	w.t.Helper()
	i := bytes.LastIndex(w.good, []byte("/ID["))
	j := i + bytes.IndexByte(w.good[i:], ']') + 1
	return w.replaced(string(w.good[i:j]), "/Encrypt<</Filter/Standard/V 4>>")
}

func forgeryMutations(w *workshop) []mutation {
	from, to := w.rng[1], w.rng[2]
	contents := func(new string) []byte {
		b := bytes.Clone(w.good)
		copy(b[from:to], new+strings.Repeat(" ", to-from-len(new)))
		return b
	}
	format := []int{CheckFormat}
	return []mutation{
		{name: "Contents null", file: contents("null"), fails: format},
		{name: "Contents empty", file: contents("<>"), fails: format},
		{name: "Contents 00", file: contents("<00>"), fails: format},
		{name: "Contents a number", file: contents("0"), fails: format},
		{name: "Contents a reference", file: contents("1 0 R"), fails: format},
		{name: "Contents the signature without padding", file: contents("<" + hex.EncodeToString(w.der) + ">"), fails: []int{CheckDigest}},
		{name: "Contents gone", file: w.replaced("/Contents <", "/Contentz <"), fails: format},
		{name: "Contents in an array", file: contents("[<" + hex.EncodeToString(w.der) + ">]"), fails: format},
		{name: "ByteRange gone", file: w.replaced("/ByteRange", "/ByteRangX"), fails: format},
		{name: "ByteRange in lower case", file: w.replaced("/ByteRange", "/byterange"), fails: format},
		{name: "both gone", file: w.swap(w.replaced("/ByteRange", "/ByteRangX"), "/Contents <", "/Contentz <"), fails: format},
		{name: "field's value gone", file: w.replaced("/FT/Sig", "/XX/Sig"), fails: format},
		{name: "no signature at all", file: w.replaced("/Type/Sig/Filter", "/Type/Six/Filter"), fails: []int{CheckDigest}},
		{name: "Perms leads elsewhere", file: w.replaced("/Perms<<", "/Parms<<"), fails: []int{CheckDigest}},
	}
}
