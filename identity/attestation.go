package identity

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/emmansun/gmsm/sm3"

	"yizheng/identity/jose"
)

var (
	// ErrAttestation is returned for an attestation that is malformed or not
	// signed by the workstation's agent.
	ErrAttestation = errors.New("read attestation is malformed or not signed by the workstation's agent")
	// ErrSAM is returned for a reader that is not registered for the workstation.
	ErrSAM = errors.New("card reader is not registered for this workstation / 读卡器未在该工位登记")
	// ErrSimulated is returned for a simulated read where only real ones count.
	ErrSimulated = errors.New("simulated card reads are not accepted here / 此处不接受模拟读卡")
	// ErrCommitment is returned when a person or card is not the one attested.
	ErrCommitment = errors.New("person or card differs from the attested one")
)

// Attestation is a read agent's statement that it read a card for a challenge.
type Attestation struct {
	V               int    `json:"v"`                // 1
	Challenge       string `json:"challenge"`        // the signed challenge, verbatim
	SAM             string `json:"sam"`              // security module number of the reader
	Seq             uint64 `json:"seq"`              // of this agent, rising, never repeated; below 2^53
	ReadAt          int64  `json:"read_at"`          // milliseconds since the Unix epoch
	CardType        IDType `json:"card_type"`        // kind of document
	IDDigest        string `json:"id_digest"`        // base64url SM3(Salts.ID ‖ type ‖ number)
	NameDigest      string `json:"name_digest"`      // base64url SM3(Salts.Name ‖ name in UTF-8)
	CardUID         string `json:"card_uid"`         // base64url SM3(Salts.Card ‖ UID of the chip)
	TextDigest      string `json:"text_digest"`      // base64url SM3(Salts.Card ‖ the 256 bytes)
	OperatorChecked bool   `json:"operator_checked"` // the clerk confirmed 人证一致
	Simulated       bool   `json:"simulated"`        // no real reader was used
}

// Reading is one act of reading a card.
type Reading struct {
	SAM             string
	Seq             uint64
	At              time.Time
	UID             []byte // of the chip; 8 bytes for type B cards
	OperatorChecked bool
	Simulated       bool
}

// IDDigest returns SM3(salt ‖ type ‖ number): 16 bytes of salt, the three
// ASCII digits of the type, the number in ASCII.
func IDDigest(salt [16]byte, t IDType, n Number) [32]byte {
	return salted(salt, string(t)+n.s)
}

// NameDigest returns SM3(salt ‖ name): 16 bytes of salt, the name as the card
// has it in UTF-8.
func NameDigest(salt [16]byte, name Name) [32]byte { return salted(salt, name.s) }

func salted(salt [16]byte, value string) [32]byte {
	return sm3.Sum(append(salt[:len(salt):len(salt)], value...))
}

// AttestRead signs, with the agent's key, that card was read for challenge. It
// draws fresh salts; pass them on in SealCard. The challenge must have been
// verified, the card's validity checked, and the sequence number made durable
// before.
func AttestRead(agent *jose.Key, challenge string, card Card, r Reading) (attestation string, salts Salts, err error) {
	for _, salt := range []*[16]byte{&salts.ID, &salts.Name, &salts.Card} {
		rand.Read(salt[:]) // never fails (crypto/rand)
	}
	a := newAttestation(challenge, card, r, salts)
	if err := a.check(); err != nil {
		return "", Salts{}, err
	}
	raw, err := json.Marshal(a)
	if err != nil {
		return "", Salts{}, fmt.Errorf("encode attestation: %w", err)
	}
	attestation, err = jose.Sign(agent, TypRead, raw)
	return attestation, salts, err
}

func newAttestation(challenge string, card Card, r Reading, s Salts) Attestation {
	text := func(sum [32]byte) string { return b64.EncodeToString(sum[:]) }
	return Attestation{
		V: protocolVersion, Challenge: challenge, SAM: r.SAM, Seq: r.Seq, ReadAt: r.At.UnixMilli(),
		CardType:   card.Type,
		IDDigest:   text(IDDigest(s.ID, card.Type, card.Number)),
		NameDigest: text(NameDigest(s.Name, card.Name)),
		CardUID:    text(salted(s.Card, string(r.UID))),
		TextDigest: text(salted(s.Card, string(card.raw[:]))),

		OperatorChecked: r.OperatorChecked, Simulated: r.Simulated,
	}
}

func (a Attestation) check() error {
	if a.V != protocolVersion {
		return fmt.Errorf("%w: version %d", ErrAttestation, a.V)
	}
	if a.SAM == "" || a.Seq == 0 || a.Seq >= 1<<53 || a.ReadAt <= 0 {
		return fmt.Errorf("%w: sam, seq or read_at", ErrAttestation)
	}
	if a.CardType != TypeResident && a.CardType != TypeForeigner && a.CardType != TypeHMT {
		return fmt.Errorf("%w: card_type", ErrAttestation)
	}
	for _, digest := range []string{a.IDDigest, a.NameDigest, a.CardUID, a.TextDigest} {
		if raw, err := b64.DecodeString(digest); err != nil || len(raw) != sm3.Size {
			return fmt.Errorf("%w: digest", ErrAttestation)
		}
	}
	return nil
}

// AttestationPolicy says which keys and readers are trusted, and when.
type AttestationPolicy struct {
	GatewayKey     func(kid string) *ecdsa.PublicKey              // nil: not a gateway's key
	AgentKey       func(workstation, kid string) *ecdsa.PublicKey // nil: not this workstation's key
	SAMAllowed     func(workstation, sam string) bool
	AllowSimulated bool
	MaxSkew        time.Duration // by which two clocks may differ
	MaxAge         time.Duration // longest time from read to now; 0: the challenge must not have expired
	Now            time.Time
}

// VerifiedRead is a read whose challenge and attestation verified.
type VerifiedRead struct {
	Challenge   Challenge
	Attestation Attestation
}

// VerifyAttestation checks an attestation: the challenge inside was signed by
// a gateway, the attestation by the agent of the challenge's workstation, the
// reader belongs there, and the read happened within the challenge's time and
// is fresh. Errors wrap ErrAttestation, ErrChallenge, ErrStale, ErrSAM or
// ErrSimulated. Whether the nonce and sequence number were used before, and
// whether the challenge is the one expected, is the caller's question.
func VerifyAttestation(token string, p AttestationPolicy) (VerifiedRead, error) {
	if len(token) > maxRead {
		return VerifiedRead{}, fmt.Errorf("%w: larger than %d bytes", ErrAttestation, maxRead)
	}
	v, err := parseAttestation(token, p)
	if err != nil {
		return VerifiedRead{}, err
	}
	c, a := v.Challenge, v.Attestation
	if !p.SAMAllowed(c.Workstation, a.SAM) {
		return VerifiedRead{}, ErrSAM
	}
	if a.Simulated && !p.AllowSimulated {
		return VerifiedRead{}, ErrSimulated
	}
	readAt := time.UnixMilli(a.ReadAt)
	if err := c.Fresh(readAt, p.MaxSkew); err != nil {
		return VerifiedRead{}, err
	}
	latest := time.UnixMilli(c.Expires)
	if p.MaxAge > 0 {
		latest = readAt.Add(p.MaxAge)
	}
	if readAt.After(p.Now.Add(p.MaxSkew)) || p.Now.After(latest.Add(p.MaxSkew)) {
		return VerifiedRead{}, ErrStale
	}
	return v, nil
}

// parseAttestation verifies both signatures. Which key must have signed the
// attestation is known only from the challenge inside it.
func parseAttestation(token string, p AttestationPolicy) (VerifiedRead, error) {
	raw, err := jose.Unverified(token)
	if err != nil {
		return VerifiedRead{}, fmt.Errorf("%w: %w", ErrAttestation, err)
	}
	var a Attestation
	if err := jose.Unmarshal(raw, &a); err != nil {
		return VerifiedRead{}, fmt.Errorf("%w: payload", ErrAttestation)
	}
	if err := a.check(); err != nil {
		return VerifiedRead{}, err
	}
	c, err := VerifyChallenge(a.Challenge, p.GatewayKey)
	if err != nil {
		return VerifiedRead{}, err
	}
	ofWorkstation := func(kid string) *ecdsa.PublicKey { return p.AgentKey(c.Workstation, kid) }
	if _, _, err := jose.Verify(token, TypRead, ofWorkstation); err != nil {
		return VerifiedRead{}, fmt.Errorf("%w: %w", ErrAttestation, err)
	}
	return VerifiedRead{Challenge: c, Attestation: a}, nil
}

// Matches returns ErrCommitment, wrapped, unless p's type, number and name are
// the attested ones.
func (v VerifiedRead) Matches(p Person, s Salts) error {
	if p.Type != v.Attestation.CardType {
		return fmt.Errorf("%w: type", ErrCommitment)
	}
	if !sameDigest(IDDigest(s.ID, p.Type, p.Number), v.Attestation.IDDigest) {
		return fmt.Errorf("%w: number", ErrCommitment)
	}
	if !sameDigest(NameDigest(s.Name, p.Name), v.Attestation.NameDigest) {
		return fmt.Errorf("%w: name", ErrCommitment)
	}
	return nil
}

// MatchesCard returns ErrCommitment, wrapped, unless the card that came
// encrypted beside the attestation is the attested one to the last byte.
func (v VerifiedRead) MatchesCard(r CardRead) error {
	if !sameDigest(salted(r.Salts.Card, string(r.Card.raw[:])), v.Attestation.TextDigest) {
		return fmt.Errorf("%w: text", ErrCommitment)
	}
	if !sameDigest(salted(r.Salts.Card, string(r.UID)), v.Attestation.CardUID) {
		return fmt.Errorf("%w: chip", ErrCommitment)
	}
	return v.Matches(r.Card.Person, r.Salts)
}

func sameDigest(sum [32]byte, encoded string) bool {
	return subtle.ConstantTimeCompare([]byte(b64.EncodeToString(sum[:])), []byte(encoded)) == 1
}
