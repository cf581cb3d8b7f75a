package envelope

import (
	"bytes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm3"
	"github.com/emmansun/gmsm/sm4"
	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"

	"yizheng/identity/jose"
	"yizheng/seal/cms/der"
)

// ErrTooLarge is returned for a body of more than MaxBody bytes.
var ErrTooLarge = errors.New("envelope: body larger than 10 MiB")

const ferryVersion = 1

// Sender signs. Without a certificate the message names the bare key (see
// docs/protocol/envelope.md, "Key names") and carries none.
type Sender struct {
	Key *jose.Key
	// Certificate, DER, is carried for toolkits that verify with what a message
	// brings; it must be of Key. Readers of this package trust no certificate.
	Certificate []byte
}

// Recipient is whom a message is sealed to.
type Recipient struct {
	Key *ecdsa.PublicKey
	// Certificate, DER, makes the message name the key by that certificate's
	// issuer and serial number, for a toolkit that finds its key no other way; it
	// must be of Key. Readers of this package need the bare key's name: leave it nil.
	Certificate []byte
}

// Seal signs body with a and seals both to one recipient. It returns the DER
// and the attributes as they were signed: with RecipientKey, SignedAt and whole
// milliseconds, ready for Headers.
//
// Errors: ErrTooLarge, ErrAttributes (names the field), or a key, certificate or
// random source that does not work. Safe for concurrent use.
func Seal(from Sender, to Recipient, a Attributes, body []byte) ([]byte, Attributes, error) {
	if len(body) > MaxBody {
		return nil, Attributes{}, ErrTooLarge
	}
	if from.Key == nil || to.Key == nil || !sm2.IsSM2PublicKey(to.Key) {
		return nil, Attributes{}, errors.New("envelope: sender's or recipient's key is missing or not SM2")
	}
	a.RecipientKey = jose.KeyID(to.Key)
	a.Deadline = time.UnixMilli(a.Deadline.UnixMilli()).UTC()
	if a.SignedAt.IsZero() {
		a.SignedAt = time.Now()
	}
	a.SignedAt = a.SignedAt.UTC().Truncate(time.Second)
	if err := a.check(); err != nil {
		return nil, Attributes{}, err
	}
	signed, err := sign(from, a, body)
	if err != nil {
		return nil, Attributes{}, err
	}
	sealed, err := seal(to, a.RecipientKey, signed)
	clear(signed)
	if err != nil {
		return nil, Attributes{}, err
	}
	return sealed, a, nil
}

// sign makes the inner message.
func sign(from Sender, a Attributes, body []byte) ([]byte, error) {
	name, err := nameOf(from.Key.ID(), from.Certificate)
	if err != nil {
		return nil, fmt.Errorf("envelope: sender's certificate: %w", err)
	}
	attributes, err := signedAttributes(a, sm3.Sum(body))
	if err != nil {
		return nil, fmt.Errorf("envelope: encode attributes: %w", err)
	}
	signature, err := from.Key.SignMessage(attributes)
	if err != nil {
		return nil, fmt.Errorf("envelope: sign: %w", err)
	}
	signed, err := signedData(name, from.Certificate, attributes, signature, body)
	if err != nil {
		return nil, fmt.Errorf("envelope: encode signed data: %w", err)
	}
	return signed, nil
}

// seal makes the outer message, to the key with this id.
func seal(to Recipient, keyID string, signed []byte) ([]byte, error) {
	name, err := nameOf(keyID, to.Certificate)
	if err != nil {
		return nil, fmt.Errorf("envelope: recipient's certificate: %w", err)
	}
	var key, iv [sm4.BlockSize]byte
	defer clear(key[:])
	if _, err := rand.Read(key[:]); err != nil {
		return nil, fmt.Errorf("envelope: content key: %w", err)
	}
	if _, err := rand.Read(iv[:]); err != nil {
		return nil, fmt.Errorf("envelope: initialization vector: %w", err)
	}
	encryptedKey, err := sm2.EncryptASN1(rand.Reader, to.Key, key[:])
	if err != nil {
		return nil, fmt.Errorf("envelope: encrypt content key: %w", err)
	}
	content, err := encrypt(key, iv, signed)
	if err != nil {
		return nil, fmt.Errorf("envelope: encrypt content: %w", err)
	}
	sealed, err := envelopedData(name, encryptedKey, iv, content)
	if err != nil {
		return nil, fmt.Errorf("envelope: encode enveloped data: %w", err)
	}
	return sealed, nil
}

// signedAttributes is the DER of the SET OF attributes, which is what is signed.
func signedAttributes(a Attributes, digest [32]byte) ([]byte, error) {
	ferry, err := ferryAttribute(a)
	if err != nil {
		return nil, err
	}
	return der.Attributes(
		der.Attribute{Type: der.OIDContentType, Value: func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(der.OIDData) }},
		der.Attribute{Type: der.OIDMessageDigest, Value: func(b *cryptobyte.Builder) { b.AddASN1OctetString(digest[:]) }},
		der.Attribute{Type: der.OIDSigningTime, Value: func(b *cryptobyte.Builder) { der.AddTime(b, a.SignedAt) }},
		der.Attribute{Type: oidFerry, Value: func(b *cryptobyte.Builder) { b.AddBytes(ferry) }},
	)
}

// ferryAttribute is the value of our own attribute.
func ferryAttribute(a Attributes) ([]byte, error) {
	kind := int64(1)
	if a.Kind == Answer {
		kind = 2
	}
	recipientKey, _ := keyIDBytes(a.RecipientKey)
	text := func(b *cryptobyte.Builder, s string) {
		b.AddASN1(tag.UTF8String, func(b *cryptobyte.Builder) { b.AddBytes([]byte(s)) })
	}
	var point []byte
	if a.ReplyKey != nil {
		key, err := sm2.PublicKeyToECDH(a.ReplyKey)
		if err != nil {
			return nil, err
		}
		point = key.Bytes()
	}
	return der.Build(256, func(b *cryptobyte.Builder) {
		der.AddSequence(b, func(b *cryptobyte.Builder) {
			b.AddASN1Int64(ferryVersion)
			b.AddASN1Int64(kind)
			text(b, a.Exchange)
			text(b, a.Leg)
			b.AddASN1Int64(int64(a.Attempt))
			text(b, a.Sender)
			text(b, a.Recipient)
			b.AddASN1OctetString(recipientKey)
			b.AddASN1Int64(a.Deadline.UnixMilli())
			b.AddASN1OctetString(a.LegDigest[:])
			if a.ReplyTo != "" {
				b.AddASN1(der.Explicit0, func(b *cryptobyte.Builder) { text(b, a.ReplyTo) })
			}
			if point != nil {
				b.AddASN1(der.Explicit1, func(b *cryptobyte.Builder) { b.AddASN1OctetString(point) })
			}
			if a.Epoch != 0 {
				b.AddASN1(der.Explicit2, func(b *cryptobyte.Builder) { b.AddASN1Uint64(a.Epoch) })
			}
		})
	})
}

// signedData is ContentInfo(SignedData). name is the signer's issuerAndSerialNumber.
func signedData(name, certificate, attributes, signature, body []byte) ([]byte, error) {
	return der.Build(len(body)+len(certificate)+1024, func(b *cryptobyte.Builder) {
		der.AddStructure(b, der.OIDSigned, func(b *cryptobyte.Builder) {
			b.AddASN1Int64(1) // GM/T 0010
			b.AddASN1(tag.SET, func(b *cryptobyte.Builder) { der.AddAlgorithm(b, der.OIDSM3) })
			der.AddContentInfo(b, der.OIDData, func(b *cryptobyte.Builder) { b.AddASN1OctetString(body) })
			if certificate != nil {
				b.AddASN1(der.Explicit0, func(b *cryptobyte.Builder) { b.AddBytes(certificate) }) // [0] IMPLICIT SET OF
			}
			b.AddASN1(tag.SET, func(b *cryptobyte.Builder) {
				der.AddSequence(b, func(b *cryptobyte.Builder) {
					b.AddASN1Int64(1)
					b.AddBytes(name)
					der.AddAlgorithm(b, der.OIDSM3)
					der.AddRetagged(b, der.Explicit0, attributes)
					der.AddAlgorithm(b, der.OIDSM2SM3)
					b.AddASN1OctetString(signature)
				})
			})
		})
	})
}

// encrypt is SM4-CBC with PKCS#7 padding (RFC 5652, 6.3).
func encrypt(key, iv [sm4.BlockSize]byte, plain []byte) ([]byte, error) {
	block, err := sm4.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	pad := sm4.BlockSize - len(plain)%sm4.BlockSize
	content := append(make([]byte, 0, len(plain)+pad), plain...)
	content = append(content, bytes.Repeat([]byte{byte(pad)}, pad)...)
	cipher.NewCBCEncrypter(block, iv[:]).CryptBlocks(content, content)
	return content, nil
}

// envelopedData is ContentInfo(EnvelopedData). name is the recipient's issuerAndSerialNumber.
func envelopedData(name, encryptedKey []byte, iv [sm4.BlockSize]byte, content []byte) ([]byte, error) {
	return der.Build(len(content)+512, func(b *cryptobyte.Builder) {
		der.AddStructure(b, oidEnveloped, func(b *cryptobyte.Builder) {
			b.AddASN1Int64(1) // GM/T 0010
			b.AddASN1(tag.SET, func(b *cryptobyte.Builder) {
				der.AddSequence(b, func(b *cryptobyte.Builder) {
					b.AddASN1Int64(1)
					b.AddBytes(name)
					der.AddAlgorithm(b, oidSM2Encrypt)
					b.AddASN1OctetString(encryptedKey)
				})
			})
			der.AddSequence(b, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(der.OIDData)
				der.AddSequence(b, func(b *cryptobyte.Builder) {
					b.AddASN1ObjectIdentifier(oidSM4CBC)
					b.AddASN1OctetString(iv[:])
				})
				b.AddASN1(der.Implicit0, func(b *cryptobyte.Builder) { b.AddBytes(content) })
			})
		})
	})
}
