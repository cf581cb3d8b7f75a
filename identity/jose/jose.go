// Package jose signs and encrypts the tokens of this system: JSON Web
// Signatures (RFC 7515) and JSON Web Encryption (RFC 7516) with the SM2, SM3
// and SM4 algorithms, for which neither RFC has registered names.
//
//	signature   alg "SM2SM3": SM2 (GB/T 32918.2) over SM3, user id
//	            1234567812345678; the value is r‖s, 32 bytes each
//	encryption  alg "SM2": a 128-bit key encrypted with SM2 (GB/T 32918.4,
//	            C1C3C2, ASN.1 as in GB/T 35276 7.2)
//	            alg "dir": a key both sides hold
//	            alg "ECDH-ES": to a P-256 key, with enc "A256GCM" (RFC 7518)
//	content     enc "SM4GCM": 12-byte IV, 16-byte tag, AAD the ASCII
//	            protected header
//
// A protected header holds exactly alg, (enc,) kid and typ; any other member,
// crit and jwk among them, is refused. The reader names the alg, the enc and
// the typ it expects, so a token made for one use is never accepted for
// another. kid is the first 16 bytes of SM3 over the key's
// SubjectPublicKeyInfo in lower-case hex.
//
// docs/protocol/jose.md is this format with test vectors.
package jose

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// MaxToken is the longest token, in bytes, that is looked at.
const MaxToken = 16 << 20

var (
	// ErrToken is returned for a token that is malformed, too large, or of
	// another kind than was asked for.
	ErrToken = errors.New("token malformed or of another kind")
	// ErrUnknownKey is returned when the key named by a token is not known.
	ErrUnknownKey = errors.New("token's key unknown")
	// ErrSignature is returned when a signature does not verify.
	ErrSignature = errors.New("token's signature wrong")
	// ErrDecrypt is returned when a token cannot be opened with the key. It
	// does not say why.
	ErrDecrypt = errors.New("token cannot be decrypted")
)

// b64 is unpadded base64url that refuses non-zero trailing bits, so that a
// value has one spelling only.
var b64 = base64.RawURLEncoding.Strict()

// decode decodes base64url. The standard decoder skips line ends; here they
// would be a second spelling.
func decode(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, base64.CorruptInputError(0)
	}
	return b64.DecodeString(s)
}

// header is a protected header; its member order is the order on the wire.
type header struct {
	Alg string `json:"alg"`
	Enc string `json:"enc,omitempty"`
	Kid string `json:"kid,omitempty"`
	Typ string `json:"typ"`
}

func (h header) encode() string {
	raw, err := json.Marshal(h)
	if err != nil {
		panic(err) // four strings always marshal
	}
	return b64.EncodeToString(raw)
}

// parseHeader decodes a protected header and checks it against what the
// reader expects.
func parseHeader(s, alg, enc, typ string) (header, error) {
	raw, err := decode(s)
	if err != nil {
		return header{}, fmt.Errorf("%w: header is not base64url", ErrToken)
	}
	var h header
	if err := Unmarshal(raw, &h); err != nil {
		return header{}, fmt.Errorf("%w: header", ErrToken)
	}
	if h.Alg != alg || h.Enc != enc || h.Typ != typ || typ == "" {
		return header{}, fmt.Errorf("%w: want alg %q enc %q typ %q", ErrToken, alg, enc, typ)
	}
	return h, nil
}

// split cuts a compact token into exactly n parts.
func split(token string, n int) ([]string, error) {
	if len(token) > MaxToken {
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrToken, MaxToken)
	}
	if strings.Count(token, ".") != n-1 {
		return nil, fmt.Errorf("%w: not %d parts", ErrToken, n)
	}
	return strings.Split(token, "."), nil
}
