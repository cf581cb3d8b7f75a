// Package seal puts a department's electronic seal on a document and checks sealed
// documents, by GB/T 38540-2020 with SM2 and SM3.
//
// A signature is a DER structure in a PDF's signature field (packages seal/ses and
// seal/pdf hold the two formats):
//
//	SES_Signature = { TBS, holder's certificate, SM2 with SM3, SM2(TBS) }
//	TBS           = { 4, SESeal, time, SM3(document), "/ByteRange" }
//	SESeal        = { SealInfo, maker's certificate, SM2 with SM3, SM2(SealInfo) }
//
// SM2 always uses the user id 1234567812345678 and signs the raw bytes.
//
// Registry holds the seals that may be used here; Sign is the only way to use one
// and takes a rendered document, never a bare digest. Verify answers with a Report
// of eight checks (GB/T 39047 5.2.3.3 e), offline, from the file and a Trust
// directory alone; none of them is skipped silently. Who may make seals is pinned in
// that directory: a holder's certificate makes none. The Make functions create a
// root, a seal maker, holders' certificates and seals for a first set-up.
//
// What the package guarantees: a seal outside its validity, or one that is
// suspended or revoked, does not sign; verification runs over the bytes as they
// stand in the file; nothing of a document's content reaches an error or a report,
// but for the certificate number, the receipt and what is printed on the seal.
package seal

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm3"
	"github.com/emmansun/gmsm/smx509"

	"yizheng/identity/jose"
)

var (
	// ErrUnknownSeal is returned for a seal the registry does not hold.
	ErrUnknownSeal = errors.New("seal: unknown seal (没有这枚印章，请核对印章编号)")
	// ErrSealNotValid is returned for a seal that must not be used: not issued, not
	// yet or no longer valid, suspended or revoked, or its certificate expired.
	ErrSealNotValid = errors.New("seal: seal must not be used (印章不可用，请联系印章管理员)")
	// ErrMaterial is wrapped by errors about files of a seal or trust directory.
	ErrMaterial = errors.New("seal: faulty seal material (印章材料有误)")
)

// signSM2 signs msg (not a digest) with the default user id; the result is DER.
func signSM2(key crypto.Signer, msg []byte) ([]byte, error) {
	return key.Sign(rand.Reader, msg, sm2.DefaultSM2SignerOpts)
}

// verifySM2 checks a DER signature over msg with the default user id.
func verifySM2(cert *smx509.Certificate, msg, signature []byte) bool {
	pub, ok := cert.PublicKey.(*ecdsa.PublicKey)
	return ok && sm2.IsSM2PublicKey(pub) && sm2.VerifyASN1WithSM2(pub, nil, msg, signature)
}

func digest(b []byte) []byte {
	sum := sm3.Sum(b)
	return sum[:]
}

// serial returns a certificate's serial number in lower-case hexadecimal.
func serial(cert *smx509.Certificate) string {
	return hex.EncodeToString(cert.SerialNumber.Bytes())
}

// subject returns the common name and the code (serialNumber of the subject, for a
// department its unified social credit code).
func subject(cert *smx509.Certificate) (name, code string) {
	return cert.Subject.CommonName, cert.Subject.SerialNumber
}

// readCert reads one PEM certificate with an SM2 key.
func readCert(path string) (*smx509.Certificate, error) {
	cert, err := readAnyCert(path)
	if err == nil {
		cert, err = parseCert(cert.Raw)
		if err != nil {
			err = fmt.Errorf("%w: %s: %w", ErrMaterial, path, err)
		}
	}
	return cert, err
}

// readAnyCert reads one PEM certificate, whatever its key.
func readAnyCert(path string) (*smx509.Certificate, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMaterial, err)
	}
	block, rest := pem.Decode(raw)
	if block == nil || block.Type != "CERTIFICATE" || len(bytes.TrimSpace(rest)) > 0 {
		return nil, fmt.Errorf("%w: %s: expected exactly one PEM CERTIFICATE", ErrMaterial, path)
	}
	cert, err := smx509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: not an X.509 certificate: %w", ErrMaterial, path, err)
	}
	return cert, nil
}

// keyID returns the key id (jose.KeyID) of a certificate from parseCert.
func keyID(cert *smx509.Certificate) string {
	return jose.KeyID(cert.PublicKey.(*ecdsa.PublicKey)) // parseCert returns no other
}

// parseCert parses a DER certificate and insists on an SM2 key.
func parseCert(der []byte) (*smx509.Certificate, error) {
	cert, err := smx509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("not an X.509 certificate: %w", err)
	}
	if pub, ok := cert.PublicKey.(*ecdsa.PublicKey); !ok || !sm2.IsSM2PublicKey(pub) {
		return nil, errors.New("the certificate's key is not SM2")
	}
	return cert, nil
}
