package jose

import (
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/emmansun/gmsm/pkcs"
	"github.com/emmansun/gmsm/pkcs8"
	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm3"
	"github.com/emmansun/gmsm/smx509"
)

const (
	pemPlain     = "PRIVATE KEY"
	pemProtected = "ENCRYPTED PRIVATE KEY"
	pemPublic    = "PUBLIC KEY"

	kdfSalt  = 16
	kdfRound = 100_000 // about 50 ms on one core
)

// ErrPassphrase is returned for a protected key without its passphrase, or with a wrong one.
var ErrPassphrase = errors.New("private key's passphrase missing or wrong")

// Key is an SM2 private key. It cannot print itself.
type Key struct {
	private *sm2.PrivateKey
	id      string
}

// GenerateKey makes a new key.
func GenerateKey() (*Key, error) {
	k, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate SM2 key: %w", err)
	}
	return NewKey(k), nil
}

// NewKey wraps an SM2 private key.
func NewKey(k *sm2.PrivateKey) *Key {
	return &Key{private: k, id: KeyID(&k.PublicKey)}
}

// ID returns the key's kid.
func (k *Key) ID() string { return k.id }

// KeyID is ID.
func (k *Key) KeyID() string { return k.id }

// Public returns the public half.
func (k *Key) Public() *ecdsa.PublicKey { return &k.private.PublicKey }

// SM2 returns the private key itself, for X.509 and seal signing.
func (k *Key) SM2() *sm2.PrivateKey { return k.private }

// SignMessage signs msg (SM3 with the default user id) and returns the
// signature in ASN.1 DER.
func (k *Key) SignMessage(msg []byte) ([]byte, error) {
	return k.private.Sign(rand.Reader, msg, sm2.DefaultSM2SignerOpts)
}

func (Key) String() string               { return "[SM2 private key]" }
func (Key) GoString() string             { return "[SM2 private key]" }
func (Key) Format(f fmt.State, _ rune)   { io.WriteString(f, "[SM2 private key]") }
func (Key) MarshalJSON() ([]byte, error) { return []byte(`"[SM2 private key]"`), nil }
func (Key) LogValue() slog.Value         { return slog.StringValue("[SM2 private key]") }

// KeyID returns the kid of a public key: the first 16 bytes of SM3 over its
// SubjectPublicKeyInfo, in lower-case hex. It is empty for a key that has no
// such encoding.
func KeyID(pub *ecdsa.PublicKey) string {
	der, err := smx509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return ""
	}
	sum := sm3.Sum(der)
	return hex.EncodeToString(sum[:16])
}

// ReadKey reads a PEM PKCS#8 SM2 private key. passphrasePath names the file
// with the passphrase of a protected key (one trailing line end is dropped);
// it is not read for a plain key.
func ReadKey(path, passphrasePath string) (*Key, error) {
	block, err := readPEM(path)
	if err != nil {
		return nil, err
	}
	var parsed any
	switch block.Type {
	case pemPlain:
		if parsed, err = smx509.ParsePKCS8PrivateKey(block.Bytes); err != nil {
			return nil, fmt.Errorf("private key %s: not PKCS#8", path)
		}
	case pemProtected:
		if passphrasePath == "" {
			return nil, fmt.Errorf("private key %s: %w", path, ErrPassphrase)
		}
		passphrase, err := os.ReadFile(passphrasePath)
		if err != nil {
			return nil, fmt.Errorf("passphrase of %s: %w", path, err)
		}
		parsed, err = pkcs8.ParsePKCS8PrivateKey(block.Bytes, trimLine(passphrase))
		clear(passphrase)
		if err != nil {
			return nil, fmt.Errorf("private key %s: %w", path, ErrPassphrase)
		}
	default:
		return nil, fmt.Errorf("private key %s: PEM type %q, want %q or %q", path, block.Type, pemPlain, pemProtected)
	}
	k, ok := parsed.(*sm2.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("private key %s: not an SM2 key", path)
	}
	return NewKey(k), nil
}

// WriteFile writes the key as PEM PKCS#8 into a new file that only its owner
// can read. With a passphrase it is encrypted by PBES2: PBKDF2 with HMAC-SM3,
// SM4-CBC (GM/T 0091). An existing file is never overwritten.
func (k *Key) WriteFile(path string, passphrase []byte) error {
	block := &pem.Block{Type: pemPlain}
	var err error
	if passphrase == nil {
		block.Bytes, err = smx509.MarshalPKCS8PrivateKey(k.private)
	} else {
		block.Type = pemProtected
		protect := pkcs.NewPBESEncrypter(pkcs.SM4CBC, pkcs.NewPBKDF2Opts(pkcs.SM3, kdfSalt, kdfRound))
		block.Bytes, err = pkcs8.MarshalPrivateKey(k.private, passphrase, protect)
	}
	if err != nil {
		return fmt.Errorf("encode private key: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write private key: %w", err)
	}
	err = errors.Join(pem.Encode(f, block), f.Sync(), f.Close())
	if err != nil {
		return fmt.Errorf("write private key %s: %w", path, err)
	}
	return nil
}

// IsProtected reports whether the private key in path is encrypted.
func IsProtected(path string) (bool, error) {
	block, err := readPEM(path)
	if err != nil {
		return false, err
	}
	return block.Type == pemProtected, nil
}

// ReadPublicKey reads a PEM SubjectPublicKeyInfo with an SM2 key.
func ReadPublicKey(path string) (*ecdsa.PublicKey, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	pub, err := ParsePublicKeyPEM(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return pub, nil
}

// ParsePublicKeyPEM parses a PEM SubjectPublicKeyInfo with an SM2 key.
func ParsePublicKeyPEM(raw []byte) (*ecdsa.PublicKey, error) {
	block, _ := pem.Decode(raw)
	if block == nil || block.Type != pemPublic {
		return nil, fmt.Errorf("public key: no PEM block of type %q", pemPublic)
	}
	parsed, err := smx509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	pub, ok := parsed.(*ecdsa.PublicKey)
	if !ok || !sm2.IsSM2PublicKey(pub) {
		return nil, errors.New("public key: not an SM2 key")
	}
	return pub, nil
}

// MarshalPublicKeyPEM encodes a public key as a PEM SubjectPublicKeyInfo.
func MarshalPublicKeyPEM(pub *ecdsa.PublicKey) ([]byte, error) {
	der, err := smx509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, fmt.Errorf("encode public key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemPublic, Bytes: der}), nil
}

func readPEM(path string) (*pem.Block, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("private key: %w", err)
	}
	block, _ := pem.Decode(raw)
	if block == nil {
		return nil, fmt.Errorf("private key %s: not PEM", path)
	}
	return block, nil
}

func trimLine(b []byte) []byte {
	return []byte(strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r"))
}
