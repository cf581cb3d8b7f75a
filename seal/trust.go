package seal

import (
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/emmansun/gmsm/smx509"
)

// Trust is what a verifier believes, loaded from a directory:
//
//	roots/*.crt          PEM SM2 root certificates, at least one; they vouch for
//	                     makers and for holders
//	makers/*.crt         PEM certificates of the seal makers, at least one
//	intermediates/*.crt  optional PEM certificates between a root and the others
//	crl/*.crl            optional revocation lists of those authorities, PEM or DER
//	seals-status*.json   optional signed lists of suspended and revoked seals, one of
//	                     each maker
//
// A maker is trusted by its certificate, byte for byte: holders have certificates of
// the same roots, and none of them may make itself a seal in another's name.
//
// It does not change after loading and is safe for concurrent use. Without LoadTrust
// (nil or zero) it trusts nobody.
type Trust struct {
	roots, intermediates *smx509.CertPool
	authorities          []*smx509.Certificate
	crls                 map[string]*smx509.RevocationList // by raw certificate of the issuer
	makers               map[string]bool                   // by raw certificate
	status               map[string]*StatusList            // by the maker's key id
	chains               chainCache
}

// LoadTrust reads a trust directory. Errors wrap ErrMaterial and name the file.
func LoadTrust(dir string) (*Trust, error) {
	t := &Trust{
		roots: smx509.NewCertPool(), intermediates: smx509.NewCertPool(), crls: map[string]*smx509.RevocationList{},
		makers: map[string]bool{}, status: map[string]*StatusList{},
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
	if err := t.loadCRLs(filepath.Join(dir, "crl")); err != nil {
		return nil, err
	}
	if err := t.loadMakers(filepath.Join(dir, "makers")); err != nil {
		return nil, err
	}
	if err := t.loadStatus(dir); err != nil {
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
		t.authorities = append(t.authorities, cert)
	}
	return len(files), nil
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
		if block, _ := pem.Decode(raw); block != nil {
			raw = block.Bytes
		}
		crl, err := smx509.ParseRevocationList(raw)
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrMaterial, path, err)
		}
		if !t.addCRL(crl) {
			return fmt.Errorf("%w: %s: no authority of this directory signed it", ErrMaterial, path)
		}
	}
	return nil
}

// addCRL keeps the newest list of the authority that signed it.
func (t *Trust) addCRL(crl *smx509.RevocationList) bool {
	for _, a := range t.authorities {
		if string(a.RawSubject) != string(crl.RawIssuer) || crl.CheckSignatureFrom(a) != nil {
			continue
		}
		if old := t.crls[string(a.Raw)]; old == nil || old.ThisUpdate.Before(crl.ThisUpdate) {
			t.crls[string(a.Raw)] = crl
		}
		return true
	}
	return false
}

func (t *Trust) loadStatus(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "seals-status*.json"))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMaterial, err)
	}
	for _, path := range files {
		raw, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrMaterial, err)
		}
		if err := t.addStatus(raw); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrMaterial, path, err)
		}
	}
	return nil
}

// addStatus keeps the newest list of a pinned maker.
func (t *Trust) addStatus(raw []byte) error {
	list, maker, err := parseStatusList(raw)
	if err != nil {
		return err
	}
	issuer, err := t.maker(maker, list.Issued)
	if err != nil {
		return fmt.Errorf("its signer: %w", err)
	}
	if r := t.revocation(maker, issuer); r.revoked && !r.at.After(list.Issued) {
		return errors.New("its signer: certificate revoked")
	}
	id := keyID(maker)
	if old := t.status[id]; old == nil || old.Issued.Before(list.Issued) {
		t.status[id] = list
	}
	return nil
}

// statusOf returns the list of a maker, nil when there is none. A maker speaks for
// the seals it made and for no others: identifiers are unique to a maker only.
func (t *Trust) statusOf(maker *smx509.Certificate) *StatusList {
	if maker == nil {
		return nil
	}
	return t.status[keyID(maker)]
}

// revocation is what a revocation list says about a certificate.
type revocation struct {
	listed  bool // there is a list of the issuer
	thisUpd time.Time
	nextUpd time.Time
	revoked bool
	at      time.Time
}

func (t *Trust) revocation(cert, issuer *smx509.Certificate) revocation {
	crl := t.crls[string(issuer.Raw)]
	if crl == nil {
		return revocation{}
	}
	r := revocation{listed: true, thisUpd: crl.ThisUpdate, nextUpd: crl.NextUpdate}
	for _, e := range crl.RevokedCertificateEntries {
		if e.SerialNumber.Cmp(cert.SerialNumber) == 0 {
			r.revoked, r.at = true, e.RevocationTime
		}
	}
	return r
}
