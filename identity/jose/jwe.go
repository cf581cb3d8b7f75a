package jose

import (
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm4"
)

const (
	algSM2    = "SM2"
	algDirect = "dir"
	encSM4    = "SM4GCM"

	// ContentKeySize is the length in bytes of an SM4 key.
	ContentKeySize = 16
	ivSize         = 12
	tagSize        = 16
)

// EncryptSM2 encrypts plaintext to an SM2 public key as a compact JWE of type typ.
func EncryptSM2(pub *ecdsa.PublicKey, typ string, plaintext []byte) (string, error) {
	if !sm2.IsSM2PublicKey(pub) {
		return "", errors.New("encrypt: not an SM2 public key")
	}
	cek := make([]byte, ContentKeySize)
	rand.Read(cek) // never fails (crypto/rand)
	defer clear(cek)
	wrapped, err := sm2.EncryptASN1(rand.Reader, pub, cek)
	if err != nil {
		return "", fmt.Errorf("encrypt: %w", err)
	}
	return seal(header{Alg: algSM2, Enc: encSM4, Kid: KeyID(pub), Typ: typ}, wrapped, cek, plaintext)
}

// DecryptSM2 opens what EncryptSM2 made for k. Errors are ErrToken,
// ErrUnknownKey (made for another key) or ErrDecrypt, wrapped.
func DecryptSM2(k *Key, typ, token string) ([]byte, error) {
	parts, err := split(token, 5)
	if err != nil {
		return nil, err
	}
	h, err := parseHeader(parts[0], algSM2, encSM4, typ)
	if err != nil {
		return nil, err
	}
	if h.Kid != k.ID() {
		return nil, ErrUnknownKey
	}
	wrapped, err := decode(parts[1])
	if err != nil {
		return nil, fmt.Errorf("%w: key is not base64url", ErrToken)
	}
	cek, err := k.private.Decrypt(nil, wrapped, sm2.ASN1DecrypterOpts)
	if err != nil || len(cek) != ContentKeySize {
		return nil, ErrDecrypt
	}
	defer clear(cek)
	return open(parts, cek)
}

// EncryptDirect encrypts plaintext under a 16-byte key both sides hold under
// the name kid. IVs are random: use one key for no more than 2³² tokens.
func EncryptDirect(key []byte, kid, typ string, plaintext []byte) (string, error) {
	return seal(header{Alg: algDirect, Enc: encSM4, Kid: kid, Typ: typ}, nil, key, plaintext)
}

// DecryptDirect opens what EncryptDirect made. key returns the key of a kid,
// or nil. Errors are ErrToken, ErrUnknownKey or ErrDecrypt, wrapped.
func DecryptDirect(key func(kid string) []byte, typ, token string) ([]byte, error) {
	parts, err := split(token, 5)
	if err != nil {
		return nil, err
	}
	h, err := parseHeader(parts[0], algDirect, encSM4, typ)
	if err != nil {
		return nil, err
	}
	if parts[1] != "" {
		return nil, fmt.Errorf("%w: encrypted key in a direct token", ErrToken)
	}
	k := key(h.Kid)
	if k == nil {
		return nil, ErrUnknownKey
	}
	return open(parts, k)
}

// seal builds the five parts of a compact JWE.
func seal(h header, wrapped, key, plaintext []byte) (string, error) {
	aead, err := newSM4GCM(key)
	if err != nil {
		return "", fmt.Errorf("encrypt: %w", err)
	}
	iv := make([]byte, ivSize)
	rand.Read(iv)
	protected := h.encode()
	sealed := aead.Seal(nil, iv, plaintext, []byte(protected))
	body, tag := sealed[:len(plaintext)], sealed[len(plaintext):]
	return protected + "." + b64.EncodeToString(wrapped) + "." + b64.EncodeToString(iv) + "." +
		b64.EncodeToString(body) + "." + b64.EncodeToString(tag), nil
}

// open decrypts the five parts of a compact JWE whose header was checked.
func open(parts []string, key []byte) ([]byte, error) {
	iv, errIV := decode(parts[2])
	body, errBody := decode(parts[3])
	tag, errTag := decode(parts[4])
	if errors.Join(errIV, errBody, errTag) != nil || len(iv) != ivSize || len(tag) != tagSize {
		return nil, fmt.Errorf("%w: iv, content or tag", ErrToken)
	}
	aead, err := newSM4GCM(key)
	if err != nil {
		return nil, fmt.Errorf("decrypt: %w", err)
	}
	plaintext, err := aead.Open(nil, iv, append(body, tag...), []byte(parts[0]))
	if err != nil {
		return nil, ErrDecrypt
	}
	return plaintext, nil
}

func newSM4GCM(key []byte) (cipher.AEAD, error) {
	block, err := sm4.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
