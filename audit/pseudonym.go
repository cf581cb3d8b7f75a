package audit

import (
	"crypto/hmac"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strings"
	"time"

	"github.com/emmansun/gmsm/sm3"
)

// Types of subjects.
const (
	SubjectIDNumber  = "idno"         // an ID number whose check digit holds
	SubjectIDInvalid = "idno-invalid" // something else in an ID number's place
	SubjectUSCC      = "uscc"         // unified social credit code
	SubjectPhone     = "phone"
)

// ErrNumber is returned for what no pseudonym is made of.
var ErrNumber = errors.New("audit: pseudonym: not a number that can have one")

// SubjectNamer computes what entries of the quarter of a moment call a number:
// Pseudonyms in this process, or the client of a service that alone has the keys.
// Without an answer there is no record, and so no business.
type SubjectNamer interface {
	Of(idType, number string, at time.Time) (SubjectRef, error)
}

// Of is the pseudonym of a number in the quarter (UTC+8) of a moment. idType
// is SubjectIDNumber, which a three-digit document type code ("111") and ""
// stand for as well, SubjectUSCC, SubjectPhone, or another lower-case word.
// An ID number that does not hold gets SubjectIDInvalid. Role is left empty.
// The quarter's key is made if there is none yet.
func (p *Pseudonyms) Of(idType, number string, at time.Time) (SubjectRef, error) {
	kind, norm, err := normalise(idType, number)
	if err != nil {
		return SubjectRef{}, err
	}
	key, epoch, err := p.present(kind, Quarter(at))
	if err != nil {
		return SubjectRef{}, err
	}
	return SubjectRef{Type: kind, Epoch: epoch, P: pseudonymOf(key, norm)}, nil
}

// Known are the pseudonyms that a number has in some quarters ("2026q4"), one
// for each of their epochs, in order. No key is made: entries of a quarter without one
// name nobody of that type.
func (p *Pseudonyms) Known(idType, number string, quarters []string) (Known, error) {
	kind, norm, err := normalise(idType, number)
	if err != nil {
		return Known{}, err
	}
	l, err := p.layout()
	if err != nil {
		return Known{}, err
	}
	var k Known
	for _, q := range l.destroyed {
		if slices.Contains(quarters, q) {
			k.Destroyed = append(k.Destroyed, q)
		}
	}
	for _, n := range l.keys {
		q := EpochQuarter(n.epoch)
		if n.kind != kind || !slices.Contains(quarters, q) || slices.Contains(l.destroyed, q) {
			continue
		}
		key, err := p.read(n)
		if err != nil {
			return Known{}, err
		}
		k.Subjects = append(k.Subjects, SubjectRef{Type: kind, Epoch: n.epoch, P: pseudonymOf(key, norm)})
		clear(key)
	}
	return k, nil
}

// Known is what a number is called in quarters that were asked for.
type Known struct {
	Subjects []SubjectRef `json:"subjects"`
	// Destroyed are those of the quarters whose keys have been destroyed, so that
	// nobody can be found in them.
	Destroyed []string `json:"destroyed,omitempty"`
}

func pseudonymOf(key []byte, norm string) string {
	mac := hmac.New(func() hash.Hash { return sm3.New() }, key)
	mac.Write([]byte(norm))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil)[:16])
}

// normalise brings a number to the one spelling that is hashed.
func normalise(idType, number string) (kind, norm string, err error) {
	if idType == "" || len(idType) == 3 && strings.Trim(idType, "0123456789") == "" {
		idType = SubjectIDNumber
	}
	if len(idType) > 32 || strings.Trim(idType, "abcdefghijklmnopqrstuvwxyz-") != "" {
		return "", "", fmt.Errorf("%w: bad subject type", ErrNumber)
	}
	norm = strings.Map(func(r rune) rune {
		switch {
		case r == ' ' || r == '\t' || r == '\u3000':
			return -1
		case r >= '！' && r <= '～': // full width
			r -= '！' - '!'
		}
		if r >= 'a' && r <= 'z' {
			r -= 'a' - 'A'
		}
		return r
	}, number)
	if norm == "" {
		return "", "", fmt.Errorf("%w: empty", ErrNumber)
	}
	if idType != SubjectIDNumber {
		return idType, norm, nil
	}
	if len(norm) == 15 && strings.Trim(norm, "0123456789") == "" {
		norm = norm[:6] + "19" + norm[6:]
		norm += string(checkDigit(norm))
	}
	if validIDNumber(norm) {
		return SubjectIDNumber, norm, nil
	}
	return SubjectIDInvalid, norm, nil
}

// validIDNumber accepts 18 characters whose GB 11643 check digit holds, and
// the 15-character number of a foreigner's permanent residence card of 2017
// (three letters, twelve digits).
func validIDNumber(s string) bool {
	switch len(s) {
	case 18:
		return strings.Trim(s[:17], "0123456789") == "" && s[17] == checkDigit(s)
	case 15:
		return strings.Trim(s[:3], "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == "" && strings.Trim(s[3:], "0123456789") == ""
	}
	return false
}

// checkDigit is ISO 7064 MOD 11-2 over the first 17 digits (GB 11643-1999).
func checkDigit(s string) byte {
	sum := 0
	for i := range 17 {
		sum += int(s[i]-'0') << (17 - i) % 11
	}
	return "10X98765432"[sum%11]
}
