package main

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/emmansun/gmsm/smx509"

	"yizheng/cmd/gateway/setup"
	"yizheng/identity/jose"
)

// strict holds a production configuration to what production demands. It names
// every violation at once; a demo configuration passes.
func (c *Config) strict() error {
	if c.Mode != "production" {
		return nil
	}
	var errs []error
	bad := func(where, zh, en string) {
		errs = append(errs, fmt.Errorf("production: %s: %s / %s", where, zh, en))
	}
	for _, path := range append([]string{c.Keys.Gateway, c.Audit.Key}, c.sealKeys()...) {
		if protected, err := jose.IsProtected(path); err != nil {
			bad(path, "私钥无法读取", "private key cannot be read")
		} else if !protected {
			bad(path, "私钥未加密，请用口令保护", "private key is not encrypted; protect it with a passphrase")
		}
	}
	for _, path := range append([]string{c.Keys.Gateway, c.Keys.Token, c.Keys.Store, c.Keys.Passphrase, c.Audit.Key, c.TLS.Key, c.Store.DSNFile}, c.sealKeys()...) {
		if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
			bad(path, "其他用户可读写，请 chmod 600", "others can read or write it; chmod 600")
		}
	}
	trusted := []string{c.TLS.Certificate, c.TLS.ClientCA}
	if c.Kafka != nil {
		trusted = append(trusted, c.Kafka.CA, c.Kafka.Certificate)
	}
	for _, path := range trusted {
		if fromSampleCA(path) {
			bad(path, "示例 CA 的证书", "certificate of the sample CA")
		}
	}
	roots, err := filepath.Glob(filepath.Join(c.Seals.Trust, "roots", "*.crt"))
	if err != nil {
		bad(c.Seals.Trust, "无法读取", "cannot be read")
	}
	for _, path := range roots {
		if sampleRoot(path) {
			bad(path, "示例印章根证书", "sample root of seals")
		}
	}
	for _, name := range c.Connections.Simulated() {
		bad("connections."+name, "demo_tables 是模拟数据", "demo_tables are simulated data")
	}
	if c.Kafka != nil && c.Kafka.Embedded {
		bad("kafka.embedded", "内置消息代理仅供单机演示", "the embedded broker is for one machine only")
	}
	if err := writable(c.Audit.Dir); err != nil {
		bad("audit.dir", "审计目录不可写", "audit directory cannot be written")
	}
	return errors.Join(errs...)
}

func (c *Config) sealKeys() []string {
	keys, err := filepath.Glob(filepath.Join(c.Seals.Dir, "*", "signer*.key"))
	if err != nil {
		return nil // only a malformed pattern; OpenRegistry will say what is wrong with the path
	}
	return keys
}

func fromSampleCA(path string) bool {
	b, err := os.ReadFile(path)
	if err != nil {
		return false // reading it for TLS will say so
	}
	for p, rest := pem.Decode(b); p != nil; p, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(p.Bytes)
		if err == nil && (cert.Issuer.CommonName == setup.SampleCA || cert.Subject.CommonName == setup.SampleCA) {
			return true
		}
	}
	return false
}

func sampleRoot(path string) bool {
	b, err := os.ReadFile(path)
	if err != nil {
		return false // LoadTrust will say so
	}
	cert, err := smx509.ParseCertificatePEM(b)
	return err == nil && cert.Subject.CommonName == setup.SampleRoot
}

func writable(dir string) error {
	f, err := os.CreateTemp(dir, ".probe-")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}
