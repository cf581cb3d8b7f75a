// Package ses reads and writes the data structures of Chinese secure electronic
// seals (安全电子签章): the seal itself (SESeal) and a signature made with it
// (SES_Signature).
//
// Three versions are in the field and all are read: V1 (GM/T 0031-2014), V4
// (GB/T 38540-2020) and V5 (GM/T 0031-2025). V4 is written unless another is asked
// for; a signature is always of its seal's version. The version is told by the number
// of elements, and where that is ambiguous by the header of the seal:
//
//	SESeal         2 elements → V1, 5 → V5, 4 → V5 if header.version is 5, else V4
//	SES_Signature  2 elements → V1, 4 or 5 → the version of the seal inside
//
//	SES_Header     ::= SEQUENCE { ID IA5String "ES", version INTEGER, Vid IA5String }
//	SES_SealInfo   ::= SEQUENCE { header, esID IA5String, property, picture, extDatas OPTIONAL }
//	SESeal (V4)    ::= SEQUENCE { sealInfo, cert OCTET STRING, alg OID, sig BIT STRING }
//	TBS_Sign (V4)  ::= SEQUENCE { version INTEGER, seal, timeInfo GeneralizedTime,
//	                              dataHash BIT STRING, propertyInfo IA5String, extDatas [0] OPTIONAL }
//	SES_Signature  ::= SEQUENCE { tbs, cert OCTET STRING, alg OID, sig BIT STRING, timeStamp [0] OPTIONAL }
//
// The package guarantees: parsing is strict DER and never panics; the bytes that
// were signed are kept as they stood in the input and are never re-encoded, so a
// signature is verified over what its maker really signed; whatever is returned
// aliases nothing the caller may change. It does no cryptography and no judging:
// CheckFormat names structural faults, everything else is package seal's work.
package ses

import (
	"encoding/asn1"
	"time"

	"yizheng/catalog/beijing"
)

// OIDSM2WithSM3 is the algorithm that signs seals and documents (GB/T 33560).
var OIDSM2WithSM3 = asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 501}

// Version of the structures.
type Version int

// The versions that exist.
const (
	V1 Version = 1 // GM/T 0031-2014
	V4 Version = 4 // GB/T 38540-2020
	V5 Version = 5 // GM/T 0031-2025
)

// Standard returns the number of the standard that defines the version.
func (v Version) Standard() string {
	switch v {
	case V1:
		return "GM/T 0031-2014"
	case V4:
		return "GB/T 38540-2020"
	case V5:
		return "GM/T 0031-2025"
	}
	return "?"
}

// Kind of the holder of a seal (property.type).
type Kind int

// Kinds of GB/T 38540 6.1.
const (
	Unit   Kind = 1 // 单位印章
	Person Kind = 2 // 个人印章
)

// ListType says what a seal's certificate list holds (property.certListType).
type ListType int

// List types of GB/T 38540 6.1. V1 seals always list certificates.
const (
	Certificates ListType = 1
	Digests      ListType = 2
)

// Header of a seal (SES_Header).
type Header struct {
	ID       string // "ES"
	Version  int    // 1, 4 or 5
	VendorID string
}

// CertDigest is one entry of a digest list: the name of a hash algorithm and its
// value over the DER of the certificate.
type CertDigest struct {
	Type  string
	Value []byte
}

// Property of a seal. Times are UTC; validity is inclusive at both ends.
type Property struct {
	Kind                          Kind
	Name                          string
	ListType                      ListType
	Certs                         [][]byte     // DER, when ListType is Certificates
	Digests                       []CertDigest // when ListType is Digests
	Created, ValidStart, ValidEnd time.Time
}

// Picture of a seal. Width and Height are the true size in millimetres.
type Picture struct {
	Type          string // "GIF", "BMP", "JPG"; V5 also "PNG", "SVG", "OFD"
	Data          []byte
	Width, Height int
}

// Extension is one ExtData. Critical extensions this package does not know (it
// knows none) make CheckFormat fail.
type Extension struct {
	ID       asn1.ObjectIdentifier
	Critical bool
	Value    []byte
}

// SealInfo is SES_SealInfo, the part of a seal its maker signs.
type SealInfo struct {
	Header     Header
	ESID       string // the seal's identifier
	Property   Property
	Picture    Picture
	Extensions []Extension
}

// Seal is a parsed SESeal.
type Seal struct {
	Version   Version
	Info      SealInfo
	MakerCert []byte // DER of the seal maker's certificate
	Algorithm asn1.ObjectIdentifier
	Signature []byte // DER of (r, s)
	TimeStamp []byte // V5 only, nil when absent

	Raw     []byte // the whole SESeal
	RawInfo []byte // sealInfo as it stood in the input
	// Signed is what the maker signed: RawInfo in V4 and V5; in V1 a SEQUENCE
	// around the raw sealInfo, cert and alg.
	Signed []byte
}

// TBS is TBS_Sign, the part of a signature the seal's holder signs.
type TBS struct {
	Version      int
	Time         time.Time // V4, V5: timeInfo, UTC
	TimeInfo     []byte    // V1: content of timeInfo (a time or a time stamp token)
	DataHash     []byte
	PropertyInfo string
	Extensions   []Extension
}

// Signature is a parsed SES_Signature.
type Signature struct {
	Version   Version
	TBS       TBS
	Seal      *Seal
	Cert      []byte // DER of the certificate the document was signed with
	Algorithm asn1.ObjectIdentifier
	Signature []byte // DER of (r, s)
	TimeStamp []byte // RFC 3161 token over Signature, nil when absent

	Raw    []byte // the whole SES_Signature, without padding
	RawTBS []byte // toSign as it stood in the input: what the signature covers
}

// SigningTime returns timeInfo as a time. In V1 it is a BIT STRING whose content the
// standard leaves open: a DER UTCTime or GeneralizedTime, its bare digits, and the
// time on a Chinese clock as ofdrw writes it (2026-03-01 16:30:00) are understood; for
// anything else, such as a time stamp token, ok is false.
func (t TBS) SigningTime() (at time.Time, ok bool) {
	if t.TimeInfo == nil {
		return t.Time, !t.Time.IsZero()
	}
	for _, read := range []func(*reader) time.Time{
		func(r *reader) time.Time { return r.generalizedTime("timeInfo") },
		func(r *reader) time.Time { return r.utcTime("timeInfo") },
		func(r *reader) time.Time { return r.time("timeInfo", string(t.TimeInfo), generalizedLayout) },
	} {
		r := newReader(t.TimeInfo)
		if at := read(r); r.ok() {
			return at, true
		}
	}
	at, err := time.ParseInLocation(time.DateTime, string(t.TimeInfo), beijing.Zone())
	return at.UTC(), err == nil && at.Format(time.DateTime) == string(t.TimeInfo)
}
