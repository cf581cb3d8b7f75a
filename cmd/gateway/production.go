package main

import (
	"os"
	"path/filepath"

	"github.com/emmansun/gmsm/smx509"

	"yizheng/cmd/gateway/setup"
	"yizheng/cmd/internal/assembly"
	"yizheng/seal/keystore"
)

// strict holds a production configuration to what production demands. It names
// every violation at once; a demo configuration passes.
func (c *Config) strict() error {
	if c.Mode != "production" {
		return nil
	}
	var s assembly.Strictness
	s.PrivateKeys(append([]string{c.Keys.Gateway, c.Audit.Key}, c.sealKeys()...)...)
	s.PseudonymKey("audit.pseudonym_key", c.Audit.Pseudonyms, c.Audit.PseudonymKey)
	pins, err := c.sealPINs()
	if err != nil {
		s.Bad(c.Seals.Dir, "密码机私钥的说明文件有误："+err.Error(), "a file about a key in a module is faulty: "+err.Error())
	}
	s.Secrets(pins...)
	s.Secrets(c.Keys.Token, c.Keys.Store, c.Keys.Passphrase, c.TLS.Key, c.Store.DSNFile)
	s.Certificates(c.TLS.Certificate, c.TLS.ClientCA)
	if c.Kafka != nil {
		s.Certificates(c.Kafka.CA, c.Kafka.Certificate)
		s.Secrets(c.Kafka.Key)
	}
	roots, err := filepath.Glob(filepath.Join(c.Seals.Trust, "roots", "*.crt"))
	if err != nil {
		s.Bad(c.Seals.Trust, "无法读取", "cannot be read")
	}
	for _, path := range roots {
		if sampleRoot(path) {
			s.Bad(path, "示例印章根证书", "sample root of seals")
		}
	}
	s.Connections(c.Connections)
	if c.Kafka != nil && c.Kafka.Embedded {
		s.Bad("kafka.embedded", "内置消息代理仅供单机演示", "the embedded broker is for one machine only")
	}
	s.Log(c.Audit.Dir)
	s.StrictWitnesses(c.Audit.Witnesses)
	if t := c.Audit.Timestamp; t != nil {
		s.Certificates(t.CA)
	}
	return s.Err()
}

func (c *Config) sealKeys() []string {
	keys, err := filepath.Glob(filepath.Join(c.Seals.Dir, "*", "signer*.key"))
	if err != nil {
		return nil // only a malformed pattern; OpenRegistry will say what is wrong with the path
	}
	return keys
}

// sealPINs are the files with the PINs of modules that hold keys of seals.
func (c *Config) sealPINs() (pins []string, err error) {
	files, err := filepath.Glob(filepath.Join(c.Seals.Dir, "*", "signer-*.pkcs11"))
	for _, path := range files {
		m, err := keystore.ReadModule(path)
		if err != nil {
			return nil, err
		}
		pins = append(pins, m.PINFile)
	}
	return pins, err
}

func sampleRoot(path string) bool {
	b, err := os.ReadFile(path)
	if err != nil {
		return false // LoadTrust will say so
	}
	cert, err := smx509.ParseCertificatePEM(b)
	return err == nil && cert.Subject.CommonName == setup.SampleRoot
}
