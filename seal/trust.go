package seal

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/emmansun/gmsm/smx509"

	"yizheng/seal/keystore"
	"yizheng/seal/revocation"
)

// Trust is what a verifier believes, loaded from a directory:
//
//	roots/*.crt          PEM SM2 root certificates, at least one; they vouch for
//	                     makers and for holders
//	makers/*.crt         PEM certificates of the seal makers, at least one
//	intermediates/*.crt  optional PEM certificates between a root and the others
//	tsa/*.crt            optional PEM roots of time stamp authorities, whatever their
//	                     keys; those under roots need none
//	crl/*.crl            optional revocation lists of those authorities, PEM or DER
//	seals-status*.json   optional signed lists of suspended and revoked seals, one of
//	                     each maker
//
// A maker is trusted by its certificate, byte for byte: holders have certificates of
// the same roots, and none of them may make itself a seal in another's name.
//
// It does not change after loading, but for the status lists (ReloadStatus), and is
// safe for concurrent use. Without LoadTrust
// (nil or zero) it trusts nobody.
type Trust struct {
	roots, intermediates *smx509.CertPool
	stampRoots           *smx509.CertPool // roots and tsa
	authorities          []*smx509.Certificate
	revocations          *revocation.Checker
	makers               map[string]bool // by raw certificate
	dir                  string          // where the status lists are
	status               statusLists
	ends                 []TrustEnd // of its certificates

	// What was found good before: chains, certificates that parsed, and seals of
	// pinned makers whose signature is right, by their bytes; and the ids of keys.
	chains recent[heldChain]
	certs  recent[*smx509.Certificate]
	seals  recent[*smx509.Certificate]
	kids   recent[string]

	// How documents of one kind begin, as far as they are the same, and what is
	// signed with one seal. The digest of each goes on from there.
	kinds, begun keystore.Beginnings
}

// TrustOptions of OpenTrust. The zero value uses no network.
type TrustOptions struct {
	// Revocation names the addresses of revocation lists and OCSP responders, and
	// what to do when nothing fresh is to be had.
	Revocation revocation.Config
}

// LoadTrust reads a trust directory for use without a network. Errors wrap
// ErrMaterial and name the file.
func LoadTrust(dir string) (*Trust, error) {
	return OpenTrust(dir, TrustOptions{Revocation: revocation.Config{Policy: revocation.Policy{Grace: defaultGrace}}})
}

// defaultGrace is for those who copy a trust directory now and then.
const defaultGrace = 7 * 24 * time.Hour

// OpenTrust reads a trust directory and adds what the options name. Errors wrap
// ErrMaterial and name the file or the address.
func OpenTrust(dir string, o TrustOptions) (*Trust, error) {
	checker, err := revocation.New(o.Revocation)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMaterial, err)
	}
	t := &Trust{
		roots: smx509.NewCertPool(), intermediates: smx509.NewCertPool(), revocations: checker,
		makers: map[string]bool{}, dir: dir,
	}
	n, err := t.load(filepath.Join(dir, "roots"), t.roots)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, fmt.Errorf("%w: %s: no root certificate (*.crt); put the authority's SM2 root there (请放入 SM2 根证书)", ErrMaterial, filepath.Join(dir, "roots"))
	}
	if _, err := t.load(filepath.Join(dir, "intermediates"), t.intermediates); err != nil {
		return nil, err
	}
	if err := t.loadStampRoots(filepath.Join(dir, "tsa")); err != nil {
		return nil, err
	}
	if err := t.loadCRLs(filepath.Join(dir, "crl")); err != nil {
		return nil, err
	}
	if err := t.loadMakers(filepath.Join(dir, "makers")); err != nil {
		return nil, err
	}
	if err := t.ReloadStatus(); err != nil {
		return nil, err
	}
	return t, nil
}

func (t *Trust) load(dir string, pool *smx509.CertPool) (int, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.crt"))
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrMaterial, err)
	}
	for _, path := range files {
		cert, err := readCert(path)
		if err != nil {
			return 0, err
		}
		if !cert.BasicConstraintsValid || !cert.IsCA {
			return 0, fmt.Errorf("%w: %s: not the certificate of an authority", ErrMaterial, path)
		}
		pool.AddCert(cert)
		t.until(path, cert)
		t.authorities = append(t.authorities, cert)
	}
	return len(files), nil
}

// loadStampRoots reads the roots of time stamp authorities, which need not be SM2.
func (t *Trust) loadStampRoots(dir string) error {
	t.stampRoots = t.roots.Clone()
	files, err := filepath.Glob(filepath.Join(dir, "*.crt"))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMaterial, err)
	}
	for _, path := range files {
		cert, err := readAnyCert(path)
		if err != nil {
			return err
		}
		if !cert.BasicConstraintsValid || !cert.IsCA {
			return fmt.Errorf("%w: %s: not the certificate of an authority", ErrMaterial, path)
		}
		t.stampRoots.AddCert(cert)
		t.until(path, cert)
		t.authorities = append(t.authorities, cert)
	}
	return nil
}

// loadMakers pins the makers. What their chains are worth is judged when they are
// used, at the time of use.
func (t *Trust) loadMakers(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.crt"))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMaterial, err)
	}
	if len(files) == 0 {
		return fmt.Errorf("%w: %s: no seal maker's certificate (*.crt), so no seal could be trusted; put the certificates of the makers you trust there (请放入受信任制章者的证书)", ErrMaterial, dir)
	}
	for _, path := range files {
		cert, err := readCert(path)
		if err != nil {
			return err
		}
		if cert.IsCA {
			return fmt.Errorf("%w: %s: the certificate of an authority, which makes no seals", ErrMaterial, path)
		}
		t.makers[string(cert.Raw)] = true
		t.until(path, cert)
	}
	return nil
}

func (t *Trust) loadCRLs(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.crl"))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMaterial, err)
	}
	for _, path := range files {
		raw, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrMaterial, err)
		}
		list, err := revocation.ParseList(raw, filepath.Base(path))
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrMaterial, path, err)
		}
		if !t.addCRL(list) {
			return fmt.Errorf("%w: %s: no authority of this directory signed it", ErrMaterial, path)
		}
	}
	return nil
}

// addCRL keeps a list for every authority that signed it.
func (t *Trust) addCRL(list *revocation.List) bool {
	signed := false
	for _, a := range t.authorities {
		if list.SignedBy(a) {
			t.revocations.Add(a, list)
			signed = true
		}
	}
	return signed
}

// statusOf returns the list of a maker, nil when there is none. A maker speaks for
// the seals it made and for no others: identifiers are unique to a maker only.
func (t *Trust) statusOf(maker *smx509.Certificate) *StatusList {
	if maker == nil {
		return nil
	}
	kid, ok := t.kids.find(maker.RawSubjectPublicKeyInfo)
	if !ok {
		kid = keyID(maker)
		t.kids.keep(maker.RawSubjectPublicKeyInfo, kid)
	}
	return t.status.of(kid)
}

// Revocation says whether a certificate was revoked at a time, as known now. It may
// call the addresses of TrustOptions, each bounded by its deadline; without any it
// looks into the directory's lists only.
func (t *Trust) Revocation(ctx context.Context, cert, issuer *smx509.Certificate, at, now time.Time) revocation.Status {
	if t == nil || t.revocations == nil {
		return revocation.Status{State: revocation.Unknown, Tolerated: true}
	}
	return t.revocations.Check(ctx, cert, issuer, at, now)
}
