package identity

import (
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"

	"yizheng/identity/jose"
)

// ErrCardRead is returned for an encrypted card that cannot be opened.
var ErrCardRead = errors.New("encrypted card cannot be opened")

const (
	maxCardRead = 16 << 10 // bytes of an encrypted card
	maxUID      = 16
)

// CardRead is a card as it travels, encrypted, from read agent to gateway.
type CardRead struct {
	Card
	Salts Salts
	UID   []byte // of the chip
}

type cardReadJSON struct {
	V    int       `json:"v"`
	Text string    `json:"text"` // base64url of the 256 bytes
	UID  string    `json:"uid"`
	Salt saltsJSON `json:"salts"`
}

// saltsJSON is the explicit encoding of Salts, each base64url of 16 bytes.
type saltsJSON struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Card string `json:"card,omitempty"`
}

// SealCard encrypts a card to the gateway's key.
func SealCard(gateway *ecdsa.PublicKey, r CardRead) (string, error) {
	raw, err := r.encode()
	if err != nil {
		return "", err
	}
	defer clear(raw)
	return jose.EncryptSM2(gateway, TypCard, raw)
}

func (r CardRead) encode() ([]byte, error) {
	raw, err := json.Marshal(cardReadJSON{
		V: protocolVersion, Text: b64.EncodeToString(r.Card.raw[:]), UID: b64.EncodeToString(r.UID),
		Salt: saltsJSON{ID: b64.EncodeToString(r.Salts.ID[:]), Name: b64.EncodeToString(r.Salts.Name[:]), Card: b64.EncodeToString(r.Salts.Card[:])},
	})
	if err != nil {
		return nil, errors.New("encode card")
	}
	return raw, nil
}

// OpenCard opens what SealCard made and parses the card. The error wraps
// ErrCardRead or is one of ParseCard's. Compare the result with the
// attestation by VerifiedRead.MatchesCard before using it.
func OpenCard(gateway *jose.Key, token string) (CardRead, error) {
	if len(token) > maxCardRead {
		return CardRead{}, fmt.Errorf("%w: larger than %d bytes", ErrCardRead, maxCardRead)
	}
	raw, err := jose.DecryptSM2(gateway, TypCard, token)
	if err != nil {
		return CardRead{}, fmt.Errorf("%w: %w", ErrCardRead, err)
	}
	defer clear(raw)
	var w cardReadJSON
	if err := jose.Unmarshal(raw, &w); err != nil || w.V != protocolVersion {
		return CardRead{}, fmt.Errorf("%w: payload", ErrCardRead)
	}
	text, errText := b64.DecodeString(w.Text)
	uid, errUID := b64.DecodeString(w.UID)
	salts, errSalts := w.Salt.decode()
	errCardSalt := decodeSalt(&salts.Card, w.Salt.Card)
	if errors.Join(errText, errUID, errSalts, errCardSalt) != nil || len(uid) == 0 || len(uid) > maxUID {
		return CardRead{}, fmt.Errorf("%w: payload", ErrCardRead)
	}
	card, err := ParseCard(text)
	if err != nil {
		return CardRead{}, err
	}
	return CardRead{Card: card, Salts: salts, UID: uid}, nil
}

// decode decodes the salts of number and name.
func (w saltsJSON) decode() (Salts, error) {
	var s Salts
	return s, errors.Join(decodeSalt(&s.ID, w.ID), decodeSalt(&s.Name, w.Name))
}

func decodeSalt(salt *[16]byte, encoded string) error {
	raw, err := b64.DecodeString(encoded)
	if err != nil || len(raw) != len(salt) {
		return errors.New("salt is not 16 bytes of base64url")
	}
	copy(salt[:], raw)
	return nil
}
