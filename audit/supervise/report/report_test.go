package report

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/xuri/excelize/v2"

	"yizheng/audit/supervise"
)

var lines = []supervise.Line{
	{Period: "2026-11-21", Value: "=1+1", Asked: 40, Good: 38, Failed: 2, Rate: 0.95, P50: 120, P95: 900, Yellow: 1},
	{Period: "2026-11-21", Value: "+86", Rate: 1}, {Period: "2026-11-21", Value: "-1", Rate: 1}, {Period: "2026-11-21", Value: "@sum", Rate: 1},
	{Period: "2026-11-22", Value: "11690100006900026F", Asked: 1, Refused: 3, Good: 1, Rate: 1, Red: 2},
	{Period: "2026-11-22", Value: "𠀀 beyond the first plane and much too long for its column on the page", Rate: 1},
}

var table = Table{By: supervise.ByDepartment, From: "2026-11-01", To: "2026-11-30", Lines: lines}

func TestSpreadsheetHoldsTextsAsTextAndNumbersAsNumbers(t *testing.T) {
	raw, err := XLSX(table)
	if err != nil {
		t.Fatal(err)
	}
	f, err := excelize.OpenReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for cell, want := range map[string]string{"A1": "电子监察统计：按部门，每日，2026-11-01 至 2026-11-30", "B2": "部门", "C3": "40", "G3": "95.00%", "K7": "2"} {
		if got, err := f.GetCellValue(sheet, cell); err != nil || got != want {
			t.Errorf("%s is %q (%v), want %q", cell, got, err, want)
		}
	}
	for i, line := range lines {
		cell, _ := excelize.CoordinatesToCellName(2, i+3)
		value, err := f.GetCellValue(sheet, cell)
		formula, err2 := f.GetCellFormula(sheet, cell)
		kind, err3 := f.GetCellType(sheet, cell)
		if value != line.Value || formula != "" || kind != excelize.CellTypeInlineString || errors.Join(err, err2, err3) != nil {
			t.Errorf("%s: %q, formula %q, type %d", cell, value, formula, kind)
		}
	}
	if kind, err := f.GetCellType(sheet, "C3"); err != nil || kind == excelize.CellTypeInlineString {
		t.Errorf("a count is of type %d (%v)", kind, err)
	}
}

func TestPrintingEndsInsteadOfPanicking(t *testing.T) {
	p := NewPrinter("report_test.go") // no font
	if _, err := p.PDF(t.Context(), table); err == nil {
		t.Error("printed without a font")
	}
	if _, err := p.PDF(t.Context(), Table{Lines: make([]supervise.Line, maxPrinted+1)}); !errors.Is(err, ErrTooLong) {
		t.Error(err)
	}
	p.turn <- struct{}{} // somebody else prints
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.PDF(ctx, table); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
