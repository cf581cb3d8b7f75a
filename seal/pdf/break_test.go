package pdf

import (
	"strings"
	"testing"
)

func TestNamesDatesAndFiguresAreNotTornBetweenLines(t *testing.T) {
	d := insuranceDocument(0)
	d.Tables, d.Caution, d.Notes, d.Conclusion = nil, "", nil, ""
	d.Together = []string{"王㐂", "阿依古丽·买买提", "约翰 米勒"}
	whole := append([]string{"2024年10月12日", "30日", "14 户", "1,860.00元", "3个月", "60平方米", "690102198811230027"}, d.Together...)
	text := strings.Join(whole, "内和")
	fs := testFonts(t, d, Document{Body: text + "云"})
	for n := range 45 {
		d.Body = strings.Repeat("云", n) + text
		l := newLayoutOf(t, fs, d)
		l.paragraphs("云") // what is drawn first is forgotten with the page
		l.pages = l.pages[:0]
		l.newPage()
		l.paragraphs(d.Body)
		page := pageText(l)[0]
		for _, w := range whole {
			if !strings.Contains(page, w) {
				t.Errorf("behind %d characters %s is torn: %s", n, w, page)
			}
		}
		if all := strings.NewReplacer("|", "", " ", "").Replace(page); !strings.Contains(all, strings.ReplaceAll(d.Body, " ", "")) {
			t.Errorf("behind %d characters the text is %s", n, page)
		}
	}
}

func TestANameWiderThanTheLineIsTornAndStaysInItsBox(t *testing.T) {
	d := sampleDocument()
	name := strings.Repeat("云州", 40)
	d.Together = []string{name}
	l := newLayoutOf(t, testFonts(t, d), d)
	lines := l.sheet.wrap(l.shape(name), 10, 100, 0)
	if len(lines) != 8 {
		t.Errorf("%d lines of 100 points for 80 characters of 10", len(lines))
	}
	for _, line := range l.sheet.wrap(l.shape("于2025年3月5日"), 10, 42, 0) {
		if w := width(line, 10); w > 42.1 {
			t.Errorf("a line of %.1f points", w)
		}
	}
}

// companies is the widest table of the demo city: eight columns, long names.
func companies() Table {
	t := Table{}
	for _, label := range []string{"统一社会信用代码", "名称", "类型", "任职或出资", "出资比例", "成立日期", "登记机关", "登记状态"} {
		t.Columns = append(t.Columns, Column{Label: label})
	}
	for range 3 {
		t.Rows = append(t.Rows, []string{"91690102MA0ABCDEFG", "云州市第一机械制造有限责任公司", "有限责任公司", "法定代表人", "33.33%", "2024年10月12日", "云州市东城区市场监督管理局", "存续"})
	}
	return t
}

func TestCodesAndDatesOfNarrowColumnsStayOnOneLine(t *testing.T) {
	d := insuranceDocument(0)
	table := companies()
	d.Tables = []Table{table}
	l := newLayoutOf(t, testFonts(t, d), d)
	l.newPage()
	l.table(table)
	text := pageText(l)[0]
	for _, w := range []string{"91690102MA0ABCDEFG", "法定代表人", "33.33%", "2024年10月12日", "存续"} {
		if n := strings.Count(text, "|"+w+"|"); n != len(table.Rows) {
			t.Errorf("%s is on one line in %d rows of %d: %s", w, n, len(table.Rows), text)
		}
	}
	if n := strings.Count(text, "|云州市第一机械制"); n != len(table.Rows) {
		t.Errorf("a long name has a column of a few characters: %s", text)
	}
	widths, size, pad := l.columnWidths(table)
	sum := 0.0
	for i, w := range widths {
		sum += w
		for _, line := range l.newCell(table.Rows[0][i], 0, w, pad, AlignLeft, style{size: size}).lines {
			if width(line, size) > w-2*pad+0.1 {
				t.Errorf("column %d: a line of %.1f points in %.1f", i, width(line, size), w-2*pad)
			}
		}
	}
	if sum > textWidth+0.1 || sum < textWidth-0.1 {
		t.Errorf("columns of %.1f points in all, want %.1f", sum, textWidth)
	}
}

func TestALabelWithItsUnitStaysOnOneLine(t *testing.T) {
	d := sampleDocument()
	d.Rows = []Row{{"出生体重（克）", "3200"}, {"出生身长（厘米）", "50"}}
	text := pageText(layoutOf(t, d))[0]
	if !strings.Contains(text, "|出生体重（克）|") || !strings.Contains(text, "（厘米）|") {
		t.Errorf("a unit is torn: %s", text)
	}
}

func TestEachLineOfTheBodyIsAParagraph(t *testing.T) {
	d := sampleDocument()
	d.Body = "云州市民政局\n\n云州市东城区\n"
	if text := pageText(layoutOf(t, d))[0]; !strings.Contains(text, "|云州市民政局|云州市东城区|") {
		t.Errorf("paragraphs are %s", text)
	}
}
