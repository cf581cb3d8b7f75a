package der

import (
	"crypto/ecdsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/asn1"
	"hash"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm3"
	"github.com/emmansun/gmsm/smx509"
)

// Object identifiers of GB/T 33560, GM/T 0006 and GM/T 0010, and of the PKCS#7
// family (RFC 5652).
var (
	OIDSM3     = asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 401}
	OIDSM2SM3  = asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 501}    // signature, written
	OIDSM2Sign = asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 301, 1} // signature, as GM/T 0010 has it
	OIDSM2     = asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 301}

	OIDData        = asn1.ObjectIdentifier{1, 2, 156, 10197, 6, 1, 4, 2, 1} // GM/T 0010
	OIDSigned      = asn1.ObjectIdentifier{1, 2, 156, 10197, 6, 1, 4, 2, 2}
	OIDDataPKCS7   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	OIDSignedPKCS7 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}

	OIDContentType   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	OIDMessageDigest = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	OIDSigningTime   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 5}

	OIDSHA1   = asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26} // names only, never a signature
	OIDSHA256 = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	OIDSHA384 = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}
	OIDSHA512 = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3}

	oidRSA = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
)

// NewHash returns the hash function of an algorithm, nil for one that signs nothing
// here: SM3, SHA-256, SHA-384 and SHA-512 do.
func NewHash(oid asn1.ObjectIdentifier) hash.Hash {
	switch {
	case oid.Equal(OIDSM3):
		return sm3.New()
	case oid.Equal(OIDSHA256):
		return sha256.New()
	case oid.Equal(OIDSHA384):
		return sha512.New384()
	case oid.Equal(OIDSHA512):
		return sha512.New()
	}
	return nil
}

// NewNameHash is NewHash for digests that only name a certificate or an issuer, which
// older structures do with SHA-1.
func NewNameHash(oid asn1.ObjectIdentifier) hash.Hash {
	if oid.Equal(OIDSHA1) {
		return sha1.New()
	}
	return NewHash(oid)
}

// signatures that are accepted, and the digest each goes with.
var signatures = []struct {
	oid, digest asn1.ObjectIdentifier
	algorithm   smx509.SignatureAlgorithm
}{
	{OIDSM2SM3, OIDSM3, smx509.SM2WithSM3},
	{OIDSM2Sign, OIDSM3, smx509.SM2WithSM3},
	{OIDSM2, OIDSM3, smx509.SM2WithSM3},
	{asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}, OIDSHA256, smx509.ECDSAWithSHA256},
	{asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}, OIDSHA384, smx509.ECDSAWithSHA384},
	{asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 4}, OIDSHA512, smx509.ECDSAWithSHA512},
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, OIDSHA256, smx509.SHA256WithRSA},
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 12}, OIDSHA384, smx509.SHA384WithRSA},
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 13}, OIDSHA512, smx509.SHA512WithRSA},
	{oidRSA, OIDSHA256, smx509.SHA256WithRSA}, // CMS names the digest apart (RFC 3370, 3.2)
	{oidRSA, OIDSHA384, smx509.SHA384WithRSA},
	{oidRSA, OIDSHA512, smx509.SHA512WithRSA},
}

// CheckSignature reports whether signature is cert's over signed (the message, not a
// digest), by the algorithm that oid names together with a digest algorithm; nil as
// digest stands for the algorithm's own. SM2 signatures are of SM2 keys only and use
// the default user id.
func CheckSignature(cert *smx509.Certificate, oid, digest asn1.ObjectIdentifier, signed, signature []byte) bool {
	pub, ec := cert.PublicKey.(*ecdsa.PublicKey)
	for _, s := range signatures {
		if s.oid.Equal(oid) && (digest == nil && !oid.Equal(oidRSA) || s.digest.Equal(digest)) {
			return (ec && sm2.IsSM2PublicKey(pub)) == (s.algorithm == smx509.SM2WithSM3) &&
				cert.CheckSignature(s.algorithm, signed, signature) == nil
		}
	}
	return false
}
