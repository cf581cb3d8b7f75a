package certificate

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"yizheng/catalog/beijing"
	"yizheng/identity/jose"
)

// TypeQR is the JWS typ of the signed facts in a QR fragment.
const TypeQR = "yz-qr+jws"

// ErrQR is wrapped by CheckQR's errors.
var ErrQR = errors.New("certificate: QR code is not that of this certificate")

type facts struct {
	Number     string `json:"n"`
	Title      string `json:"p"`
	Name       string `json:"s"` // masked
	Tail       string `json:"t"` // last four characters of the ID number
	Conclusion string `json:"c"` // always FOUND: nothing else makes a document
	Issuer     string `json:"o"`
	Date       string `json:"d"`
	Until      string `json:"u"`
	Root       string `json:"r"` // base64url
}

// SignQR makes the link that is printed on the paper. Its fragment never leaves
// a browser: the secret, and the key facts, signed by whoever seals, that let
// paper be checked without asking anybody.
func (c Certificate) SignQR(key *jose.Key) (string, error) {
	payload, err := c.facts()
	if err != nil {
		return "", err
	}
	token, err := jose.Sign(key, TypeQR, payload)
	if err != nil {
		return "", fmt.Errorf("certificate: sign QR: %w", err)
	}
	return c.link() + token, nil
}

// CheckQR reports whether link is what SignQR gives with the private half of
// pub, which signature aside is one text only.
func (c Certificate) CheckQR(link string, pub *ecdsa.PublicKey) error {
	token, ok := strings.CutPrefix(link, c.link())
	if !ok {
		return fmt.Errorf("%w: another number, secret or address", ErrQR)
	}
	signed, _, err := jose.Verify(token, TypeQR, func(kid string) *ecdsa.PublicKey {
		if kid != jose.KeyID(pub) {
			return nil
		}
		return pub
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrQR, err)
	}
	payload, err := c.facts()
	if err != nil {
		return err
	}
	if bytes.Equal(signed, payload) {
		return nil
	}
	var said, want facts
	if errors.Join(json.Unmarshal(signed, &said), json.Unmarshal(payload, &want)) == nil && (said.Name != want.Name || said.Tail != want.Tail) {
		return fmt.Errorf("%w: %w", ErrQR, ErrPerson)
	}
	return fmt.Errorf("%w: other facts", ErrQR)
}

// link is the payload up to the signed facts.
func (c Certificate) link() string {
	return c.City.VerifyURL + "/v/" + c.Number + "#1." + base64.RawURLEncoding.EncodeToString(c.Secret[:]) + "."
}

func (c Certificate) facts() ([]byte, error) {
	number := c.Person.Number.Reveal()
	if len(number) < 4 {
		return nil, errors.New("certificate: a certificate is about a person with a number")
	}
	payload, err := json.Marshal(facts{
		Number: c.Number, Title: c.Proof.Title, Name: maskName(c.Name), Tail: number[len(number)-4:],
		Conclusion: "FOUND", Issuer: c.Issuer, Date: c.IssuedAt.In(beijing.Zone()).Format("20060102"),
		Until: c.Until().Format("20060102"), Root: base64.RawURLEncoding.EncodeToString(c.Root),
	})
	if err != nil {
		return nil, fmt.Errorf("certificate: QR: %w", err)
	}
	return payload, nil
}
