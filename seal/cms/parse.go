package cms

import (
	"bytes"
	"encoding/asn1"
	"fmt"
	"math/big"

	"github.com/emmansun/gmsm/smx509"
	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"

	"yizheng/seal/cms/der"
)

// Parse reads a message. Errors wrap ErrFormat and hold nothing of the content.
func Parse(raw []byte) (*Message, error) {
	if len(raw) > maxMessage {
		return nil, malformed("longer than 1 MiB")
	}
	s := cryptobyte.String(raw)
	var explicit, signed cryptobyte.String
	var family asn1.ObjectIdentifier
	if !der.ReadContentInfo(&s, &explicit, &family, der.OIDSignedPKCS7, der.OIDSigned) || !s.Empty() ||
		!explicit.ReadASN1(&signed, tag.SEQUENCE) || !explicit.Empty() {
		return nil, malformed("not a SignedData, or something follows it")
	}
	m := &Message{GM: family.Equal(der.OIDSigned)}
	var digests, certificates, signers, signer cryptobyte.String
	var hasCertificates bool
	if !der.ReadVersion(&signed, 1, 3, 4) || !signed.ReadASN1(&digests, tag.SET) {
		return nil, malformed("version or digest algorithms")
	}
	if !m.readContent(&signed) {
		return nil, malformed("content")
	}
	if !signed.ReadOptionalASN1(&certificates, &hasCertificates, der.Explicit0) || !m.readCertificates(certificates) {
		return nil, malformed("certificates")
	}
	if !signed.SkipOptionalASN1(der.Explicit1) || // revocation lists: not from a stranger's file
		!signed.ReadASN1(&signers, tag.SET) || !signed.Empty() ||
		!signers.ReadASN1(&signer, tag.SEQUENCE) || !signers.Empty() {
		return nil, malformed("not exactly one signer")
	}
	return m, m.readSigner(signer)
}

// readContent reads EncapsulatedContentInfo.
func (m *Message) readContent(signed *cryptobyte.String) bool {
	var info, explicit, content cryptobyte.String
	var inside bool
	if !signed.ReadASN1(&info, tag.SEQUENCE) || !der.ReadOID(&info, &m.ContentType) ||
		!info.ReadOptionalASN1(&explicit, &inside, der.Explicit0) || !info.Empty() {
		return false
	}
	if !inside {
		return true
	}
	m.Content = []byte{}
	if !explicit.ReadASN1(&content, tag.OCTET_STRING) || !explicit.Empty() {
		return false
	}
	m.Content = append(m.Content, content...)
	return true
}

func (m *Message) readCertificates(set cryptobyte.String) bool {
	for !set.Empty() {
		var one cryptobyte.String
		if len(m.Certificates) == maxCertificates || !set.ReadASN1Element(&one, tag.SEQUENCE) {
			return false
		}
		m.Certificates = append(m.Certificates, one)
	}
	return true
}

// readSigner reads the contents of SignerInfo.
func (m *Message) readSigner(s cryptobyte.String) error {
	if !der.ReadVersion(&s, 1, 3) {
		return malformed("version of the signer")
	}
	if !m.findCertificate(&s) {
		return malformed("the signer's certificate is not in the message")
	}
	var attributes, signature, unsigned cryptobyte.String
	var hasAttributes, hasUnsigned bool
	if !der.ReadAlgorithm(&s, &m.DigestAlgorithm) {
		return malformed("digest algorithm")
	}
	whole := s
	if !s.ReadOptionalASN1(&attributes, &hasAttributes, der.Explicit0) {
		return malformed("signed attributes")
	}
	if hasAttributes {
		m.Attributes = append([]byte{byte(tag.SET)}, whole[1:len(whole)-len(s)]...) // as it was signed (RFC 5652, 5.4)
		if err := m.readSigned(attributes); err != nil {
			return err
		}
	}
	if !der.ReadAlgorithm(&s, &m.Algorithm) || !s.ReadASN1(&signature, tag.OCTET_STRING) ||
		!s.ReadOptionalASN1(&unsigned, &hasUnsigned, der.Explicit1) || !s.Empty() {
		return malformed("signature")
	}
	m.Signature = signature
	if hasUnsigned && !m.readUnsigned(unsigned) {
		return malformed("unsigned attributes")
	}
	return nil
}

// findCertificate reads SignerIdentifier and finds the certificate it names:
// issuerAndSerialNumber, or [0] subjectKeyIdentifier.
func (m *Message) findCertificate(s *cryptobyte.String) bool {
	var id, issuer cryptobyte.String
	if s.PeekASN1Tag(der.Implicit0) {
		if !s.ReadASN1(&id, der.Implicit0) || len(id) == 0 {
			return false
		}
		return m.find(func(c *smx509.Certificate) bool { return bytes.Equal(c.SubjectKeyId, id) })
	}
	serial := new(big.Int)
	if !s.ReadASN1(&id, tag.SEQUENCE) || !id.ReadASN1Element(&issuer, tag.SEQUENCE) ||
		!id.ReadASN1Integer(serial) || !id.Empty() {
		return false
	}
	return m.find(func(c *smx509.Certificate) bool {
		return bytes.Equal(c.RawIssuer, issuer) && c.SerialNumber.Cmp(serial) == 0
	})
}

func (m *Message) find(fits func(*smx509.Certificate) bool) bool {
	for _, raw := range m.Certificates {
		if c, err := smx509.ParseCertificate(raw); err == nil && fits(c) {
			m.Cert = raw
			return true
		}
	}
	return false
}

// readSigned reads the signed attributes. Others than those known here are signed, so
// they do no harm, and mean nothing.
func (m *Message) readSigned(set cryptobyte.String) error {
	var contentType asn1.ObjectIdentifier
	ok := der.ReadAttributes(set, func(oid asn1.ObjectIdentifier, value cryptobyte.String) bool {
		switch {
		case oid.Equal(der.OIDContentType):
			return der.ReadOID(&value, &contentType) && value.Empty()
		case oid.Equal(der.OIDMessageDigest):
			var digest cryptobyte.String
			read := value.ReadASN1(&digest, tag.OCTET_STRING) && value.Empty()
			m.Digest = digest
			return read
		case oid.Equal(der.OIDSigningTime):
			t, read := der.ReadTime(&value)
			m.SigningTime = t.UTC()
			return read && value.Empty()
		case oid.Equal(oidSigningCertificate):
			return m.readNamed(value, der.OIDSHA1)
		case oid.Equal(oidSigningCertificateV2):
			return m.readNamed(value, der.OIDSHA256)
		}
		return true
	})
	if !ok || m.Digest == nil || !contentType.Equal(m.ContentType) {
		return fmt.Errorf("%w: signed attributes out of order, repeated, or without the content's type and digest", ErrFormat)
	}
	return nil
}

// readNamed reads SigningCertificate or SigningCertificateV2, whose first entry names
// the signer's; algorithm is the default. V2 has the last word over the first version.
func (m *Message) readNamed(value cryptobyte.String, algorithm asn1.ObjectIdentifier) bool {
	var attribute, certs, first, digest cryptobyte.String
	if !value.ReadASN1(&attribute, tag.SEQUENCE) || !value.Empty() ||
		!attribute.ReadASN1(&certs, tag.SEQUENCE) || !certs.ReadASN1(&first, tag.SEQUENCE) {
		return false
	}
	if first.PeekASN1Tag(tag.SEQUENCE) && !der.ReadAlgorithm(&first, &algorithm) {
		return false
	}
	if !first.ReadASN1(&digest, tag.OCTET_STRING) {
		return false
	}
	if m.Named == nil || m.Named.Algorithm.Equal(der.OIDSHA1) {
		m.Named = &CertID{algorithm, digest}
	}
	return true
}

func (m *Message) readUnsigned(set cryptobyte.String) bool {
	return der.ReadAttributes(set, func(oid asn1.ObjectIdentifier, value cryptobyte.String) bool {
		if !oid.Equal(oidTimeStampToken) {
			return true
		}
		var token cryptobyte.String
		read := value.ReadASN1Element(&token, tag.SEQUENCE) && value.Empty()
		m.TimeStamp = token
		return read
	})
}
