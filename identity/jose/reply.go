package jose

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/smx509"
	gojose "github.com/go-jose/go-jose/v4"
)

const (
	crvSM2  = "SM2"
	crvP256 = "P-256"

	pointPrefix    = 4 // uncompressed point, SEC 1 2.3.3
	coordinateSize = 32
)

// ErrReplyKey is returned for a reply key that is not a public key on SM2 or P-256.
var ErrReplyKey = errors.New("reply key is not a public JWK on SM2 or P-256")

// ReplyKey is the public key a caller wants its results encrypted to: SM2, or
// P-256 for a browser's WebCrypto. The zero ReplyKey is none.
type ReplyKey struct{ pub *ecdsa.PublicKey }

type replyJWK struct {
	Kty string `json:"kty"`
	Crv string `json:"crv"`
	X   string `json:"x"`
	Y   string `json:"y"`
}

// NewReplyKey wraps a public key on SM2 or P-256.
func NewReplyKey(pub *ecdsa.PublicKey) ReplyKey { return ReplyKey{pub} }

// ParseReplyKey parses {"kty":"EC","crv":"SM2"|"P-256","x":…,"y":…}. Members
// that describe use (kid, use, alg, key_ops, ext) are ignored; a private key
// (member d) is refused.
func ParseReplyKey(jwk []byte) (ReplyKey, error) {
	var w struct {
		replyJWK
		D json.RawMessage `json:"d"`
	}
	if err := json.Unmarshal(jwk, &w); err != nil || w.Kty != "EC" || w.D != nil {
		return ReplyKey{}, ErrReplyKey
	}
	x, errX := decode(w.X)
	y, errY := decode(w.Y)
	if errX != nil || errY != nil || len(x) != coordinateSize || len(y) != coordinateSize {
		return ReplyKey{}, ErrReplyKey
	}
	point := bytes.Join([][]byte{{pointPrefix}, x, y}, nil)
	var pub *ecdsa.PublicKey
	var err error
	switch w.Crv {
	case crvSM2:
		pub, err = sm2.ParseUncompressedPublicKey(point)
	case crvP256:
		pub, err = ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	default:
		err = ErrReplyKey
	}
	if err != nil {
		return ReplyKey{}, ErrReplyKey
	}
	return ReplyKey{pub}, nil
}

// IsZero reports whether there is no key.
func (r ReplyKey) IsZero() bool { return r.pub == nil }

// JWK returns the key as a JWK with its members in the order kty, crv, x, y;
// nil for the zero ReplyKey.
func (r ReplyKey) JWK() []byte {
	if r.pub == nil {
		return nil
	}
	w := replyJWK{Kty: "EC", Crv: crvP256}
	if sm2.IsSM2PublicKey(r.pub) {
		w.Crv = crvSM2
	}
	der, err := smx509.MarshalPKIXPublicKey(r.pub)
	if err != nil || len(der) < 2*coordinateSize {
		return nil
	}
	point := der[len(der)-2*coordinateSize:] // SubjectPublicKeyInfo ends in the uncompressed point
	w.X, w.Y = b64.EncodeToString(point[:coordinateSize]), b64.EncodeToString(point[coordinateSize:])
	raw, err := json.Marshal(w)
	if err != nil {
		return nil
	}
	return raw
}

// Encrypt encrypts plaintext to the key as a compact JWE of type typ: EncryptSM2
// for an SM2 key, ECDH-ES with A256GCM for P-256.
func (r ReplyKey) Encrypt(typ string, plaintext []byte) (string, error) {
	if r.pub == nil {
		return "", ErrReplyKey
	}
	if sm2.IsSM2PublicKey(r.pub) {
		return EncryptSM2(r.pub, typ, plaintext)
	}
	options := (&gojose.EncrypterOptions{}).WithType(gojose.ContentType(typ))
	enc, err := gojose.NewEncrypter(gojose.A256GCM, gojose.Recipient{Algorithm: gojose.ECDH_ES, Key: r.pub}, options)
	if err != nil {
		return "", fmt.Errorf("encrypt to reply key: %w", err)
	}
	token, err := enc.Encrypt(plaintext)
	if err != nil {
		return "", fmt.Errorf("encrypt to reply key: %w", err)
	}
	return token.CompactSerialize()
}
