// Package pdf writes certificates as PDF files that are ready for a GM
// electronic seal, and reads such files back for verification.
//
// It is a writer for one kind of document: A4 pages with a title, a number,
// paragraphs, ruled tables, a QR code, a watermark sentence and one visible
// seal. What it guarantees:
//
//   - Every character is the one that was given. Text is kept by code point,
//     also beyond the BMP; each font carries a ToUnicode map. A character that
//     no font can draw refuses the whole document (GlyphMissingError): there is
//     never a box in a name.
//   - The same Document gives the same bytes.
//   - A file has one revision, a classic cross-reference table and one
//     signature whose ByteRange [0 a b c] covers all but the Contents token
//     (ISO 32000-1 12.8.1, GB/T 38540-2020).
//   - No resident's data is in the document information dictionary or, where
//     PDF/A wants one, in the metadata stream.
//
// The private keys of the catalogue are described in
// docs/protocol/certificate-pdf.md. The package knows nothing of seals, keys or
// certificates: [Draft.Digest] gives what is to be signed and [Draft.Fill]
// takes the finished DER.
package pdf

import (
	"errors"
	"fmt"
	"time"
)

// Limits of one document. They are far above any real certificate and keep a
// faulty answer from filling memory.
const (
	SeedSize    = 32      // bytes of Document.Seed
	maxPages    = 400     // pages of one document
	maxRunes    = 1 << 20 // code points of one document
	maxReceipt  = 16 << 10
	maxNumber   = 128
	maxContents = 1 << 20 // bytes kept free for a signature
)

// ErrDocument is wrapped by Render when a Document cannot be laid out as given:
// a missing title, a seed of the wrong length, a table row with too few cells.
var ErrDocument = errors.New("pdf: document cannot be rendered")

// Align is where a table column puts its text.
type Align int

// The alignments of a column.
const (
	AlignLeft Align = iota
	AlignCenter
	AlignRight
)

// Row is one label and its value, for example 姓名 and 李𬸚.
type Row struct{ Label, Value string }

// Column is one column of a Table. Weight is its share of the width; when all
// weights of a table are zero the widths follow the contents.
type Column struct {
	Label  string
	Align  Align
	Weight float64
}

// Table is a ruled table whose header is repeated after every page break. Each
// row has as many cells as there are columns.
type Table struct {
	Caption string
	Columns []Column
	Rows    [][]string
}

// Record is one of several alike things with too many fields for a table's
// columns, for example one flat of two: a caption over labels and values.
type Record struct {
	Caption string
	Rows    []Row
}

// Document is one certificate. Every string may hold any code point that the
// fonts have; '\n' begins a new paragraph or line. Empty parts are left out.
// Times are printed in China Standard Time (UTC+8), whatever their location.
type Document struct {
	Title  string // large and centred, for example 社会保险参保缴费证明
	Issuer string // who issues and seals it; printed at the lower right
	Number string // certificate number, printed as 编号 and kept as private key

	IssuedAt   time.Time // printed as date; also the signature's /M
	DataTime   time.Time // 数据截至; zero leaves the line out
	ValidUntil time.Time // 有效期至; zero leaves the line out

	Body       string // opening paragraphs, first lines indented by two characters
	Caution    string // what a reader must not overlook, such as a part that is missing: boxed above the facts, one line each
	Rows       []Row
	Tables     []Table
	Records    []Record
	Conclusion string // closing paragraphs

	Purpose      string // 用途
	ItemName     string // 办理事项
	Authenticity string // how the answer was authenticated, 数据来源
	Notes        []string
	Watermark    string // printed verbatim, once clear at the foot of each page and repeated in grey
	QR           string // payload of the QR code; its caption is 扫码验真

	// Together are words that a line is not broken within as long as they fit on
	// one, such as a person's name. Figures with their units, dates and codes need
	// not be named: they are kept together anyway.
	Together []string

	// Template is the fixed text of this kind of document, in any order: unfilled
	// wording, names of codes and places. It is optional and changes nothing that
	// is seen; its characters are prepared once, which makes rendering faster and
	// the documents of one kind alike in size.
	Template string

	Seed    []byte // SeedSize bytes, private key of the catalogue
	Receipt string // intent receipt in its text form, private key of the catalogue

	Attachments []Attachment // embedded byte for byte

	SealPicture Picture   // drawn over issuer and date at its true size
	SealAt      SealPlace // where else it is drawn
	SealName    string    // alternative text of the seal
	Signer      string    // /Name of the signature dictionary
}

// SignatureSlot says what kind of signature a Draft is to hold.
type SignatureSlot struct {
	Filter    string // default Gomain.GMPkiLite
	SubFilter string // default GM.sm2seal
	MaxBytes  int    // largest signature in bytes; default 16384
	Reason    string // /Reason, optional
	Location  string // /Location, optional
	Seal      []byte // SESeal (DER) beside a signature that has no place for it, optional

	// PDFA makes the file say that it is PDF/A-2u. It may be asked for with a CMS
	// container only (SubFilter adbe.pkcs7.detached): the standard knows no other.
	PDFA bool
}

func (s SignatureSlot) withDefaults() (SignatureSlot, error) {
	if s.Filter == "" {
		s.Filter = "Gomain.GMPkiLite"
	}
	if s.SubFilter == "" {
		s.SubFilter = "GM.sm2seal"
	}
	if s.MaxBytes == 0 {
		s.MaxBytes = 16 << 10
	}
	if s.MaxBytes < 0 || s.MaxBytes > maxContents {
		return s, fmt.Errorf("%w: signature slot of %d bytes, at most %d", ErrDocument, s.MaxBytes, maxContents)
	}
	if s.PDFA && s.SubFilter != "adbe.pkcs7.detached" {
		return s, fmt.Errorf("%w: PDF/A does not know signatures of SubFilter %s", ErrDocument, s.SubFilter)
	}
	for _, n := range []string{s.Filter, s.SubFilter} {
		if !plainName(n) {
			return s, fmt.Errorf("%w: %q is not a usable Filter or SubFilter name", ErrDocument, n)
		}
	}
	return s, nil
}

// plainName reports whether n can be written as a PDF name without escapes.
func plainName(n string) bool {
	for _, c := range []byte(n) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '-', c == '_':
		default:
			return false
		}
	}
	return n != "" && len(n) <= 127
}

// Renderer turns documents into drafts. It is safe for concurrent use. It keeps
// what documents of one kind have in common, at most 32 MiB.
type Renderer struct {
	fonts    *Fonts
	prefixes prefixes
	plans    qrPlans
	desks    desks
	colors   []byte // colorProfile, compressed
}

// NewRenderer returns a renderer that uses the fonts of f.
func NewRenderer(f *Fonts) (*Renderer, error) {
	if f == nil || len(f.chain) == 0 {
		return nil, fmt.Errorf("%w: no fonts loaded", ErrFont)
	}
	return &Renderer{fonts: f, colors: deflate(colorProfile())}, nil
}

// Render lays the document out and returns it with an empty signature.
//
// Errors: *GlyphMissingError when a character cannot be drawn, ErrDocument when
// the document is incomplete or beyond the limits, ErrFont when a glyph of a
// font file turns out to be damaged. No error holds text of the document other
// than the code points of a GlyphMissingError.
func (r *Renderer) Render(d Document, slot SignatureSlot) (*Draft, error) {
	slot, err := slot.withDefaults()
	if err != nil {
		return nil, err
	}
	if slot.PDFA && len(d.Attachments) > 0 {
		return nil, fmt.Errorf("%w: PDF/A-2u embeds no files that are not PDF/A themselves", ErrDocument)
	}
	on := r.desks.take(r.fonts)
	defer r.desks.give(on)
	l, err := r.layout(&d, on)
	if err != nil {
		return nil, err
	}
	return write(l, slot)
}

// layout checks the document and places it on pages.
func (r *Renderer) layout(d *Document, on *desk) (*layout, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	p, err := r.prefixes.get(r.fonts, d)
	if err != nil {
		return nil, err
	}
	if err := r.fonts.checkGlyphs(d, p); err != nil {
		return nil, err
	}
	l := newLayout(r.fonts, p, d, on)
	l.colors = r.colors
	if d.QR != "" {
		if l.code, err = r.plans.encode(d.QR, &on.code); err != nil {
			return nil, err
		}
	}
	return l, l.run()
}

func (d *Document) check() error {
	switch {
	case d.Title == "":
		return fmt.Errorf("%w: no title", ErrDocument)
	case d.Issuer == "":
		return fmt.Errorf("%w: no issuer", ErrDocument)
	case d.Number == "" || len(d.Number) > maxNumber:
		return fmt.Errorf("%w: number of %d bytes, want 1 to %d", ErrDocument, len(d.Number), maxNumber)
	case d.IssuedAt.IsZero():
		return fmt.Errorf("%w: no date of issue", ErrDocument)
	case len(d.Seed) != SeedSize:
		return fmt.Errorf("%w: seed of %d bytes, want %d", ErrDocument, len(d.Seed), SeedSize)
	case len(d.Receipt) > maxReceipt:
		return fmt.Errorf("%w: receipt of %d bytes, at most %d", ErrDocument, len(d.Receipt), maxReceipt)
	}
	for i, t := range d.Tables {
		if len(t.Columns) == 0 || len(t.Columns) > maxColumns {
			return fmt.Errorf("%w: table %d has %d columns, want 1 to %d", ErrDocument, i+1, len(t.Columns), maxColumns)
		}
		for j, row := range t.Rows {
			if len(row) != len(t.Columns) {
				return fmt.Errorf("%w: table %d row %d has %d cells for %d columns", ErrDocument, i+1, j+1, len(row), len(t.Columns))
			}
		}
	}
	return checkAttachments(d.Attachments)
}

// texts calls fn with every string of the document that will be drawn.
func (d *Document) texts(fn func(string)) {
	for _, s := range []string{d.Title, d.Issuer, d.Number, d.Body, d.Caution, d.Conclusion, d.Purpose,
		d.ItemName, d.Authenticity, d.Watermark, ownWords} {
		fn(s)
	}
	for _, r := range d.Rows {
		fn(r.Label)
		fn(r.Value)
	}
	for _, n := range d.Notes {
		fn(n)
	}
	for _, rec := range d.Records {
		fn(rec.Caption)
		for _, r := range rec.Rows {
			fn(r.Label)
			fn(r.Value)
		}
	}
	for _, t := range d.Tables {
		fn(t.Caption)
		for _, c := range t.Columns {
			fn(c.Label)
		}
		for _, row := range t.Rows {
			for _, c := range row {
				fn(c)
			}
		}
	}
}
