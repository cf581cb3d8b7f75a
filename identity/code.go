package identity

import (
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrUSCC is returned for a wrong unified social credit code.
	ErrUSCC = errors.New("not a unified social credit code / 统一社会信用代码不正确")
	// ErrCertificateID is returned for a wrong electronic certificate identifier.
	ErrCertificateID = errors.New("not an electronic certificate identifier / 电子证照标识不正确")
	// ErrMod3736 is returned for a character outside 0-9 and A-Z.
	ErrMod3736 = errors.New("MOD 37,36 takes digits and capital letters only")
)

const (
	alphabet31 = "0123456789ABCDEFGHJKLMNPQRTUWXY" // GB 32100: no I, O, S, V, Z
	alphabet36 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"

	// certificateRoot begins every identifier (GB/T 36904).
	certificateRoot = "1.2.156.3005.2."
)

// ParseUSCC checks a unified social credit code (GB 32100—2015): 18
// characters, the organisation code at 9–17 with its own check character
// (GB 11714), the last a MOD 31-3 check. The error wraps ErrUSCC.
func ParseUSCC(s string) error {
	if len(s) != 18 || strings.Trim(s, alphabet31) != "" {
		return fmt.Errorf("%w: want 18 characters of the code's alphabet", ErrUSCC)
	}
	if !isDigits(s[2:8]) {
		return fmt.Errorf("%w: characters 3–8 are not an area code", ErrUSCC)
	}
	if check11714(s[8:16]) != s[16] {
		return fmt.Errorf("%w: check character of the organisation code (17)", ErrUSCC)
	}
	sum, weight := 0, 1
	for i := range 17 {
		sum += strings.IndexByte(alphabet31, s[i]) * weight
		weight = weight * 3 % 31
	}
	if alphabet31[(31-sum%31)%31] != s[17] {
		return fmt.Errorf("%w: check character (18)", ErrUSCC)
	}
	return nil
}

// check11714 is the check character of an organisation code's first eight characters.
func check11714(body string) byte {
	sum := 0
	for i, w := range [...]int{3, 7, 9, 10, 5, 8, 4, 2} {
		sum += strings.IndexByte(alphabet36, body[i]) * w
	}
	return "0X987654321"[sum%11]
}

// Mod3736 returns the ISO 7064 MOD 37,36 check character of s, which consists
// of digits and capital letters.
func Mod3736(s string) (byte, error) {
	p := 36
	for i := range len(s) {
		v := strings.IndexByte(alphabet36, s[i])
		if v < 0 {
			return 0, ErrMod3736
		}
		if p = (p + v) % 36; p == 0 {
			p = 36
		}
		p = p * 2 % 37
	}
	return alphabet36[(37-p)%36], nil
}

// CertificateID is an electronic certificate identifier (GB/T 36904):
// root.type.issuer.serial.version.check.
type CertificateID struct {
	Type    string // 21: the defining organ's USCC and a 3-digit number
	Issuer  string // a USCC, or an area code in older identifiers
	Serial  string // up to 32 digits and capital letters
	Version string // 3 digits, 001 at first issue
}

// ParseCertificateID parses an identifier and checks every part, the two
// USCCs and the MOD 37,36 check included. The error wraps ErrCertificateID.
func ParseCertificateID(s string) (CertificateID, error) {
	body, ok := strings.CutPrefix(s, certificateRoot)
	parts := strings.Split(body, ".")
	if !ok || len(parts) != 5 {
		return CertificateID{}, fmt.Errorf("%w: want %stype.issuer.serial.version.check", ErrCertificateID, certificateRoot)
	}
	id := CertificateID{Type: parts[0], Issuer: parts[1], Serial: parts[2], Version: parts[3]}
	if err := id.check(); err != nil {
		return CertificateID{}, err
	}
	want, err := Mod3736(id.Type + id.Issuer + id.Serial + id.Version)
	if err != nil || parts[4] != string(want) {
		return CertificateID{}, fmt.Errorf("%w: check character", ErrCertificateID)
	}
	return id, nil
}

func (id CertificateID) check() error {
	switch {
	case len(id.Type) != 21 || ParseUSCC(id.Type[:18]) != nil || !isDigits(id.Type[18:]):
		return fmt.Errorf("%w: type code", ErrCertificateID)
	case ParseUSCC(id.Issuer) != nil && !(len(id.Issuer) == 6 && isDigits(id.Issuer)):
		return fmt.Errorf("%w: issuer", ErrCertificateID)
	case len(id.Serial) == 0 || len(id.Serial) > 32:
		return fmt.Errorf("%w: serial is not 1–32 characters", ErrCertificateID)
	case len(id.Version) != 3 || !isDigits(id.Version):
		return fmt.Errorf("%w: version", ErrCertificateID)
	}
	return nil
}
