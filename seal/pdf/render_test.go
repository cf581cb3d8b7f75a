package pdf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func testRenderer(t testing.TB, docs ...Document) *Renderer {
	t.Helper()
	r, err := NewRenderer(testFonts(t, docs...))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func render(t testing.TB, d Document) *Draft {
	t.Helper()
	draft, err := testRenderer(t, d).Render(d, SignatureSlot{MaxBytes: 512})
	if err != nil {
		t.Fatal(err)
	}
	return draft
}

func TestRenderIsDeterministic(t *testing.T) {
	d := sampleDocument()
	a, b := render(t, d), render(t, d)
	if !bytes.Equal(a.file, b.file) {
		t.Error("the same document gave two files")
	}
	d.Seed = bytes.Repeat([]byte{1}, SeedSize)
	if c := render(t, d); bytes.Equal(a.Digest(), c.Digest()) {
		t.Error("another seed gave the same digest")
	}
}

func TestRenderRefusesWhatItCannotDraw(t *testing.T) {
	d := sampleDocument()
	r := testRenderer(t, d)
	cases := []struct {
		name, value string
		want        []rune
	}{
		{"no font has it", "龘𰻞", []rune{0x9F98, 0x30EDE}},
		{"private use", "李\uE000\uF8FF", []rune{0xE000, 0xF8FF}},
		{"private use plane", "\U000F0001", []rune{0xF0001}},
		{"replacement character", "李\uFFFD", []rune{0xFFFD}},
		{"not UTF-8", "李\xff", []rune{0xFFFD}},
		{"control characters", "李\t\x00\x7f\u0085", []rune{0, 9, 0x7F, 0x85}},
		{"invisible format characters", "李\u200B\u202E", []rune{0x200B, 0x202E}},
		{"each once, ascending", "龘\uE000龘", []rune{0x9F98, 0xE000}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			e := d
			e.Rows = []Row{{"姓名", c.value}}
			_, err := r.Render(e, SignatureSlot{})
			var missing *GlyphMissingError
			if !errors.As(err, &missing) {
				t.Fatalf("got %v", err)
			}
			if !slices.Equal(missing.Runes, c.want) {
				t.Errorf("got %U, want %U", missing.Runes, c.want)
			}
			if !regexp.MustCompile(`^pdf: no glyph for( U\+[0-9A-F]+)+$`).MatchString(err.Error()) {
				t.Errorf("the message says more than code points: %q", err)
			}
		})
	}
}

func TestRenderRefusesIncompleteDocuments(t *testing.T) {
	d := sampleDocument()
	r := testRenderer(t, d)
	cases := map[string]func(*Document, *SignatureSlot){
		"no title":   func(d *Document, _ *SignatureSlot) { d.Title = "" },
		"no issuer":  func(d *Document, _ *SignatureSlot) { d.Issuer = "" },
		"no number":  func(d *Document, _ *SignatureSlot) { d.Number = "" },
		"no date":    func(d *Document, _ *SignatureSlot) { d.IssuedAt = time.Time{} },
		"short seed": func(d *Document, _ *SignatureSlot) { d.Seed = d.Seed[1:] },
		"row without cell": func(d *Document, _ *SignatureSlot) {
			d.Tables = []Table{{Columns: make([]Column, 2), Rows: [][]string{{"1"}}}}
		},
		"no columns":        func(d *Document, _ *SignatureSlot) { d.Tables = []Table{{}} },
		"QR too long":       func(d *Document, _ *SignatureSlot) { d.QR = strings.Repeat("a", 5000) },
		"slot too large":    func(_ *Document, s *SignatureSlot) { s.MaxBytes = 1 << 30 },
		"filter not a name": func(_ *Document, s *SignatureSlot) { s.Filter = "a/b" },
		"too many pages":    func(d *Document, _ *SignatureSlot) { d.Body = strings.Repeat("1\n", 33*(maxPages+2)) },
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			e, slot := d, SignatureSlot{}
			change(&e, &slot)
			if _, err := r.Render(e, slot); !errors.Is(err, ErrDocument) {
				t.Errorf("got %v, want ErrDocument", err)
			}
		})
	}
}

func TestRenderKeepsPersonalDataOutOfTheInformationDictionary(t *testing.T) {
	f, err := Open(t.Context(), render(t, sampleDocument()).file)
	if err != nil {
		t.Fatal(err)
	}
	info := f.dict(f.trailer.get("Info"))
	if len(info) != 3 || textOf(info.get("Title")) != "最低生活保障证明" || textOf(info.get("Producer")) != "Yizheng" {
		t.Errorf("information dictionary %v", info)
	}
	if f.catalog().get("Metadata") != nil {
		t.Error("there is a metadata stream")
	}
}

func TestSealStandsOnTheLastPageAtItsTrueSize(t *testing.T) {
	f, err := Open(t.Context(), render(t, insuranceDocument(60)).file)
	if err != nil {
		t.Fatal(err)
	}
	kids := f.dict(f.catalog().get("Pages")).get("Kids").(array)
	field := f.view[objField].(dict)
	if len(kids) < 2 || field.get("P") != kids[len(kids)-1] {
		t.Errorf("field on page %v of %v", field.get("P"), kids)
	}
	if a := f.dict(field.get("P")).get("Annots"); a == nil {
		t.Error("the page does not list the field")
	}
	rect := field.get("Rect").(array)
	for i := range 2 {
		if side := (rect[i+2].(float64) - rect[i].(float64)) / mm; side < 41.95 || side > 42.05 {
			t.Errorf("side %d of the seal is %.2f mm, want 42", i, side)
		}
	}
	if flags := field.get("F"); flags != float64(132) {
		t.Errorf("annotation flags %v, want print and locked", flags)
	}
}

// pageText returns the text of each page's content stream, line by line, through
// the ToUnicode order of the subsets.
func pageText(l *layout) []string {
	var pages []string
	shown := regexp.MustCompile(`(?s)(?:/F(\d) [\d.]+ Tf)?(\((?:[^()\\]|\\.)*\))Tj|\nET\n`)
	for _, p := range l.pages {
		var b strings.Builder
		s := l.prefix.common
		for _, m := range shown.FindAllStringSubmatch(string(p.b), -1) {
			if m[2] == "" {
				b.WriteByte('|')
				continue
			}
			if m[1] == "0" {
				s = l.prefix.common
			} else if m[1] != "" {
				s = l.subsets[m[1][0]-'1']
			}
			text, _ := (&parser{b: []byte(m[2])}).literalString()
			for cids := text.bytes; len(cids) > 1; cids = cids[2:] {
				b.WriteRune(s.runes[binary.BigEndian.Uint16(cids)-1])
			}
		}
		pages = append(pages, b.String())
	}
	return pages
}

func newLayoutOf(t *testing.T, fs *Fonts, d Document) *layout {
	t.Helper()
	p, err := newPrefix(fs, &d, d.fixedText())
	if err != nil {
		t.Fatal(err)
	}
	l := newLayout(fs, p, &d, newDesk(fs))
	if d.QR != "" {
		if l.code, err = new(qrPlans).encode(d.QR, new(qrSheet)); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

func layoutOf(t *testing.T, d Document) *layout {
	t.Helper()
	l := newLayoutOf(t, testFonts(t, d), d)
	if err := l.run(); err != nil {
		t.Fatal(err)
	}
	return l
}

func TestTableRepeatsItsHeaderOnEveryPage(t *testing.T) {
	d := insuranceDocument(60)
	pages := pageText(layoutOf(t, d))
	if len(pages) < 3 {
		t.Fatalf("%d pages", len(pages))
	}
	all := strings.Join(pages, "")
	for i, p := range pages {
		if n := strings.Count(p, "缴费单位|"); n != 1 {
			t.Errorf("page %d has %d headers", i+1, n)
		}
		if want := fmt.Sprintf("第%d页 共%d页|", i+1, len(pages)); !strings.Contains(p, want) {
			t.Errorf("page %d lacks %s", i+1, want)
		}
		if !strings.Contains(p, d.Watermark+"|") {
			t.Errorf("page %d lacks the watermark sentence", i+1)
		}
	}
	for _, row := range d.Tables[0].Rows {
		if n := strings.Count(all, "|"+row[4]+"|"); n != 1 {
			t.Errorf("%s stands %d times", row[4], n)
		}
	}
}

func TestRecordsAreDrawnUnderTheirCaptions(t *testing.T) {
	d := sampleDocument()
	d.Records = []Record{{"第1套", []Row{{"坐落", "和平里12号楼"}}}, {"第2套", []Row{{"坐落", "建设路7号"}}}}
	all := strings.Join(pageText(layoutOf(t, d)), "")
	at := 0
	for _, want := range []string{"第1套|", "和平里12号楼|", "第2套|", "建设路7号|"} {
		next := strings.Index(all[at:], want)
		if next < 0 {
			t.Fatalf("%s does not follow", want)
		}
		at += next
	}
	d.Records[1].Rows[0].Value = "\uE000"
	var missing *GlyphMissingError
	if _, err := testRenderer(t, sampleDocument()).Render(d, SignatureSlot{}); !errors.As(err, &missing) {
		t.Errorf("a record with a private use character: %v", err)
	}
}

func TestRowTallerThanAPageIsContinued(t *testing.T) {
	d := sampleDocument()
	d.Rows = []Row{{"家庭住址", strings.Repeat("云州市东城区人民路街道建设社区", 400)}}
	l := layoutOf(t, d)
	all := strings.NewReplacer("|", "").Replace(strings.Join(pageText(l), ""))
	if n := strings.Count(all, "东"); len(l.pages) < 4 || n != 400 {
		t.Errorf("%d pages, %d repetitions of 400", len(l.pages), n)
	}
}

func TestDatesAreInChinaTimeWithoutZeroPadding(t *testing.T) {
	at := time.Date(2025, 3, 4, 17, 5, 0, 0, time.UTC)
	if got := dateText(at); got != "2025年3月5日" {
		t.Errorf("date %s", got)
	}
	if got := minuteText(at); got != "2025年3月5日01时05分" {
		t.Errorf("minute %s", got)
	}
	if got := pdfDate(at); got != "D:20250305010500+08'00'" {
		t.Errorf("PDF date %s", got)
	}
}

func TestWrapObeysChineseLineBreaking(t *testing.T) {
	cases := []struct {
		name, text string
		chars      float64 // width in characters
		want       []string
	}{
		{"by code point", "一二三四五六", 4, []string{"一二三四", "五六"}},
		{"no closing mark begins a line", "一二三四。五六", 4, []string{"一二三", "四。五六"}},
		{"two closing marks", "一二三四）。五", 4, []string{"一二三", "四）。五"}},
		{"no opening mark ends a line", "一二三（四五）", 4, []string{"一二三", "（四五）"}},
		{"figures stay together", "金额1860.00元", 4, []string{"金额", "1860.00", "元"}},
		{"a run longer than a line is broken", "ABCDEFGHIJKL", 4, []string{"ABCDEFGH", "IJKL"}},
		{"spaces at a break vanish", "AB CDEFG HI", 3, []string{"AB", "CDEFG", "HI"}},
		{"beyond the BMP is one character", "李𬸚李𬸚李", 2, []string{"李𬸚", "李𬸚", "李"}},
		{"a line of closing marks does not hang", "。。。。。。", 4, []string{"。。。。", "。。"}},
	}
	var texts Document
	for _, c := range cases {
		texts.Body += c.text
	}
	fs := testFonts(t, texts)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			l := newLayoutOf(t, fs, Document{})
			var got []string
			for _, line := range l.sheet.wrap(l.shape(c.text), 10, 10*c.chars, 0) {
				var b strings.Builder
				for _, ch := range line {
					b.WriteRune(ch.r)
				}
				got = append(got, b.String())
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func BenchmarkRender(b *testing.B) {
	d := sampleDocument()
	r := testRenderer(b, d)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Render(d, SignatureSlot{}); err != nil {
			b.Fatal(err)
		}
	}
}
