package envelope

import (
	"bytes"
	"encoding/asn1"
	"encoding/hex"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"

	"yizheng/seal/cms/der"
)

// Object identifiers beside those of package der. The GM ones are written; the PKCS#7
// family of the same structures is read too.
var (
	oidEnveloped      = asn1.ObjectIdentifier{1, 2, 156, 10197, 6, 1, 4, 2, 3} // GM/T 0010
	oidEnvelopedPKCS7 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 3}

	oidSM2Encrypt = asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 301, 3} // encryption, written
	oidSM4        = asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 104}
	oidSM4CBC     = asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 104, 2} // written

	// oidFerry is our own attribute. Its arc is ours by use, not by registration:
	// the last number is the first seven hex digits of SM3("yizheng"), 0xefb9d6d.
	oidFerry = asn1.ObjectIdentifier{1, 2, 156, 251370861, 1, 1}
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

// addKeyName writes the issuerAndSerialNumber that names a bare key: keyIssuer,
// and the key id's 16 bytes as an unsigned integer.
func addKeyName(b *cryptobyte.Builder, keyID []byte) {
	der.AddSequence(b, func(b *cryptobyte.Builder) {
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

// readInt reads a non-negative INTEGER of at most max.
func readInt(s *cryptobyte.String, max uint64) (uint64, bool) {
	var n uint64
	return n, s.ReadASN1Integer(&n) && n <= max
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
	if s.PeekASN1Tag(der.Implicit0) {
		ok := s.ReadASN1(&id, der.Implicit0) && len(id) == keyIDLen
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
