package envelope

import (
	"bytes"
	"encoding/asn1"
	"encoding/hex"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// Object identifiers. "GM" are those of GM/T 0010 and GM/T 0006, which are
// written; the PKCS#7 family of the same structures is read too.
var (
	oidData      = asn1.ObjectIdentifier{1, 2, 156, 10197, 6, 1, 4, 2, 1}
	oidSigned    = asn1.ObjectIdentifier{1, 2, 156, 10197, 6, 1, 4, 2, 2}
	oidEnveloped = asn1.ObjectIdentifier{1, 2, 156, 10197, 6, 1, 4, 2, 3}

	oidDataPKCS7      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidSignedPKCS7    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidEnvelopedPKCS7 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 3}

	oidSM3        = asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 401}
	oidSM2SM3     = asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 501}    // signature, written
	oidSM2Sign    = asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 301, 1} // signature, as GM/T 0010 has it
	oidSM2        = asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 301}
	oidSM2Encrypt = asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 301, 3} // encryption, written
	oidSM4        = asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 104}
	oidSM4CBC     = asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 104, 2} // written

	oidContentType   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	oidMessageDigest = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	oidSigningTime   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 5}

	// oidFerry is our own attribute. Its arc is ours by use, not by registration:
	// the last number is the first seven hex digits of SM3("yizheng"), 0xefb9d6d.
	oidFerry = asn1.ObjectIdentifier{1, 2, 156, 251370861, 1, 1}
)

var (
	tagExplicit0 = tag.Tag(0).ContextSpecific().Constructed()
	tagExplicit1 = tag.Tag(1).ContextSpecific().Constructed()
	tagExplicit2 = tag.Tag(2).ContextSpecific().Constructed()
	tagImplicit0 = tag.Tag(0).ContextSpecific()
)

// keyIssuer is the issuer of every key name: SEQUENCE { SET { SEQUENCE {
// commonName, PrintableString "Yizheng ferry key" } } }.
var keyIssuer = append([]byte{
	0x30, 0x1c, 0x31, 0x1a, 0x30, 0x18, 0x06, 0x03, 0x55, 0x04, 0x03, 0x13, 0x11,
}, "Yizheng ferry key"...)

const keyIDLen = 16 // bytes of a jose.KeyID

func keyIDBytes(id string) ([]byte, bool) {
	b, err := hex.DecodeString(id)
	return b, err == nil && len(b) == keyIDLen && hex.EncodeToString(b) == id
}

// build runs f on a builder with room for size bytes; it grows if need be.
func build(size int, f func(*cryptobyte.Builder)) ([]byte, error) {
	b := cryptobyte.NewBuilder(make([]byte, 0, size))
	f(b)
	return b.Bytes()
}

func addSequence(b *cryptobyte.Builder, f func(*cryptobyte.Builder)) { b.AddASN1(tag.SEQUENCE, f) }

// addAlgorithm writes an AlgorithmIdentifier without parameters.
func addAlgorithm(b *cryptobyte.Builder, oid asn1.ObjectIdentifier) {
	addSequence(b, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oid) })
}

// addKeyName writes the issuerAndSerialNumber that names a bare key: keyIssuer,
// and the key id's 16 bytes as an unsigned integer.
func addKeyName(b *cryptobyte.Builder, keyID []byte) {
	addSequence(b, func(b *cryptobyte.Builder) {
		b.AddBytes(keyIssuer)
		b.AddASN1(tag.INTEGER, func(b *cryptobyte.Builder) { b.AddBytes(unsigned(keyID)) })
	})
}

// unsigned is the minimal two's complement of a non-negative big-endian number.
func unsigned(b []byte) []byte {
	b = bytes.TrimLeft(b, "\x00")
	if len(b) == 0 || b[0] >= 0x80 {
		return append([]byte{0}, b...)
	}
	return b
}

// addTime writes a CMS Time: UTCTime through 2049, GeneralizedTime after (RFC 5652, 11.3).
func addTime(b *cryptobyte.Builder, t time.Time) {
	t = t.UTC()
	if y := t.Year(); y >= 1950 && y < 2050 {
		b.AddASN1UTCTime(t)
		return
	}
	b.AddASN1GeneralizedTime(t)
}

func readTime(s *cryptobyte.String) (time.Time, bool) {
	var t time.Time
	if s.PeekASN1Tag(tag.UTCTime) {
		return t, s.ReadASN1UTCTime(&t)
	}
	return t, s.ReadASN1GeneralizedTime(&t)
}

// readAlgorithm reads an AlgorithmIdentifier of one of the given algorithms
// whose parameters are absent or NULL.
func readAlgorithm(s *cryptobyte.String, oneOf ...asn1.ObjectIdentifier) bool {
	var seq cryptobyte.String
	if !s.ReadASN1(&seq, tag.SEQUENCE) || !readOID(&seq, nil, oneOf...) {
		return false
	}
	if seq.Empty() {
		return true
	}
	var null cryptobyte.String
	return seq.ReadASN1(&null, tag.NULL) && null.Empty() && seq.Empty()
}

// readOID reads one of the given object identifiers, into out unless that is nil.
func readOID(s *cryptobyte.String, out *asn1.ObjectIdentifier, oneOf ...asn1.ObjectIdentifier) bool {
	var oid asn1.ObjectIdentifier
	if !s.ReadASN1ObjectIdentifier(&oid) {
		return false
	}
	if out != nil {
		*out = oid
	}
	return slices.ContainsFunc(oneOf, oid.Equal)
}

// readInt reads a non-negative INTEGER of at most max.
func readInt(s *cryptobyte.String, max uint64) (uint64, bool) {
	var n uint64
	return n, s.ReadASN1Integer(&n) && n <= max
}

// readVersion reads a version that is one of those given.
func readVersion(s *cryptobyte.String, oneOf ...uint64) bool {
	var n uint64
	return s.ReadASN1Integer(&n) && slices.Contains(oneOf, n)
}

// party is how a message names a key: by id, or by the issuer and serial number
// of a certificate that is in the message.
type party struct {
	keyID        string
	issuerSerial []byte // the whole SEQUENCE, if it is not a key name
}

// readParty reads a SignerIdentifier or RecipientIdentifier:
// issuerAndSerialNumber, or [0] subjectKeyIdentifier with the key id's bytes.
func readParty(s *cryptobyte.String) (party, bool) {
	var id cryptobyte.String
	if s.PeekASN1Tag(tagImplicit0) {
		ok := s.ReadASN1(&id, tagImplicit0) && len(id) == keyIDLen
		return party{keyID: hex.EncodeToString(id)}, ok
	}
	var whole, issuer cryptobyte.String
	if !s.ReadASN1Element(&whole, tag.SEQUENCE) {
		return party{}, false
	}
	id = whole
	var serial []byte
	if !id.ReadASN1(&id, tag.SEQUENCE) || !id.ReadASN1Element(&issuer, tag.SEQUENCE) ||
		!id.ReadASN1Integer(&serial) || !id.Empty() {
		return party{}, false
	}
	if !bytes.Equal(issuer, keyIssuer) {
		return party{issuerSerial: whole}, true
	}
	if len(serial) > keyIDLen {
		return party{}, false
	}
	return party{keyID: hex.EncodeToString(append(make([]byte, keyIDLen-len(serial)), serial...))}, true
}
