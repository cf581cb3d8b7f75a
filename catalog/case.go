package catalog

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"yizheng/audit"
	"yizheng/identity"
)

// longestCase is how many characters a case number may have.
const longestCase = 64

// CaseFault tells what is wrong with a case number; both texts are empty if it
// can be taken. Cities number their cases as they like, but the number goes in
// clear into the audit log, so it must not be, or hide, anybody's ID number.
func CaseFault(number string) (chinese, english string) {
	switch n := utf8.RuneCountInString(number); {
	case n == 0 || n > longestCase || strings.ContainsFunc(number, notInCase):
		return "请填写办件编号：1–64 个字符，只用汉字、半角字母和数字及 -_/.()〔〕（），不含空格",
			"give the case number: 1 to 64 characters, only ASCII letters and digits, Chinese characters and -_/.()〔〕（）, no spaces"
	case hidesID(number):
		return "办件编号中有 15 位或 18 位像身份证件号码；编号会写入审计日志，请改用受理系统的办件编号，没有时用临时受理号",
			"15 or 18 characters of the case number look like an ID number, and it is written into the audit log; use the case number of the acceptance system or, if there is none yet, a temporary receipt number"
	}
	return "", ""
}

// notInCase reports characters that no case number has. Full-width letters and
// digits are among them, since they would hide a number from people and search alike.
func notInCase(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
		return false
	}
	return !unicode.Is(unicode.Han, r) && !strings.ContainsRune("-_/.()〔〕（）", r)
}

// hanDigits are the ways to write 0 to 9 in Chinese.
var hanDigits = [...]string{"〇零", "一壹", "二贰", "三叁", "四肆", "五伍", "六陆", "七柒", "八捌", "九玖"}

// hidesID reports whether an ID number can be read in the case number, whatever
// separates its characters: 18 or 15 of them that neither follow nor precede
// another digit directly. Digits that are part of a longer run are none, as in
// the audit log. Numbers of other forms are hardly ever taken for one
// (docs/REQUEST.md has the figures); city code, date and four digits are in 9 of
// 100 cases just what a child born that day could have.
func hidesID(number string) bool {
	if audit.HoldsIDNumber(number) { // a birth date to come, which nobody has, counts there too
		return true
	}
	bare, joint := readAsOne(number)
	for i := range bare {
		if i > 0 && isDigit(bare[i-1]) && isDigit(bare[i]) && !joint[i] {
			continue // within a run
		}
		for _, length := range [...]int{18, 15} {
			j := i + length
			if j > len(bare) || j < len(bare) && isDigit(bare[j-1]) && isDigit(bare[j]) && !joint[j] {
				continue
			}
			if isIDNumber(bare[i:j]) {
				return true
			}
		}
	}
	return false
}

// readAsOne leaves out what separates letters and digits; joint tells of each
// that something stood before it. Chinese digits become others.
func readAsOne(number string) (bare string, joint []bool) {
	var b strings.Builder
	apart := false
	for _, r := range number {
		for d, forms := range hanDigits {
			if strings.ContainsRune(forms, r) {
				r = '0' + rune(d)
			}
		}
		if r >= utf8.RuneSelf || strings.ContainsRune("-_/.()", r) {
			apart = true
			continue
		}
		b.WriteRune(unicode.ToUpper(r))
		joint, apart = append(joint, apart), false
	}
	return b.String(), joint
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isIDNumber(s string) bool {
	if len(s) == 15 {
		return isShortID(s)
	}
	_, _, err := identity.ParseNumber(s)
	return err == nil
}

// isShortID reports whether s is a resident's number of the first generation or
// a foreigner's of 2017. They hold little or nothing to check, so only those of
// a known province count.
func isShortID(s string) bool {
	n, err := identity.From15(s)
	if err == nil {
		s = n.Reveal()
	}
	_, warnings, err := identity.ParseNumber(s)
	return err == nil && len(warnings) == 0
}
