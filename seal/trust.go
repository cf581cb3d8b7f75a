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
//	intermediates/*.crt  optional PEM certificates between a root and the others
//	crl/*.crl            optional revocation lists of those authorities, PEM or DER
//	seals-status.json    optional signed list of suspended and revoked seals
//
// It does not change after loading and is safe for concurrent use. Without LoadTrust
// (nil or zero) it trusts nobody.
type Trust struct {
	roots, intermediates *smx509.CertPool
	authorities          []*smx509.Certificate
	crls                 map[string]*smx509.RevocationList // by raw certificate of the issuer
	status               *StatusList
	chains               chainCache
}

// LoadTrust reads a trust directory. Errors wrap ErrMaterial and name the file.
func LoadTrust(dir string) (*Trust, error) {
	t := &Trust{roots: smx509.NewCertPool(), intermediates: smx509.NewCertPool(), crls: map[string]*smx509.RevocationList{}}
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
	if err := t.loadStatus(filepath.Join(dir, "seals-status.json")); err != nil {
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

func (t *Trust) loadStatus(path string) error {
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMaterial, err)
	}
	list, maker, err := parseStatusList(raw)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrMaterial, path, err)
	}
	issuer, err := t.chain(maker, list.Issued, forMaker)
	if err != nil {
		return fmt.Errorf("%w: %s: its signer: %w", ErrMaterial, path, err)
	}
	if r := t.revocation(maker, issuer); r.revoked && !r.at.After(list.Issued) {
		return fmt.Errorf("%w: %s: its signer: certificate revoked", ErrMaterial, path)
	}
	t.status = list
	return nil
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
