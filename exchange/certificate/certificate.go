// Package certificate lays out the document that answers a proof: which
// sentence, rows, notes and watermark the catalogue's words and the answer
// together make, and the signed facts in its QR code (docs/protocol/certificate-number.md).
//
// Whoever has the answer and the seal uses it: the gateway for seals that it
// keeps, a front processor for a seal that stays in its department. The same
// Certificate gives the same document on both sides, byte by byte once it is
// rendered with the same fonts; so the gateway can tell whether what a front
// has sealed is what it answered.
//
// Everything here is a pure function: nothing is read, kept or logged. A
// Certificate holds a resident's data and cannot print itself.
package certificate

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"yizheng/catalog"
	"yizheng/catalog/beijing"
	"yizheng/identity"
	"yizheng/seal/pdf"
)

// Certificate is all that a document says.
type Certificate struct {
	City    catalog.City
	Proof   catalog.Proof
	Fields  []string // those of the proof that were granted; the others are not printed
	Item    string   // name of the matter
	Purpose string   // its text
	Issuer  string   // name of the department whose seal it bears

	Person       identity.Person
	Name         string           // the person's, as to be printed
	Records      []map[string]any // granted fields only
	DataTime     time.Time        // as of when
	Authenticity catalog.Authenticity
	Scope        string   // where was looked
	Stale        bool     // DataTime is older than the source's update cycle
	Missing      []string // who did not answer

	Number   string
	Secret   [16]byte // printed in the QR code
	Seed     []byte   // of the field commitments, pdf.SeedSize bytes
	Root     []byte   // of the commitments to Records
	IssuedAt time.Time
	Receipt  string // pointer to the intent in the log
}

// Format keeps the person and the records out of every fmt verb.
func (c Certificate) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "certificate") }

// MarshalJSON refuses: a certificate leaves as a sealed document only.
func (c Certificate) MarshalJSON() ([]byte, error) {
	return nil, errors.New("certificate: not to be encoded")
}

// Until is the last day of use.
func (c Certificate) Until() time.Time { return c.Proof.Validity.Until(c.IssuedAt.In(beijing.Zone())) }

// widestTable is how many columns still read well across a page; what has more
// fields is printed record by record.
const widestTable = 7

// Document lays the certificate out, with the QR code's payload from SignQR.
// The seal's picture is left to whoever seals. Nothing is in the document that
// is not in the answer, the catalogue or the request.
func (c Certificate) Document(qr string) pdf.Document {
	fill := c.filler()
	d := pdf.Document{
		Title: c.Proof.Title, Issuer: c.Issuer, Number: c.Number,
		IssuedAt: c.IssuedAt.In(beijing.Zone()), DataTime: c.DataTime.In(beijing.Zone()), ValidUntil: c.Until(),
		Body: fill.Replace(c.Proof.Body), Conclusion: fill.Replace(c.Proof.Validity.Wording),
		Purpose: c.Purpose, ItemName: c.Item, Watermark: watermark(c.Proof.Level, c.Issuer, c.Until()),
		Authenticity: authenticityText(c.Authenticity), Seed: c.Seed, Receipt: c.Receipt, QR: qr,
		Together: []string{c.Name}, SealAt: sealAt(c.Proof.SealPosition),
	}
	for _, n := range c.Proof.Notes {
		d.Notes = append(d.Notes, fill.Replace(n))
	}
	d.Caution = c.caution()
	d.Template = c.fixedText()
	c.answer(&d)
	return d
}

func sealAt(p catalog.SealPosition) pdf.SealPlace {
	at := pdf.SealPlace{First: p.Page == "first", Anchor: pdf.Anchor(p.Anchor), X: float64(p.X), Y: float64(p.Y)}
	if p.Anchor == "issuer" {
		at.Anchor = pdf.AnchorIssuer
	}
	return at
}

// caution is what a reader must not overlook, one line each.
func (c Certificate) caution() string {
	var lines []string
	if len(c.Missing) > 0 {
		lines = append(lines, "部分结果：不含"+strings.Join(c.Missing, "、")+"的数据。")
	}
	if c.Stale {
		lines = append(lines, "数据可能过期：来源数据时间早于其更新周期。")
	}
	return strings.Join(lines, "\n")
}

// fixedText is what every document of this proof may say, whomever it is about:
// the catalogue's unfilled wording and the names of codes, unless they are many.
func (c Certificate) fixedText() string {
	var b strings.Builder
	for _, s := range append([]string{c.City.Name, c.Proof.Body, c.Proof.Validity.Wording}, c.Proof.Notes...) {
		b.WriteString(s)
	}
	for _, f := range c.granted() {
		if len(f.Codes) > 16 {
			continue
		}
		for _, code := range slices.Sorted(maps.Keys(f.Codes)) {
			b.WriteString(f.Codes[code])
		}
	}
	return b.String()
}

// filler puts values into the blanks of the catalogue's sentences.
func (c Certificate) filler() *strings.Replacer {
	return strings.NewReplacer(
		"{name}", c.Name, "{number}", c.Person.Number.Reveal(), "{issuer}", c.Issuer,
		"{time}", Time(c.DataTime), "{date}", Date(c.IssuedAt), "{until}", Date(c.Until()),
		"{scope}", c.Scope, "{city}", c.City.Name,
		"{purpose}", c.Purpose, "{item}", c.Item, "{count}", fmt.Sprint(len(c.Records)),
	)
}

// answer writes one record as rows, several as a table or, with many fields, each as rows.
func (c Certificate) answer(d *pdf.Document) {
	fields := c.granted()
	switch {
	case len(c.Records) == 1:
		d.Rows = rows(fields, c.Records[0])
	case len(fields) > widestTable:
		for i, r := range c.Records {
			caption := fmt.Sprintf("第%d项，共%d项", i+1, len(c.Records))
			d.Records = append(d.Records, pdf.Record{Caption: caption, Rows: rows(fields, r)})
		}
	default:
		d.Tables = []pdf.Table{table(fields, c.Records)}
	}
}

// granted keeps the proof's order, which is the order of print.
func (c Certificate) granted() []catalog.Field {
	granted := make(map[string]bool, len(c.Fields))
	for _, f := range c.Fields {
		granted[f] = true
	}
	var list []catalog.Field
	for _, f := range c.Proof.Fields {
		if granted[f.Name] {
			list = append(list, f)
		}
	}
	return list
}

func rows(fields []catalog.Field, record map[string]any) []pdf.Row {
	var list []pdf.Row
	for _, f := range fields {
		list = append(list, pdf.Row{Label: f.Label, Value: display(f, record[f.Name])})
	}
	return list
}

func table(fields []catalog.Field, records []map[string]any) pdf.Table {
	var t pdf.Table
	for _, f := range fields {
		column := pdf.Column{Label: f.Label}
		if f.Type == "money" || f.Type == "number" {
			column.Align = pdf.AlignRight
		}
		t.Columns = append(t.Columns, column)
	}
	for _, r := range records {
		row := make([]string, len(fields))
		for i, f := range fields {
			row[i] = display(f, r[f.Name])
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}
