package assembly

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"yizheng/identity/jose"
)

// SampleCA is the common name of the CA that `gateway init` makes. Production
// refuses certificates that chain to it.
const SampleCA = "Yizheng sample CA"

// Strictness collects what a production configuration must not have.
type Strictness struct{ errs []error }

// Bad notes a violation.
func (s *Strictness) Bad(where, zh, en string) {
	s.errs = append(s.errs, fmt.Errorf("production: %s: %s / %s", where, zh, en))
}

// Err names every violation at once.
func (s *Strictness) Err() error { return errors.Join(s.errs...) }

// PrivateKeys have to be encrypted, and nobody else's to read.
func (s *Strictness) PrivateKeys(paths ...string) {
	for _, path := range paths {
		if protected, err := jose.IsProtected(path); err != nil {
			s.Bad(path, "私钥无法读取", "private key cannot be read")
		} else if !protected {
			s.Bad(path, "私钥未加密，请用口令保护", "private key is not encrypted; protect it with a passphrase")
		}
	}
	s.Secrets(paths...)
}

// Secrets are nobody else's to read. One that is missing is not noted here: whoever reads it will say so.
func (s *Strictness) Secrets(paths ...string) {
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
			s.Bad(path, "其他用户可读写，请 chmod 600", "others can read or write it; chmod 600")
		}
	}
}

// Certificates must not be of the sample CA.
func (s *Strictness) Certificates(paths ...string) {
	for _, path := range paths {
		if fromSampleCA(path) {
			s.Bad(path, "示例 CA 的证书", "certificate of the sample CA")
		}
	}
}

// Connections must not hold simulated data.
func (s *Strictness) Connections(c Connections) {
	for _, name := range c.Simulated() {
		s.Bad("connections."+name, "demo_tables 是模拟数据", "demo_tables are simulated data")
	}
}

// Log is an audit log's directory.
func (s *Strictness) Log(dir string) {
	if err := Writable(dir); err != nil {
		s.Bad("audit.dir", "审计目录不可写", "audit directory cannot be written")
	}
}

// Writable makes a file in a directory and removes it.
func Writable(dir string) error {
	f, err := os.CreateTemp(dir, ".probe-")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

func fromSampleCA(path string) bool {
	b, err := os.ReadFile(path)
	if err != nil {
		return false // reading it for TLS will say so
	}
	for p, rest := pem.Decode(b); p != nil; p, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(p.Bytes)
		if err == nil && (cert.Issuer.CommonName == SampleCA || cert.Subject.CommonName == SampleCA) {
			return true
		}
	}
	return false
}
