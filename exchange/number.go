package exchange

import (
	"crypto/rand"
	"fmt"
	"time"

	"yizheng/audit"
	"yizheng/catalog/beijing"
	"yizheng/identity"
)

const numberAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ" // Crockford base 32: no I, L, O, U to misread

// manualPrefix begins a 受理号, by which a resident asks for manual verification.
const manualPrefix = "S"

// newNumber makes prefix ‖ YYYYMMDD ‖ slot ‖ 10 random characters (50 bits) ‖
// check character (ISO 7064 MOD 37,36). The slot, two digits, names the gateway
// that holds the exchange. With a city's code as the prefix, one in some two
// hundred would begin with what the audit log must take for a citizen's ID
// number, and refuse; another is drawn then.
func newNumber(prefix, slot string, at time.Time) (string, error) {
	for {
		n, err := drawNumber(prefix, slot, at)
		if err != nil {
			return "", err
		}
		if !audit.HoldsIDNumber(n) {
			return n, nil
		}
	}
}

func drawNumber(prefix, slot string, at time.Time) (string, error) {
	var r [10]byte
	if _, err := rand.Read(r[:]); err != nil {
		return "", fmt.Errorf("make a number: %w", err)
	}
	for i, b := range r {
		r[i] = numberAlphabet[b&31]
	}
	n := prefix + at.In(beijing.Zone()).Format("20060102") + slot + string(r[:])
	check, err := identity.Mod3736(n)
	if err != nil {
		return "", fmt.Errorf("make a number: %w", err)
	}
	return n + string(check), nil
}

// Slot is the gateway slot an exchange number names, or "" if it is no exchange number.
func Slot(number string) string {
	if len(number) != 21 {
		return ""
	}
	if check, err := identity.Mod3736(number[:20]); err != nil || check != number[20] {
		return ""
	}
	return number[8:10]
}
