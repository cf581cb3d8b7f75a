package envelope

import (
	"encoding/asn1"
	"encoding/hex"
	"math"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm4"
	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"

	"yizheng/seal/cms/der"
)

// minSealed is less than any message of this form can have.
const minSealed = 128

// parseEnveloped reads ContentInfo(EnvelopedData) with one recipient and
// nothing optional. Its parts are slices of raw.
func parseEnveloped(raw []byte) (envelopedMessage, bool) {
	var m envelopedMessage
	if len(raw) < minSealed || len(raw) > MaxSealed {
		return m, false
	}
	s := cryptobyte.String(raw)
	var explicit, enveloped, recipients, recipient, encrypted, algorithm, key, iv, content cryptobyte.String
	if !der.ReadContentInfo(&s, &explicit, nil, oidEnveloped, oidEnvelopedPKCS7) || !s.Empty() ||
		!explicit.ReadASN1(&enveloped, tag.SEQUENCE) || !explicit.Empty() {
		return m, false
	}
	if !der.ReadVersion(&enveloped, 0, 1, 2) || // GM/T 0010 says 1, RFC 5652 says 0 or 2
		!enveloped.ReadASN1(&recipients, tag.SET) ||
		!enveloped.ReadASN1(&encrypted, tag.SEQUENCE) || !enveloped.Empty() ||
		!recipients.ReadASN1(&recipient, tag.SEQUENCE) || !recipients.Empty() {
		return m, false
	}
	if !der.ReadVersion(&recipient, 0, 1, 2) { // likewise
		return m, false
	}
	var ok bool
	if m.recipient, ok = readParty(&recipient); !ok || m.recipient.keyID == "" ||
		!der.ReadAlgorithm(&recipient, nil, oidSM2Encrypt, der.OIDSM2) ||
		!recipient.ReadASN1(&key, tag.OCTET_STRING) || !recipient.Empty() || !isSM2Cipher(key) {
		return m, false
	}
	if !der.ReadOID(&encrypted, nil, der.OIDData, der.OIDDataPKCS7) ||
		!encrypted.ReadASN1(&algorithm, tag.SEQUENCE) ||
		!der.ReadOID(&algorithm, nil, oidSM4CBC, oidSM4) ||
		!algorithm.ReadASN1(&iv, tag.OCTET_STRING) || !algorithm.Empty() || len(iv) != sm4.BlockSize ||
		!encrypted.ReadASN1(&content, der.Implicit0) || !encrypted.Empty() ||
		len(content) == 0 || len(content)%sm4.BlockSize != 0 {
		return m, false
	}
	m.encryptedKey, m.iv, m.content = key, iv, content
	return m, true
}

// isSM2Cipher reports whether der is SEQUENCE { x INTEGER, y INTEGER, hash
// OCTET STRING, cipher OCTET STRING } (GB/T 35276, 7.2) of a 16-byte key.
func isSM2Cipher(der cryptobyte.String) bool {
	var seq, hash, text cryptobyte.String
	var x, y []byte
	return der.ReadASN1(&seq, tag.SEQUENCE) && der.Empty() &&
		seq.ReadASN1Integer(&x) && len(x) <= 32 &&
		seq.ReadASN1Integer(&y) && len(y) <= 32 &&
		seq.ReadASN1(&hash, tag.OCTET_STRING) && len(hash) == 32 &&
		seq.ReadASN1(&text, tag.OCTET_STRING) && len(text) == sm4.BlockSize && seq.Empty()
}

// parseSigned reads ContentInfo(SignedData) with one signer, signed attributes
// and no unsigned ones. Its parts are slices of raw.
func parseSigned(raw []byte) (signedMessage, bool) {
	var m signedMessage
	s := cryptobyte.String(raw)
	var explicit, signed, digests, content, body, certificates, signers, signer cryptobyte.String
	var contentType asn1.ObjectIdentifier
	if !der.ReadContentInfo(&s, &explicit, nil, der.OIDSigned, der.OIDSignedPKCS7) || !s.Empty() ||
		!explicit.ReadASN1(&signed, tag.SEQUENCE) || !explicit.Empty() {
		return m, false
	}
	var withCertificates bool
	if !der.ReadVersion(&signed, 1, 3) || // GM/T 0010 says 1, RFC 5652 says 3
		!signed.ReadASN1(&digests, tag.SET) || !der.ReadAlgorithm(&digests, nil, der.OIDSM3) || !digests.Empty() ||
		!der.ReadContentInfo(&signed, &content, &contentType, der.OIDData, der.OIDDataPKCS7) ||
		!content.ReadASN1(&body, tag.OCTET_STRING) || !content.Empty() || len(body) > MaxBody ||
		!signed.ReadOptionalASN1(&certificates, &withCertificates, der.Explicit0) ||
		!signed.ReadASN1(&signers, tag.SET) || !signed.Empty() ||
		!signers.ReadASN1(&signer, tag.SEQUENCE) || !signers.Empty() {
		return m, false
	}
	m.body, m.contentType = body, contentType
	return m, m.readSigner(signer, certificates)
}

// readSigner reads the contents of SignerInfo.
func (m *signedMessage) readSigner(s, certificates cryptobyte.String) bool {
	if !der.ReadVersion(&s, 1, 3) { // 3 with a subjectKeyIdentifier
		return false
	}
	who, ok := readParty(&s)
	if !ok {
		return false
	}
	if m.signer = who.keyID; m.signer == "" {
		m.signer = certified(certificates, who.issuerSerial)
	}
	var attributes, signature cryptobyte.String
	if m.signer == "" || !der.ReadAlgorithm(&s, nil, der.OIDSM3) ||
		!s.ReadASN1Element(&attributes, der.Explicit0) ||
		!der.ReadAlgorithm(&s, nil, der.OIDSM2SM3, der.OIDSM2Sign, der.OIDSM2) ||
		!s.ReadASN1(&signature, tag.OCTET_STRING) || !s.Empty() {
		return false
	}
	m.signature = signature
	m.signed = append([]byte{byte(tag.SET)}, attributes[1:]...) // as it was signed (RFC 5652, 5.4)
	set := attributes
	return set.ReadASN1(&set, der.Explicit0) && m.readAttributes(set)
}

// readAttributes reads the signed attributes: the four of ours once each, in DER
// order; others are signed, so they do no harm, and mean nothing.
func (m *signedMessage) readAttributes(set cryptobyte.String) bool {
	seen := map[string]bool{}
	ok := der.ReadAttributes(set, func(oid asn1.ObjectIdentifier, value cryptobyte.String) bool {
		seen[oid.String()] = true
		return m.readAttribute(oid, value)
	})
	return ok && seen[der.OIDContentType.String()] && seen[der.OIDMessageDigest.String()] &&
		seen[der.OIDSigningTime.String()] && seen[oidFerry.String()]
}

func (m *signedMessage) readAttribute(oid asn1.ObjectIdentifier, value cryptobyte.String) bool {
	switch {
	case oid.Equal(der.OIDContentType):
		return der.ReadOID(&value, nil, m.contentType) && value.Empty()
	case oid.Equal(der.OIDMessageDigest):
		return readBytes(&value, m.digest[:]) && value.Empty()
	case oid.Equal(der.OIDSigningTime):
		t, ok := der.ReadTime(&value)
		m.attributes.SignedAt = t.UTC()
		return ok && value.Empty()
	case oid.Equal(oidFerry):
		return readFerry(&value, &m.attributes) && value.Empty()
	}
	return true
}

// readBytes reads an OCTET STRING of exactly len(out) bytes into out.
func readBytes(s *cryptobyte.String, out []byte) bool {
	var b cryptobyte.String
	return s.ReadASN1(&b, tag.OCTET_STRING) && len(b) == len(out) && copy(out, b) == len(out)
}

func readText(s *cryptobyte.String, out *string) bool {
	var b cryptobyte.String
	ok := s.ReadASN1(&b, tag.UTF8String)
	*out = string(b)
	return ok && len(b) <= maxName
}

// readFerry reads our own attribute's value. Its fields are held to the same
// rules as before sealing.
func readFerry(value *cryptobyte.String, a *Attributes) bool {
	var s cryptobyte.String
	if !value.ReadASN1(&s, tag.SEQUENCE) {
		return false
	}
	var recipientKey [keyIDLen]byte
	var deadline int64
	version, ok := readInt(&s, ferryVersion)
	if !ok || version != ferryVersion {
		return false
	}
	kind, ok := readInt(&s, 2)
	if !ok || !readText(&s, &a.Exchange) || !readText(&s, &a.Leg) {
		return false
	}
	attempt, ok := readInt(&s, math.MaxInt32)
	if !ok || !readText(&s, &a.Sender) || !readText(&s, &a.Recipient) ||
		!readBytes(&s, recipientKey[:]) || !s.ReadASN1Integer(&deadline) || !readBytes(&s, a.LegDigest[:]) {
		return false
	}
	switch kind {
	case 1:
		a.Kind = Request
	case 2:
		a.Kind = Answer
	}
	a.Attempt = int(attempt)
	a.RecipientKey = hex.EncodeToString(recipientKey[:])
	a.Deadline = time.UnixMilli(deadline).UTC()
	return readReply(&s, a) && s.Empty() && a.check() == nil
}

// readReply reads the optional fields at the end of our attribute.
func readReply(s *cryptobyte.String, a *Attributes) bool {
	var field cryptobyte.String
	var there bool
	if !s.ReadOptionalASN1(&field, &there, der.Explicit0) ||
		there && !(readText(&field, &a.ReplyTo) && field.Empty() && a.ReplyTo != "") {
		return false
	}
	if !s.ReadOptionalASN1(&field, &there, der.Explicit1) {
		return false
	}
	if there {
		var point [65]byte
		if !readBytes(&field, point[:]) || !field.Empty() {
			return false
		}
		key, err := sm2.NewPublicKey(point[:])
		if err != nil {
			return false
		}
		a.ReplyKey = key
	}
	if !s.ReadOptionalASN1(&field, &there, der.Explicit2) {
		return false
	}
	if there {
		epoch, ok := readInt(&field, math.MaxUint64)
		if !ok || !field.Empty() || epoch == 0 {
			return false
		}
		a.Epoch = epoch
	}
	return true
}
