package seal

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/smx509"

	"yizheng/identity/jose"
	"yizheng/seal/ses"
)

// Subject names the holder of a certificate. Code is the unified social credit
// code (GB 32100), written as the subject's serialNumber; empty where there is none.
type Subject struct {
	Name string
	Code string
}

// Validity bounds a certificate or a seal; both ends belong to it.
type Validity struct{ From, Until time.Time }

// Credential is a certificate with its private key.
type Credential struct {
	Cert *smx509.Certificate
	Key  *jose.Key
}

// CertPEM returns the certificate in PEM.
func (c Credential) CertPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Cert.Raw})
}

// ReadCredential reads a certificate (PEM) and its key (PEM PKCS#8; passphrasePath
// names the file with the passphrase of an encrypted one). Errors wrap ErrMaterial.
func ReadCredential(certPath, keyPath, passphrasePath string) (Credential, error) {
	cert, err := readCert(certPath)
	if err != nil {
		return Credential{}, err
	}
	key, err := jose.ReadKey(keyPath, passphrasePath)
	if err != nil {
		return Credential{}, fmt.Errorf("%w: %w", ErrMaterial, err)
	}
	if !samePublicKey(cert, key) {
		return Credential{}, fmt.Errorf("%w: %s is not the key of %s", ErrMaterial, keyPath, certPath)
	}
	return Credential{cert, key}, nil
}

// MakeRoot makes a self-signed SM2 root that may issue end certificates only.
func MakeRoot(s Subject, v Validity) (Credential, error) {
	key, err := jose.GenerateKey()
	if err != nil {
		return Credential{}, err
	}
	t, err := template(s, v)
	if err != nil {
		return Credential{}, err
	}
	t.IsCA, t.BasicConstraintsValid, t.MaxPathLenZero = true, true, true
	t.KeyUsage = smx509.KeyUsageCertSign | smx509.KeyUsageCRLSign
	return certify(rand.Reader, t, t, key, key)
}

// MakeMaker makes the certificate of a seal maker: digitalSignature and no CA
// (verifiers refuse a CA certificate as a maker).
func MakeMaker(root Credential, s Subject, v Validity) (Credential, error) {
	return makeEnd(root, s, v, smx509.KeyUsageDigitalSignature)
}

// MakeHolder makes the signing certificate of a seal's holder, a department:
// digitalSignature and contentCommitment.
func MakeHolder(root Credential, s Subject, v Validity) (Credential, error) {
	return makeEnd(root, s, v, smx509.KeyUsageDigitalSignature|smx509.KeyUsageContentCommitment)
}

func makeEnd(root Credential, s Subject, v Validity, usage smx509.KeyUsage) (Credential, error) {
	key, err := jose.GenerateKey()
	if err != nil {
		return Credential{}, err
	}
	t, err := template(s, v)
	if err != nil {
		return Credential{}, err
	}
	t.BasicConstraintsValid = true
	t.KeyUsage = usage
	return certify(rand.Reader, t, root.Cert, key, root.Key)
}

func template(s Subject, v Validity) (*smx509.Certificate, error) {
	if s.Name == "" || !v.From.Before(v.Until) {
		return nil, errors.New("seal: a certificate needs a name, and a validity that ends after it starts")
	}
	number, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("seal: certificate serial: %w", err)
	}
	return &smx509.Certificate{
		SerialNumber: number.SetBit(number, 126, 1), // positive, and of constant length
		Subject:      pkix.Name{Country: []string{"CN"}, Organization: []string{s.Name}, CommonName: s.Name, SerialNumber: s.Code},
		NotBefore:    v.From.UTC(), NotAfter: v.Until.UTC(),
	}, nil
}

func certify(random io.Reader, t, parent *smx509.Certificate, key, issuer *jose.Key) (Credential, error) {
	der, err := smx509.CreateCertificate(random, t, parent, key.Public(), issuer.SM2())
	if err != nil {
		return Credential{}, fmt.Errorf("seal: certificate: %w", err)
	}
	cert, err := parseCert(der)
	if err != nil {
		return Credential{}, fmt.Errorf("seal: certificate: %w", err)
	}
	return Credential{Cert: cert, Key: key}, nil
}

// SealOrder says what seal to make.
type SealOrder struct {
	ESID       string // identifier, ASCII: the seal register's 13 digits, or any code unique to its maker
	Name       string // 印章名称, for example 某市民政局业务专用章
	VendorID   string // ASCII
	PictureGIF []byte // as DrawRoundSeal returns it
	WidthMM    int
	HeightMM   int
	Created    time.Time
	Validity   Validity
	HolderCert *smx509.Certificate
	Version    ses.Version // 0: V4; V1 for the profile db37
}

// MakeSeal makes a unit's SESeal that lists the holder's certificate, signed
// by the maker. The result is DER.
func MakeSeal(maker Credential, o SealOrder) ([]byte, error) {
	return makeSeal(rand.Reader, maker, o)
}

func makeSeal(random io.Reader, maker Credential, o SealOrder) ([]byte, error) {
	if o.HolderCert == nil {
		return nil, errors.New("seal: a seal needs its holder's certificate")
	}
	info, err := ses.MarshalSealInfo(ses.SealInfo{
		Header: ses.Header{VendorID: o.VendorID, Version: int(o.Version)},
		ESID:   o.ESID,
		Property: ses.Property{
			Kind: ses.Unit, Name: o.Name, ListType: ses.Certificates, Certs: [][]byte{o.HolderCert.Raw},
			Created: o.Created, ValidStart: o.Validity.From, ValidEnd: o.Validity.Until,
		},
		Picture: ses.Picture{Type: "GIF", Data: o.PictureGIF, Width: o.WidthMM, Height: o.HeightMM},
	})
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	toSign, err := ses.SealToSign(info, maker.Cert.Raw)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	signature, err := maker.Key.SM2().Sign(random, toSign, sm2.DefaultSM2SignerOpts)
	if err != nil {
		return nil, fmt.Errorf("seal: maker's signature: %w", err)
	}
	return ses.MarshalSeal(info, maker.Cert.Raw, signature, nil)
}

// samePublicKey reports whether the certificate belongs to the key.
func samePublicKey(cert *smx509.Certificate, key *jose.Key) bool {
	pub, ok := cert.PublicKey.(*ecdsa.PublicKey)
	return ok && key.Public().Equal(pub)
}
