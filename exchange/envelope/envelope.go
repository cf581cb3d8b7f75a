// Package envelope is the sealed message of the ferry: what a gateway and a
// department's front processor send each other over Kafka or across a gap.
//
// A message is a GM CMS SignedData with signed attributes inside an
// EnvelopedData (GM/T 0010-2012, GB/T 35275-2017), in DER:
//
//	EnvelopedData   SM2 to one recipient's key, content in SM4-CBC
//	  SignedData    SM2 with SM3 by one sender
//	    attributes  content type, message digest, signing time, ferry (see Attributes)
//	    content     the body, any bytes
//
// The cipher is SM4-CBC, not SM4-GCM: EnvelopedData has no place for a tag (GCM
// needs the AuthEnvelopedData of RFC 5083, which GM/T 0010 does not have), CBC is
// what every GM toolkit does, and the signature inside protects the whole
// content. What CBC alone would leave open, a padding oracle, is closed by
// Reader.Open: it fails in one way, after the same work, whatever was wrong.
//
// Guarantees: a body is returned only if a key the reader trusts for the named
// sender signed exactly these bytes together with exactly these attributes, for
// this reader and for the key that opened it. Every failure is ErrOpen and says
// no more. Nothing of a body is ever in an error.
//
// Not its business: transports, deadlines against a clock, replay, what a body
// means. The bytes are specified, with test vectors, in docs/protocol/envelope.md.
package envelope

import (
	"crypto/ecdsa"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"yizheng/identity/jose"
)

const (
	// MaxBody is the largest body, in bytes.
	MaxBody = 10 << 20
	// MaxSealed is the largest sealed message, in bytes: a body, its
	// attributes and the certificates a toolkit may add.
	MaxSealed = MaxBody + 64<<10

	maxName = 128 // bytes of a text attribute
)

// ErrAttributes is wrapped by every refusal of attributes that cannot be sealed.
var ErrAttributes = errors.New("envelope: attribute cannot be sealed")

// Kind says which way a message goes.
type Kind string

// The two kinds. Errors are answers.
const (
	Request Kind = "request"
	Answer  Kind = "answer"
)

// Attributes are what is signed about a body. They travel inside the envelope,
// and again outside as headers that must equal them (see Headers).
//
// Text attributes are 1 to 128 visible ASCII characters (0x21 to 0x7e); they are
// seen by brokers, relays and boundary devices and must hold nothing personal.
type Attributes struct {
	Kind      Kind
	Exchange  string    // exchange number
	Leg       string    // leg of the exchange
	Attempt   int       // 1 for the first; a hedged or repeated attempt counts up
	Sender    string    // organisation or front processor that signs
	Recipient string    // whom it is for
	Deadline  time.Time // of the leg; whole milliseconds, finer parts are cut off
	LegDigest [32]byte  // exchange.LegDigest of what is asked or answered

	// RecipientKey is the jose.KeyID of the key the message is sealed to.
	// Seal fills it in.
	RecipientKey string

	// ReplyTo is where the answer goes, ReplyKey the SM2 key it is to be sealed
	// to. Both are of requests only, and go together.
	ReplyTo  string
	ReplyKey *ecdsa.PublicKey
	// Epoch is the epoch of the reply address (of the gateway's slot lease); an
	// answer repeats its request's. Zero where addresses have none.
	Epoch uint64

	// SignedAt is the signing time, whole seconds. Seal fills it in if it is zero.
	SignedAt time.Time
}

// ReplyKeyID is the key id of ReplyKey, or "" if there is none.
func (a Attributes) ReplyKeyID() string {
	if a.ReplyKey == nil {
		return ""
	}
	return jose.KeyID(a.ReplyKey)
}

// check holds a to the rules of its fields' comments.
func (a Attributes) check() error {
	if a.Kind != Request && a.Kind != Answer {
		return fmt.Errorf("%w: kind", ErrAttributes)
	}
	for _, f := range []struct{ name, value string }{
		{"exchange", a.Exchange}, {"leg", a.Leg}, {"sender", a.Sender}, {"recipient", a.Recipient},
	} {
		if !validName(f.value) {
			return fmt.Errorf("%w: %s", ErrAttributes, f.name)
		}
	}
	if a.Attempt < 1 || a.Attempt > math.MaxInt32 {
		return fmt.Errorf("%w: attempt", ErrAttributes)
	}
	if a.Deadline.UnixMilli() < 1 {
		return fmt.Errorf("%w: deadline", ErrAttributes)
	}
	if _, ok := keyIDBytes(a.RecipientKey); !ok {
		return fmt.Errorf("%w: recipient key", ErrAttributes)
	}
	switch replies := a.ReplyTo != "" || a.ReplyKey != nil; {
	case replies != (a.Kind == Request):
		return fmt.Errorf("%w: a request names where its answer goes, an answer does not", ErrAttributes)
	case replies && (!validName(a.ReplyTo) || a.ReplyKey == nil || !sm2.IsSM2PublicKey(a.ReplyKey)):
		return fmt.Errorf("%w: reply address and reply key go together", ErrAttributes)
	}
	return nil
}

func validName(s string) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	for i := range len(s) {
		if s[i] <= 0x20 || s[i] >= 0x7f {
			return false
		}
	}
	return true
}
