package identity

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseNumberAccepts(t *testing.T) {
	cases := []struct {
		name, number string
		want         IDType
		sex          Sex
		birth        string
	}{
		{"standard's example ending in X", "11010519491231002X", TypeResident, SexFemale, "19491231"},
		{"standard's other example", "440524188001010014", TypeResident, SexMale, "18800101"},
		{"man", "690102198503120016", TypeResident, SexMale, "19850312"},
		{"woman", "690102199011250046", TypeResident, SexFemale, "19901125"},
		{"ending in X", "69010219700101004X", TypeResident, SexFemale, "19700101"},
		{"name with a middle dot", "690103199208170062", TypeResident, SexFemale, "19920817"},
		{"name beyond the BMP", "690104197806030032", TypeResident, SexMale, "19780603"},
		{"long-term card", "690102194802090090", TypeResident, SexMale, "19480209"},
		{"minor", "690102201205180023", TypeResident, SexFemale, "20120518"},
		{"small child", "690104201909080058", TypeResident, SexMale, "20190908"},
		{"twelve-year-old", "690104201403220025", TypeResident, SexFemale, "20140322"},
		{"rare character", "690102198806140030", TypeResident, SexMale, "19880614"},
		{"private-use character", "690102197911050075", TypeResident, SexMale, "19791105"},
		{"sealed record", "69010420000704001X", TypeResident, SexMale, "20000704"},
		{"not issuable", "690102200310190093", TypeResident, SexMale, "20031019"},
		{"face check fails", "690103195203010061", TypeResident, SexFemale, "19520301"},
		{"two flats", "69010319861230008X", TypeResident, SexFemale, "19861230"},
		{"Hong Kong permit", "810000199408230021", TypeHMT, SexFemale, "19940823"},
		{"Macao permit", "820000199102140017", TypeHMT, SexMale, "19910214"},
		{"Taiwan permit", "830000199201300022", TypeHMT, SexFemale, "19920130"},
		{"foreigner of the fictional province", "969840198507040013", TypeForeigner, SexMale, "19850704"},
		{"foreigner, official example", "932682198501010017", TypeForeigner, SexMale, "19850101"},
		{"foreigner, official example 2", "911124198108030024", TypeForeigner, SexFemale, "19810803"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			n, warnings, err := ParseNumber(c.number)
			if err != nil || len(warnings) != 0 {
				t.Fatalf("error %v, warnings %v", err, warnings)
			}
			if n.Reveal() != c.number || n.Type() != c.want || n.Sex() != c.sex || n.Birth().Compact() != c.birth {
				t.Errorf("type %s sex %s birth %s", n.Type(), n.Sex(), n.Birth().Compact())
			}
		})
	}
	t.Run("foreigner 2017", func(t *testing.T) {
		n, warnings, err := ParseNumber("CAN110081080310")
		if err != nil || len(warnings) != 0 || n.Type() != TypeForeigner || n.Sex() != SexUnknown || !n.Birth().IsZero() {
			t.Errorf("error %v, warnings %v, type %s", err, warnings, n.Type())
		}
	})
	t.Run("small x becomes X", func(t *testing.T) {
		n, _, err := ParseNumber("11010519491231002x")
		if err != nil || n.Reveal() != "11010519491231002X" {
			t.Error(err)
		}
	})
	t.Run("unknown area only warns", func(t *testing.T) {
		_, warnings, err := ParseNumber("840000199001010014")
		if err != nil || !slices.Equal(warnings, []Warning{WarnArea}) {
			t.Errorf("error %v, warnings %v", err, warnings)
		}
	})
}

func TestParseNumberRefuses(t *testing.T) {
	cases := []struct {
		name, number string
		want         error
	}{
		{"wrong check digit", "690102198503120017", ErrCheckDigit},
		{"30 February with the right check digit", "690102198502300015", ErrBirthDate},
		{"born in the future with the right check digit", "690102209901010016", ErrBirthDate},
		{"wrong check digit of a Macao permit", "820000199001010019", ErrCheckDigit},
		{"15-digit resident number", "690102480209001", ErrOldNumber},
		{"born before 1850", "69010218491231001X", ErrBirthDate},
		{"empty", "", ErrFormat},
		{"17 digits", "69010219850312001", ErrFormat},
		{"19 digits", "6901021985031200160", ErrFormat},
		{"leading zero", "090102198503120016", ErrFormat},
		{"X in the middle", "6901021985X3120016", ErrFormat},
		{"full-width digits", "６９０１０２", ErrFormat},
		{"space", "69010219850312001 ", ErrFormat},
		{"2017, wrong check digit", "CAN110081080311", ErrCheckDigit},
		{"2017, small letters", "can110081080310", ErrFormat},
		{"2017, impossible day", "CAN110081023010", ErrBirthDate},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			n, _, err := ParseNumber(c.number)
			if !errors.Is(err, c.want) || !n.IsZero() {
				t.Errorf("error %v, want %v", err, c.want)
			}
			if err != nil && c.number != "" && strings.Contains(err.Error(), c.number) {
				t.Error("the error holds the number")
			}
		})
	}
}

func TestBirthTodayIsAccepted(t *testing.T) {
	body := "69010220260115001"
	n := body + string(check112(body))
	if _, _, err := parseNumber(n, Date{2026, time.January, 15}); err != nil {
		t.Error(err)
	}
	if _, _, err := parseNumber(n, Date{2026, time.January, 14}); !errors.Is(err, ErrBirthDate) {
		t.Error(err)
	}
}

func TestOldNumbersAreDerivedForComparingOnly(t *testing.T) {
	n, err := From15("690102480209001")
	if err != nil || n.Reveal() != "690102194802090015" {
		t.Errorf("From15: %v", err)
	}
	if old, ok := n.Old15(); !ok || old != "690102480209001" {
		t.Error("Old15 is not the way back")
	}
	for _, s := range []string{"69010420000704001X", "810000199408230021", "932682198501010017", "CAN110081080310"} {
		n, _, err := ParseNumber(s)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := n.Old15(); ok {
			t.Errorf("a %s number has a 15-digit form", n.Type())
		}
	}
	for _, s := range []string{"", "69010248020900", "69010248020900A", "690102480230001"} {
		if _, err := From15(s); err == nil {
			t.Errorf("From15(%q) accepted", s)
		}
	}
}

func TestNumbersAndNamesNeverPrintThemselves(t *testing.T) {
	n, _, err := ParseNumber("690102198503120016")
	if err != nil {
		t.Fatal(err)
	}
	person := Person{Type: TypeResident, Number: n, Name: NewName("李明"), Birth: n.Birth(), Sex: n.Sex()}
	card, err := ParseCard(encode(t, residentText()))
	if err != nil {
		t.Fatal(err)
	}
	claims := SubjectClaims{Person: person}
	values := []any{n, &n, person, &person, person.Name, card, &card, claims, residentText(), CardRead{Card: card},
		Salts{ID: [16]byte{7}}, struct{ P Person }{person}, []Number{n}, map[string]Name{"k": person.Name}}
	var out bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&out, nil))
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T %v"} {
			fmt.Fprintf(&out, verb, v)
		}
		logger.Info("value", "v", v)
		raw, err := json.Marshal(v)
		if err != nil {
			t.Errorf("%T: %v", v, err)
		}
		out.Write(raw)
	}
	for _, leak := range []string{"690102198503120016", "690102", "李明", "19850312", "1985", "城东", fmt.Sprintf("%x", "690102198503120016")} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("%q shows in\n%s", leak, out.String())
		}
	}
}

func TestUSCC(t *testing.T) {
	good := strings.Fields(`11690100006900018L 11690100006900026F 11690100006900034A 12690100006900130G
		116901000069000425 12690100006900149D 12690100006900050W 11690100MB69000692 11690100006900077P
		13690100006900085C 11690100MB6900093J 11690100MB69001068 11690100MB69001143 11690100006900122Q
		11690100MB6900122X 11690102006902013G 11690103006903016F 11690104006904019E 11690000MB6900018L
		11100000000013338W 11430000006122244L 11100000MB03271699`)
	for _, s := range good {
		if err := ParseUSCC(s); err != nil {
			t.Errorf("%s: %v", s, err)
		}
		for i := range s { // every single wrong character is found
			for _, c := range "0A" {
				if changed := s[:i] + string(c) + s[i+1:]; changed != s && ParseUSCC(changed) == nil {
					t.Errorf("%s accepted as %s", s, changed)
				}
			}
		}
	}
	for name, s := range map[string]string{
		"empty": "", "short": "11690100006900018", "letter O": "1169010000690001OL", "small": "11690100006900018l",
	} {
		if err := ParseUSCC(s); !errors.Is(err, ErrUSCC) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCertificateID(t *testing.T) {
	good := []string{
		"1.2.156.3005.2.11690100006900018L001.11690100006900018L.202511220000000001.001.B",
		"1.2.156.3005.2.11100000MB03271699022.340100.000000016.001.9",
		"1.2.156.3005.2.11100000000013338W011.11430000006122244L.20230000403.001.U",
	}
	for _, s := range good {
		if _, err := ParseCertificateID(s); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	id, _ := ParseCertificateID(good[0])
	if id.Version != "001" || id.Serial != "202511220000000001" || id.Issuer != "11690100006900018L" || id.Type != "11690100006900018L001" {
		t.Errorf("parts %+v", id)
	}
	bad := map[string]string{
		"empty":              "",
		"root":               strings.Replace(good[0], "3005", "3006", 1),
		"check character":    strings.TrimSuffix(good[0], "B") + "C",
		"no check character": strings.TrimSuffix(good[0], ".B"),
		"type's USCC":        strings.Replace(good[0], "00018L001", "00019L001", 1),
		"issuer":             strings.Replace(good[1], "340100", "34010", 1),
		"empty serial":       strings.Replace(good[1], "000000016", "", 1),
		"long serial":        strings.Replace(good[1], "000000016", strings.Repeat("0", 33), 1),
		"small serial":       strings.Replace(good[1], "000000016", "a00000016", 1),
		"version":            strings.Replace(good[1], ".001.", ".01.", 1),
	}
	for name, s := range bad {
		if _, err := ParseCertificateID(s); !errors.Is(err, ErrCertificateID) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Mod3736("a"); !errors.Is(err, ErrMod3736) {
		t.Errorf("small letter: %v", err)
	}
}

func TestCompareNames(t *testing.T) {
	pua := map[rune]rune{0xE863: 0x4DAE}
	cases := []struct {
		name, card, source string
		want               NameMatch
	}{
		{"same", "李明", "李明", NameExact},
		{"beyond the BMP", "李𬸚", "李𬸚", NameExact},
		{"another dot", "阿依古丽·买买提", "阿依古丽•买买提", NameNormalised},
		{"full stop as dot", "阿依古丽·买买提", "阿依古丽.买买提", NameNormalised},
		{"spaces around", "李明", "　李明 ", NameNormalised},
		{"private-use code point on the card", "张\uE863", "张䶮", NameMapped},
		{"private-use code point at the source", "张䶮", "张\uE863", NameMapped},
		{"another person", "李明", "王芳", NameConflict},
		{"traditional form is another name", "张龙", "張龍", NameConflict},
		{"no name", "李明", "", NameConflict},
		{"both empty", "", "", NameConflict},
		{"a full card field may go on", strings.Repeat("长", 15), strings.Repeat("长", 15) + "名", NameNormalised},
		{"the next pair did not fit", strings.Repeat("长", 14), strings.Repeat("长", 14) + "𬸚", NameNormalised},
		{"the next character would have fitted", strings.Repeat("长", 14), strings.Repeat("长", 15), NameConflict},
		{"a short name is no prefix", "李", "李明", NameConflict},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := CompareNames(NewName(c.card), c.source, pua); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

func FuzzParseNumber(f *testing.F) {
	for _, s := range []string{"11010519491231002X", "CAN110081080310", "690102480209001", "932682198501010017", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, _, err := ParseNumber(s)
		if err == nil {
			if old, ok := n.Old15(); ok {
				if back, err := From15(old); err != nil || !back.Equal(n) {
					t.Errorf("the old number leads elsewhere: %v", err)
				}
			}
			if again, _, err := ParseNumber(n.Reveal()); err != nil || !again.Equal(n) {
				t.Errorf("not stable: %v", err)
			}
		}
	})
}

func FuzzParseCodes(f *testing.F) {
	f.Add("11690100006900018L")
	f.Add("1.2.156.3005.2.11100000MB03271699022.340100.000000016.001.9")
	f.Fuzz(func(t *testing.T, s string) {
		ParseUSCC(s)
		ParseCertificateID(s)
		Mod3736(s)
		if once := NormaliseName(s); NormaliseName(once) != once {
			t.Error("a normalised name changes again")
		}
	})
}
