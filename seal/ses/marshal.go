package ses

import (
	"encoding/asn1"
	"fmt"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// MarshalSealInfo writes SES_SealInfo of V4 (GB/T 38540 6.1), the bytes a maker
// signs. Header is filled in ("ES", 4) but for its VendorID. Times are cut to
// seconds. An info that would not pass CheckFormat is refused.
func MarshalSealInfo(info SealInfo) ([]byte, error) {
	info.Header.ID, info.Header.Version = "ES", int(V4)
	if err := (&Seal{Version: V4, Info: info}).CheckFormat(); err != nil {
		return nil, err
	}
	if err := checkText(info); err != nil {
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
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { addProperty(b, info.Property) })
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

// MarshalSeal puts a SESeal of V4 together: rawInfo as MarshalSealInfo returned
// it, the maker's certificate (DER) and signature (DER of r, s) over rawInfo.
func MarshalSeal(rawInfo, makerCert, signature []byte) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(rawInfo)
		b.AddASN1OctetString(makerCert)
		b.AddASN1ObjectIdentifier(OIDSM2WithSM3)
		b.AddASN1BitString(signature)
	})
	return b.Bytes()
}

// MarshalTBS writes TBS_Sign of V4 (GB/T 38540 7.1), the bytes a holder signs:
// rawSeal as it is kept, the time cut to seconds, the digest of the document and
// what of the document it covers.
func MarshalTBS(rawSeal []byte, at time.Time, dataHash []byte, propertyInfo string, extensions []Extension) ([]byte, error) {
	if len(dataHash) != 32 {
		return nil, fmt.Errorf("%w: dataHash has %d octets, SM3 has 32", ErrFormat, len(dataHash))
	}
	if !isASCII([]byte(propertyInfo)) {
		return nil, fmt.Errorf("%w: propertyInfo is not ASCII", ErrFormat)
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(int64(V4))
		b.AddBytes(rawSeal)
		b.AddASN1GeneralizedTime(at.UTC())
		b.AddASN1BitString(dataHash)
		addString(b, cbasn1.IA5String, propertyInfo)
		if len(extensions) > 0 {
			b.AddASN1(contextTag0, func(b *cryptobyte.Builder) { addExtensions(b, extensions) })
		}
	})
	return b.Bytes()
}

// MarshalSignature puts a SES_Signature of V4 together: rawTBS as MarshalTBS
// returned it, the holder's certificate (DER) and signature (DER of r, s) over
// rawTBS, and optionally a time stamp token over the signature.
func MarshalSignature(rawTBS, cert, signature, timeStamp []byte) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(rawTBS)
		b.AddASN1OctetString(cert)
		b.AddASN1ObjectIdentifier(OIDSM2WithSM3)
		b.AddASN1BitString(signature)
		if timeStamp != nil {
			b.AddASN1(contextTag0, func(b *cryptobyte.Builder) { b.AddASN1BitString(timeStamp) })
		}
	})
	return b.Bytes()
}

func addProperty(b *cryptobyte.Builder, p Property) {
	b.AddASN1Int64(int64(p.Kind))
	addString(b, cbasn1.UTF8String, p.Name)
	b.AddASN1Int64(int64(p.ListType))
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
		b.AddASN1GeneralizedTime(t.UTC())
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
func checkText(info SealInfo) error {
	p := info.Property
	switch {
	case !isASCII([]byte(info.ESID)), !isASCII([]byte(info.Header.VendorID)):
		return fmt.Errorf("%w: esID and Vid are ASCII", ErrFormat)
	case !utf8.ValidString(p.Name):
		return fmt.Errorf("%w: seal name is not UTF-8", ErrFormat)
	case len(p.Certs) > 0 && p.ListType != Certificates, len(p.Digests) > 0 && p.ListType != Digests:
		return fmt.Errorf("%w: certificate list does not fit certListType %d", ErrFormat, p.ListType)
	}
	for _, d := range p.Digests {
		if !isPrintable([]byte(d.Type)) {
			return fmt.Errorf("%w: digest type is not a PrintableString", ErrFormat)
		}
	}
	return nil
}
