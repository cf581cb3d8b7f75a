package identity

import (
	"slices"
	"strings"
)

// Checks are the ways in which a person's identity was established.
type Checks struct {
	Password        bool // account or e-mail and password
	Phone           bool // code sent to a phone number
	VerifiedID      bool // name, number and validity verified with the issuing authority
	CyberCredential bool // network identity credential (居民身份网络可信凭证)
	Card            bool // the card's chip read by a card reader
	Biometric       bool // face or other biometric check against the card
	OperatorChecked bool // a clerk compared person and card (人证一致)
}

// Level returns the level of real-name identity of GB/T 39047—2020 table 1, 1
// to 5, or 0. A card's chip yields the identity information of level 3; level
// 4 adds a biometric check, level 5 the card itself. A clerk's look raises no
// level: a proof that accepts it says so by its Evidence.
func Level(c Checks) int {
	verified := c.VerifiedID || c.Card || c.CyberCredential && c.Password
	switch {
	case verified && c.Biometric && c.Card:
		return 5
	case verified && c.Biometric:
		return 4
	case verified:
		return 3
	case c.Phone:
		return 2
	case c.Password:
		return 1
	}
	return 0
}

// Evidence names the checks of a card read, joined by "+" in a fixed order:
// card_chip, biometric, operator_checked.
func (c Checks) Evidence() string {
	var parts []string
	for _, p := range []struct {
		done bool
		name string
	}{{c.Card, "card_chip"}, {c.Biometric, "biometric"}, {c.OperatorChecked, "operator_checked"}} {
		if p.done {
			parts = append(parts, p.name)
		}
	}
	return strings.Join(parts, "+")
}

// Satisfies reports whether the subject reaches minLevel, or whether its
// evidence holds every check of one of the accepted evidences.
func (c SubjectClaims) Satisfies(minLevel int, evidence []string) bool {
	if c.Level >= minLevel {
		return true
	}
	have := strings.Split(c.Evidence, "+")
	return slices.ContainsFunc(evidence, func(accepted string) bool {
		for _, check := range strings.Split(accepted, "+") {
			if check == "" || !slices.Contains(have, check) {
				return false
			}
		}
		return true
	})
}
