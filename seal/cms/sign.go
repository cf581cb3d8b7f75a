package cms

import (
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm3"
	"github.com/emmansun/gmsm/smx509"
	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"

	"yizheng/seal/cms/der"
)

// Signer signs with one certificate's key.
type Signer struct {
	Key   crypto.Signer // SM2; signs messages with the default user id
	Cert  *smx509.Certificate
	Above []*smx509.Certificate // embedded too
}

// Overhead bounds the bytes of a message beside certificates and time stamp.
const Overhead = 1024

// Sign returns the message over a content with this SM3 digest, signed at a time (cut
// to seconds). stamp, unless nil, is given the signature value and returns a time
// stamp token for it, or nil to go without; its error is returned as it is.
func (s Signer) Sign(digest []byte, at time.Time, stamp func(signature []byte) ([]byte, error)) ([]byte, error) {
	if len(digest) != sm3.Size || s.Cert == nil {
		return nil, errors.New("cms: an SM3 digest and a certificate are needed")
	}
	attributes, err := s.attributes(digest, at)
	if err != nil {
		return nil, fmt.Errorf("cms: attributes: %w", err)
	}
	signature, err := s.Key.Sign(rand.Reader, attributes, sm2.DefaultSM2SignerOpts)
	if err != nil {
		return nil, fmt.Errorf("cms: signing key: %w", err)
	}
	var token []byte
	if stamp != nil {
		if token, err = stamp(signature); err != nil {
			return nil, err
		}
	}
	out, err := s.encode(attributes, signature, token)
	if err != nil {
		return nil, fmt.Errorf("cms: %w", err)
	}
	return out, nil
}

func (s Signer) attributes(digest []byte, at time.Time) ([]byte, error) {
	certDigest := sm3.Sum(s.Cert.Raw)
	return der.Attributes(
		der.Attribute{Type: der.OIDContentType, Value: func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(der.OIDDataPKCS7) }},
		der.Attribute{Type: der.OIDMessageDigest, Value: func(b *cryptobyte.Builder) { b.AddASN1OctetString(digest) }},
		der.Attribute{Type: der.OIDSigningTime, Value: func(b *cryptobyte.Builder) { der.AddTime(b, at) }},
		der.Attribute{Type: oidSigningCertificateV2, Value: func(b *cryptobyte.Builder) {
			der.AddSequence(b, func(b *cryptobyte.Builder) { // SigningCertificateV2
				der.AddSequence(b, func(b *cryptobyte.Builder) { // certs
					der.AddSequence(b, func(b *cryptobyte.Builder) { // ESSCertIDv2
						der.AddAlgorithm(b, der.OIDSM3)
						b.AddASN1OctetString(certDigest[:])
					})
				})
			})
		}},
	)
}

func (s Signer) encode(attributes, signature, token []byte) ([]byte, error) {
	var unsigned []byte
	if token != nil {
		var err error
		unsigned, err = der.Attributes(der.Attribute{Type: oidTimeStampToken, Value: func(b *cryptobyte.Builder) { b.AddBytes(token) }})
		if err != nil {
			return nil, err
		}
	}
	return der.Build(Overhead+len(s.Cert.Raw)+len(token), func(b *cryptobyte.Builder) {
		der.AddStructure(b, der.OIDSignedPKCS7, func(b *cryptobyte.Builder) {
			b.AddASN1Int64(1)
			b.AddASN1(tag.SET, func(b *cryptobyte.Builder) { der.AddAlgorithm(b, der.OIDSM3) })
			der.AddAlgorithm(b, der.OIDDataPKCS7)                  // EncapsulatedContentInfo without content: an OID in a SEQUENCE
			b.AddASN1(der.Explicit0, func(b *cryptobyte.Builder) { // certificates, [0] IMPLICIT SET OF
				b.AddBytes(s.Cert.Raw)
				for _, c := range s.Above {
					b.AddBytes(c.Raw)
				}
			})
			b.AddASN1(tag.SET, func(b *cryptobyte.Builder) {
				der.AddSequence(b, func(b *cryptobyte.Builder) {
					b.AddASN1Int64(1)
					der.AddSequence(b, func(b *cryptobyte.Builder) { // issuerAndSerialNumber
						b.AddBytes(s.Cert.RawIssuer)
						b.AddASN1BigInt(s.Cert.SerialNumber)
					})
					der.AddAlgorithm(b, der.OIDSM3)
					der.AddRetagged(b, der.Explicit0, attributes)
					der.AddAlgorithm(b, der.OIDSM2SM3)
					b.AddASN1OctetString(signature)
					if unsigned != nil {
						der.AddRetagged(b, der.Explicit1, unsigned)
					}
				})
			})
		})
	})
}
