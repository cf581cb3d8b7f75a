// Package tsp asks a time stamp authority for tokens (RFC 3161, GM/T 0033) and
// verifies tokens: that bytes existed at a time, by somebody else's clock and key.
//
//	token     SignedData (package cms) of the authority over TSTInfo
//	TSTInfo   { 1, policy, imprint { SM3, digest }, serial, genTime, accuracy?, ordering?, nonce?, … }
//
// What is stamped here is always a signature value, so that a token proves when a
// document was signed. Tokens are asked for with SM3, a nonce and the authority's
// certificate; read are also imprints and signatures of SHA-2 with ECDSA or RSA.
//
// A token is believed when its imprint is that of the bytes in question, the signature
// is right, the signed attributes name the authority's certificate, and that
// certificate has timeStamping as its one critical extended key usage and chained to a
// root at genTime. Revocation is the caller's next question.
package tsp

import (
	"bytes"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/emmansun/gmsm/smx509"
	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"

	"yizheng/seal/cms"
	"yizheng/seal/cms/der"
)

var (
	// ErrFormat is wrapped by errors about a token's form.
	ErrFormat = errors.New("tsp: malformed time stamp")
	// ErrImprint is returned when a token is of other bytes.
	ErrImprint = errors.New("tsp: the time stamp is of something else")
	// ErrUsage is returned when the signer's certificate is not one for time stamps.
	ErrUsage = errors.New("tsp: not the certificate of a time stamp authority")
)

var (
	oidTSTInfo     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 4}
	oidExtKeyUsage = asn1.ObjectIdentifier{2, 5, 29, 37}
)

// Token is a parsed time stamp token.
type Token struct {
	Policy    asn1.ObjectIdentifier
	Algorithm asn1.ObjectIdentifier // of the imprint
	Imprint   []byte
	Serial    *big.Int
	GenTime   time.Time // UTC
	Accuracy  time.Duration
	Nonce     *big.Int // nil when absent
	Cert      *smx509.Certificate

	message *cms.Message
}

func malformed(what string) error { return fmt.Errorf("%w: %s", ErrFormat, what) }

// Parse reads a token. Errors wrap ErrFormat.
func Parse(raw []byte) (*Token, error) {
	m, err := cms.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if !m.ContentType.Equal(oidTSTInfo) || m.Content == nil || m.Attributes == nil || m.Named == nil {
		return nil, malformed("not a signed TSTInfo that names its signer's certificate")
	}
	t := &Token{message: m}
	if t.Cert, err = smx509.ParseCertificate(m.Cert); err != nil {
		return nil, malformed("the authority's certificate")
	}
	if !t.readInfo(m.Content) {
		return nil, malformed("TSTInfo")
	}
	return t, nil
}

func (t *Token) readInfo(raw cryptobyte.String) bool {
	var s, imprint, digest cryptobyte.String
	t.Serial = new(big.Int)
	if !raw.ReadASN1(&s, tag.SEQUENCE) || !raw.Empty() || !der.ReadVersion(&s, 1) || !der.ReadOID(&s, &t.Policy) ||
		!s.ReadASN1(&imprint, tag.SEQUENCE) || !der.ReadAlgorithm(&imprint, &t.Algorithm) ||
		!imprint.ReadASN1(&digest, tag.OCTET_STRING) || !imprint.Empty() ||
		!s.ReadASN1Integer(t.Serial) || !readGenTime(&s, &t.GenTime) || !t.readAccuracy(&s) {
		return false
	}
	t.Imprint = digest
	ordering := false
	if s.PeekASN1Tag(tag.BOOLEAN) && !s.ReadASN1Boolean(&ordering) {
		return false
	}
	if s.PeekASN1Tag(tag.INTEGER) {
		t.Nonce = new(big.Int)
		if !s.ReadASN1Integer(t.Nonce) {
			return false
		}
	}
	var extensions cryptobyte.String
	var extended bool
	return s.SkipOptionalASN1(der.Explicit0) && // the authority's name: its certificate says it
		s.ReadOptionalASN1(&extensions, &extended, der.Explicit1) && s.Empty() && (!extended || noneCritical(extensions))
}

// readGenTime reads a GeneralizedTime in UTC, with a fraction of a second or without
// (RFC 3161, 2.4.2).
func readGenTime(s *cryptobyte.String, out *time.Time) bool {
	var text cryptobyte.String
	if !s.ReadASN1(&text, tag.GeneralizedTime) {
		return false
	}
	t, err := time.Parse("20060102150405Z", string(text))
	*out = t
	if len(text) > len("20060102150405Z") && text[len(text)-2] == '0' {
		return false // DER has no trailing zeros
	}
	return err == nil
}

// readAccuracy reads SEQUENCE { seconds INTEGER?, millis [0]?, micros [1]? } or nothing.
func (t *Token) readAccuracy(s *cryptobyte.String) bool {
	if !s.PeekASN1Tag(tag.SEQUENCE) {
		return true
	}
	var a cryptobyte.String
	var seconds, millis, micros int64
	if !s.ReadASN1(&a, tag.SEQUENCE) ||
		a.PeekASN1Tag(tag.INTEGER) && !a.ReadASN1Integer(&seconds) ||
		a.PeekASN1Tag(der.Implicit0) && !a.ReadASN1Int64WithTag(&millis, der.Implicit0) ||
		a.PeekASN1Tag(der.Implicit1) && !a.ReadASN1Int64WithTag(&micros, der.Implicit1) ||
		!a.Empty() || seconds < 0 || seconds > 86400 || millis < 0 || millis > 999 || micros < 0 || micros > 999 {
		return false
	}
	t.Accuracy = time.Duration(seconds)*time.Second + time.Duration(millis)*time.Millisecond + time.Duration(micros)*time.Microsecond
	return true
}

// noneCritical reads the contents of Extensions; critical ones are not known here.
func noneCritical(list cryptobyte.String) bool {
	for !list.Empty() {
		var one cryptobyte.String
		if !list.ReadASN1(&one, tag.SEQUENCE) || !der.ReadOID(&one, nil) || one.PeekASN1Tag(tag.BOOLEAN) {
			return false // DER writes critical only when it is true
		}
	}
	return true
}

// Verify checks that the token is of the bytes over and by an authority under roots,
// and returns the issuer of the authority's certificate, whom to ask about its
// revocation at GenTime. Errors: ErrImprint, ErrUsage, those of cms.Message.Verify,
// or of the certificate's chain (package smx509).
func (t *Token) Verify(over []byte, roots, intermediates *smx509.CertPool) (issuer *smx509.Certificate, err error) {
	h := der.NewHash(t.Algorithm)
	if h == nil {
		return nil, malformed("the imprint's algorithm is not known here")
	}
	h.Write(over)
	if !bytes.Equal(h.Sum(nil), t.Imprint) {
		return nil, ErrImprint
	}
	if err := t.message.Verify(); err != nil {
		return nil, err
	}
	if !forStamps(t.Cert) {
		return nil, ErrUsage
	}
	pool := intermediates.Clone()
	for _, raw := range t.message.Certificates {
		if c, err := smx509.ParseCertificate(raw); err == nil && c.IsCA {
			pool.AddCert(c)
		}
	}
	chains, err := t.Cert.Verify(smx509.VerifyOptions{
		Roots: roots, Intermediates: pool, CurrentTime: t.GenTime, KeyUsages: []smx509.ExtKeyUsage{smx509.ExtKeyUsageTimeStamping},
	})
	if err != nil {
		return nil, err
	}
	if len(chains[0]) < 2 { // the authority is itself a root
		return nil, ErrUsage
	}
	return chains[0][1], nil
}

// forStamps reports whether a certificate is for time stamps and for nothing else
// (RFC 3161, 2.3).
func forStamps(c *smx509.Certificate) bool {
	criticalUsage := false
	for _, e := range c.Extensions {
		criticalUsage = criticalUsage || e.Id.Equal(oidExtKeyUsage) && e.Critical
	}
	signs := c.KeyUsage == 0 || c.KeyUsage&(smx509.KeyUsageDigitalSignature|smx509.KeyUsageContentCommitment) != 0
	return criticalUsage && signs && !c.IsCA && len(c.UnknownExtKeyUsage) == 0 &&
		slices.Equal(c.ExtKeyUsage, []smx509.ExtKeyUsage{smx509.ExtKeyUsageTimeStamping})
}
