package identity

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

var (
	// ErrFormat is returned for a number of no known structure.
	ErrFormat = errors.New("number has no known structure / 号码结构不符合任何证件")
	// ErrCheckDigit is returned when the check character is wrong.
	ErrCheckDigit = errors.New("number's check character is wrong / 号码校验位错误")
	// ErrBirthDate is returned when the birth date does not exist, is before 1850 or in the future.
	ErrBirthDate = errors.New("number's birth date is impossible / 号码中的出生日期不可能")
	// ErrOldNumber is returned for a 15-digit resident number, which no valid card carries.
	ErrOldNumber = errors.New("15-digit resident numbers are not accepted: read the present card / 不受理 15 位旧号码，请刷现行证件")
)

// Warning is something unusual that is no reason to refuse a person.
type Warning string

const (
	// WarnArea: the area code is not known here. Historic codes are missing
	// from every table, so this never refuses anybody.
	WarnArea Warning = "AREA_UNKNOWN"
	// WarnNation: the ethnic group code is not in GB/T 3304 or its additions.
	WarnNation Warning = "NATION_UNKNOWN"
	// WarnValidity: the card's term does not fit the holder's age when it was
	// issued (Resident Identity Card Law, article 5).
	WarnValidity Warning = "VALIDITY_TERM_UNUSUAL"
)

const (
	lenCitizen     = 18 // GB 11643, and foreigner 2023
	lenOldCitizen  = 15 // GB 11643—1989
	lenForeign2017 = 15
	oldestYear     = 1850
)

// provinces are the two-digit codes that begin a GB/T 2260 code. 69 is
// unassigned; the fictional province of the demonstration uses it.
const provinces = " 11 12 13 14 15 21 22 23 31 32 33 34 35 36 37 41 42 43 44 45 46 50 51 52 53 54 61 62 63 64 65 69 71 81 82 83 "

// ParseNumber parses the number of any document a card reader reads: resident
// identity card and Hong Kong, Macao and Taiwan residence permit (GB 11643,
// 18 characters), foreign permanent resident card 2023 (GA 2102, 18 digits
// beginning with 9) and 2017 (15 characters). A final x becomes X. Structure,
// birth date and check character are hard conditions; an unknown area is a
// Warning. Errors are ErrFormat, ErrBirthDate, ErrCheckDigit or ErrOldNumber,
// wrapped, and never hold the number.
func ParseNumber(s string) (Number, []Warning, error) {
	return parseNumber(s, DateOf(time.Now()))
}

func parseNumber(s string, today Date) (Number, []Warning, error) {
	switch {
	case len(s) == lenCitizen:
		return parse18(s, today)
	case len(s) == lenOldCitizen && isDigits(s):
		return Number{}, nil, ErrOldNumber
	case len(s) == lenForeign2017:
		return parse2017(s)
	}
	return Number{}, nil, fmt.Errorf("%w: %d bytes long", ErrFormat, len(s))
}

// parse18 parses address (6), birth (8), sequence (3), check (1).
func parse18(s string, today Date) (Number, []Warning, error) {
	if s[17] == 'x' {
		s = s[:17] + "X"
	}
	if !isDigits(s[:17]) || s[0] == '0' || !isDigits(s[17:]) && s[17] != 'X' {
		return Number{}, nil, ErrFormat
	}
	birth, err := ParseDate(s[6:14])
	if err != nil || birth.Year < oldestYear || today.Before(birth) {
		return Number{}, nil, ErrBirthDate
	}
	if check112(s[:17]) != s[17] {
		return Number{}, nil, ErrCheckDigit
	}
	n := Number{s: s}
	province := s[:2]
	if n.Type() == TypeForeigner {
		province = s[1:3]
	}
	return n, warnArea(province), nil
}

// parse2017 parses nationality (3 letters), area (4), YYMMDD, sequence (1), check (1).
func parse2017(s string) (Number, []Warning, error) {
	if strings.Trim(s[:3], "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" || !isDigits(s[3:]) {
		return Number{}, nil, ErrFormat
	}
	_, err19 := ParseDate("19" + s[7:13])
	_, err20 := ParseDate("20" + s[7:13])
	if err19 != nil && err20 != nil {
		return Number{}, nil, ErrBirthDate
	}
	if check731(s[:14]) != s[14] {
		return Number{}, nil, ErrCheckDigit
	}
	return Number{s: s}, warnArea(s[3:5]), nil
}

func warnArea(province string) []Warning {
	if strings.Contains(provinces, " "+province+" ") {
		return nil
	}
	return []Warning{WarnArea}
}

// Type returns the kind of document that carries the number.
func (n Number) Type() IDType {
	switch {
	case len(n.s) == lenForeign2017, strings.HasPrefix(n.s, "9"):
		return TypeForeigner
	case strings.HasPrefix(n.s, "81"), strings.HasPrefix(n.s, "82"), strings.HasPrefix(n.s, "83"):
		return TypeHMT
	}
	return TypeResident
}

// Birth returns the birth date in the number; zero for a 2017 foreigner's
// number, which holds no century.
func (n Number) Birth() Date {
	if len(n.s) != lenCitizen {
		return Date{}
	}
	d, _ := ParseDate(n.s[6:14]) // ParseNumber made sure
	return d
}

// Sex returns the sex in the number: odd sequence male, even female;
// SexUnknown for a 2017 foreigner's number.
func (n Number) Sex() Sex {
	switch {
	case len(n.s) != lenCitizen:
		return SexUnknown
	case n.s[16]%2 == 1:
		return SexMale
	}
	return SexFemale
}

// Old15 returns the 15-digit number (GB 11643—1989) of a resident born from
// 1900 to 1999. It is for comparing with sources that still keep such numbers,
// never an input. The caller must not log or store it.
func (n Number) Old15() (old string, ok bool) {
	if len(n.s) != lenCitizen || n.Type() != TypeResident || n.s[6:8] != "19" {
		return "", false
	}
	return n.s[:6] + n.s[8:17], true
}

// From15 derives the 18-digit number of a 15-digit one found in a source's
// answer, by inserting the century 19. It is for comparing only.
func From15(s string) (Number, error) {
	if len(s) != lenOldCitizen || !isDigits(s) {
		return Number{}, ErrFormat
	}
	body := s[:6] + "19" + s[6:]
	n, _, err := ParseNumber(body + string(check112(body)))
	return n, err
}

// check112 is ISO 7064 MOD 11-2 over digits, as in GB 11643 annex A.
func check112(body string) byte {
	p := 0
	for i := range len(body) {
		p = (p + int(body[i]-'0')) * 2 % 11
	}
	return "0123456789X"[(12-p)%11]
}

// check731 is the ICAO 9303 check digit: weights 7, 3, 1, A is 10.
func check731(body string) byte {
	sum := 0
	for i := range len(body) {
		v := int(body[i] - '0')
		if body[i] >= 'A' {
			v = int(body[i]-'A') + 10
		}
		sum += v * [...]int{7, 3, 1}[i%3]
	}
	return '0' + byte(sum%10)
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
