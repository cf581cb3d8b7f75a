package seal

import (
	"bytes"
	"fmt"
	"strings"

	"yizheng/seal/pdf/pdftest"
)

// victim is a signed file with what an appended revision must know of it.
type victim struct {
	name string
	file []byte
	form pdftest.Form
	prev int
	size int
}

// victims are our document and files of other programs in every form, certified for
// annotations and filling in.
func (w *workshop) victims() []victim {
	w.t.Helper()
	out := []victim{{name: "ours", file: w.good, form: pdftest.Table}}
	for form, name := range []string{"table", "stream", "hybrid"} {
		out = append(out, victim{name: name, file: w.foreign(pdftest.Foreign{Form: pdftest.Form(form), DocMDP: 3}), form: pdftest.Form(form)})
	}
	for i := range out {
		v := &out[i]
		at := bytes.LastIndex(v.file, []byte("startxref\n"))
		if _, err := fmt.Sscanf(string(v.file[at:]), "startxref\n%d", &v.prev); err != nil {
			w.t.Fatal(err)
		}
		v.size = 900
	}
	return out
}

// with appends a revision.
func (v victim) with(put func(*pdftest.Writer)) []byte {
	a := pdftest.Append(v.file, v.form, v.prev, v.size)
	put(a)
	a.End()
	return a.Bytes()
}

// appended makes the same mutation of every victim.
func appended(w *workshop, name string, fails []int, put func(*pdftest.Writer)) []mutation {
	var out []mutation
	for _, v := range w.victims() {
		out = append(out, mutation{name: v.name + ": " + name, file: v.with(put), fails: fails})
	}
	return out
}

const (
	newContent = "<< /Length 31 >>\nstream\nBT (forged) Tj ET               \nendstream"
	newPage    = "<< /Type /Page /Parent 2 0 R /MediaBox [ 0 0 595 842 ] /Contents 800 0 R >>"
	newCatalog = "<< /Type /Catalog /Pages 801 0 R >>"
)

func incrementalMutations(w *workshop) []mutation {
	only := []int{CheckDigest}
	tail := func(s string) []byte { return append(bytes.Clone(w.good), s...) }
	out := appended(w, "page content replaced", only, func(a *pdftest.Writer) {
		a.Put(pdftest.Page, newPage)
		a.Put(800, newContent)
	})
	out = append(out, appended(w, "catalogue and pages replaced", only, func(a *pdftest.Writer) {
		a.Put(pdftest.Catalog, newCatalog)
		a.Put(801, "<< /Type /Pages /Kids [ 802 0 R ] /Count 1 >>")
		a.Put(802, newPage)
		a.Put(800, newContent)
	})...)
	out = append(out, appended(w, "a second signature", []int{CheckFormat}, func(a *pdftest.Writer) {
		a.Put(pdftest.Signature, "<< /Type /Sig /ByteRange [ 0 1 2 3 ] /Contents <00> >>")
	})...)
	return append(out,
		mutation{name: "objects without a table", file: tail("800 0 obj " + newContent + "\nendobj\n%%EOF\n"), fails: only},
		mutation{name: "objects without a table and an end", file: tail("3 0 obj " + newPage + "\nendobj\n"), fails: only},
		mutation{name: "a table without a trailer", file: tail("xref\n0 1\n0000000000 65535 f \nstartxref\n9\n%%EOF\n"), fails: only},
		mutation{name: "a trailer without a table", file: tail("trailer <</Root 1 0 R>>\nstartxref\n9\n%%EOF\n"), fails: only},
		mutation{name: "startxref alone", file: tail(fmt.Sprintf("startxref\n%d\n%%%%EOF\n", w.rng[1])), fails: only},
		mutation{name: "a comment", file: tail("% one more line\n"), fails: only},
		mutation{name: "a line end", file: tail("\n"), fails: only},
		mutation{name: "zeros", file: tail(strings.Repeat("\x00", 64)), fails: only},
		mutation{name: "bytes that are no PDF", file: tail("\x7fELF\x01\x02\x03"), fails: only},
		mutation{name: "a second whole file", file: append(bytes.Clone(w.good), w.good...), fails: []int{CheckFormat}},
		mutation{name: "the end repeated", file: tail("%%EOF\n"), fails: only},
	)
}

func shadowMutations(w *workshop) []mutation {
	only := []int{CheckDigest}
	out := appended(w, "hide: an overlay is freed", only, func(a *pdftest.Writer) { a.Put(pdftest.Widget, "null") })
	out = append(out, appended(w, "hide: the page no longer shows the overlay", only, func(a *pdftest.Writer) {
		a.Put(pdftest.Page, strings.Replace(newPage, "800 0 R", "7 0 R", 1))
	})...)
	out = append(out, appended(w, "replace: a font draws other characters", only, func(a *pdftest.Writer) {
		a.Put(pdftest.Content, newContent)
		a.Put(pdftest.Length, "31")
	})...)
	out = append(out, appended(w, "replace: the value of a field", only, func(a *pdftest.Writer) {
		a.Put(pdftest.Field, "<< /FT /Tx /T (amount) /V (1000000) >>")
	})...)
	return append(out, appended(w, "hide and replace: the catalogue leads to what lay hidden", only, func(a *pdftest.Writer) {
		a.Put(pdftest.Catalog, "<< /Type /Catalog /Pages 2 0 R /Shown true >>")
	})...)
}

func certificationMutations(w *workshop) []mutation {
	only := []int{CheckDigest}
	out := []mutation{
		{name: "level 1 made 3", file: w.replaced("/P 1/V", "/P 3/V"), fails: only},
		{name: "transform renamed", file: w.replaced("/TransformMethod/DocMDP", "/TransformMethod/DocMDQ"), fails: only},
		{name: "certification taken away", file: w.replaced("/DocMDP", "/DocMDQ"), fails: only},
	}
	out = append(out, appended(w, "an annotation added, as level 3 allows", only, func(a *pdftest.Writer) {
		a.Put(803, "<< /Type /Annot /Subtype /FreeText /Rect [ 0 0 99 99 ] /Contents (forged) >>")
	})...)
	return append(out, appended(w, "evidence added behind the signature (DSS)", only, func(a *pdftest.Writer) {
		a.Put(804, "<< /Type /DSS /Certs [ ] >>")
	})...)
}

// wrappingMutations keep the signed bytes and bring others between or behind them.
func wrappingMutations(w *workshop) []mutation {
	from, to := w.rng[1], w.rng[2]
	before, token, after := w.good[:from], w.good[from:to], w.good[to:]
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	malicious := []byte(">>\nendobj\n3 0 obj " + newPage + "\nendobj\n800 0 obj " + newContent + "\nendobj\n")
	second := func(gap int) []byte {
		return []byte(fmt.Sprintf(">>\nendobj\n805 0 obj <</Type/Sig/Filter/Gomain.GMPkiLite/SubFilter/GM.sm2seal/ByteRange[0 %d %d %d]/Contents %s>>\nendobj\n", from, gap, len(after), token))
	}
	zeros := bytes.Repeat([]byte{'0'}, 2000)
	longer := join(token[:len(token)-1], zeros, token[len(token)-1:])
	format, only := []int{CheckFormat}, []int{CheckDigest}
	wide := w.foreign(pdftest.Foreign{})
	return []mutation{
		{name: "objects between Contents and the signed rest", file: join(before, token, malicious, after), fails: only},
		{name: "the token made longer", file: join(before, longer, after), fails: only},
		{name: "a second dictionary whose range leaves out the first", file: join(before, token, second(to+3000), after), fails: format},
		{name: "the signed rest moved behind another", file: join(before, token, malicious, after, after), fails: only},
		{name: "the signed rest doubled", file: join(w.good, after), fails: only},
		{name: "Contents doubled", file: join(before, token, []byte("/Contents "), token, after), fails: format},
		{name: "ByteRange doubled", file: join(before, token, []byte("/ByteRange[0 1 2 3]"), after), fails: format},
		{name: "bytes before the header", file: join([]byte("%PDF-1.7\n"), w.good), fails: only},
		{name: "another file before the signed one", file: join(wide, w.good), fails: format},
		{name: "white space within the gap", file: join(before, []byte(" "), token, after), fails: only},
		{name: "a comment within the gap", file: join(before, token, []byte("%x\n"), after), fails: only},
		{name: "the dictionary repeated inside itself", file: join(before, token, []byte("/X<</ByteRange[0 1 2 3]/Contents<00>>>"), after), fails: format},
	}
}
