package audit

import (
	"bytes"
	"fmt"
	"iter"
	"strings"
	"time"
)

// Words yields the runs of ASCII letters and digits in a half as it is stored,
// each with the place where it begins. An escape of JSON, such as that of "<",
// ends a word and is part of none.
func Words(half []byte) iter.Seq2[int, []byte] {
	return func(yield func(int, []byte) bool) {
		for at := 0; at < len(half); at++ {
			if half[at] == '\\' {
				at += escaped(half[at:]) - 1
				continue
			}
			end := at
			for end < len(half) && wordByte(half[end]) {
				end++
			}
			if end == at {
				continue
			}
			if !yield(at, half[at:end]) {
				return
			}
			at = end - 1
		}
	}
}

// escaped is the length of the escape that a text begins with: \n or \u003c.
func escaped(text []byte) int {
	if len(text) > 1 && text[1] == 'u' {
		return 6
	}
	return 2
}

func wordByte(c byte) bool {
	return digit(c) || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// IDNumbers yields the places in a half, as it is stored, where digits that are
// part of no longer number make an ID number (isIDNumber), whatever letters
// they touch. Words of 32 and more hexadecimal digits are left out: they are
// digests, one in some ten million of which holds such digits by chance.
func IDNumbers(half []byte) iter.Seq[int] {
	return func(yield func(int) bool) {
		const least = 17 // digits in a row: most of the text is passed over in steps of as many
		for at := 0; at+least <= len(half); {
			if !digit(half[at+least-1]) {
				at += least
				continue
			}
			from, to := at+least-1, at+least
			for from > 0 && digit(half[from-1]) {
				from--
			}
			for to < len(half) && digit(half[to]) {
				to++
			}
			at = to
			if behindEscape(half[:from]) {
				from = min(from+4, to) // of the escape of a character
			}
			if to-from == least && to < len(half) && (half[to] == 'X' || half[to] == 'x') && (to+1 == len(half) || !digit(half[to+1])) {
				to++
			}
			if isIDNumber(half[from:to]) && !inDigest(half, from, to) && !yield(from) {
				return
			}
		}
	}
}

// behindEscape tells whether a text ends with \u, the beginning of an escape. Of
// two backslashes the first escapes the second, and the u is a letter.
func behindEscape(text []byte) bool {
	before, found := bytes.CutSuffix(text, []byte("u"))
	backslashes := len(before) - len(bytes.TrimRight(before, `\`))
	return found && backslashes%2 == 1
}

// inDigest tells whether digits are part of a word of 32 or more hexadecimal digits.
func inDigest(text []byte, from, to int) bool {
	for from > 0 && wordByte(text[from-1]) {
		from--
	}
	for to < len(text) && wordByte(text[to]) {
		to++
	}
	return to-from >= 32 && len(bytes.Trim(text[from:to], "0123456789abcdefABCDEF")) == 0
}

// isIDNumber tells a citizen's ID number of 18 characters (GB 11643) by its
// day of birth, of 1900 to 2099, and check digit. Of random digits 1 in some
// 15,000 pass. A day to come counts, too: what the log takes, and what a
// verifier finds in it, must not change from one day to the next. Numbers of 15
// digits have no check digit and cannot be told from others.
func isIDNumber(word []byte) bool {
	if len(word) != 18 {
		return false
	}
	body, last := string(word[:17]), word[17]
	if last == 'x' {
		last = 'X'
	}
	if strings.Trim(body, "0123456789") != "" || last != checkDigit(body) {
		return false
	}
	century := string(word[6:8])
	_, err := time.Parse("20060102", string(word[6:14]))
	return err == nil && (century == "19" || century == "20")
}

// HoldsIDNumber tells whether a text, once in an entry, would have it refused
// with ErrPersonal: what holds for IDNumbers.
func HoldsIDNumber(text string) bool {
	for range IDNumbers(appendString(nil, text)) {
		return true
	}
	return false
}

// NameFault tells what is wrong with a code or an account that entries are going
// to name; both texts are empty if the log takes it. Whoever reads such names
// asks before anything is done under them, since no entry with it could be
// written. The texts do not repeat the name: it may be a person's number.
func NameFault(name string) (chinese, english string) {
	if !HoldsIDNumber(name) {
		return "", ""
	}
	return "其中连续 18 位像居民身份证号码（出生日期与校验码都成立），审计日志不收，凡提到它的业务都会被拒；请另编，或用 - 隔开这串数字（只加字母前缀无用）；统一社会信用代码不能改动，请以上级单位的代码登记",
		"18 characters in a row look like a citizen's ID number (birth date and check digit hold); the audit log takes no such entry, so whatever names it would be refused: choose another, or break the digits up with - (letters in front do not help); a credit code cannot be changed, register the unit above"
}

// withoutNumbers refuses a half that a verifier would find an ID number in:
// once written, it could never be taken out again.
func withoutNumbers(half string, text []byte) error {
	for at := range IDNumbers(text) {
		return fmt.Errorf("%w: %s half, byte %d", ErrPersonal, half, at)
	}
	return nil
}
