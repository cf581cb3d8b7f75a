// Package der is what all CMS messages here share, and what stands beside them: the
// ferry's envelopes, the detached signatures of sealed PDFs, time stamps and OCSP.
// It adds to cryptobyte the few shapes that RFC 5652 and GM/T 0010 repeat: algorithm
// identifiers, content infos, sets of attributes, times.
//
// Writers are strict DER. Readers take a cryptobyte.String, report by bool, leave
// raw bytes as they stood and never panic.
package der

import (
	"bytes"
	"encoding/asn1"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// Context-specific tags. An IMPLICIT SET or SEQUENCE has the same octet as an
// EXPLICIT value of that number.
var (
	Explicit0 = tag.Tag(0).ContextSpecific().Constructed()
	Explicit1 = tag.Tag(1).ContextSpecific().Constructed()
	Explicit2 = tag.Tag(2).ContextSpecific().Constructed()
	Explicit3 = tag.Tag(3).ContextSpecific().Constructed()
	Implicit0 = tag.Tag(0).ContextSpecific()
	Implicit1 = tag.Tag(1).ContextSpecific()
)

// Build runs f on a builder with room for size bytes; it grows if need be.
func Build(size int, f func(*cryptobyte.Builder)) ([]byte, error) {
	b := cryptobyte.NewBuilder(make([]byte, 0, size))
	f(b)
	return b.Bytes()
}

// AddSequence writes a SEQUENCE of what f writes.
func AddSequence(b *cryptobyte.Builder, f func(*cryptobyte.Builder)) { b.AddASN1(tag.SEQUENCE, f) }

// AddAlgorithm writes an AlgorithmIdentifier without parameters.
func AddAlgorithm(b *cryptobyte.Builder, oid asn1.ObjectIdentifier) {
	AddSequence(b, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oid) })
}

// AddContentInfo writes SEQUENCE { oid, [0] EXPLICIT what f writes }.
func AddContentInfo(b *cryptobyte.Builder, oid asn1.ObjectIdentifier, f func(*cryptobyte.Builder)) {
	AddSequence(b, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oid)
		b.AddASN1(Explicit0, f)
	})
}

// AddStructure writes a ContentInfo whose content is a SEQUENCE of what f writes.
func AddStructure(b *cryptobyte.Builder, oid asn1.ObjectIdentifier, f func(*cryptobyte.Builder)) {
	AddContentInfo(b, oid, func(b *cryptobyte.Builder) { AddSequence(b, f) })
}

// AddTime writes a CMS Time: UTCTime through 2049, GeneralizedTime after (RFC 5652, 11.3).
func AddTime(b *cryptobyte.Builder, t time.Time) {
	t = t.UTC()
	if y := t.Year(); y >= 1950 && y < 2050 {
		b.AddASN1UTCTime(t)
		return
	}
	b.AddASN1GeneralizedTime(t)
}

// Attribute is one attribute with one value.
type Attribute struct {
	Type  asn1.ObjectIdentifier
	Value func(*cryptobyte.Builder)
}

// Attributes returns SET OF Attribute in DER order (X.690, 11.6): what a signature
// with signed attributes covers (RFC 5652, 5.4).
func Attributes(list ...Attribute) ([]byte, error) {
	encoded := make([][]byte, len(list))
	for i, a := range list {
		var err error
		encoded[i], err = Build(128, func(b *cryptobyte.Builder) {
			AddSequence(b, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(a.Type)
				b.AddASN1(tag.SET, a.Value)
			})
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(encoded, bytes.Compare)
	return Build(512, func(b *cryptobyte.Builder) {
		b.AddASN1(tag.SET, func(b *cryptobyte.Builder) { b.AddBytes(bytes.Join(encoded, nil)) })
	})
}

// AddRetagged writes an encoded SET as [n] IMPLICIT, n's octet being t.
func AddRetagged(b *cryptobyte.Builder, t tag.Tag, set []byte) {
	b.AddBytes([]byte{byte(t)})
	b.AddBytes(set[1:])
}

// ReadContentInfo reads SEQUENCE { oid, [0] EXPLICIT content } whose oid is one of
// those given; nothing follows the content.
func ReadContentInfo(s, content *cryptobyte.String, oid *asn1.ObjectIdentifier, oneOf ...asn1.ObjectIdentifier) bool {
	var info cryptobyte.String
	return s.ReadASN1(&info, tag.SEQUENCE) &&
		ReadOID(&info, oid, oneOf...) &&
		info.ReadASN1(content, Explicit0) && info.Empty()
}

// ReadAttributes calls each with the type and the contents of the SET OF values of
// every attribute in a set's contents. Types are in DER order and come once each.
func ReadAttributes(set cryptobyte.String, each func(asn1.ObjectIdentifier, cryptobyte.String) bool) bool {
	var previous []byte
	seen := map[string]bool{}
	for !set.Empty() {
		var attribute, values cryptobyte.String
		var oid asn1.ObjectIdentifier
		if !set.ReadASN1Element(&attribute, tag.SEQUENCE) || bytes.Compare(previous, attribute) >= 0 {
			return false
		}
		previous = attribute
		if !attribute.ReadASN1(&attribute, tag.SEQUENCE) || !attribute.ReadASN1ObjectIdentifier(&oid) ||
			!attribute.ReadASN1(&values, tag.SET) || !attribute.Empty() || seen[oid.String()] {
			return false
		}
		seen[oid.String()] = true
		if !each(oid, values) {
			return false
		}
	}
	return true
}

// ReadTime reads a UTCTime or a GeneralizedTime.
func ReadTime(s *cryptobyte.String) (time.Time, bool) {
	var t time.Time
	if s.PeekASN1Tag(tag.UTCTime) {
		return t, s.ReadASN1UTCTime(&t)
	}
	return t, s.ReadASN1GeneralizedTime(&t)
}

// ReadAlgorithm reads an AlgorithmIdentifier whose parameters are absent or NULL,
// into out unless that is nil; without oneOf any algorithm will do.
func ReadAlgorithm(s *cryptobyte.String, out *asn1.ObjectIdentifier, oneOf ...asn1.ObjectIdentifier) bool {
	var seq cryptobyte.String
	if !s.ReadASN1(&seq, tag.SEQUENCE) || !ReadOID(&seq, out, oneOf...) {
		return false
	}
	if seq.Empty() {
		return true
	}
	var null cryptobyte.String
	return seq.ReadASN1(&null, tag.NULL) && null.Empty() && seq.Empty()
}

// ReadOID reads an object identifier, one of those given if any are, into out unless
// that is nil.
func ReadOID(s *cryptobyte.String, out *asn1.ObjectIdentifier, oneOf ...asn1.ObjectIdentifier) bool {
	var oid asn1.ObjectIdentifier
	if !s.ReadASN1ObjectIdentifier(&oid) {
		return false
	}
	if out != nil {
		*out = oid
	}
	return len(oneOf) == 0 || slices.ContainsFunc(oneOf, oid.Equal)
}

// ReadVersion reads a version that is one of those given.
func ReadVersion(s *cryptobyte.String, oneOf ...uint64) bool {
	var n uint64
	return s.ReadASN1Integer(&n) && slices.Contains(oneOf, n)
}
