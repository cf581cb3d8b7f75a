// Package cms writes and reads the CMS signatures of sealed PDFs: a detached
// SignedData (RFC 5652, GM/T 0010, GB/T 35275) with SM2 and SM3, the content of a
// signature field with SubFilter adbe.pkcs7.detached.
//
//	ContentInfo     signedData (PKCS#7 family), SignedData version 1
//	  content       data, absent: the bytes that the ByteRange covers
//	  certificates  the signer's, and what was given above it
//	  signerInfo    issuerAndSerialNumber, SM3, SM2 with SM3 (1.2.156.10197.1.501)
//	    signed      contentType, messageDigest, signingTime, signingCertificateV2 (SM3)
//	    unsigned    signatureTimeStampToken, when there is one
//
// The signature is over the DER of the SET OF signed attributes, with the user id
// 1234567812345678. The same reader serves time stamp tokens (package seal/tsp), whose
// content is inside, so that it also knows ECDSA and RSA with SHA-2.
//
// The reader is strict: DER, one signer, its certificate in the message, attributes in
// order and once each, bounded sizes. It keeps what was signed as it stood in the
// input. Both object identifier families of the structures and the three identifiers
// that are in use for SM2 signatures are read. Whom to trust is the caller's business.
package cms

import (
	"encoding/asn1"
	"errors"
	"fmt"
	"time"
)

var (
	// ErrFormat is wrapped by every error about the message's form.
	ErrFormat = errors.New("cms: malformed message")
	// ErrDigest is returned when the content is not the one that was signed.
	ErrDigest = errors.New("cms: the content's digest is not the signed one")
	// ErrSignature is returned when the signature value is wrong, or its algorithm
	// does not go with the certificate's key.
	ErrSignature = errors.New("cms: wrong signature")
	// ErrCertificate is returned when the signed attributes name another certificate
	// than the message does.
	ErrCertificate = errors.New("cms: signed for another certificate")
)

// Bounds of a message.
const (
	maxMessage      = 1 << 20 // bytes
	maxCertificates = 16
)

var (
	oidSigningCertificate   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 12}
	oidSigningCertificateV2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 47}
	oidTimeStampToken       = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 14}
)

// Message is a parsed SignedData with one signer. Its slices are of the input.
type Message struct {
	GM          bool // the structure's identifiers are those of GM/T 0010
	ContentType asn1.ObjectIdentifier
	Content     []byte // nil when the content is detached

	Certificates [][]byte // DER, as they stand in the message
	Cert         []byte   // the signer's, one of Certificates

	DigestAlgorithm asn1.ObjectIdentifier
	Algorithm       asn1.ObjectIdentifier // of the signature
	Signature       []byte                // DER of (r, s) with SM2

	// Attributes is the SET OF signed attributes as it was signed, nil when there
	// are none and the signature is over the content itself. The next three come
	// from it.
	Attributes  []byte
	Digest      []byte    // messageDigest
	SigningTime time.Time // UTC; zero when absent
	Named       *CertID   // signing certificate, nil when absent

	TimeStamp []byte // time stamp token over Signature, nil when absent
}

// CertID names the signing certificate by a digest (RFC 5035).
type CertID struct {
	Algorithm asn1.ObjectIdentifier
	Digest    []byte
}

func malformed(what string) error { return fmt.Errorf("%w: %s", ErrFormat, what) }
