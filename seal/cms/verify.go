package cms

import (
	"bytes"

	"github.com/emmansun/gmsm/smx509"

	"yizheng/seal/cms/der"
)

// Verify checks that the signer's certificate signed the content: the parts given,
// one after the other, or the message's own content, and then none is given. It
// returns ErrFormat, ErrDigest, ErrCertificate or ErrSignature; what the certificate
// is worth it does not judge.
func (m *Message) Verify(content ...[]byte) error {
	if m.Content != nil {
		if len(content) > 0 {
			return malformed("a detached signature was expected")
		}
		content = [][]byte{m.Content}
	}
	cert, err := smx509.ParseCertificate(m.Cert)
	if err != nil {
		return malformed("the signer's certificate cannot be parsed")
	}
	if m.Attributes != nil {
		if err := m.checkDigest(content); err != nil {
			return err
		}
		return m.VerifyAttributes(cert)
	}
	if !der.CheckSignature(cert, m.Algorithm, m.DigestAlgorithm, bytes.Join(content, nil), m.Signature) {
		return ErrSignature
	}
	return nil
}

// VerifyAttributes is Verify of a message with signed attributes for who has compared
// Digest with the content's: it does not go over the content. cert is the signer's.
// It returns ErrCertificate or ErrSignature.
func (m *Message) VerifyAttributes(cert *smx509.Certificate) error {
	if m.Named != nil && !m.Named.names(m.Cert) {
		return ErrCertificate
	}
	if m.Attributes == nil || !der.CheckSignature(cert, m.Algorithm, m.DigestAlgorithm, m.Attributes, m.Signature) {
		return ErrSignature
	}
	return nil
}

// checkDigest holds content to the digest in the signed attributes.
func (m *Message) checkDigest(content [][]byte) error {
	h := der.NewHash(m.DigestAlgorithm)
	if h == nil {
		return malformed("digest algorithm not known here")
	}
	for _, part := range content {
		h.Write(part)
	}
	if !bytes.Equal(h.Sum(nil), m.Digest) {
		return ErrDigest
	}
	return nil
}

func (id *CertID) names(cert []byte) bool {
	h := der.NewNameHash(id.Algorithm)
	if h == nil {
		return false
	}
	h.Write(cert)
	return bytes.Equal(h.Sum(nil), id.Digest)
}
