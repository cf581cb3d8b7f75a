package audit

import (
	"crypto/ecdsa"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm3"
)

// spkiPrefix is all of an SM2 public key's SubjectPublicKeyInfo but its point:
// id-ecPublicKey (1.2.840.10045.2.1) on the curve sm2p256v1 (1.2.156.10197.1.301).
// With it by hand, an auditor's program needs no certificate parser, and so
// nothing of package net.
const spkiPrefix = "\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x81\x1c\xcf\x55\x01\x82\x2d\x03\x42\x00"

// marshalKey is the DER SubjectPublicKeyInfo of an SM2 key.
func marshalKey(pub *ecdsa.PublicKey) ([]byte, error) {
	if pub == nil || !sm2.IsSM2PublicKey(pub) {
		return nil, errors.New("audit: not an SM2 public key")
	}
	point, err := sm2.PublicKeyToECDH(pub)
	if err != nil {
		return nil, fmt.Errorf("audit: SM2 public key: %w", err)
	}
	return append([]byte(spkiPrefix), point.Bytes()...), nil
}

// ParseKey reads an SM2 public key in PEM (type PUBLIC KEY).
func ParseKey(text []byte) (*ecdsa.PublicKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PUBLIC KEY" {
		return nil, errors.New("audit: no PEM block PUBLIC KEY")
	}
	if len(block.Bytes) != len(spkiPrefix)+65 || string(block.Bytes[:len(spkiPrefix)]) != spkiPrefix {
		return nil, errors.New("audit: not an SM2 public key")
	}
	pub, err := sm2.NewPublicKey(block.Bytes[len(spkiPrefix):])
	if err != nil {
		return nil, fmt.Errorf("audit: SM2 public key: %w", err)
	}
	return pub, nil
}

// ReadKey is ParseKey of a file.
func ReadKey(path string) (*ecdsa.PublicKey, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("audit: public key: %w", err)
	}
	pub, err := ParseKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return pub, nil
}

// KeyID names a public key: the first 16 bytes, in lower hex, of the SM3 of
// its DER SubjectPublicKeyInfo.
func KeyID(pub *ecdsa.PublicKey) (string, error) {
	der, err := marshalKey(pub)
	if err != nil {
		return "", err
	}
	sum := sm3.Sum(der)
	return hex.EncodeToString(sum[:16]), nil
}
