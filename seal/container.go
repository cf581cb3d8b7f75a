package seal

import (
	"errors"
	"time"

	"github.com/emmansun/gmsm/smx509"

	"yizheng/seal/ses"
)

// container is what the Contents of a signature field say, in one shape for every
// kind of them.
type container struct {
	standard string    // GB/T 38540-2020 and so on
	seal     *ses.Seal // nil when there is none
	cert     []byte    // DER of the certificate that signed
	at       time.Time // signing time, zero when it does not tell
	digest   []byte    // of the document, as it was signed
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

// openSES reads a SES_Signature and the zeros behind it.
func openSES(contents []byte) (*container, error) {
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
			case !verifySM2(cert, sig.RawTBS, sig.Signature):
				return errValue
			}
			return nil
		},
	}, nil
}
