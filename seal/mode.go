package seal

import (
	"bytes"
	"fmt"

	"github.com/emmansun/gmsm/smx509"
)

// Mode is the form of a document's signature. Both cover the same bytes, and both
// carry the seal, whose picture the page shows.
type Mode string

const (
	// ModeSES is the SES_Signature of the seal's own standard; the default.
	ModeSES Mode = "ses"
	// ModeCMS is a detached CMS message (adbe.pkcs7.detached), which programs that
	// know nothing of Chinese seals verify too. The seal stands beside it in the
	// signature dictionary and is covered by the signature.
	ModeCMS Mode = "cms"
)

func (m Mode) check() error {
	if m != "" && m != ModeSES && m != ModeCMS {
		return fmt.Errorf("unknown mode %q; there are ses and cms (没有这种签章格式)", string(m))
	}
	return nil
}

func (r *Registry) mode(id string) Mode {
	if m := r.options.Modes[id]; m != "" {
		return m
	}
	return r.options.Mode
}

// maxAbove bounds the authorities between a certificate and its root.
const maxAbove = 4

// above returns the authorities of the directory between a certificate and its root,
// which the verifier of a CMS message may not have.
func (t *Trust) above(cert *smx509.Certificate) []*smx509.Certificate {
	var list []*smx509.Certificate
	for range maxAbove {
		if cert = t.issuer(cert); cert == nil || bytes.Equal(cert.RawSubject, cert.RawIssuer) {
			break
		}
		list = append(list, cert)
	}
	return list
}

// issuer returns the authority that issued a certificate, nil when it is not in the
// directory.
func (t *Trust) issuer(cert *smx509.Certificate) *smx509.Certificate {
	if t == nil {
		return nil
	}
	for _, a := range t.authorities {
		if bytes.Equal(a.RawSubject, cert.RawIssuer) && cert.CheckSignatureFrom(a) == nil {
			return a
		}
	}
	return nil
}
