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
		return "办件编号中含有身份证件号码；编号会写入审计日志，请改用受理系统的办件编号，没有时用临时受理号",
			"the case number holds an ID number, and it is written into the audit log; use the case number of the acceptance system or, if there is none yet, a temporary receipt number"
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

// hidesID reports whether an ID number can be read anywhere in the case number,
// whatever separates its characters. The check character and the birth date
// make a false alarm rare: about 1 in 3000 for 18 random digits.
func hidesID(number string) bool {
	if audit.HoldsIDNumber(number) { // a birth date to come, which nobody has, counts there too
		return true
	}
	bare := strings.Map(func(r rune) rune {
		for d, forms := range hanDigits {
			if strings.ContainsRune(forms, r) {
				return '0' + rune(d)
			}
		}
		if r >= utf8.RuneSelf || strings.ContainsRune("-_/.()", r) {
			return -1
		}
		return unicode.ToUpper(r)
	}, number)
	for i := range bare {
		if i+18 <= len(bare) {
			if _, _, err := identity.ParseNumber(bare[i : i+18]); err == nil {
				return true
			}
		}
		if i+15 <= len(bare) && isShortID(bare[i:i+15]) {
			return true
		}
	}
	return false
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
