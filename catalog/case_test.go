package catalog

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestCaseFault(t *testing.T) {
	const form, holdsID = "characters", "ID number"
	for _, tt := range []struct {
		name, number, fault string
	}{
		{"as cities write them", "SJ-2026〔11〕000123", ""},
		{"in Chinese", "示例（2026）第1号", ""},
		{"area, date and serial number", "690100202611220001234", ""},
		{"department, date and serial number", "BDC-20261122-000001", ""},
		{"date and a long serial number", "SJ_20261122/0000000000015.2", ""},
		{"a case number of 18 digits", "690102202611220012", ""},
		{"longest", strings.Repeat("号", 64), ""},
		{"empty", "", form},
		{"too long", strings.Repeat("a", 65), form},
		{"control character", "SJ\x1b[2J", form},
		{"line break", "SJ\n1", form},
		{"space around", " SJ1", form},
		{"space within", "SJ 1", form},
		{"broken UTF-8", "SJ\xff", form},
		{"bidirectional override", "SJ\u202e1", form},
		{"full-width digits", "SJ２０２６", form},
		{"full-width letters", "ＳＪ2026", form},
		{"Arabic-Indic digits", "SJ٢٠٢٦", form},
		{"other letters", "SJ-é", form},
		{"an ID number", "690102198503120016", holdsID},
		{"with separators", "690102-19850312-0016", holdsID},
		{"with brackets and characters", "王690102〔1985〕0312第0016号", holdsID},
		{"with spaces", "690102 19850312 0016", form},
		{"in full-width digits", "６９０１０２１９８５０３１２００１６", form},
		{"in Chinese digits", "六九〇一〇二-一九八五〇三一二-零零壹陆", holdsID},
		{"behind a year", "SJ2026-690102198503120016", holdsID},
		{"behind a year, with separators", "2026-690102-19850312-0016-1", holdsID},
		{"as part of a longer number", "SJ2026690102198503120016001", ""},
		{"area, short date and serial number", "690100261122000123", ""},
		{"long area, date and serial number", "690100000000202611220001", ""},
		{"a time to the millisecond", "20261122151703123", ""},
		{"with a small x", "SJ-11010519491231002x", holdsID},
		{"of a foreigner", "SJ-CAN110081080310", holdsID},
		{"of fifteen digits", "SJ-690102850312001", holdsID},
		{"of fifteen digits, separated", "690102/850312/001", holdsID},
	} {
		t.Run(tt.name, func(t *testing.T) {
			chinese, english := CaseFault(tt.number)
			if !strings.Contains(english, tt.fault) || (english == "") != (tt.fault == "") || (chinese == "") != (english == "") {
				t.Errorf("%q: %q", tt.number, english)
			}
			if tt.fault != "" && strings.Contains(chinese+english, "690102") {
				t.Error("the refusal repeats the number")
			}
		})
	}
}

// The figures of docs/REQUEST.md: how many of 10,000 numbers of a form are
// refused. Cities have long had such numbers and cannot draw again.
func TestCaseNumbersAreSeldomTakenForAPersons(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 9))
	for form, c := range map[string]struct {
		make func(serial int) string
		most int // refused of 10,000
	}{
		"area 6, yymmdd, serial 6":              {func(n int) string { return fmt.Sprintf("690102%s%06d", "261122", n) }, 0},
		"area 12, yyyymmdd, serial 4":           {func(n int) string { return fmt.Sprintf("690102003000%s%04d", "20261122", n) }, 0},
		"area 6, yyyymmdd, serial 5":            {func(n int) string { return fmt.Sprintf("690102%s%05d", "20261122", n) }, 0},
		"area 6, yyyymmdd, serial 6":            {func(n int) string { return fmt.Sprintf("690102%s%06d", "20261122", n) }, 0},
		"yymmdd, area 6, serial 6":              {func(n int) string { return fmt.Sprintf("%s690102%06d", "261122", n) }, 100},
		"letters, yyyymmdd, serial 6":           {func(n int) string { return fmt.Sprintf("SJ-%s-%06d", "20261122", n) }, 0},
		"yyyymmddhhmmss, milliseconds":          {func(n int) string { return fmt.Sprintf("20261122%09d", n*8640+r.IntN(8640)) }, 0},
		"18 random digits":                      {func(int) string { return fmt.Sprintf("%018d", r.Int64N(1e18)) }, 10},
		"area 6, yyyymmdd, serial 4":            {func(n int) string { return fmt.Sprintf("690102%s%04d", "20261121", n) }, 1000},
		"area 6, letter, yyyymmdd and serial 4": {func(n int) string { return fmt.Sprintf("690102A%s%04d", "20261121", n) }, 0},
	} {
		refused := 0
		for n := range 10_000 {
			if _, english := CaseFault(c.make(n)); english != "" {
				refused++
			}
		}
		t.Logf("%s: %d of 10,000", form, refused)
		if refused > c.most {
			t.Errorf("%s: %d of 10,000 refused, at most %d were to be", form, refused, c.most)
		}
	}
}
