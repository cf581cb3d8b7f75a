package pdftest

import (
	"bytes"
	"compress/zlib"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Form is how a file says where its objects are.
type Form int

// The forms of ISO 32000-1 7.5.4, 7.5.8 and 7.5.8.4.
const (
	Table  Form = iota // a cross-reference table
	Stream             // a cross-reference stream, and objects in an object stream
	Hybrid             // a table, with a stream for the objects of an object stream
)

// Foreign is a small signed file as another program would write it: free spacing, a
// stream whose length stands in another object, a field whose widget is its kid.
type Foreign struct {
	Form      Form
	Update    bool // written as a file of two revisions, the second of which signs
	Filter    string
	SubFilter string
	M         string // a PDF date, "" for none
	Upper     bool   // upper-case digits
	Room      int    // octets of Contents
	DocMDP    int    // 0 for none
	Extra     string // further entries of the signature dictionary
}

// Objects of a Foreign, for tests that change one.
const (
	Catalog = 1 + iota
	Pages
	Page
	Field
	Widget
	Signature
	Content
	Length
)

// Build writes the file; sign gets the bytes that the ByteRange covers and returns
// what stands in Contents.
func (f Foreign) Build(sign func(covered []byte) []byte) []byte {
	w := &Writer{Form: f.Form}
	w.raw("%PDF-1.6\n%\xe2\xe3\xcf\xd3\n")
	page := fmt.Sprintf("<< /Type /Page /Parent %d 0 R /MediaBox [ 0 0 595 842 ] /Contents %d 0 R", Pages, Content)
	content := "BT /F1 12 Tf 72 700 Td (signed text) Tj ET"
	w.Put(Pages, fmt.Sprintf("<< /Type /Pages /Kids [ %d 0 R ] /Count 1 >>", Page))
	w.Put(Content, fmt.Sprintf("<< /Length %d 0 R >>\nstream\n%s\nendstream", Length, content))
	w.Put(Length, fmt.Sprint(len(content)))
	if f.Update {
		w.Put(Catalog, fmt.Sprintf("<< /Type /Catalog /Pages %d 0 R >>", Pages))
		w.Put(Page, page+" >>")
		w.End()
	}
	certified := ""
	if f.DocMDP > 0 {
		certified = fmt.Sprintf(" /Perms << /DocMDP %d 0 R >>", Signature)
	}
	w.Put(Catalog, fmt.Sprintf("<< /Type /Catalog /Pages %d 0 R /AcroForm << /SigFlags 3 /Fields [ %d 0 R ] >>%s >>", Pages, Field, certified))
	w.Put(Page, page+fmt.Sprintf(" /Annots [ %d 0 R ] >>", Widget))
	w.Put(Field, fmt.Sprintf("<< /FT /Sig /T (\\101\\)) /V %d 0 R /Kids [ %d 0 R ] >>", Signature, Widget))
	w.Put(Widget, fmt.Sprintf("<< /Type /Annot /Subtype /Widget /Parent %d 0 R /Rect [ 0 0 0 0 ] /F 132 >>", Field))
	room := max(f.Room, 8)
	m := ""
	if f.M != "" {
		m = " /M (" + f.M + ")"
	}
	reference := ""
	if f.DocMDP > 0 {
		reference = fmt.Sprintf(" /Reference [ << /TransformMethod /DocMDP /TransformParams << /P %d >> >> ]", f.DocMDP)
	}
	w.Put(Signature, fmt.Sprintf("<< /Type /Sig /Filter /%s /SubFilter /%s%s%s%s /ByteRange [ %040d ] /Contents <%s> >>",
		f.Filter, f.SubFilter, m, reference, f.Extra, 0, strings.Repeat("0", 2*room)))
	w.End()
	return fill(w.Bytes(), room, f.Upper, sign)
}

// fill writes ByteRange and Contents of the last signature dictionary.
func fill(b []byte, room int, upper bool, sign func([]byte) []byte) []byte {
	from := bytes.LastIndex(b, []byte("/Contents <")) + len("/Contents ")
	to := from + 2*room + 2
	numbers := fmt.Sprintf("%-40s", fmt.Sprintf("0 %d %d %d", from, to, len(b)-to))
	copy(b[bytes.LastIndex(b, []byte("/ByteRange [ "))+len("/ByteRange [ "):], numbers)
	digits := hex.EncodeToString(sign(append(bytes.Clone(b[:from]), b[to:]...)))
	if upper {
		digits = strings.ToUpper(digits)
	}
	copy(b[from+1:to-1], digits)
	return b
}

// Writer writes objects and ends a revision with the cross-reference of its form.
type Writer struct {
	Form Form
	out  bytes.Buffer
	next map[int]string // objects of the revision that is being written
	size int
	prev int
}

// Append goes on with a finished file whose newest cross-reference stands at prev
// and whose object numbers are below size.
func Append(file []byte, form Form, prev, size int) *Writer {
	w := &Writer{Form: form, prev: prev, size: size}
	w.out.Write(file)
	return w
}

// Bytes returns what was written.
func (w *Writer) Bytes() []byte { return w.out.Bytes() }

func (w *Writer) raw(s string) { w.out.WriteString(s) }

// Put adds an object to the revision.
func (w *Writer) Put(number int, body string) {
	if w.next == nil {
		w.next = map[int]string{}
	}
	w.next[number] = body
	w.size = max(w.size, number+1)
}

// End writes the revision's objects, its cross-reference and its end.
func (w *Writer) End() {
	rows := map[int][3]int{}
	packed := []int{}
	for _, n := range slices.Sorted(maps.Keys(w.next)) {
		if w.Form != Table && n != Signature && !strings.Contains(w.next[n], "stream") {
			packed = append(packed, n)
			continue
		}
		rows[n] = [3]int{1, w.out.Len(), 0}
		w.raw(fmt.Sprintf("%d 0 obj %s\nendobj\n", n, w.next[n]))
	}
	hidden := map[int][3]int{}
	if len(packed) > 0 {
		w.pack(packed, rows, hidden)
	}
	w.next = nil
	switch w.Form {
	case Table:
		at := w.table(rows, 0)
		w.finish(at)
	case Stream:
		maps.Copy(rows, hidden)
		w.finish(w.stream(rows, true))
	case Hybrid:
		at := w.stream(hidden, false)
		for n := range hidden {
			rows[n] = [3]int{0, 0, 0}
		}
		w.finish(w.table(rows, at))
	}
}

// pack writes an object stream.
func (w *Writer) pack(numbers []int, rows, hidden map[int][3]int) {
	holder := w.size
	w.size++
	head, body := "", ""
	for i, n := range numbers {
		hidden[n] = [3]int{2, holder, i}
		head += fmt.Sprintf("%d %d ", n, len(body))
		body += w.next[n] + " "
	}
	rows[holder] = [3]int{1, w.out.Len(), 0}
	data := Deflate([]byte(head + body))
	w.raw(fmt.Sprintf("%d 0 obj <</Type/ObjStm/N %d/First %d/Filter/FlateDecode/Length %d>> stream\n%s\nendstream\nendobj\n", holder, len(numbers), len(head), len(data), data))
}

func (w *Writer) previous() string {
	if w.prev == 0 {
		return ""
	}
	return fmt.Sprintf("/Prev %d", w.prev)
}

func (w *Writer) table(rows map[int][3]int, stream int) int {
	at := w.out.Len()
	w.raw("xref\n")
	if w.prev == 0 {
		rows[0] = [3]int{0, 0, 65535}
	}
	for _, n := range slices.Sorted(maps.Keys(rows)) {
		kind := "n"
		if rows[n][0] == 0 {
			kind = "f"
		}
		w.raw(fmt.Sprintf("%d 1\n%010d %05d %s \n", n, rows[n][1], rows[n][2], kind))
	}
	hybrid := ""
	if stream > 0 {
		hybrid = fmt.Sprintf("/XRefStm %d", stream)
	}
	w.raw(fmt.Sprintf("trailer <</Root %d 0 R/Size %d%s%s>>\n", Catalog, w.size, w.previous(), hybrid))
	return at
}

// stream writes a cross-reference stream with the predictor Up.
func (w *Writer) stream(rows map[int][3]int, root bool) int {
	at, number := w.out.Len(), w.size
	w.size++
	trailer := ""
	if root {
		rows[number] = [3]int{1, at, 0}
		trailer = fmt.Sprintf("/Root %d 0 R%s", Catalog, w.previous())
	}
	index, data, above := "", []byte{}, make([]byte, 6)
	for _, n := range slices.Sorted(maps.Keys(rows)) {
		r := rows[n]
		line := []byte{byte(r[0]), byte(r[1] >> 16), byte(r[1] >> 8), byte(r[1]), byte(r[2] >> 8), byte(r[2])}
		data = append(data, 2)
		for i := range line {
			data = append(data, line[i]-above[i])
		}
		above = line
		index += fmt.Sprintf("%d 1 ", n)
	}
	packed := Deflate(data)
	w.raw(fmt.Sprintf("%d 0 obj <</Type/XRef/W[1 3 2]/Index[%s]/Size %d%s/Filter[/FlateDecode]/DecodeParms[<</Predictor 12/Columns 6>>]/Length %d>> stream\n%s\nendstream\nendobj\n",
		number, index, w.size, trailer, len(packed), packed))
	return at
}

func (w *Writer) finish(at int) {
	w.prev = at
	w.raw(fmt.Sprintf("startxref\n%d\n%%%%EOF\n", at))
}

// Deflate compresses as FlateDecode expects.
func Deflate(b []byte) []byte {
	var out bytes.Buffer
	z := zlib.NewWriter(&out)
	_, _ = z.Write(b) // a buffer takes everything
	_ = z.Close()
	return out.Bytes()
}
