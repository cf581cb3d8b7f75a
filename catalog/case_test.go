package catalog

import (
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
		{"within a longer number", "SJ2026690102198503120016001", holdsID},
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
