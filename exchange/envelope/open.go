package envelope

import (
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/subtle"
	"encoding/asn1"
	"errors"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm3"
	"github.com/emmansun/gmsm/sm4"

	"yizheng/identity/jose"
)

// ErrOpen is the one error of a message that cannot be opened.
var ErrOpen = errors.New("envelope: message cannot be opened")

// OpenError is what Open returns. To whoever sent the message it says the same
// whatever was wrong; errors.Is(err, ErrOpen) is true.
type OpenError struct{ cause string }

func (*OpenError) Error() string { return ErrOpen.Error() }
func (*OpenError) Unwrap() error { return ErrOpen }

// Cause says what was wrong, in words that hold nothing of the message: for the
// local log only. It must not reach the sender or the transport.
func (e *OpenError) Cause() string { return e.cause }

func refuse(cause string) error { return &OpenError{cause} }

// Reader opens messages for one organisation or front processor. Its functions
// must be safe for concurrent use if the reader is used so.
type Reader struct {
	// Name must be the recipient a message was signed for.
	Name string
	// Key returns the private key with this id, or nil.
	Key func(keyID string) *jose.Key
	// Sender returns the public key with this id if the named sender may sign
	// with it now, or nil. It is called with unverified values.
	Sender func(name, keyID string) *ecdsa.PublicKey
}

// Open returns the attributes and the body of a sealed message. The body is the
// caller's; it shares no memory with der, which is not changed.
//
// The caller still has to check what needs a clock, a memory or the transport:
// Deadline, repetition, EqualHeaders, that an answer's exchange, leg and digest
// are those asked for, and that RecipientKey is the key given out for it.
//
// Every error is an *OpenError. Once the recipient's key is found, which the
// message shows to everyone, failing takes the work that succeeding takes: a
// wrong content key or wrong padding is not told from a wrong signature.
func (r Reader) Open(der []byte) (Attributes, []byte, error) {
	outer, ok := parseEnveloped(der)
	if !ok {
		return Attributes{}, nil, refuse("not an enveloped message of this form")
	}
	key := r.Key(outer.recipient.keyID)
	if key == nil {
		return Attributes{}, nil, refuse("sealed to a key that is not here")
	}
	plain, decrypted := outer.decrypt(key)
	inner, ok := parseSigned(plain)
	if !ok {
		spend(key.Public(), plain)
		return Attributes{}, nil, refuse("decryption")
	}
	a, err := r.verify(inner, key)
	if err == nil && decrypted != 1 {
		err = refuse("decryption")
	}
	if err != nil {
		clear(plain)
		return Attributes{}, nil, err
	}
	return a, inner.body, nil
}

// verify holds a parsed inner message to its signature and its recipient.
func (r Reader) verify(m signedMessage, key *jose.Key) (Attributes, error) {
	a := m.attributes
	trusted := r.Sender(a.Sender, m.signer)
	pub := trusted
	if pub == nil {
		pub = key.Public() // the same work, and a refusal
	}
	digest := sm3.Sum(m.body)
	signed := sm2.VerifyASN1WithSM2(pub, nil, m.signed, m.signature)
	switch {
	case trusted == nil:
		return a, refuse("sender and key are not known together")
	case digest != m.digest:
		return a, refuse("message digest")
	case !signed:
		return a, refuse("signature")
	case a.Recipient != r.Name:
		return a, refuse("meant for another recipient")
	case a.RecipientKey != key.ID():
		return a, refuse("meant for another key of the recipient")
	}
	return a, nil
}

// spend does the work of verify for a message that could not be parsed.
func spend(pub *ecdsa.PublicKey, plain []byte) {
	wellFormed := []byte{0x30, 6, 2, 1, 1, 2, 1, 1}
	sm2.VerifyASN1WithSM2(pub, nil, plain, wellFormed)
	clear(plain)
}

// envelopedMessage is the outer structure, its raw parts.
type envelopedMessage struct {
	recipient        party
	encryptedKey, iv []byte
	content          []byte
}

// decrypt returns the content without padding. It always returns something: a
// wrong content key is replaced by a random one, and wrong padding stays on;
// either way ok is 0, which the caller looks at last.
func (m envelopedMessage) decrypt(key *jose.Key) (plain []byte, ok int) {
	var contentKey [sm4.BlockSize]byte
	defer clear(contentKey[:])
	_, _ = rand.Read(contentKey[:]) // never fails (crypto/rand)
	ok = 1
	if k, err := sm2.Decrypt(key.SM2(), m.encryptedKey); err == nil && len(k) == len(contentKey) {
		copy(contentKey[:], k)
		clear(k)
	} else {
		ok = 0
	}
	block, err := sm4.NewCipher(contentKey[:])
	if err != nil {
		return nil, 0
	}
	plain = make([]byte, len(m.content))
	cipher.NewCBCDecrypter(block, m.iv).CryptBlocks(plain, m.content)
	n, padded := unpad(plain)
	return plain[:n], ok & padded
}

// unpad returns the length without PKCS#7 padding (RFC 5652, 6.3) and 1, or the
// whole length and 0, in time that depends on the length only.
func unpad(b []byte) (n, ok int) {
	pad := int(b[len(b)-1])
	ok = subtle.ConstantTimeLessOrEq(1, pad) & subtle.ConstantTimeLessOrEq(pad, sm4.BlockSize)
	for i := 1; i <= sm4.BlockSize; i++ {
		inside := subtle.ConstantTimeLessOrEq(i, pad)
		same := subtle.ConstantTimeByteEq(b[len(b)-i], byte(pad))
		ok &= subtle.ConstantTimeSelect(inside, same, 1)
	}
	return len(b) - subtle.ConstantTimeSelect(ok, pad, 0), ok
}

// signedMessage is the inner structure.
type signedMessage struct {
	attributes  Attributes
	body        []byte
	signer      string // key id
	signed      []byte // the raw SET OF signed attributes
	digest      [32]byte
	contentType asn1.ObjectIdentifier
	signature   []byte
}
