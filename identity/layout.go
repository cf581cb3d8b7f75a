package identity

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Layout is the arrangement of a card's text.
type Layout string

const (
	LayoutResident      Layout = "resident"      // resident identity card
	LayoutHMT           Layout = "hmt"           // residence permit for Hong Kong, Macao and Taiwan residents, mark J
	LayoutForeigner2017 Layout = "foreigner2017" // mark I
	LayoutForeigner2023 Layout = "foreigner2023" // mark Y
)

const (
	// CardTextSize is the length in bytes of a card's text.
	CardTextSize = 256
	// LongTerm stands in place of an expiry date on a card that does not expire.
	LongTerm = "长期"

	markOffset = 248 // one UTF-16 unit tells the layouts apart
)

// ErrCardText is returned for a card text that cannot be taken apart, or a
// CardText that does not fit a card.
var ErrCardText = errors.New("card text is damaged or of an unknown layout / 卡内文字损坏或版式未知")

// CardText is the text on a card's chip, field by field, without the padding.
// Only the fields of its layout are set. Dates are YYYYMMDD.
type CardText struct {
	secret
	Layout      Layout
	Name        string // Chinese name; 15 UTF-16 units
	EnglishName string // foreigners; 35 UTF-16 units in 2023, 60 in 2017
	EnglishMore string // foreigner2023: the rest of a longer English name
	Sex         string // GB/T 2261.1
	Nation      string // GB/T 3304, residents
	Birth       string
	Address     string // residents and permit holders; 35 UTF-16 units
	Number      string
	Issuer      string // 15 UTF-16 units; 2017 foreigners: the four-digit agency code
	ValidFrom   string
	ValidTo     string // YYYYMMDD or LongTerm
	Permit      string // hmt: number of the travel permit
	Issues      string // hmt: how often issued; foreigner2023: how often renewed
	Nationality string // foreigners: three letters of GB/T 2659
	Version     string // foreigner2017
	PastLink    string // foreigner2023: 3 characters that lead to the 2017 number
}

// cardField is one field of a layout: bytes [off, off+size) of the text.
type cardField struct {
	off, size int
	cut       bool // may be shortened, at a code point, to fit
	value     func(*CardText) *string
}

// layoutFields returns the fields of a layout (GA/T 490 and the reader
// makers' interfaces), or nil for an unknown one.
func layoutFields(l Layout) []cardField {
	name := func(t *CardText) *string { return &t.Name }
	english := func(t *CardText) *string { return &t.EnglishName }
	sex := func(t *CardText) *string { return &t.Sex }
	birth := func(t *CardText) *string { return &t.Birth }
	address := func(t *CardText) *string { return &t.Address }
	number := func(t *CardText) *string { return &t.Number }
	issuer := func(t *CardText) *string { return &t.Issuer }
	issues := func(t *CardText) *string { return &t.Issues }
	nationality := func(t *CardText) *string { return &t.Nationality }
	validity := []cardField{
		{188, 16, false, func(t *CardText) *string { return &t.ValidFrom }},
		{204, 16, false, func(t *CardText) *string { return &t.ValidTo }},
	}
	switch l {
	case LayoutResident:
		return append(validity, cardField{0, 30, true, name}, cardField{30, 2, false, sex},
			cardField{32, 4, false, func(t *CardText) *string { return &t.Nation }},
			cardField{36, 16, false, birth}, cardField{52, 70, true, address},
			cardField{122, 36, false, number}, cardField{158, 30, true, issuer})
	case LayoutHMT:
		return append(validity, cardField{0, 30, true, name}, cardField{30, 2, false, sex},
			cardField{36, 16, false, birth}, cardField{52, 70, true, address},
			cardField{122, 36, false, number}, cardField{158, 30, true, issuer},
			cardField{220, 18, false, func(t *CardText) *string { return &t.Permit }},
			cardField{238, 4, false, issues})
	case LayoutForeigner2017:
		return append(validity, cardField{0, 120, true, english}, cardField{120, 2, false, sex},
			cardField{122, 30, false, number}, cardField{152, 6, false, nationality},
			cardField{158, 30, true, name}, cardField{220, 16, false, birth},
			cardField{236, 4, false, func(t *CardText) *string { return &t.Version }},
			cardField{240, 8, false, issuer})
	case LayoutForeigner2023:
		return append(validity, cardField{0, 30, true, name}, cardField{30, 2, false, sex},
			cardField{32, 4, false, issues}, cardField{36, 16, false, birth},
			cardField{52, 70, true, english}, cardField{122, 36, false, number},
			cardField{158, 30, true, issuer},
			cardField{220, 22, true, func(t *CardText) *string { return &t.EnglishMore }},
			cardField{242, 6, false, nationality},
			cardField{250, 6, false, func(t *CardText) *string { return &t.PastLink }})
	}
	return nil
}

// layoutMark returns the character at byte 248.
func layoutMark(l Layout) uint16 {
	switch l {
	case LayoutHMT:
		return 'J'
	case LayoutForeigner2017:
		return 'I'
	case LayoutForeigner2023:
		return 'Y'
	}
	return ' '
}

// Encode returns the 256 bytes of UTF-16LE that a reader delivers, padded with
// spaces. Names, addresses and issuers too long for their field are cut at a
// code point, as on real cards; any other field that does not fit is an error.
// Encode does
// not check that the card makes sense: ParseCard does.
func (t CardText) Encode() ([CardTextSize]byte, error) {
	var raw [CardTextSize]byte
	fields := layoutFields(t.Layout)
	if fields == nil {
		return raw, fmt.Errorf("%w: layout %q", ErrCardText, t.Layout)
	}
	for i := 0; i < CardTextSize; i += 2 {
		raw[i] = ' '
	}
	put16(raw[markOffset:], layoutMark(t.Layout))
	for _, f := range fields {
		if err := f.put(raw[f.off:f.off+f.size], *f.value(&t)); err != nil {
			return raw, fmt.Errorf("%w: field at byte %d", err, f.off)
		}
	}
	return raw, nil
}

func (f cardField) put(dst []byte, value string) error {
	if !utf8.ValidString(value) {
		return fmt.Errorf("%w: not UTF-8", ErrCardText)
	}
	at := 0
	for _, r := range value {
		size := 2 * utf16.RuneLen(r)
		if at+size > len(dst) {
			if f.cut {
				return nil
			}
			return fmt.Errorf("%w: longer than %d bytes", ErrCardText, f.size)
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			put16(dst[at:], unit)
			at += 2
		}
	}
	return nil
}

// parseCardText takes 256 bytes apart.
func parseCardText(raw []byte) (CardText, error) {
	if len(raw) != CardTextSize {
		return CardText{}, fmt.Errorf("%w: %d bytes, want %d", ErrCardText, len(raw), CardTextSize)
	}
	var t CardText
	mark := get16(raw[markOffset:])
	for _, l := range []Layout{LayoutResident, LayoutHMT, LayoutForeigner2017, LayoutForeigner2023} {
		if layoutMark(l) == mark {
			t.Layout = l
		}
	}
	if t.Layout == "" {
		return CardText{}, fmt.Errorf("%w: mark U+%04X", ErrCardText, mark)
	}
	for _, f := range layoutFields(t.Layout) {
		s, err := getText(raw[f.off : f.off+f.size])
		if err != nil {
			return CardText{}, fmt.Errorf("%w: field at byte %d", err, f.off)
		}
		*f.value(&t) = s
	}
	return t, nil
}

// getText decodes one field and drops its padding. Half a surrogate pair or a
// control character is an error: what cannot be read is not guessed.
func getText(raw []byte) (string, error) {
	var b strings.Builder
	for i := 0; i < len(raw); i += 2 {
		r := rune(get16(raw[i:]))
		if utf16.IsSurrogate(r) {
			if i+4 > len(raw) {
				return "", ErrCardText
			}
			i += 2
			if r = utf16.DecodeRune(r, rune(get16(raw[i:]))); r == utf8.RuneError {
				return "", ErrCardText
			}
		}
		if r < ' ' || r == 0x7F || r == utf8.RuneError {
			return "", ErrCardText
		}
		b.WriteRune(r)
	}
	return strings.TrimRight(b.String(), " "), nil
}

func put16(b []byte, v uint16) { b[0], b[1] = byte(v), byte(v>>8) }
func get16(b []byte) uint16    { return uint16(b[0]) | uint16(b[1])<<8 }
