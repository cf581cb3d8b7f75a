package revocation

import (
	"bytes"
	"crypto/rand"
	"encoding/asn1"
	"math/big"
	"slices"
	"time"

	"github.com/emmansun/gmsm/smx509"
	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"

	"yizheng/seal/cms/der"
)

var (
	oidOCSPBasic = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1}
	oidOCSPNonce = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 2}
)

const (
	nonceSize        = 32 // RFC 9654, 2.1
	maxOCSPResponses = 16
	maxOCSPCerts     = 4
)

// ocspQuery is one question about one certificate.
type ocspQuery struct {
	cert, issuer *smx509.Certificate
	nonce        []byte
	noNonceOK    bool
}

func newOCSPQuery(cert, issuer *smx509.Certificate, noNonceOK bool) ocspQuery {
	q := ocspQuery{cert: cert, issuer: issuer, nonce: make([]byte, nonceSize), noNonceOK: noNonceOK}
	_, _ = rand.Read(q.nonce) // never fails (crypto/rand)
	return q
}

// encode returns the OCSPRequest; the issuer is named by SM3 digests.
func (q ocspQuery) encode() ([]byte, error) {
	name, keyHash, err := certID(q.issuer, der.OIDSM3)
	if err != nil {
		return nil, err
	}
	return der.Build(256, func(b *cryptobyte.Builder) {
		der.AddSequence(b, func(b *cryptobyte.Builder) { // OCSPRequest
			der.AddSequence(b, func(b *cryptobyte.Builder) { // tbsRequest
				der.AddSequence(b, func(b *cryptobyte.Builder) { // requestList
					der.AddSequence(b, func(b *cryptobyte.Builder) {
						der.AddSequence(b, func(b *cryptobyte.Builder) { // CertID
							der.AddAlgorithm(b, der.OIDSM3)
							b.AddASN1OctetString(name)
							b.AddASN1OctetString(keyHash)
							b.AddASN1BigInt(q.cert.SerialNumber)
						})
					})
				})
				b.AddASN1(der.Explicit2, func(b *cryptobyte.Builder) {
					der.AddSequence(b, func(b *cryptobyte.Builder) {
						der.AddSequence(b, func(b *cryptobyte.Builder) {
							b.AddASN1ObjectIdentifier(oidOCSPNonce)
							b.AddASN1(tag.OCTET_STRING, func(b *cryptobyte.Builder) { b.AddASN1OctetString(q.nonce) })
						})
					})
				})
			})
		})
	})
}

// certID returns the digests that name an issuer (RFC 6960, 4.1.1): of its name, and
// of its key's bits.
func certID(issuer *smx509.Certificate, algorithm asn1.ObjectIdentifier) (name, keyHash []byte, err error) {
	h := der.NewNameHash(algorithm)
	if h == nil {
		return nil, nil, malformed("CertID: digest algorithm not known here")
	}
	spki := cryptobyte.String(issuer.RawSubjectPublicKeyInfo)
	var info, bits cryptobyte.String
	var unused uint8
	if !spki.ReadASN1(&info, tag.SEQUENCE) || !info.SkipASN1(tag.SEQUENCE) ||
		!info.ReadASN1(&bits, tag.BIT_STRING) || !bits.ReadUint8(&unused) {
		return nil, nil, malformed("public key of the issuer")
	}
	h.Write(issuer.RawSubject)
	name = h.Sum(nil)
	h.Reset()
	h.Write(bits)
	return name, h.Sum(nil), nil
}

// read checks an OCSPResponse and returns its answer about the certificate asked for.
// Errors wrap ErrFormat or are ErrUntrusted.
func (q ocspQuery) read(raw []byte, from string, now time.Time) (answer, error) {
	basic, err := unwrapOCSP(raw)
	if err != nil {
		return answer{}, err
	}
	r, err := parseBasic(basic)
	if err != nil {
		return answer{}, err
	}
	if !r.signedFor(q.issuer) {
		return answer{}, ErrUntrusted
	}
	switch {
	case r.nonce == nil && q.noNonceOK:
	case !bytes.Equal(r.nonce, q.nonce):
		return answer{}, malformed("OCSP: the nonce is not that of the question")
	}
	for _, s := range r.single {
		if ok, err := s.about(q.cert, q.issuer); err != nil || !ok {
			continue
		}
		if s.produced.After(now.Add(clockSkew)) {
			return answer{}, malformed("OCSP: made in the future")
		}
		s.source, s.from = SourceOCSP, from
		return s.answer, nil
	}
	return answer{}, malformed("OCSP: nothing about the certificate asked for")
}

// unwrapOCSP reads OCSPResponse and returns the BasicOCSPResponse inside.
func unwrapOCSP(raw []byte) ([]byte, error) {
	s := cryptobyte.String(raw)
	var response, explicit, bytesSeq, basic cryptobyte.String
	var status int
	if !s.ReadASN1(&response, tag.SEQUENCE) || !s.Empty() || !response.ReadASN1Enum(&status) {
		return nil, ErrNotOCSP
	}
	if status != 0 {
		return nil, &Refusal{status}
	}
	if !response.ReadASN1(&explicit, der.Explicit0) || !response.Empty() ||
		!explicit.ReadASN1(&bytesSeq, tag.SEQUENCE) || !explicit.Empty() ||
		!der.ReadOID(&bytesSeq, nil, oidOCSPBasic) ||
		!bytesSeq.ReadASN1(&basic, tag.OCTET_STRING) || !bytesSeq.Empty() {
		return nil, malformed("OCSP response: not a basic one")
	}
	return basic, nil
}

// basicResponse is BasicOCSPResponse.
type basicResponse struct {
	tbs, signature []byte
	algorithm      asn1.ObjectIdentifier
	certificates   []*smx509.Certificate
	produced       time.Time
	single         []singleResponse
	nonce          []byte
}

// singleResponse is SingleResponse: an answer about a CertID.
type singleResponse struct {
	answer
	algorithm     asn1.ObjectIdentifier
	name, keyHash []byte
	serial        *big.Int
}

func parseBasic(raw []byte) (*basicResponse, error) {
	s := cryptobyte.String(raw)
	var basic, tbs, signature, certificates cryptobyte.String
	r := &basicResponse{}
	var unused uint8
	var withCerts bool
	if !s.ReadASN1(&basic, tag.SEQUENCE) || !s.Empty() ||
		!basic.ReadASN1Element(&tbs, tag.SEQUENCE) || !der.ReadAlgorithm(&basic, &r.algorithm) ||
		!basic.ReadASN1(&signature, tag.BIT_STRING) || !signature.ReadUint8(&unused) || unused != 0 ||
		!basic.ReadOptionalASN1(&certificates, &withCerts, der.Explicit0) || !basic.Empty() {
		return nil, malformed("basic OCSP response")
	}
	r.tbs, r.signature = tbs, signature
	if withCerts && !r.readCertificates(certificates) {
		return nil, malformed("OCSP: certificates")
	}
	if !r.readData(tbs) {
		return nil, malformed("OCSP: response data")
	}
	return r, nil
}

func (r *basicResponse) readCertificates(s cryptobyte.String) bool {
	var list cryptobyte.String
	if !s.ReadASN1(&list, tag.SEQUENCE) || !s.Empty() {
		return false
	}
	for !list.Empty() {
		var one cryptobyte.String
		if len(r.certificates) == maxOCSPCerts || !list.ReadASN1Element(&one, tag.SEQUENCE) {
			return false
		}
		cert, err := smx509.ParseCertificate(one)
		if err != nil {
			return false
		}
		r.certificates = append(r.certificates, cert)
	}
	return true
}

// readData reads ResponseData. Who the responder says it is does not matter: its
// signature does.
func (r *basicResponse) readData(tbs cryptobyte.String) bool {
	var data, list, extensions cryptobyte.String
	var extended bool
	if !tbs.ReadASN1(&data, tag.SEQUENCE) || !data.SkipOptionalASN1(der.Explicit0) { // version 1 is not written
		return false
	}
	responder := der.Explicit1 // by name
	if data.PeekASN1Tag(der.Explicit2) {
		responder = der.Explicit2 // by key
	}
	if !data.SkipASN1(responder) || !data.ReadASN1GeneralizedTime(&r.produced) || !data.ReadASN1(&list, tag.SEQUENCE) ||
		!data.ReadOptionalASN1(&extensions, &extended, der.Explicit1) || !data.Empty() {
		return false
	}
	for !list.Empty() {
		var s singleResponse
		if len(r.single) == maxOCSPResponses || !s.read(&list) {
			return false
		}
		r.single = append(r.single, s)
	}
	return !extended || readExtensions(extensions, &r.nonce)
}

func (s *singleResponse) read(list *cryptobyte.String) bool {
	var single, id, name, keyHash, next, extensions cryptobyte.String
	var hasNext, extended bool
	s.serial = new(big.Int)
	if !list.ReadASN1(&single, tag.SEQUENCE) || !single.ReadASN1(&id, tag.SEQUENCE) ||
		!der.ReadAlgorithm(&id, &s.algorithm) || !id.ReadASN1(&name, tag.OCTET_STRING) ||
		!id.ReadASN1(&keyHash, tag.OCTET_STRING) || !id.ReadASN1Integer(s.serial) || !id.Empty() {
		return false
	}
	s.name, s.keyHash = name, keyHash
	if !s.readStatus(&single) || !single.ReadASN1GeneralizedTime(&s.produced) ||
		!single.ReadOptionalASN1(&next, &hasNext, der.Explicit0) ||
		!single.ReadOptionalASN1(&extensions, &extended, der.Explicit1) || !single.Empty() {
		return false
	}
	if hasNext && !(next.ReadASN1GeneralizedTime(&s.nextUpdate) && next.Empty()) {
		return false
	}
	return !extended || readExtensions(extensions, nil)
}

// readStatus reads CertStatus: good [0] NULL, revoked [1] RevokedInfo, unknown [2] NULL.
func (s *singleResponse) readStatus(single *cryptobyte.String) bool {
	var content cryptobyte.String
	var which tag.Tag
	if !single.ReadAnyASN1(&content, &which) {
		return false
	}
	switch which {
	case der.Implicit0:
		return content.Empty()
	case der.Explicit1:
		var reason cryptobyte.String
		var given bool
		if !content.ReadASN1GeneralizedTime(&s.since) || !content.ReadOptionalASN1(&reason, &given, der.Explicit0) || !content.Empty() {
			return false
		}
		code := 0
		if given && !(reason.ReadASN1Enum(&code) && reason.Empty()) {
			return false
		}
		s.reason = Reason(code)
		return true
	case tag.Tag(2).ContextSpecific():
		s.unknown = true
		return content.Empty()
	}
	return false
}

// readExtensions reads Extensions, the nonce into nonce unless that is nil. Critical
// ones are not known here.
func readExtensions(s cryptobyte.String, nonce *[]byte) bool {
	var list cryptobyte.String
	if !s.ReadASN1(&list, tag.SEQUENCE) || !s.Empty() {
		return false
	}
	for !list.Empty() {
		var extension, value cryptobyte.String
		var oid asn1.ObjectIdentifier
		isCritical := false
		if !list.ReadASN1(&extension, tag.SEQUENCE) || !extension.ReadASN1ObjectIdentifier(&oid) ||
			extension.PeekASN1Tag(tag.BOOLEAN) && !extension.ReadASN1Boolean(&isCritical) ||
			!extension.ReadASN1(&value, tag.OCTET_STRING) || !extension.Empty() || isCritical {
			return false
		}
		if nonce != nil && oid.Equal(oidOCSPNonce) {
			var n cryptobyte.String
			if !value.ReadASN1(&n, tag.OCTET_STRING) || !value.Empty() {
				return false
			}
			*nonce = n
		}
	}
	return true
}

// signedFor reports whether the response is signed by the issuer, or by a responder
// whose certificate the issuer made for that purpose (RFC 6960, 4.2.2.2).
func (r *basicResponse) signedFor(issuer *smx509.Certificate) bool {
	if der.CheckSignature(issuer, r.algorithm, nil, r.tbs, r.signature) {
		return true
	}
	return slices.ContainsFunc(r.certificates, func(c *smx509.Certificate) bool {
		return slices.Contains(c.ExtKeyUsage, smx509.ExtKeyUsageOCSPSigning) &&
			!r.produced.Before(c.NotBefore) && !r.produced.After(c.NotAfter) &&
			bytes.Equal(c.RawIssuer, issuer.RawSubject) && c.CheckSignatureFrom(issuer) == nil &&
			der.CheckSignature(c, r.algorithm, nil, r.tbs, r.signature)
	})
}

// about reports whether the response names the certificate.
func (s singleResponse) about(cert, issuer *smx509.Certificate) (bool, error) {
	name, keyHash, err := certID(issuer, s.algorithm)
	return s.serial.Cmp(cert.SerialNumber) == 0 && bytes.Equal(name, s.name) && bytes.Equal(keyHash, s.keyHash), err
}
