package jose

import (
	"crypto/ecdsa"
	"encoding/asn1"
	"fmt"
	"math/big"

	"github.com/emmansun/gmsm/sm2"
)

const (
	algSignature = "SM2SM3"
	scalarSize   = 32 // bytes of r and of s
)

// Sign returns payload as a compact JWS of type typ.
func Sign(k *Key, typ string, payload []byte) (string, error) {
	input := header{Alg: algSignature, Kid: k.ID(), Typ: typ}.encode() + "." + b64.EncodeToString(payload)
	sig, err := k.signRaw(input)
	if err != nil {
		return "", err
	}
	return input + "." + b64.EncodeToString(sig), nil
}

// Verify checks a compact JWS of type typ and returns its payload and the kid
// that signed it. key returns the public key of a kid, or nil if it is not
// trusted for this use. Errors are ErrToken, ErrUnknownKey or ErrSignature,
// wrapped.
func Verify(token, typ string, key func(kid string) *ecdsa.PublicKey) (payload []byte, kid string, err error) {
	parts, err := split(token, 3)
	if err != nil {
		return nil, "", err
	}
	if kid, err = verifyPart(parts[0], parts[1], parts[2], typ, key); err != nil {
		return nil, "", err
	}
	if payload, err = decode(parts[1]); err != nil {
		return nil, "", fmt.Errorf("%w: payload is not base64url", ErrToken)
	}
	return payload, kid, nil
}

// verifyPart checks one signature over protected.payload and returns its kid.
func verifyPart(protected, payload, signature, typ string, key func(string) *ecdsa.PublicKey) (string, error) {
	h, err := parseHeader(protected, algSignature, "", typ)
	if err != nil {
		return "", err
	}
	sig, err := decode(signature)
	if err != nil || len(sig) != 2*scalarSize {
		return "", fmt.Errorf("%w: signature is not %d bytes of base64url", ErrToken, 2*scalarSize)
	}
	pub := key(h.Kid)
	if pub == nil {
		return "", ErrUnknownKey
	}
	if !verifyRaw(pub, protected+"."+payload, sig) {
		return "", ErrSignature
	}
	return h.Kid, nil
}

type signatureASN1 struct{ R, S *big.Int }

// signRaw signs and returns r‖s.
func (k *Key) signRaw(input string) ([]byte, error) {
	der, err := k.SignMessage([]byte(input))
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	var v signatureASN1
	if _, err := asn1.Unmarshal(der, &v); err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	sig := make([]byte, 2*scalarSize)
	v.R.FillBytes(sig[:scalarSize])
	v.S.FillBytes(sig[scalarSize:])
	return sig, nil
}

func verifyRaw(pub *ecdsa.PublicKey, input string, sig []byte) bool {
	if !sm2.IsSM2PublicKey(pub) {
		return false
	}
	der, err := asn1.Marshal(signatureASN1{
		R: new(big.Int).SetBytes(sig[:scalarSize]),
		S: new(big.Int).SetBytes(sig[scalarSize:]),
	})
	return err == nil && sm2.VerifyASN1WithSM2(pub, nil, []byte(input), der)
}

// Unverified returns the payload of a compact JWS without checking anything.
// It is for finding out which key should have signed; Verify must follow.
func Unverified(token string) ([]byte, error) {
	parts, err := split(token, 3)
	if err != nil {
		return nil, err
	}
	payload, err := decode(parts[1])
	if err != nil {
		return nil, fmt.Errorf("%w: payload is not base64url", ErrToken)
	}
	return payload, nil
}
