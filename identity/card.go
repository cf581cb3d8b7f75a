package identity

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"
)

var (
	// ErrInconsistent is returned for a card whose fields contradict each other.
	ErrInconsistent = errors.New("card contradicts itself / 卡面信息自相矛盾")
	// ErrExpired is returned for a card after its last day.
	ErrExpired = errors.New("card has expired: the holder needs a new one / 证件已过有效期，请持有人换领新证")
	// ErrNotYetValid is returned for a card before its first day.
	ErrNotYetValid = errors.New("card is not yet valid: check this computer's clock / 证件尚未生效，请核对本机时钟")
)

// Card is what a card's chip says of its holder, checked.
type Card struct {
	Person           // embedded: a Card cannot print itself either
	Layout    Layout // arrangement of the text
	ValidFrom Date
	ValidTo   Date      // last day; zero for 长期
	Warnings  []Warning // unusual, no reason to refuse
	text      CardText
	raw       [CardTextSize]byte
}

// ParseCard parses the 256 bytes of text that a reader delivers (UTF-16LE,
// GA/T 490) in any of the four layouts. It refuses a damaged text
// (ErrCardText), a wrong number (see ParseNumber), a birth date or sex that
// differs from the number's, and dates that do not exist (ErrInconsistent,
// ErrDate). An expired card parses: ask CheckValidity. Errors hold nothing
// that was on the card.
func ParseCard(text []byte) (Card, error) {
	t, err := parseCardText(text)
	if err != nil {
		return Card{}, err
	}
	c := Card{Layout: t.Layout, text: t, raw: [CardTextSize]byte(text)}
	if err := c.parseHolder(); err != nil {
		return Card{}, err
	}
	if err := c.parseValidity(); err != nil {
		return Card{}, err
	}
	if t.Layout == LayoutResident && !knownNation(t.Nation) {
		c.Warnings = append(c.Warnings, WarnNation)
	}
	return c, nil
}

func (c *Card) parseHolder() error {
	number, warnings, err := ParseNumber(c.text.Number)
	if err != nil {
		return fmt.Errorf("card: %w", err)
	}
	if !layoutCarries(c.Layout, number) {
		return fmt.Errorf("%w: number of another kind of card", ErrInconsistent)
	}
	birth, err := ParseDate(c.text.Birth)
	if err != nil {
		return fmt.Errorf("card: birth date: %w", err)
	}
	if c.Layout == LayoutForeigner2017 {
		if birth.Compact()[2:] != number.s[7:13] {
			return fmt.Errorf("%w: birth date and number", ErrInconsistent)
		}
		if s := Sex(c.text.Sex); s != SexMale && s != SexFemale && s != SexUnknown && s != SexUnstated {
			return fmt.Errorf("%w: sex", ErrInconsistent)
		}
	} else if birth != number.Birth() || Sex(c.text.Sex) != number.Sex() {
		return fmt.Errorf("%w: birth date or sex and number", ErrInconsistent)
	}
	name := NewName(c.text.Name)
	if name.IsZero() {
		name = NewName(c.text.EnglishName + c.text.EnglishMore)
	}
	if name.IsZero() {
		return fmt.Errorf("%w: no name", ErrInconsistent)
	}
	c.Person = Person{Type: number.Type(), Number: number, Name: name, Birth: birth, Sex: Sex(c.text.Sex)}
	c.Warnings = warnings
	return nil
}

// layoutCarries reports whether cards of layout l carry numbers like n.
func layoutCarries(l Layout, n Number) bool {
	switch l {
	case LayoutResident:
		return n.Type() == TypeResident
	case LayoutHMT:
		return n.Type() == TypeHMT
	case LayoutForeigner2017:
		return n.Type() == TypeForeigner && len(n.s) == lenForeign2017
	case LayoutForeigner2023:
		return n.Type() == TypeForeigner && len(n.s) == lenCitizen
	}
	return false
}

func (c *Card) parseValidity() error {
	var err error
	if c.ValidFrom, err = ParseDate(c.text.ValidFrom); err != nil {
		return fmt.Errorf("card: first day of validity: %w", err)
	}
	if c.text.ValidTo != LongTerm {
		if c.ValidTo, err = ParseDate(c.text.ValidTo); err != nil {
			return fmt.Errorf("card: last day of validity: %w", err)
		}
		if c.ValidTo.Before(c.ValidFrom) {
			return fmt.Errorf("%w: expires before it begins", ErrInconsistent)
		}
	}
	if c.ValidFrom.Before(c.Birth) {
		return fmt.Errorf("%w: issued before birth", ErrInconsistent)
	}
	if c.Layout == LayoutResident && c.term() != usualTerm(c.Birth.yearsUntil(c.ValidFrom)) {
		c.Warnings = append(c.Warnings, WarnValidity)
	}
	return nil
}

// term returns the card's term in years; 0 for 长期.
func (c *Card) term() int {
	if c.ValidTo.IsZero() {
		return 0
	}
	return c.ValidTo.Year - c.ValidFrom.Year
}

// usualTerm is the term in years of a resident card issued at age (Resident
// Identity Card Law, article 5); 0 for 长期.
func usualTerm(age int) int {
	switch {
	case age < 16:
		return 5
	case age <= 25:
		return 10
	case age <= 45:
		return 20
	}
	return 0
}

// CheckValidity returns ErrExpired or ErrNotYetValid, wrapped, unless the
// card is valid in Beijing on the day of now. The last day counts.
func (c Card) CheckValidity(now time.Time) error {
	today := DateOf(now)
	switch {
	case today.Before(c.ValidFrom):
		return ErrNotYetValid
	case c.Expired(now):
		return ErrExpired
	}
	return nil
}

// Expired reports whether the card's last day is past.
func (c Card) Expired(now time.Time) bool {
	return !c.ValidTo.IsZero() && c.ValidTo.Before(DateOf(now))
}

// Text returns the 256 bytes the card was parsed from.
func (c Card) Text() [CardTextSize]byte { return c.raw }

// Details returns the card's fields as written.
func (c Card) Details() CardText { return c.text }

// OldNumber derives the holder's 2017 number from a 2023 foreigner's card:
// nationality, area (two digits of the new number, two of the link), birth,
// one digit of the link, MRZ check digit. It is for asking sources that still
// keep old numbers.
func (c Card) OldNumber() (Number, bool) {
	if c.Layout != LayoutForeigner2023 || len(c.text.PastLink) != 3 {
		return Number{}, false
	}
	n, link := c.Number.s, c.text.PastLink
	body := c.text.Nationality + n[1:3] + link[:2] + n[8:14] + link[2:]
	if len(body) != lenForeign2017-1 {
		return Number{}, false
	}
	old, _, err := ParseNumber(body + string(check731(body)))
	return old, err == nil
}

// knownNation reports whether s is in GB/T 3304 (01–56, 97, 98) or one of the
// makers' additions 81 and 83.
func knownNation(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && len(s) == 2 && (n >= 1 && n <= 56 || n == 81 || n == 83 || n == 97 || n == 98)
}

// SAMNumber formats the 16 bytes of a reader's security module identifier as
// printed on its housing: 05.03-20191225-0000012345-0987654321.
func SAMNumber(raw [16]byte) string {
	le := binary.LittleEndian
	return fmt.Sprintf("%02d.%02d-%08d-%010d-%010d", le.Uint16(raw[0:]), le.Uint16(raw[2:]),
		le.Uint32(raw[4:]), le.Uint32(raw[8:]), le.Uint32(raw[12:]))
}
