package seal

import (
	"bytes"
	"errors"
	"time"

	"github.com/emmansun/gmsm/smx509"
)

// errUsage is returned for a certificate that may not sign.
var errUsage = errors.New("key usage does not allow digital signatures")

// errMaker is returned for a certificate that is none of a trusted seal maker.
var errMaker = errors.New("not the certificate of a trusted seal maker (trust/makers)")

// errSelfMade is returned for a seal whose maker and holder are one.
var errSelfMade = errors.New("the seal was made by its own holder")

// role says what a certificate is used for.
type role int

const (
	forSigner role = iota // contentCommitment alone is enough
	forMaker              // digitalSignature, and no authority
)

// maker checks that cert is pinned as a seal maker's and held at a time, and returns
// its issuer. A chain to a root is not enough: every holder has one.
func (t *Trust) maker(cert *smx509.Certificate, at time.Time) (issuer *smx509.Certificate, err error) {
	if t == nil || !t.makers[string(cert.Raw)] {
		return nil, errMaker
	}
	return t.chain(cert, at, forMaker)
}

// oneKey reports whether two certificates have the same public key.
func oneKey(a, b *smx509.Certificate) bool {
	return bytes.Equal(a.RawSubjectPublicKeyInfo, b.RawSubjectPublicKeyInfo)
}

// chain checks that cert was valid at a time under the roots and may sign, and
// returns its issuer. It does not look at revocation.
func (t *Trust) chain(cert *smx509.Certificate, at time.Time, r role) (issuer *smx509.Certificate, err error) {
	if t == nil || t.roots == nil { // without roots the machine's own would count
		return nil, smx509.UnknownAuthorityError{Cert: cert}
	}
	usage := smx509.KeyUsageDigitalSignature
	if r == forSigner {
		usage |= smx509.KeyUsageContentCommitment
	}
	mayNot := cert.KeyUsage&usage == 0 || r == forMaker && cert.IsCA
	if c, ok := t.chains.find(cert.Raw); ok && c.holdsAt(at) && !mayNot {
		return c.issuer, nil
	}
	chains, err := cert.Verify(smx509.VerifyOptions{
		Roots: t.roots, Intermediates: t.intermediates, CurrentTime: at,
		KeyUsages: []smx509.ExtKeyUsage{smx509.ExtKeyUsageAny},
	})
	switch {
	case err != nil:
		return nil, err
	case mayNot, len(chains[0]) < 2: // the certificate is itself a root
		return nil, errUsage
	}
	t.chains.keep(cert.Raw, newHeldChain(cert, chains[0]))
	return chains[0][1], nil
}

// heldChain held for every time from through until.
type heldChain struct {
	issuer      *smx509.Certificate
	from, until time.Time
}

// holdsAt reports whether a time lies within the validity of all its certificates.
func (h heldChain) holdsAt(at time.Time) bool { return !at.Before(h.from) && !at.After(h.until) }

func newHeldChain(cert *smx509.Certificate, chain []*smx509.Certificate) heldChain {
	h := heldChain{issuer: chain[1], from: cert.NotBefore, until: cert.NotAfter}
	for _, above := range chain[1:] {
		if above.NotBefore.After(h.from) {
			h.from = above.NotBefore
		}
		if above.NotAfter.Before(h.until) {
			h.until = above.NotAfter
		}
	}
	return h
}
