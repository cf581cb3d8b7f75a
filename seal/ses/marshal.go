package ses

import (
	"encoding/asn1"
	"fmt"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// MarshalSealInfo writes SES_SealInfo of the version in info.Header.Version: V4 when
// that is 0, else V1, V4 or V5. The header's mark is filled in. Times are cut to
// seconds. An info that would not pass CheckFormat is refused.
func MarshalSealInfo(info SealInfo) ([]byte, error) {
	info.Header.ID = "ES"
	if info.Header.Version == 0 {
		info.Header.Version = int(V4)
	}
	v := Version(info.Header.Version)
	if v.Standard() == "?" {
		return nil, fmt.Errorf("%w: there is no version %d", ErrFormat, v)
	}
	if v == V1 && info.Property.ListType == 0 {
		info.Property.ListType = Certificates // the only one that V1 knows
	}
	if err := (&Seal{Version: v, Info: info}).CheckFormat(); err != nil {
		return nil, err
	}
	if err := checkText(info, v); err != nil {
		return nil, err
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			addString(b, cbasn1.IA5String, info.Header.ID)
			b.AddASN1Int64(int64(info.Header.Version))
			addString(b, cbasn1.IA5String, info.Header.VendorID)
		})
		addString(b, cbasn1.IA5String, info.ESID)
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { addProperty(b, info.Property, v) })
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			addString(b, cbasn1.IA5String, info.Picture.Type)
			b.AddASN1OctetString(info.Picture.Data)
			b.AddASN1Int64(int64(info.Picture.Width))
			b.AddASN1Int64(int64(info.Picture.Height))
		})
		if len(info.Extensions) > 0 {
			addExtensions(b, info.Extensions)
		}
	})
	return b.Bytes()
}

// SealToSign returns the bytes a maker signs for a seal: rawInfo itself, in V1 a
// SEQUENCE of rawInfo, the maker's certificate (DER) and the algorithm.
func SealToSign(rawInfo, makerCert []byte) ([]byte, error) {
	v, err := infoVersion(rawInfo)
	if err != nil || v != V1 {
		return rawInfo, err
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(rawInfo)
		b.AddASN1OctetString(makerCert)
		b.AddASN1ObjectIdentifier(OIDSM2WithSM3)
	})
	return b.Bytes()
}

// MarshalSeal puts a SESeal together in the version of rawInfo: rawInfo as
// MarshalSealInfo returned it, the maker's certificate (DER), the signature (DER of
// r, s) over what SealToSign returns, and, in V5 only, a time stamp token or nil.
func MarshalSeal(rawInfo, makerCert, signature, timeStamp []byte) ([]byte, error) {
	v, err := infoVersion(rawInfo)
	if err != nil {
		return nil, err
	}
	if timeStamp != nil && v != V5 {
		return nil, fmt.Errorf("%w: a seal of version %d has no time stamp", ErrFormat, v)
	}
	maker := func(b *cryptobyte.Builder) {
		b.AddASN1OctetString(makerCert)
		b.AddASN1ObjectIdentifier(OIDSM2WithSM3)
		b.AddASN1BitString(signature)
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(rawInfo)
		if v == V1 {
			b.AddASN1(cbasn1.SEQUENCE, maker)
			return
		}
		maker(b)
		addTimeStamp(b, timeStamp)
	})
	return b.Bytes()
}

// MarshalTBS writes TBS_Sign, the bytes a holder signs, in the version of the seal:
// rawSeal as it is kept, the certificate to sign with (DER, written in V1 only), the
// time cut to seconds, the digest of the document and what of the document it covers.
// In V1 the time is a DER UTCTime inside the BIT STRING, and there are no extensions.
func MarshalTBS(rawSeal, cert []byte, at time.Time, dataHash []byte, propertyInfo string, extensions []Extension) ([]byte, error) {
	v, err := sealVersion(rawSeal)
	switch {
	case err != nil:
		return nil, err
	case len(dataHash) != 32:
		return nil, fmt.Errorf("%w: dataHash has %d octets, SM3 has 32", ErrFormat, len(dataHash))
	case !isASCII([]byte(propertyInfo)):
		return nil, fmt.Errorf("%w: propertyInfo is not ASCII", ErrFormat)
	case v == V1 && len(extensions) > 0:
		return nil, fmt.Errorf("%w: version 1 has no extensions of a signature", ErrFormat)
	}
	var b cryptobyte.Builder // what stands behind the seal
	if v == V1 {
		b.AddASN1(cbasn1.BIT_STRING, func(b *cryptobyte.Builder) {
			b.AddUint8(0)
			addTime(b, V1, at)
		})
	} else {
		addTime(&b, v, at)
	}
	b.AddASN1BitString(dataHash)
	addString(&b, cbasn1.IA5String, propertyInfo)
	if v == V1 {
		b.AddASN1OctetString(cert)
		b.AddASN1ObjectIdentifier(OIDSM2WithSM3)
	}
	if len(extensions) > 0 {
		b.AddASN1(contextTag0, func(b *cryptobyte.Builder) { addExtensions(b, extensions) })
	}
	rest, err := b.Bytes()
	if err != nil {
		return nil, err
	}
	return wrapSequence([]byte{byte(cbasn1.INTEGER), 1, byte(v)}, rawSeal, rest), nil
}

// MarshalSignature puts a SES_Signature together in the version of rawTBS: rawTBS as
// MarshalTBS returned it, the holder's certificate (DER; V1 has it in rawTBS), the
// signature (DER of r, s) over rawTBS, and optionally, not in V1, a time stamp token
// over the signature.
func MarshalSignature(rawTBS, cert, signature, timeStamp []byte) ([]byte, error) {
	r := newReader(rawTBS)
	t, _ := r.sequence("toSign")
	isV1 := t.count() == elementsOfTBSV1
	switch {
	case !r.ok():
		return nil, *r.err
	case isV1 && timeStamp != nil:
		return nil, fmt.Errorf("%w: a signature of version 1 has no time stamp", ErrFormat)
	}
	var b cryptobyte.Builder // what stands behind the TBS
	if !isV1 {
		b.AddASN1OctetString(cert)
		b.AddASN1ObjectIdentifier(OIDSM2WithSM3)
	}
	b.AddASN1BitString(signature)
	addTimeStamp(&b, timeStamp)
	rest, err := b.Bytes()
	if err != nil {
		return nil, err
	}
	return wrapSequence(rawTBS, rest), nil
}

// elementsOfTBSV1 tells a TBS_Sign of V1 from those of five or six elements.
const elementsOfTBSV1 = 7

func addTimeStamp(b *cryptobyte.Builder, token []byte) {
	if token != nil {
		b.AddASN1(contextTag0, func(b *cryptobyte.Builder) { b.AddASN1BitString(token) })
	}
}

// addTime writes a UTCTime in V1 and a GeneralizedTime otherwise, to the second.
func addTime(b *cryptobyte.Builder, v Version, t time.Time) {
	if v == V1 {
		b.AddASN1UTCTime(t.UTC())
		return
	}
	b.AddASN1GeneralizedTime(t.UTC())
}

func addProperty(b *cryptobyte.Builder, p Property, v Version) {
	b.AddASN1Int64(int64(p.Kind))
	addString(b, cbasn1.UTF8String, p.Name)
	if v != V1 {
		b.AddASN1Int64(int64(p.ListType))
	}
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, c := range p.Certs {
			b.AddASN1OctetString(c)
		}
		for _, d := range p.Digests {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				addString(b, cbasn1.PrintableString, d.Type)
				b.AddASN1OctetString(d.Value)
			})
		}
	})
	for _, t := range []time.Time{p.Created, p.ValidStart, p.ValidEnd} {
		addTime(b, v, t)
	}
}

func addExtensions(b *cryptobyte.Builder, list []Extension) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, e := range list {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(asn1.ObjectIdentifier(e.ID))
				if e.Critical {
					b.AddASN1Boolean(true)
				}
				b.AddASN1OctetString(e.Value)
			})
		}
	})
}

func addString(b *cryptobyte.Builder, tag cbasn1.Tag, s string) {
	b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes([]byte(s)) })
}

// checkText refuses what the string types and the list choice cannot hold.
func checkText(info SealInfo, v Version) error {
	p := info.Property
	switch {
	case !isASCII([]byte(info.ESID)), !isASCII([]byte(info.Header.VendorID)):
		return fmt.Errorf("%w: esID and Vid are ASCII", ErrFormat)
	case !utf8.ValidString(p.Name):
		return fmt.Errorf("%w: seal name is not UTF-8", ErrFormat)
	case len(p.Certs) > 0 && p.ListType != Certificates, len(p.Digests) > 0 && p.ListType != Digests:
		return fmt.Errorf("%w: certificate list does not fit certListType %d", ErrFormat, p.ListType)
	case v == V1 && p.ListType != Certificates:
		return fmt.Errorf("%w: a seal of version 1 lists certificates, not digests", ErrFormat)
	}
	for _, d := range p.Digests {
		if !isPrintable([]byte(d.Type)) {
			return fmt.Errorf("%w: digest type is not a PrintableString", ErrFormat)
		}
	}
	return nil
}
