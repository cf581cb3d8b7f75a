package report

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"codeberg.org/go-pdf/fpdf"
)

// Printer makes PDF documents, one at a time: parsing a Chinese font takes tens
// of megabytes each time.
type Printer struct {
	font string // path of a TrueType font
	turn chan struct{}
}

// NewPrinter prints with the TrueType font of that path, which is read when it is needed.
func NewPrinter(font string) *Printer { return &Printer{font: font, turn: make(chan struct{}, 1)} }

// maxPrinted rows: about 150 pages.
const maxPrinted = 4000

// PDF is the table on A4 pages, lying. It waits for its turn as long as ctx allows.
func (p *Printer) PDF(ctx context.Context, t Table) (file []byte, err error) {
	if len(t.Lines) > maxPrinted {
		return nil, fmt.Errorf("%w: %d, at most %d", ErrTooLong, len(t.Lines), maxPrinted)
	}
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() {
		<-p.turn
		if r := recover(); r != nil { // the library panics on texts and fonts it did not expect
			file, err = nil, fmt.Errorf("supervise report: the PDF library gave up (%T)", r)
		}
	}()
	font, err := os.ReadFile(p.font)
	if err != nil {
		return nil, fmt.Errorf("supervise report: font: %w", err)
	}
	d := fpdf.New("L", "mm", "A4", "")
	d.AddUTF8FontFromBytes("body", "", font)
	if err := t.print(ctx, d); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := errors.Join(ctx.Err(), d.Output(&out)); err != nil {
		return nil, fmt.Errorf("supervise report: %w", err)
	}
	return out.Bytes(), nil
}

const rowHeight = 6.5 // mm

func (t Table) print(ctx context.Context, d *fpdf.Fpdf) error {
	columns := t.columns()
	d.SetMargins(12, 12, 12)
	d.SetAutoPageBreak(true, 15)
	d.SetTitle(t.title(), true)
	d.SetHeaderFunc(func() {
		d.SetFont("body", "", 13)
		d.CellFormat(0, 9, t.title(), "", 1, "L", false, 0, "")
		d.SetFont("body", "", 9)
		for _, c := range columns {
			d.CellFormat(c.width, rowHeight, c.name, "B", 0, c.align(), false, 0, "")
		}
		d.Ln(rowHeight)
	})
	d.SetFooterFunc(func() {
		d.SetY(-11)
		d.SetFont("body", "", 8)
		d.CellFormat(0, 5, fmt.Sprintf("第 %d 页", d.PageNo()), "", 0, "R", false, 0, "")
	})
	d.AddPage()
	for _, line := range t.Lines {
		if err := ctx.Err(); err != nil {
			return err
		}
		for _, c := range columns {
			d.CellFormat(c.width, rowHeight, fit(d, shown(c.value(line)), c.width-2), "", 0, c.align(), false, 0, "")
		}
		d.Ln(rowHeight)
	}
	return d.Error()
}

// shown is a value as the page has it. The library cannot print what lies beyond
// U+FFFF; such a character is named instead.
func shown(v any) string {
	switch v := v.(type) {
	case float64:
		return fmt.Sprintf("%.1f%%", 100*v)
	case string:
		var b strings.Builder
		for _, r := range v {
			if r < ' ' || r > 0xFFFE {
				fmt.Fprintf(&b, "(U+%04X)", r)
			} else {
				b.WriteRune(r)
			}
		}
		return b.String()
	}
	return fmt.Sprint(v)
}

// fit shortens a text that is wider than its column.
func fit(d *fpdf.Fpdf, text string, width float64) string {
	if d.GetStringWidth(text) <= width {
		return text
	}
	letters := []rune(text)
	for len(letters) > 0 && d.GetStringWidth(string(letters)+"…") > width {
		letters = letters[:len(letters)-1]
	}
	return string(letters) + "…"
}
