package identity

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
)

func residentText() CardText {
	return CardText{
		Layout: LayoutResident, Name: "李明", Sex: "1", Nation: "01", Birth: "19850312",
		Address: "示例省示例市城东区人民路1号", Number: "690102198503120016", Issuer: "示例市公安局城东分局",
		ValidFrom: "20150401", ValidTo: "20350401",
	}
}

func hmtText() CardText {
	return CardText{
		Layout: LayoutHMT, Name: "陈嘉欣", Sex: "2", Birth: "19940823", Address: "示例省示例市城西区学院路2号",
		Number: "810000199408230021", Issuer: "示例市公安局", ValidFrom: "20240101", ValidTo: "20290101",
		Permit: "H12345678", Issues: "01",
	}
}

func foreigner2017Text() CardText {
	return CardText{
		Layout: LayoutForeigner2017, Name: "简安", EnglishName: "SAMPLE, ANNE JANE", Sex: "2", Birth: "19810803",
		Number: "CAN110081080310", Nationality: "CAN", Issuer: "1500", Version: "01", ValidFrom: "20180101", ValidTo: "20280101",
	}
}

func foreigner2023Text() CardText {
	return CardText{
		Layout: LayoutForeigner2023, Name: "简安", EnglishName: "SAMPLE, ANNE JANE", Sex: "2", Birth: "19810803",
		Number: "911124198108030024", Nationality: "CAN", Issuer: "国家移民管理局", ValidFrom: "20240101", ValidTo: "20340101",
		Issues: "01", PastLink: "001",
	}
}

func encode(t testing.TB, c CardText) []byte {
	t.Helper()
	raw, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return raw[:]
}

func TestCardOfEveryLayoutIsReadBackAsWritten(t *testing.T) {
	for _, text := range []CardText{residentText(), hmtText(), foreigner2017Text(), foreigner2023Text()} {
		t.Run(string(text.Layout), func(t *testing.T) {
			raw := encode(t, text)
			c, err := ParseCard(raw)
			if err != nil {
				t.Fatal(err)
			}
			if c.Details() != text || c.Layout != text.Layout || c.Text() != [256]byte(raw) || len(c.Warnings) != 0 {
				t.Errorf("warnings %v", c.Warnings)
			}
			if c.Number.Reveal() != text.Number || c.Name.Reveal() != text.Name || string(c.Sex) != text.Sex || c.Birth.Compact() != text.Birth {
				t.Error("the holder is another")
			}
		})
	}
}

// The bytes below were laid out by hand from the table of the standard, not by Encode.
func TestResidentCardBytes(t *testing.T) {
	pad := func(s string, size int) []byte {
		var b []byte
		for _, u := range utf16.Encode([]rune(s)) {
			b = append(b, byte(u), byte(u>>8))
		}
		for len(b) < size {
			b = append(b, ' ', 0)
		}
		return b
	}
	want := slices.Concat(pad("李𬸚", 30), pad("1", 2), pad("01", 4), pad("19880614", 16), pad("示例市", 70),
		pad("690102198806140030", 36), pad("示例市公安局", 30), pad("20200101", 16), pad("长期", 16), pad("", 36))
	text := CardText{Layout: LayoutResident, Name: "李𬸚", Sex: "1", Nation: "01", Birth: "19880614", Address: "示例市",
		Number: "690102198806140030", Issuer: "示例市公安局", ValidFrom: "20200101", ValidTo: LongTerm}
	if !bytes.Equal(encode(t, text), want) {
		t.Error("encoded card differs")
	}
	c, err := ParseCard(want)
	if err != nil || c.Name.Reveal() != "李𬸚" || !c.ValidTo.IsZero() {
		t.Errorf("error %v", err)
	}
	if !slices.Contains(c.Warnings, WarnValidity) {
		t.Error("a long-term card for a man of 31 does not warn")
	}
}

func TestLongNameIsCutAtACodePoint(t *testing.T) {
	text := residentText()
	text.Name = strings.Repeat("长", 14) + "𬸚"
	c, err := ParseCard(encode(t, text))
	if err != nil || c.Name.Reveal() != strings.Repeat("长", 14) {
		t.Errorf("error %v", err)
	}
	text.Name = strings.Repeat("长", 13) + "𬸚名"
	if c, err = ParseCard(encode(t, text)); err != nil || c.Name.Reveal() != strings.Repeat("长", 13)+"𬸚" {
		t.Errorf("error %v", err)
	}
}

func TestParseCardRefuses(t *testing.T) {
	cases := []struct {
		name   string
		change func(*CardText)
		want   error
	}{
		{"wrong check digit", func(c *CardText) { c.Number = "690102198503120017" }, ErrCheckDigit},
		{"impossible birth date", func(c *CardText) { c.Birth, c.Number = "19850230", "690102198502300015" }, ErrBirthDate},
		{"birth differs from number", func(c *CardText) { c.Birth = "19850313" }, ErrInconsistent},
		{"birth date does not exist", func(c *CardText) { c.Birth = "19850230" }, ErrDate},
		{"sex differs from number", func(c *CardText) { c.Sex = "2" }, ErrInconsistent},
		{"15-digit number", func(c *CardText) { c.Number = "690102480209001" }, ErrOldNumber},
		{"permit number on a resident card", func(c *CardText) { c.Number, c.Birth, c.Sex = "810000199408230021", "19940823", "2" }, ErrInconsistent},
		{"no name", func(c *CardText) { c.Name = "" }, ErrInconsistent},
		{"first day does not exist", func(c *CardText) { c.ValidFrom = "20150431" }, ErrDate},
		{"last day does not exist", func(c *CardText) { c.ValidTo = "20350229" }, ErrDate},
		{"no last day", func(c *CardText) { c.ValidTo = "" }, ErrDate},
		{"ends before it begins", func(c *CardText) { c.ValidTo = "20140401" }, ErrInconsistent},
		{"issued before birth", func(c *CardText) { c.ValidFrom = "19840101" }, ErrInconsistent},
		{"control character", func(c *CardText) { c.Address = "路\x00号" }, ErrCardText},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			text := residentText()
			c.change(&text)
			_, err := ParseCard(encode(t, text))
			if !errors.Is(err, c.want) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
			for _, leak := range []string{text.Number, "李明", text.Birth} {
				if strings.Contains(err.Error(), leak) {
					t.Errorf("the error holds what is on the card: %v", err)
				}
			}
		})
	}
	good := encode(t, residentText())
	for name, raw := range map[string][]byte{
		"empty":           nil,
		"255 bytes":       good[:255],
		"unknown mark":    append(append(bytes.Clone(good[:248]), 'Z', 0), good[250:]...),
		"half surrogate":  append([]byte{0x3E, 0xD8, ' ', 0}, good[4:]...),
		"second half":     append([]byte{0x1A, 0xDE}, good[2:]...),
		"all spaces":      bytes.Repeat([]byte{' ', 0}, 128),
		"big-endian text": bytes.Repeat([]byte{0, ' '}, 128),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ParseCard(raw); err == nil {
				t.Error("accepted")
			}
		})
	}
}

func TestCardValidity(t *testing.T) {
	c, err := ParseCard(encode(t, residentText()))
	if err != nil {
		t.Fatal(err)
	}
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	cases := []struct {
		name, now string
		want      error
	}{
		{"first second in Beijing", "2015-04-01T00:00:00+08:00", nil},
		{"the day before", "2015-03-31T23:59:59+08:00", ErrNotYetValid},
		{"last second in Beijing", "2035-04-01T23:59:59+08:00", nil},
		{"the day after in Beijing, still the last day in Greenwich", "2035-04-01T16:00:00Z", ErrExpired},
	}
	for _, c2 := range cases {
		t.Run(c2.name, func(t *testing.T) {
			if err := c.CheckValidity(at(c2.now)); !errors.Is(err, c2.want) {
				t.Errorf("error %v, want %v", err, c2.want)
			}
		})
	}
	text := residentText()
	text.ValidTo = LongTerm
	long, err := ParseCard(encode(t, text))
	if err != nil || long.Expired(at("2999-01-01T00:00:00Z")) {
		t.Errorf("a long-term card expired: %v", err)
	}
}

func TestUnusualCardsWarn(t *testing.T) {
	text := residentText()
	text.Nation = "57"
	c, err := ParseCard(encode(t, text))
	if err != nil || !slices.Equal(c.Warnings, []Warning{WarnNation}) {
		t.Errorf("error %v, warnings %v", err, c.Warnings)
	}
}

func TestOldForeignerNumberIsDerivedFromTheNewCard(t *testing.T) {
	c, err := ParseCard(encode(t, foreigner2023Text()))
	if err != nil {
		t.Fatal(err)
	}
	if old, ok := c.OldNumber(); !ok || old.Reveal() != "CAN110081080310" {
		t.Error("derived another number")
	}
	text := foreigner2023Text()
	text.PastLink = ""
	if c, err = ParseCard(encode(t, text)); err != nil {
		t.Fatal(err)
	}
	if _, ok := c.OldNumber(); ok {
		t.Error("derived from no link")
	}
}

func TestEncodeRefuses(t *testing.T) {
	for name, change := range map[string]func(*CardText){
		"unknown layout": func(c *CardText) { c.Layout = "other" },
		"long number":    func(c *CardText) { c.Number += "0" },
		"long date":      func(c *CardText) { c.ValidTo = "2035-04-01" },
		"invalid UTF-8":  func(c *CardText) { c.Name = "\xff" },
	} {
		text := residentText()
		change(&text)
		if _, err := text.Encode(); !errors.Is(err, ErrCardText) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSAMNumber(t *testing.T) {
	raw := [16]byte{0x05, 0, 0x03, 0, 0xF9, 0x17, 0x34, 0x01, 0x39, 0x30, 0, 0, 0xB1, 0x68, 0xDE, 0x3A}
	if got := SAMNumber(raw); got != "05.03-20191225-0000012345-0987654321" {
		t.Error(got)
	}
}

func FuzzParseCard(f *testing.F) {
	for _, text := range []CardText{residentText(), hmtText(), foreigner2017Text(), foreigner2023Text()} {
		f.Add(encode(f, text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := ParseCard(raw)
		if err != nil {
			return
		}
		again, err := c.Details().Encode()
		if err != nil {
			t.Fatalf("a card that parses does not encode: %v", err)
		}
		if second, err := ParseCard(again[:]); err != nil || second.Details() != c.Details() {
			t.Errorf("a card changed by being written: %v", err)
		}
		c.OldNumber()
		c.CheckValidity(time.Unix(0, 0))
	})
}
