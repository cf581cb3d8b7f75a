package pdf

import (
	"fmt"
	"strings"
	"testing"
)

func TestNoPageHoldsTheSealAlone(t *testing.T) {
	fs := testFonts(t, insuranceDocument(60))
	for rows := range 40 {
		d := insuranceDocument(rows)
		l := newLayoutOf(t, fs, d)
		if err := l.run(); err != nil {
			t.Fatal(err)
		}
		pages := pageText(l)
		if last := pages[len(pages)-1]; !strings.Contains(last, d.Conclusion) || !strings.Contains(last, d.Purpose) || !strings.Contains(last, "2025年3月5日|") {
			t.Errorf("%d rows: the last of %d pages is %s", rows, len(pages), last)
		} else if len(pages) > 1 && !strings.Contains(last, fmt.Sprintf("|%d.%02d|", 408+rows-1, rows-1)) {
			t.Errorf("%d rows: no row is on the last of %d pages: %s", rows, len(pages), last)
		}
		all := strings.Join(pages, "")
		for i := range rows {
			if n := strings.Count(all, fmt.Sprintf("|%d.%02d|", 408+i, i)); n != 1 {
				t.Errorf("%d rows: row %d is there %d times", rows, i+1, n)
			}
		}
	}
}

// With two records of five rows the end would stand on a second page by itself.
func TestADocumentThatNearlyFitsIsSetCloser(t *testing.T) {
	d := sampleDocument()
	d.Rows, d.Notes = nil, nil
	for i := range 2 {
		r := Record{Caption: fmt.Sprintf("第%d项", i+1)}
		for range 5 {
			r.Rows = append(r.Rows, Row{"证书编号", strings.Repeat("0", 40)})
		}
		d.Records = append(d.Records, r)
	}
	if pages := pageText(layoutOf(t, d)); len(pages) != 1 {
		t.Errorf("%d pages", len(pages))
	}
}

func TestAShortRecordIsNotTornBetweenPages(t *testing.T) {
	d := sampleDocument()
	d.Rows = nil
	row := Row{"坐落", strings.Repeat("东", 30)}
	for i := range 9 {
		d.Records = append(d.Records, Record{Caption: fmt.Sprintf("第%d套", i+1), Rows: []Row{row, row, row, row}})
	}
	pages := pageText(layoutOf(t, d))
	if len(pages) < 2 || strings.Contains(strings.Join(pages, ""), wordContinued+"|坐落") {
		t.Errorf("%d pages: %s", len(pages), pages)
	}
	for i, p := range pages {
		if rows := strings.Count(p, "|坐落|"); rows%4 != 0 {
			t.Errorf("page %d has %d rows of records of four", i+1, rows)
		}
	}
}

func TestCautionStandsAboveTheFacts(t *testing.T) {
	d := sampleDocument()
	d.Caution = "部分结果：不含云州市公安局的数据。\n数据可能过期。"
	text := pageText(layoutOf(t, d))[0]
	caution, second, facts := strings.Index(text, "注意：部分结果：不含云州市公安局的数据。|"), strings.Index(text, "|数据可能过期。|"), strings.Index(text, "户主")
	if caution < 0 || second < caution || facts < second {
		t.Errorf("caution at %d and %d, facts at %d", caution, second, facts)
	}
}

func TestARecordOverTwoPagesRepeatsItsCaption(t *testing.T) {
	d := sampleDocument()
	r := Record{Caption: "第1套"}
	for i := range 60 {
		r.Rows = append(r.Rows, Row{"坐落", fmt.Sprintf("和平里%d号楼%s", i, strings.Repeat("东", 20))})
	}
	d.Records = []Record{r, {"第2套", r.Rows[:2]}}
	pages := pageText(layoutOf(t, d))
	if len(pages) < 3 || !strings.Contains(pages[0], "|第1套|") {
		t.Fatalf("%d pages", len(pages))
	}
	for i, p := range pages[1:] {
		rows, _, _ := strings.Cut(p, "|第2套|")
		if n := strings.Count(rows, "|第1套（续）|"); strings.Contains(rows, "|坐落|") != (n == 1) {
			t.Errorf("page %d has the caption %d times", i+2, n)
		}
	}
	if all := strings.Join(pages, ""); strings.Contains(all, "第2套（续）") {
		t.Error("a record of one page is continued")
	}
}

func TestCellsThatNearlyFitAreSetTighter(t *testing.T) {
	d := insuranceDocument(0)
	long := strings.Repeat("云", 51) // a little too wide at the usual size
	d.Tables = []Table{{Columns: []Column{{Label: "一"}}, Rows: [][]string{{long}}}}
	if text := pageText(layoutOf(t, d))[0]; !strings.Contains(text, "|"+long+"|") {
		t.Errorf("the cell is broken: %s", text)
	}
	d.Tables[0].Rows[0][0] = long + long
	if text := pageText(layoutOf(t, d))[0]; strings.Contains(text, "|"+long) {
		t.Error("a cell that needs two lines is set smaller nevertheless")
	}
}

func TestNoCharacterIsLeftAlone(t *testing.T) {
	var texts Document
	texts.Body = "云州市东城区"
	l := newLayoutOf(t, testFonts(t, texts), texts)
	for n := 11; n < 40; n++ {
		lines := l.sheet.wrapWell(l.shape(strings.Repeat("云", n)), 10, 100, 0)
		if last := len(lines[len(lines)-1]); last <= 2 {
			t.Errorf("%d characters in lines of 10: the last has %d", n, last)
		}
		count := 0
		for _, line := range lines {
			count += len(line)
		}
		if count != n {
			t.Errorf("%d characters of %d are left", count, n)
		}
	}
}
