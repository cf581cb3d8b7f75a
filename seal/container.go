package seal

import (
	"bytes"
	"errors"
	"slices"
	"time"

	"github.com/emmansun/gmsm/smx509"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"yizheng/seal/cms"
	"yizheng/seal/cms/der"
	"yizheng/seal/pdf"
	"yizheng/seal/ses"
)

// container is what the Contents of a signature field say, in one shape for every
// kind of them.
type container struct {
	standard string    // GB/T 38540-2020 and so on
	seal     *ses.Seal // nil when there is none
	cert     []byte    // DER of the certificate that signed
	at       time.Time // signing time, zero when it does not tell
	digest   []byte    // of the document, as it was signed; nil when the value is over the document itself
	covers   string    // what the signer says is protected, "" when it does not tell
	value    []byte    // the signature value, DER of (r, s): what a time stamp is over
	stamp    []byte    // time stamp token, nil when there is none
	fault    error     // what breaks the standard, nil when nothing does

	// signedBy checks the signature value with a certificate.
	signedBy func(*smx509.Certificate) error
}

// Why a signature value is refused.
var (
	errAlgorithm = errors.New("algorithm is not SM2 with SM3")
	errValue     = errors.New("signature value is wrong")
)

// What is wrong with a CMS message beside its own form.
var (
	errBehind     = errors.New("bytes other than zero behind the message")
	errOwnContent = errors.New("the message holds a content of its own")
	errAnnounced  = errors.New("the SubFilter does not announce a CMS message")
)

// openSES reads a SES_Signature and the zeros behind it.
func (t *Trust) openSES(contents []byte) (*container, error) {
	sig, err := ses.ParseSignature(contents)
	if err != nil {
		return nil, err
	}
	at, _ := sig.TBS.SigningTime()
	return &container{
		standard: sig.Version.Standard(), seal: sig.Seal, cert: sig.Cert, at: at,
		digest: sig.TBS.DataHash, covers: sig.TBS.PropertyInfo, value: sig.Signature, stamp: sig.TimeStamp, fault: sig.CheckFormat(),
		signedBy: func(cert *smx509.Certificate) error {
			switch {
			case !sig.Algorithm.Equal(ses.OIDSM2WithSM3):
				return errAlgorithm
			case !t.sealSigned(cert, sig):
				return errValue
			}
			return nil
		},
	}, nil
}

// isCMS tells a CMS message, which begins with an OID, from a SES_Signature.
func isCMS(contents []byte) bool {
	s := cryptobyte.String(contents)
	var inside cryptobyte.String
	return s.ReadASN1(&inside, asn1.SEQUENCE) && inside.PeekASN1Tag(asn1.OBJECT_IDENTIFIER)
}

// cmsContainers are the SubFilters that announce a detached CMS message.
var cmsContainers = []string{"adbe.pkcs7.detached", "ETSI.CAdES.detached", "GM.sm2cms.detached", "GM.SM2"}

// openCMS reads a detached CMS message and the zeros behind it, and the seal that
// documents made here carry beside it.
func openCMS(field pdf.Signature, file []byte) (*container, error) {
	rest := cryptobyte.String(field.Contents)
	var raw cryptobyte.String
	if !rest.ReadASN1Element(&raw, asn1.SEQUENCE) || len(bytes.Trim(rest, "\x00")) > 0 {
		return nil, errBehind
	}
	m, err := cms.Parse(raw)
	if err != nil {
		return nil, err
	}
	c := &container{standard: "CMS (RFC 5652), SM2", cert: m.Cert, at: m.SigningTime, digest: m.Digest, value: m.Signature, stamp: m.TimeStamp}
	if m.GM {
		c.standard = "GM/T 0010"
	}
	if c.at.IsZero() {
		c.at = field.M
	}
	switch {
	case m.Content != nil:
		c.fault = errOwnContent
	case !slices.Contains(cmsContainers, field.SubFilter):
		c.fault = errAnnounced
	}
	if field.Seal != nil {
		if c.seal, err = ses.ParseSeal(field.Seal); err == nil {
			c.standard += " + " + c.seal.Version.Standard()
			err = c.seal.CheckFormat()
		}
		if c.fault == nil {
			c.fault = err
		}
	}
	c.signedBy = func(cert *smx509.Certificate) error { return cmsSignedBy(m, cert, field, file) }
	return c, nil
}

// cmsSignedBy checks the signature value; that the digest is the document's is left
// to the check of the digest, where the value is not over the document itself.
func cmsSignedBy(m *cms.Message, cert *smx509.Certificate, field pdf.Signature, file []byte) error {
	if !m.DigestAlgorithm.Equal(der.OIDSM3) {
		return errAlgorithm
	}
	if m.Attributes != nil {
		if m.VerifyAttributes(cert) != nil {
			return errValue
		}
		return nil
	}
	before, after, err := field.Covered(file)
	if err != nil || m.Verify(before, after) != nil {
		return errValue
	}
	return nil
}
