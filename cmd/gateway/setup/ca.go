package setup

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"yizheng/cmd/internal/assembly"
)

// authority issues the TLS certificates: ECDSA P-256, which every TLS stack
// and browser speaks; SM2 is used above TLS, where it signs what must be proven later.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	now  time.Time
}

// openCA reads the CA below keys/tls or makes it.
func openCA(o Options) (*authority, error) {
	ca := &authority{dir: o.Dir, now: o.Now}
	base := filepath.Join(o.Dir, "keys/tls/ca")
	certPEM, err := os.ReadFile(base + ".crt")
	if errors.Is(err, os.ErrNotExist) {
		return ca, ca.make(base)
	}
	if err != nil {
		return nil, err
	}
	keyPEM, err := os.ReadFile(base + ".key")
	if err != nil {
		return nil, err
	}
	cert, key := block(certPEM), block(keyPEM)
	if ca.cert, err = x509.ParseCertificate(cert); err != nil {
		return nil, fmt.Errorf("%s.crt: %w", base, err)
	}
	k, err := x509.ParsePKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("%s.key: %w", base, err)
	}
	var ok bool
	if ca.key, ok = k.(*ecdsa.PrivateKey); !ok {
		return nil, fmt.Errorf("%s.key: not an ECDSA key", base)
	}
	return ca, nil
}

func block(b []byte) []byte {
	if p, _ := pem.Decode(b); p != nil {
		return p.Bytes
	}
	return nil
}

func (ca *authority) make(base string) error {
	t := &x509.Certificate{Subject: pkix.Name{CommonName: assembly.SampleCA}, IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, NotAfter: ca.now.AddDate(10, 0, 0)}
	key, der, err := ca.certify(t, nil, nil)
	if err != nil {
		return err
	}
	if ca.cert, err = x509.ParseCertificate(der); err != nil {
		return err
	}
	ca.key = key
	return writePair(base, key, der)
}

// issue makes base.crt and base.key: a server certificate if hosts are given, else a client's.
func (ca *authority) issue(base, name string, hosts []string) error {
	path := filepath.Join(ca.dir, base)
	if _, err := os.Stat(path + ".crt"); err == nil {
		return nil
	}
	t := &x509.Certificate{Subject: pkix.Name{CommonName: name}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, NotAfter: ca.now.AddDate(2, 0, 0)}
	for _, h := range hosts {
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	key, der, err := ca.certify(t, ca.cert, ca.key)
	if err != nil {
		return err
	}
	return writePair(path, key, der)
}

// certify signs t for a new key; without a parent it is self-signed.
func (ca *authority) certify(t, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if t.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 126)); err != nil {
		return nil, nil, err
	}
	t.NotBefore = ca.now.Add(-time.Minute)
	if parent == nil {
		parent, parentKey = t, key
	}
	der, err := x509.CreateCertificate(rand.Reader, t, parent, &key.PublicKey, parentKey)
	return key, der, err
}

func writePair(base string, key *ecdsa.PrivateKey, der []byte) error {
	k, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := write(base+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: k}), 0o600); err != nil {
		return err
	}
	return write(base+".crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
}

// IssueClient makes a client certificate: one with which a gateway or a front
// processor connects to the demo city's broker.
func IssueClient(o Options, base, name string) error {
	ca, err := openCA(o)
	if err != nil {
		return err
	}
	return ca.issue(base, name, nil)
}

// KeyPair makes base.key and base.pub.pem, SM2, if they are missing: of a part of
// the demo city that a real one has elsewhere.
func KeyPair(o Options, base string) error { return keyPair(o, base) }

// IssueServer makes a server certificate for a simulator of the demo city.
func IssueServer(o Options, base, name string) error {
	ca, err := openCA(o)
	if err != nil {
		return err
	}
	return ca.issue(base, name, o.Hosts)
}
