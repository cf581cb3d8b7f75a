package jose

import (
	"crypto/ecdsa"
	"encoding/json"
	"fmt"
)

// maxSigners bounds the signatures of one document.
const maxSigners = 16

// MultiSigned is one payload with the signatures of several people or
// departments: JWS JSON general serialization (RFC 7515 7.2.1) without
// unprotected headers.
type MultiSigned struct {
	payload string // base64url, exactly what is signed
	wire    []signatureJSON
}

type multiJSON struct {
	Payload    string          `json:"payload"`
	Signatures []signatureJSON `json:"signatures"`
}

type signatureJSON struct {
	Protected string `json:"protected"`
	Signature string `json:"signature"`
}

// NewMultiSigned wraps a payload that nobody has signed yet.
func NewMultiSigned(payload []byte) *MultiSigned {
	return &MultiSigned{payload: b64.EncodeToString(payload)}
}

// ParseMultiSigned parses the JSON form. It verifies nothing.
func ParseMultiSigned(raw []byte) (*MultiSigned, error) {
	if len(raw) > MaxToken {
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrToken, MaxToken)
	}
	var w multiJSON
	if err := Unmarshal(raw, &w); err != nil {
		return nil, fmt.Errorf("%w: not a signed document", ErrToken)
	}
	if len(w.Signatures) > maxSigners {
		return nil, fmt.Errorf("%w: more than %d signatures", ErrToken, maxSigners)
	}
	if _, err := decode(w.Payload); err != nil {
		return nil, fmt.Errorf("%w: payload is not base64url", ErrToken)
	}
	return &MultiSigned{payload: w.Payload, wire: w.Signatures}, nil
}

// Marshal returns the JSON form, ending in a newline.
func (m *MultiSigned) Marshal() ([]byte, error) {
	signatures := m.wire
	if signatures == nil {
		signatures = []signatureJSON{}
	}
	raw, err := json.MarshalIndent(multiJSON{Payload: m.payload, Signatures: signatures}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode signed document: %w", err)
	}
	return append(raw, '\n'), nil
}

// Payload returns the payload. It is not verified: use it for display, or
// after Verify.
func (m *MultiSigned) Payload() []byte {
	payload, err := decode(m.payload)
	if err != nil {
		return nil // impossible: both constructors made sure
	}
	return payload
}

// AddSignature signs the payload with k as a document of type typ. A key
// signs once.
func (m *MultiSigned) AddSignature(k *Key, typ string) error {
	protected := header{Alg: algSignature, Kid: k.ID(), Typ: typ}.encode()
	for _, s := range m.wire {
		if s.Protected == protected {
			return fmt.Errorf("key %s has signed already", k.ID())
		}
	}
	if len(m.wire) == maxSigners {
		return fmt.Errorf("more than %d signatures", maxSigners)
	}
	sig, err := k.signRaw(protected + "." + m.payload)
	if err != nil {
		return err
	}
	m.wire = append(m.wire, signatureJSON{Protected: protected, Signature: b64.EncodeToString(sig)})
	return nil
}

// Verify checks that every signature is of type typ, by a known key, and
// right, that no key signed twice, and that there is one at least. It returns
// the kids in order. How many of them are enough is the caller's question.
func (m *MultiSigned) Verify(typ string, key func(kid string) *ecdsa.PublicKey) (signers []string, err error) {
	seen := make(map[string]bool)
	for i, s := range m.wire {
		kid, err := verifyPart(s.Protected, m.payload, s.Signature, typ, key)
		if err != nil {
			return nil, fmt.Errorf("signature %d: %w", i+1, err)
		}
		if seen[kid] {
			return nil, fmt.Errorf("signature %d: %w: key %s signed twice", i+1, ErrToken, kid)
		}
		seen[kid] = true
		signers = append(signers, kid)
	}
	if len(signers) == 0 {
		return nil, fmt.Errorf("%w: nobody signed", ErrSignature)
	}
	return signers, nil
}
