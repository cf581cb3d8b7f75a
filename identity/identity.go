// Package identity knows who is at the window: document numbers and other
// codes, the text of an identity card's chip, the attested read of a card, and
// the subject token that is the only key of a query.
//
// A person enters the system in one way. The gateway signs a Challenge; a read
// agent, whose key the catalogue lists, reads a card and signs an Attestation
// that commits to the card's number and name by salted digests; the gateway
// verifies it (VerifyAttestation), compares it with the card text that came
// encrypted beside it, and mints a subject token bound to one caller,
// workstation, item and case. No function here makes a token from a typed
// number.
//
// Values that identify a resident (Number, Name, Person, Card, CardText,
// Salts, SubjectClaims) print as "[redacted]" under every verb and encoding;
// errors never contain them.
//
// The formats are frozen: docs/protocol/read-attestation.md and
// docs/protocol/subject-token.md, with test vectors.
package identity
