package seal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/emmansun/gmsm/smx509"

	"yizheng/seal/ses"
)

// Facts are what a seal says of itself, once Inspect has held it against its
// maker's signature and its holder's certificate.
type Facts struct {
	ESID, Name string
	Validity   Validity
	MakerKid   string // key id of the maker's certificate
	HolderKid  string // key id of the holder's certificate
	Holder     string // common name of the holder's certificate
	Picture    ses.Picture
}

// Inspect judges a seal and the certificate it is to be used with (both DER):
// strict format, a version that signs here, the maker's signature, a picture that can be printed,
// the certificate in the seal's list, and a maker who is not the holder. With
// trust, maker and holder must be trusted too. Errors wrap ErrMaterial.
func Inspect(eseal, holder []byte, trust *Trust) (Facts, error) {
	fail := func(what string, err error) (Facts, error) {
		return Facts{}, fmt.Errorf("%w: %s: %w", ErrMaterial, what, err)
	}
	s, err := ses.ParseSeal(eseal)
	if err != nil {
		return fail("seal (印章)", err)
	}
	maker, err := checkSeal(s, trust)
	if err != nil {
		return fail("seal (印章)", err)
	}
	if err := checkPicture(s.Info.Picture); err != nil {
		return fail("picture (印模)", err)
	}
	cert, err := parseCert(holder)
	if err != nil {
		return fail("holder's certificate (签章证书)", err)
	}
	if err := checkHolder(s, cert, trust); err != nil {
		return fail("holder's certificate (签章证书)", err)
	}
	if oneKey(maker, cert) {
		return fail("seal (印章)", errSelfMade)
	}
	name, _ := subject(cert)
	p := s.Info.Property
	return Facts{ESID: s.Info.ESID, Name: p.Name, Validity: Validity{p.ValidStart, p.ValidEnd}, MakerKid: keyID(maker), HolderKid: keyID(cert),
		Holder: name, Picture: s.Info.Picture}, nil
}

// CheckHolderCert checks a certificate (DER) for which a seal is applied: an SM2
// key that may sign, and, with trust, a chain that holds now.
func CheckHolderCert(der []byte, v Validity, trust *Trust) error {
	cert, err := parseCert(der)
	if err != nil {
		return fmt.Errorf("%w: holder's certificate (签章证书): %w", ErrMaterial, err)
	}
	if !v.From.Before(v.Until) || cert.NotAfter.Before(v.From) || v.Until.Before(cert.NotBefore) {
		return fmt.Errorf("%w: %w", ErrMaterial, errors.New("the seal's validity and its certificate's never overlap (印章与证书有效期不相交)"))
	}
	if trust == nil {
		return nil
	}
	if _, err := trust.chain(cert, cert.NotBefore, forSigner); err != nil {
		return fmt.Errorf("%w: holder's certificate (签章证书): %w", ErrMaterial, err)
	}
	return nil
}

// ParseCertificate parses a certificate in DER and insists on an SM2 key (an
// *ecdsa.PublicKey). Errors wrap ErrMaterial.
func ParseCertificate(der []byte) (*smx509.Certificate, error) {
	cert, err := parseCert(der)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMaterial, err)
	}
	return cert, nil
}

// ReadFiles reads seal and signing certificate, both DER, from a seal's directory.
// Errors wrap ErrMaterial.
func ReadFiles(dir string) (eseal, holder []byte, err error) {
	if eseal, err = os.ReadFile(filepath.Join(dir, sealFile)); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrMaterial, err)
	}
	cert, err := readCert(filepath.Join(dir, certFile))
	if err != nil {
		return nil, nil, err
	}
	return eseal, cert.Raw, nil
}
