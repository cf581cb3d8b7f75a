package identity

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// NameMatch says how well a source's name agrees with the card's.
type NameMatch string

const (
	NameExact      NameMatch = "exact"
	NameNormalised NameMatch = "normalised" // equal but for the middle dot, outer spaces, or the card field's length
	NameMapped     NameMatch = "mapped"     // equal after mapping private-use code points
	NameConflict   NameMatch = "conflict"
)

// nameField is the length of a card's name field in UTF-16 code units.
const nameField = 15

// NormaliseName returns name with every variant of the middle dot as U+00B7
// (民委发〔2016〕33号) and outer spaces, U+3000 too, removed. Nothing else
// changes: no NFKC, no simplified or traditional forms, since these would be
// another person's name. It is for comparing; show what the card shows.
func NormaliseName(name string) string {
	return strings.Trim(strings.Map(func(r rune) rune {
		switch r {
		case '\u2022', '\u2027', '\u30FB', '\uFF0E', '\u22C5', '\u2219', '.':
			return '\u00B7'
		}
		return r
	}, name), " \u3000")
}

// CompareNames compares a card's name with a source's. pua maps private-use
// code points of old police fonts to their Unicode characters and is applied
// to both. A card holds fifteen UTF-16 units of a name: a longer name of the
// source agrees if it begins with the card's and its next code point would not
// have fitted.
func CompareNames(card Name, source string, pua map[rune]rune) NameMatch {
	if card.s == source && source != "" {
		return NameExact
	}
	a, b := NormaliseName(card.s), NormaliseName(source)
	if sameName(a, b) {
		return NameNormalised
	}
	mapped := func(r rune) rune {
		if to, ok := pua[r]; ok {
			return to
		}
		return r
	}
	if sameName(strings.Map(mapped, a), strings.Map(mapped, b)) {
		return NameMapped
	}
	return NameConflict
}

func sameName(card, source string) bool {
	if card == "" {
		return false
	}
	if card == source {
		return true
	}
	rest, ok := strings.CutPrefix(source, card)
	if !ok {
		return false
	}
	next, _ := utf8.DecodeRuneInString(rest)
	length := len(utf16.Encode([]rune(card)))
	return length <= nameField && length+utf16.RuneLen(next) > nameField
}
