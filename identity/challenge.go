package identity

import (
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"yizheng/identity/jose"
)

const (
	// TypChallenge, TypRead, TypCard and TypSubject are the typ of the four
	// tokens: each is refused where another is expected.
	TypChallenge = "yz-challenge+jws"
	TypRead      = "yz-read+jws"
	TypCard      = "yz-card+jwe"
	TypSubject   = "yz-subject+jwe"

	// NonceSize is the length in bytes of a challenge's nonce.
	NonceSize = 32

	protocolVersion = 1
	maxRead         = 32 << 10 // bytes of a challenge or attestation
)

var (
	// ErrChallenge is returned for a challenge that is malformed or that no
	// trusted gateway signed.
	ErrChallenge = errors.New("challenge is malformed or not signed by a trusted gateway")
	// ErrStale is returned when a challenge or attestation is used outside its time.
	ErrStale = errors.New("challenge or read is out of its time")
)

// b64 is how binary values are written inside payloads.
var b64 = base64.RawURLEncoding.Strict()

// Challenge is what the gateway asks a read agent to attest: one read, at one
// workstation, for one matter. It holds nothing about a resident.
type Challenge struct {
	V           int    `json:"v"`            // 1
	Origin      string `json:"origin"`       // the gateway
	ReadSession string `json:"read_session"` // its read session
	Caller      string `json:"caller"`
	Workstation string `json:"workstation"`
	Operator    string `json:"operator"`
	Item        string `json:"item"`
	Situation   string `json:"situation,omitempty"`
	Case        string `json:"case"`
	Purpose     string `json:"purpose"`
	Role        string `json:"role"`
	Nonce       string `json:"nonce"` // base64url of 32 random bytes
	IssuedAt    int64  `json:"iat"`   // milliseconds since the Unix epoch
	Expires     int64  `json:"exp"`   // milliseconds since the Unix epoch
}

// NewNonce returns a random nonce for a Challenge.
func NewNonce() string {
	var raw [NonceSize]byte
	rand.Read(raw[:]) // never fails (crypto/rand)
	return b64.EncodeToString(raw[:])
}

// check reports what a challenge lacks.
func (c Challenge) check() error {
	nonce, err := b64.DecodeString(c.Nonce)
	switch {
	case c.V != protocolVersion:
		return fmt.Errorf("%w: version %d", ErrChallenge, c.V)
	case err != nil || len(nonce) != NonceSize:
		return fmt.Errorf("%w: nonce", ErrChallenge)
	case c.Origin == "" || c.ReadSession == "" || c.Caller == "" || c.Workstation == "" || c.Operator == "" ||
		c.Item == "" || c.Case == "" || c.Purpose == "" || c.Role == "":
		return fmt.Errorf("%w: an empty member", ErrChallenge)
	case c.IssuedAt <= 0 || c.Expires <= c.IssuedAt:
		return fmt.Errorf("%w: times", ErrChallenge)
	}
	return nil
}

// SignChallenge signs c with the gateway's key. It sets V.
func SignChallenge(k *jose.Key, c Challenge) (string, error) {
	c.V = protocolVersion
	if err := c.check(); err != nil {
		return "", err
	}
	raw, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("encode challenge: %w", err)
	}
	return jose.Sign(k, TypChallenge, raw)
}

// VerifyChallenge returns the challenge a trusted gateway signed. Errors wrap
// ErrChallenge. It does not look at the clock: see Challenge.Fresh.
func VerifyChallenge(token string, key func(kid string) *ecdsa.PublicKey) (Challenge, error) {
	if len(token) > maxRead {
		return Challenge{}, fmt.Errorf("%w: larger than %d bytes", ErrChallenge, maxRead)
	}
	raw, _, err := jose.Verify(token, TypChallenge, key)
	if err != nil {
		return Challenge{}, fmt.Errorf("%w: %w", ErrChallenge, err)
	}
	var c Challenge
	if err := jose.Unmarshal(raw, &c); err != nil {
		return Challenge{}, fmt.Errorf("%w: payload", ErrChallenge)
	}
	if err := c.check(); err != nil {
		return Challenge{}, err
	}
	return c, nil
}

// Fresh returns ErrStale unless now is within the challenge's time, give or
// take skew.
func (c Challenge) Fresh(now time.Time, skew time.Duration) error {
	if now.Before(time.UnixMilli(c.IssuedAt).Add(-skew)) || now.After(time.UnixMilli(c.Expires).Add(skew)) {
		return ErrStale
	}
	return nil
}
