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
	signed := m.Attributes
	if signed == nil {
		signed = bytes.Join(content, nil)
	} else if err := m.checkAttributes(content); err != nil {
		return err
	}
	if !der.CheckSignature(cert, m.Algorithm, m.DigestAlgorithm, signed, m.Signature) {
		return ErrSignature
	}
	return nil
}

// checkAttributes holds content and certificate to the digests in the signed attributes.
func (m *Message) checkAttributes(content [][]byte) error {
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
	if m.Named != nil && !m.Named.names(m.Cert) {
		return ErrCertificate
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
