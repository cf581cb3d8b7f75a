package revocation

import (
	"bytes"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"

	"github.com/emmansun/gmsm/smx509"
	"golang.org/x/crypto/cryptobyte"
)

// List is a whole revocation list of one issuer.
type List struct {
	crl     *smx509.RevocationList
	from    string
	revoked map[string]entry // by serial number
}

// entry is what a list says of a certificate.
type entry struct {
	since  time.Time
	reason Reason
}

// ParseList reads a revocation list, PEM or DER; from is the file or address that a
// Status will name. Lists that speak of a part of the certificates only (delta and
// indirect lists, lists with an issuing distribution point) are refused by their
// critical extensions: silence in them would mean nothing. Errors wrap ErrFormat.
func ParseList(raw []byte, from string) (*List, error) {
	if block, _ := pem.Decode(raw); block != nil {
		raw = block.Bytes
	}
	crl, err := smx509.ParseRevocationList(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotList, err)
	}
	if id := critical(crl.Extensions); id != nil {
		return nil, fmt.Errorf("%w: revocation list has the critical extension %s, so it is not a whole list", ErrFormat, id)
	}
	l := &List{crl: crl, from: from, revoked: make(map[string]entry, len(crl.RevokedCertificateEntries))}
	for _, e := range crl.RevokedCertificateEntries {
		if id := critical(e.Extensions); id != nil {
			return nil, fmt.Errorf("%w: an entry of the revocation list has the critical extension %s", ErrFormat, id)
		}
		at := e.RevocationTime.UTC()
		if invalid, ok := invalidityDate(e.Extensions); ok && invalid.Before(at) {
			at = invalid
		}
		now := entry{at, reasonOf(e.Extensions)}
		if old, twice := l.revoked[key(e.SerialNumber)]; twice { // the earlier time, the graver reason
			if old.since.Before(at) {
				now.since = old.since
			}
			if old.reason.graver(now.reason) {
				now.reason = old.reason
			}
		}
		l.revoked[key(e.SerialNumber)] = now
	}
	return l, nil
}

// SignedBy reports whether the list is the issuer's: its name, its signature, and its
// certificate's right to sign lists.
func (l *List) SignedBy(issuer *smx509.Certificate) bool {
	return bytes.Equal(issuer.RawSubject, l.crl.RawIssuer) && l.crl.CheckSignatureFrom(issuer) == nil
}

func (l *List) answer(cert *smx509.Certificate) answer {
	e := l.revoked[key(cert.SerialNumber)]
	return answer{
		source: SourceCRL, from: l.from, since: e.since, reason: e.reason,
		produced: l.crl.ThisUpdate.UTC(), nextUpdate: l.crl.NextUpdate.UTC(),
	}
}

func key(serial *big.Int) string { return string(serial.Bytes()) }

func critical(extensions []pkix.Extension) asn1.ObjectIdentifier {
	for _, e := range extensions {
		if e.Critical {
			return e.Id
		}
	}
	return nil
}

var oidInvalidityDate = asn1.ObjectIdentifier{2, 5, 29, 24}

// invalidityDate is when a key is known or feared to have been lost, which may lie
// before its revocation (RFC 5280, 5.3.2).
func invalidityDate(extensions []pkix.Extension) (t time.Time, ok bool) {
	for _, e := range extensions {
		if e.Id.Equal(oidInvalidityDate) {
			s := cryptobyte.String(e.Value)
			return t, s.ReadASN1GeneralizedTime(&t) && s.Empty()
		}
	}
	return t, false
}
