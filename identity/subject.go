package identity

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"yizheng/identity/jose"
)

var (
	// ErrToken is returned for a subject token that is malformed or was not
	// made under a known key.
	ErrToken = errors.New("subject token is not valid: read the card again / 凭据无效，请重新刷卡")
	// ErrExpiredToken is returned for a subject token after its time.
	ErrExpiredToken = errors.New("subject token has expired: read the card again / 凭据已过期，请重新刷卡")
)

// MaxSubjectToken is the longest subject token, in bytes, that is looked at.
const MaxSubjectToken = 64 << 10

// SubjectClaims is what a subject token says: one person, attested, for one
// caller, workstation, item and case. Only the gateway's fleet can read it.
type SubjectClaims struct {
	secret
	JTI         string // unique; spent by one exchange
	Caller      string
	Workstation string
	Operator    string
	Item        string
	Situation   string // may be empty
	Case        string
	Purpose     string
	Role        string
	Level       int    // GB/T 39047 table 1
	Evidence    string // Checks.Evidence
	Person      Person
	Salts       Salts  // ID and Name only
	Attestation string // the read attestation, for whoever checks it behind us
	IssuedAt    int64  // milliseconds since the Unix epoch
	Expires     int64  // milliseconds since the Unix epoch
}

// subjectJSON is the explicit encoding of SubjectClaims: the one place where a
// person becomes bytes, and those are encrypted at once.
type subjectJSON struct {
	V           int        `json:"v"`
	JTI         string     `json:"jti"`
	Caller      string     `json:"caller"`
	Workstation string     `json:"workstation"`
	Operator    string     `json:"operator"`
	Item        string     `json:"item"`
	Situation   string     `json:"situation,omitempty"`
	Case        string     `json:"case"`
	Purpose     string     `json:"purpose"`
	Role        string     `json:"role"`
	Level       int        `json:"level"`
	Evidence    string     `json:"evidence"`
	Person      personJSON `json:"person"`
	Salts       saltsJSON  `json:"salts"`
	Attestation string     `json:"attestation"`
	IssuedAt    int64      `json:"iat"`
	Expires     int64      `json:"exp"`
}

type personJSON struct {
	Type   IDType `json:"type"`
	Number string `json:"number"`
	Name   string `json:"name"`
	Birth  string `json:"birth"` // YYYYMMDD
	Sex    Sex    `json:"sex"`
}

// MintSubject encrypts claims under the fleet key named kid (16 bytes). It
// mints for whatever it is given: call it only with a person that matched a
// VerifiedRead, a face assertion bound to one, or a delegation.
func MintSubject(key []byte, kid string, c SubjectClaims) (string, error) {
	if c.JTI == "" || c.Person.Number.IsZero() || c.Attestation == "" || c.Expires <= c.IssuedAt {
		return "", errors.New("mint subject token: jti, person, attestation or times missing")
	}
	raw, err := c.encode()
	if err != nil {
		return "", err
	}
	defer clear(raw)
	token, err := jose.EncryptDirect(key, kid, TypSubject, raw)
	if err != nil {
		return "", fmt.Errorf("mint subject token: %w", err)
	}
	if len(token) > MaxSubjectToken {
		return "", fmt.Errorf("mint subject token: larger than %d bytes", MaxSubjectToken)
	}
	return token, nil
}

func (c SubjectClaims) encode() ([]byte, error) {
	raw, err := json.Marshal(subjectJSON{
		V: protocolVersion, JTI: c.JTI, Caller: c.Caller, Workstation: c.Workstation, Operator: c.Operator,
		Item: c.Item, Situation: c.Situation, Case: c.Case, Purpose: c.Purpose, Role: c.Role,
		Level: c.Level, Evidence: c.Evidence,
		Person: personJSON{
			Type: c.Person.Type, Number: c.Person.Number.s, Name: c.Person.Name.s,
			Birth: c.Person.Birth.Compact(), Sex: c.Person.Sex,
		},
		Salts:       saltsJSON{ID: b64.EncodeToString(c.Salts.ID[:]), Name: b64.EncodeToString(c.Salts.Name[:])},
		Attestation: c.Attestation, IssuedAt: c.IssuedAt, Expires: c.Expires,
	})
	if err != nil {
		return nil, errors.New("encode subject token")
	}
	return raw, nil
}

// OpenSubject opens a subject token. keys returns the fleet key of a kid, or
// nil. Errors wrap ErrToken or ErrExpiredToken. Whether the token was made for
// this caller and matter, and is unspent, is the caller's question.
func OpenSubject(keys func(kid string) []byte, token string, now time.Time) (SubjectClaims, error) {
	if len(token) > MaxSubjectToken {
		return SubjectClaims{}, fmt.Errorf("%w: larger than %d bytes", ErrToken, MaxSubjectToken)
	}
	raw, err := jose.DecryptDirect(keys, TypSubject, token)
	if err != nil {
		return SubjectClaims{}, fmt.Errorf("%w: %w", ErrToken, err)
	}
	defer clear(raw)
	var w subjectJSON
	if err := jose.Unmarshal(raw, &w); err != nil || w.V != protocolVersion {
		return SubjectClaims{}, fmt.Errorf("%w: payload", ErrToken)
	}
	c, err := w.claims()
	if err != nil {
		return SubjectClaims{}, err
	}
	if !now.Before(time.UnixMilli(c.Expires)) {
		return SubjectClaims{}, ErrExpiredToken
	}
	return c, nil
}

func (w subjectJSON) claims() (SubjectClaims, error) {
	number, _, errNumber := ParseNumber(w.Person.Number)
	birth, errBirth := ParseDate(w.Person.Birth)
	salts, errSalts := w.Salts.decode()
	if errors.Join(errNumber, errBirth, errSalts) != nil || number.Type() != w.Person.Type {
		return SubjectClaims{}, fmt.Errorf("%w: person", ErrToken)
	}
	return SubjectClaims{
		JTI: w.JTI, Caller: w.Caller, Workstation: w.Workstation, Operator: w.Operator,
		Item: w.Item, Situation: w.Situation, Case: w.Case, Purpose: w.Purpose, Role: w.Role,
		Level: w.Level, Evidence: w.Evidence,
		Person: Person{Type: w.Person.Type, Number: number, Name: NewName(w.Person.Name), Birth: birth, Sex: w.Person.Sex},
		Salts:  salts, Attestation: w.Attestation, IssuedAt: w.IssuedAt, Expires: w.Expires,
	}, nil
}

// Commitment returns the subject commitment of leg digests: the 32 bytes of
// the attestation's id_digest, SM3(Salts.ID ‖ type ‖ number).
func (c SubjectClaims) Commitment() []byte {
	sum := IDDigest(c.Salts.ID, c.Person.Type, c.Person.Number)
	return sum[:]
}
