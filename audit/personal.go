package audit

import (
	"bytes"
	"fmt"
	"iter"
	"time"
)

// Words yields the runs of ASCII letters and digits in a text, each with the
// place where it begins. What looks for numbers in entries looks at these.
func Words(text []byte) iter.Seq2[int, []byte] {
	return func(yield func(int, []byte) bool) {
		for at := 0; at < len(text); at++ {
			end := at
			for end < len(text) && wordByte(text[end]) {
				end++
			}
			if end > at && !yield(at, text[at:end]) {
				return
			}
			at = end
		}
	}
}

func wordByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

// IsIDNumber tells a citizen's ID number of 18 characters (GB 11643) by its
// day of birth and check digit. Numbers of 15 digits have no check digit and
// cannot be told from others.
func IsIDNumber(word []byte) bool {
	if len(word) != 18 {
		return false
	}
	sum := 0
	for i, w := range [17]int{7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2} {
		if word[i] < '0' || word[i] > '9' {
			return false
		}
		sum += w * int(word[i]-'0')
	}
	if bytes.ToUpper(word[17:])[0] != "10X98765432"[sum%11] {
		return false
	}
	century := string(word[6:8])
	_, err := time.Parse("20060102", string(word[6:14]))
	return err == nil && (century == "18" || century == "19" || century == "20")
}

// withoutNumbers refuses a half that a verifier would find an ID number in:
// once written, it could never be taken out again.
func withoutNumbers(half string, text []byte) error {
	for at, word := range Words(text) {
		if IsIDNumber(word) {
			return fmt.Errorf("%w: %s half, byte %d", ErrPersonal, half, at)
		}
	}
	return nil
}
