package envelope

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/emmansun/gmsm/smx509"
	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"

	"yizheng/identity/jose"
	"yizheng/seal/cms/der"
)

// Certificate wraps a key in a self-signed X.509 certificate that has the key's
// name as issuer and serial number, for toolkits that take keys only in
// certificates. It states a key and proves nothing: trust comes from the
// catalogue. DER; times in whole seconds.
func Certificate(key *jose.Key, from, until time.Time) ([]byte, error) {
	id, _ := keyIDBytes(key.ID())
	template := &smx509.Certificate{
		SerialNumber: new(big.Int).SetBytes(id),
		RawSubject:   keyIssuer,
		SubjectKeyId: id,
		NotBefore:    from,
		NotAfter:     until,
		KeyUsage:     smx509.KeyUsageDigitalSignature | smx509.KeyUsageKeyEncipherment | smx509.KeyUsageDataEncipherment,
	}
	der, err := smx509.CreateCertificate(rand.Reader, template, template, key.Public(), key.SM2())
	if err != nil {
		return nil, fmt.Errorf("envelope: make key certificate: %w", err)
	}
	return der, nil
}

// nameOf is the issuerAndSerialNumber for the key with this id: its certificate's, or without
// one the key's own name.
func nameOf(keyID string, certificate []byte) ([]byte, error) {
	if certificate == nil {
		id, ok := keyIDBytes(keyID)
		if !ok {
			return nil, errors.New("key has no id")
		}
		return der.Build(64, func(b *cryptobyte.Builder) { addKeyName(b, id) })
	}
	name, id, ok := cutCertificate(certificate)
	if !ok || id != keyID {
		return nil, errors.New("not of this key")
	}
	return name, nil
}

// cutCertificate takes issuerAndSerialNumber and key id out of a certificate.
// Nothing else of it is looked at, since nothing else of it is trusted.
func cutCertificate(raw []byte) (issuerSerial []byte, keyID string, ok bool) {
	s := cryptobyte.String(raw)
	var certificate, tbs, serial, issuer, skipped, spki cryptobyte.String
	if !s.ReadASN1(&certificate, tag.SEQUENCE) || !s.Empty() ||
		!certificate.ReadASN1(&tbs, tag.SEQUENCE) ||
		!tbs.SkipOptionalASN1(der.Explicit0) || // version
		!tbs.ReadASN1Element(&serial, tag.INTEGER) ||
		!tbs.SkipASN1(tag.SEQUENCE) || // signature algorithm
		!tbs.ReadASN1Element(&issuer, tag.SEQUENCE) ||
		!tbs.SkipASN1(tag.SEQUENCE) || // validity
		!tbs.ReadASN1(&skipped, tag.SEQUENCE) || // subject
		!tbs.ReadASN1Element(&spki, tag.SEQUENCE) {
		return nil, "", false
	}
	parsed, err := smx509.ParsePKIXPublicKey(spki)
	if err != nil {
		return nil, "", false
	}
	key, isEC := parsed.(*ecdsa.PublicKey)
	if !isEC {
		return nil, "", false
	}
	issuerSerial, err = der.Build(len(issuer)+len(serial), func(b *cryptobyte.Builder) {
		der.AddSequence(b, func(b *cryptobyte.Builder) { b.AddBytes(issuer); b.AddBytes(serial) })
	})
	return issuerSerial, jose.KeyID(key), err == nil
}

// certified finds the key id of the certificate, among the contents of a SET OF
// certificates, that has this issuer and serial number.
func certified(certificates cryptobyte.String, issuerSerial []byte) (keyID string) {
	for !certificates.Empty() {
		var c cryptobyte.String
		if !certificates.ReadASN1Element(&c, tag.SEQUENCE) {
			return ""
		}
		name, id, ok := cutCertificate(c)
		if ok && bytes.Equal(name, issuerSerial) {
			return id
		}
	}
	return ""
}
