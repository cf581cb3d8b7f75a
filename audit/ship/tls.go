package ship

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// Files are paths of PEM files: who the sink must be, and who we are.
type Files struct {
	CA          string
	Certificate string // may be empty: the sink does not ask for one
	Key         string
}

// config is TLS 1.2 or newer against the pinned CA. There is no plain mode.
func (f Files) config() (*tls.Config, error) {
	pem, err := os.ReadFile(f.CA)
	if err != nil {
		return nil, fmt.Errorf("audit ship: ca: %w", err)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("audit ship: %s holds no certificate", f.CA)
	}
	if (f.Certificate == "") != (f.Key == "") {
		return nil, errors.New("audit ship: certificate and key go together")
	}
	if f.Certificate != "" {
		own, err := tls.LoadX509KeyPair(f.Certificate, f.Key)
		if err != nil {
			return nil, fmt.Errorf("audit ship: certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{own}
	}
	return c, nil
}
