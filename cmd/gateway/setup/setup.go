// Package setup makes what a city needs before its first exchange: the CA and
// the TLS certificates of everyone the catalogue names, the SM2 keys of
// gateway, log, departments and read agents, the three separate administrators
// (system, security with two keys, audit), and the departments' seals.
//
// Nothing that exists is ever overwritten. Everything lies below one directory:
//
//	keys/gateway.key, audit.key, pseudonyms.key  SM2, PEM PKCS#8 (encrypted with a passphrase); *.pub.pem beside them
//	keys/token.key, store.key            raw secrets
//	keys/admins/                         system, security-1, security-2, audit, approver-1, approver-2
//	keys/departments/, agents/, fronts/, tls/  what the catalogue refers to by ${keys}/…
//	seals/<id>/                          one directory a seal, for seal.OpenRegistry
//	seals/journal.jws                    the register of seals (package seal/life)
//	fronts/<front>/seals/<id>/           of seals hosted at a front
//	trust/roots/                         roots that vouch for seals and signers
//	trust/makers/                        seal makers that are trusted
//	releases/                            published catalogue releases
//	roster.json                          all logs, signed by both security administrators
//	pseudonyms/, audit/                  of the audit log
//
// In a real city each key is made where it is used and only its public half
// travels; this is for a demo city and for a first installation.
package setup

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"yizheng/catalog"
	"yizheng/identity/jose"
)

// Options of Make.
type Options struct {
	Dir        string // made if it does not exist
	Catalog    string // directory of the catalogue's YAML files
	Font       string // TrueType font to draw the seals' pictures with
	Hosts      []string
	Passphrase []byte // encrypts every private key; nil leaves them plain, which production refuses
	Now        time.Time
}

// Administrators are the three separate roles; security has two keys because a release
// needs two. Who looks for a person in the audit log needs two approvers.
// A supervisor and a respondent of the city's first department work beside them.
var administrators = []string{"system", "security-1", "security-2", "audit", "approver-1", "approver-2", "supervisor-1", "respondent-1"}

// Make makes what is missing.
func Make(o Options) error {
	for _, d := range []string{"keys/admins", "keys/departments", "keys/agents", "keys/fronts", "keys/tls", "seals", "trust/roots", "trust/makers", "releases", "pseudonyms", "audit"} {
		if err := os.MkdirAll(filepath.Join(o.Dir, d), 0o700); err != nil {
			return fmt.Errorf("set up: %w", err)
		}
	}
	for _, f := range []func(Options) error{makeOwnKeys, makeCatalogueKeys, makeSeals, registerSeals} {
		if err := f(o); err != nil {
			return fmt.Errorf("set up: %w", err)
		}
	}
	return nil
}

func makeOwnKeys(o Options) error {
	for _, name := range []string{"gateway", "audit", "pseudonyms"} {
		if err := keyPair(o, "keys/"+name); err != nil {
			return err
		}
	}
	for _, name := range administrators {
		if err := keyPair(o, "keys/admins/"+name); err != nil {
			return err
		}
	}
	if err := secret(filepath.Join(o.Dir, "keys/token.key"), 16); err != nil {
		return err
	}
	return secret(filepath.Join(o.Dir, "keys/store.key"), 32)
}

// keyPair makes base.key and base.pub.pem below the directory.
func keyPair(o Options, base string) error {
	path := filepath.Join(o.Dir, base)
	if _, err := os.Stat(path + ".key"); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err // a key that is there stays as it is
	}
	k, err := jose.GenerateKey()
	if err != nil {
		return err
	}
	pem, err := jose.MarshalPublicKeyPEM(k.Public())
	if err != nil {
		return err
	}
	if err := write(path+".pub.pem", pem, 0o644); err != nil {
		return err
	}
	return k.WriteFile(path+".key", o.Passphrase)
}

func secret(path string, n int) error {
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		return err
	}
	return write(path, b, 0o600)
}

// write creates a file, or leaves one that exists alone.
func write(path string, b []byte, perm os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Close())
}

// makeCatalogueKeys makes every key and certificate the catalogue refers to.
func makeCatalogueKeys(o Options) error {
	files, err := catalog.KeyFiles(o.Catalog)
	if err != nil {
		return err
	}
	ca, err := openCA(o)
	if err != nil {
		return err
	}
	if err := ca.issue("keys/tls/gateway", "gateway", o.Hosts); err != nil {
		return err
	}
	for _, name := range administrators[1:] { // the system's administrator has no call to make
		if err := ca.issue("keys/tls/admin-"+name, name, nil); err != nil {
			return err
		}
	}
	for _, f := range files {
		path := "keys/" + f.Path
		switch f.Kind {
		case catalog.KindGrantKey, catalog.KindAgentKey, catalog.KindFrontKey:
			base, ok := strings.CutSuffix(path, ".pub.pem")
			if !ok {
				return fmt.Errorf("%s: 公钥文件名须以 .pub.pem 结尾 / a public key's file name must end in .pub.pem", f.For)
			}
			err = keyPair(o, base)
		case catalog.KindCertificate:
			base, ok := strings.CutSuffix(path, ".crt")
			if !ok {
				return fmt.Errorf("%s: 证书文件名须以 .crt 结尾 / a certificate's file name must end in .crt", f.For)
			}
			err = ca.issue(base, f.ID, nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
