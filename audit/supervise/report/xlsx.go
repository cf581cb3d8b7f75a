package report

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/xuri/excelize/v2"
)

// maxRows of a spreadsheet; the format's own limit is 1,048,576.
const maxRows = 1_000_000

const sheet = "统计"

// XLSX is the table as a spreadsheet: numbers as numbers, texts as texts.
func XLSX(t Table) (file []byte, err error) {
	if len(t.Lines) > maxRows {
		return nil, fmt.Errorf("%w: %d, at most %d", ErrTooLong, len(t.Lines), maxRows)
	}
	f := excelize.NewFile()
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.SetSheetName("Sheet1", sheet); err != nil {
		return nil, fmt.Errorf("supervise report: %w", err)
	}
	bold, err := f.NewStyle(&excelize.Style{Font: &excelize.Font{Bold: true}})
	if err != nil {
		return nil, fmt.Errorf("supervise report: %w", err)
	}
	share, err := f.NewStyle(&excelize.Style{NumFmt: 10}) // 0.00%
	if err != nil {
		return nil, fmt.Errorf("supervise report: %w", err)
	}
	if err := t.fill(f, bold, share); err != nil {
		return nil, fmt.Errorf("supervise report: %w", err)
	}
	var out bytes.Buffer
	if err := f.Write(&out); err != nil {
		return nil, fmt.Errorf("supervise report: %w", err)
	}
	return out.Bytes(), nil
}

// fill writes the title, the heads of the columns and the rows. A string given to
// a stream writer becomes an inline text, never a formula.
func (t Table) fill(f *excelize.File, bold, share int) error {
	w, err := f.NewStreamWriter(sheet)
	if err != nil {
		return err
	}
	columns := t.columns()
	heads := make([]any, len(columns))
	for i, c := range columns {
		heads[i] = excelize.Cell{StyleID: bold, Value: c.name}
		if err := w.SetColWidth(i+1, i+1, c.width/2); err != nil {
			return err
		}
	}
	if err := w.SetPanes(&excelize.Panes{Freeze: true, YSplit: 2, TopLeftCell: "A3", ActivePane: "bottomLeft"}); err != nil {
		return err
	}
	if err := w.SetRow("A1", []any{excelize.Cell{StyleID: bold, Value: t.title()}}); err != nil {
		return err
	}
	if err := w.SetRow("A2", heads); err != nil {
		return err
	}
	for i, line := range t.Lines {
		row := make([]any, len(columns))
		for j, c := range columns {
			row[j] = c.value(line)
			if rate, ok := row[j].(float64); ok {
				row[j] = excelize.Cell{StyleID: share, Value: rate}
			}
		}
		if err := w.SetRow(fmt.Sprint("A", i+3), row); err != nil {
			return err
		}
	}
	return w.Flush()
}
