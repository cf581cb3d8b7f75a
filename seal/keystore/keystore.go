// Package keystore opens the keys that seal documents. Each is a crypto.Signer
// that signs whole messages with SM2 and SM3 and refuses a bare digest, so that
// nothing built on it can be made to sign what it has not seen.
//
// A seal's directory holds one of these for the key with id kid (jose.KeyID):
//
//	signer-KID.key     PEM PKCS#8, best encrypted: PBES2 with PBKDF2-HMAC-SM3 and
//	                   SM4-CBC (GM/T 0091), as package identity/jose writes it
//	signer-KID.pkcs11  a key inside a cryptographic module: JSON, see Module; only
//	                   in programs built with the tag pkcs11, which need cgo
//	signer.key         a file as the first, of a seal whose key has never changed
//
// A department that keeps its key has none here: its front processor seals.
package keystore

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/emmansun/gmsm/sm2"

	"yizheng/identity/jose"
)

var (
	// ErrBareDigest is returned to who asks a key to sign anything but a message.
	ErrBareDigest = errors.New("keystore: keys sign messages, never a bare digest (不对裸摘要签名)")
	// ErrNoKey is returned where a seal's directory holds no key.
	ErrNoKey = errors.New("keystore: no key here (没有签章私钥)")
	// ErrNotBuilt is returned for a key in a module by a program that cannot use one.
	ErrNotBuilt = errors.New("keystore: this program was built without PKCS#11; build it with -tags pkcs11 (本程序未含 PKCS#11 支持)")
)

// Key signs messages. It is a crypto.Signer whose Sign takes the whole message and
// sm2.DefaultSM2SignerOpts, and is safe for concurrent use.
type Key struct {
	public    *ecdsa.PublicKey
	sign      func(message []byte) ([]byte, error) // DER
	begun     *begun                               // nil: not in memory
	Protected bool                                 // encrypted at rest, or in a module that never gives it out
}

var _ crypto.Signer = (*Key)(nil)

// Public returns the public key, an *ecdsa.PublicKey.
func (k *Key) Public() crypto.PublicKey { return k.public }

// Sign signs message and returns DER; random may be nil. It returns ErrBareDigest
// for any options but sm2.DefaultSM2SignerOpts.
func (k *Key) Sign(_ io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	if opts != sm2.DefaultSM2SignerOpts {
		return nil, ErrBareDigest
	}
	return k.sign(message)
}

func (Key) String() string               { return "[seal key]" }
func (Key) GoString() string             { return "[seal key]" }
func (Key) Format(f fmt.State, _ rune)   { io.WriteString(f, "[seal key]") }
func (Key) MarshalJSON() ([]byte, error) { return []byte(`"[seal key]"`), nil }

const (
	plainFile    = "signer.key"
	modulePrefix = "signer-"
	moduleSuffix = ".pkcs11"
)

// FileName is the file of the key with an id.
func FileName(kid string) string { return "signer-" + kid + ".key" }

// ModuleName is the file that says where in a module the key with an id is.
func ModuleName(kid string) string { return modulePrefix + kid + moduleSuffix }

// Files lists a seal's key files, those that only point into a module included.
// It is empty for a directory that does not exist.
func Files(dir string) ([]string, error) {
	var all []string
	for _, pattern := range []string{"signer*.key", "signer*" + moduleSuffix} {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return nil, fmt.Errorf("keystore: %w", err)
		}
		all = append(all, files...)
	}
	return all, nil
}

// Find is the file of the key with an id: its own, or signer.key. It returns ErrNoKey.
func Find(dir, kid string) (string, error) {
	for _, name := range []string{FileName(kid), ModuleName(kid), plainFile} {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("keystore: %w", err)
		}
	}
	return "", fmt.Errorf("%w: %s", ErrNoKey, dir)
}

// Open opens the key in a file that Find returned and checks that it belongs to
// public. passphraseFile opens an encrypted one. Errors: jose.ErrPassphrase,
// ErrNotBuilt, or the file's.
func Open(path, passphraseFile string, public *ecdsa.PublicKey) (*Key, error) {
	if filepath.Ext(path) == moduleSuffix {
		return openModule(path, public)
	}
	k, err := jose.ReadKey(path, passphraseFile)
	if err != nil {
		return nil, err
	}
	if !k.Public().Equal(public) {
		return nil, fmt.Errorf("%s: is not the key of the certificate (不是该证书的私钥)", path)
	}
	protected, err := jose.IsProtected(path)
	if err != nil {
		return nil, err
	}
	begun, err := newBegun(k.SM2())
	if err != nil {
		return nil, err
	}
	return &Key{public: k.Public(), Protected: protected, sign: k.SignMessage, begun: begun}, nil
}

// Place puts a copy of a key where a seal's directory keeps the key of public. It
// is there whole or not at all; doing it again changes nothing.
func Place(dir, path, passphraseFile string, public *ecdsa.PublicKey) error {
	if _, err := Open(path, passphraseFile, public); err != nil {
		return err
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("keystore: %w", err)
	}
	defer clear(raw)
	name := FileName(jose.KeyID(public))
	if filepath.Ext(path) == moduleSuffix {
		name = ModuleName(jose.KeyID(public))
	}
	final := filepath.Join(dir, name)
	if _, err := os.Stat(final); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("keystore: %w", err)
	}
	temporary := filepath.Join(dir, ".key-"+rand.Text())
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("keystore: %w", err)
	}
	_, err = f.Write(raw)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(temporary, final)
	}
	if err != nil {
		return fmt.Errorf("keystore: %w", errors.Join(err, os.Remove(temporary)))
	}
	return nil
}
