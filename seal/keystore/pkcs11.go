//go:build pkcs11

package keystore

import (
	"bytes"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"math/big"
	"os"
	"slices"
	"sync"

	"github.com/emmansun/gmsm/sm2"
	"github.com/miekg/pkcs11"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// scalar is the length of r and of s in bytes.
const scalar = 32

func openModule(path string, public *ecdsa.PublicKey) (*Key, error) {
	m, err := ReadModule(path)
	if err != nil {
		return nil, err
	}
	t, err := openToken(m)
	if err != nil {
		return nil, fmt.Errorf("keystore: %s: %w", path, err)
	}
	k := &Key{public: public, sign: func(message []byte) ([]byte, error) { return m.sign(message, public, t.sign) }, Protected: !t.extractable}
	if _, err := k.sign([]byte("yizheng: is this the key of the certificate?")); err != nil {
		return nil, errors.Join(fmt.Errorf("keystore: %s: %w", path, err), t.close())
	}
	return k, nil
}

// sign has a module sign a message, and looks at what came back: a module with
// another key, another user id or another encoding is found out before its
// signature is used.
func (m Module) sign(message []byte, public *ecdsa.PublicKey, inside func([]byte) ([]byte, error)) ([]byte, error) {
	input := message
	if m.Input == InputDigest {
		var err error
		if input, err = sm2.CalculateSM2Hash(public, message, nil); err != nil {
			return nil, fmt.Errorf("keystore: %w", err)
		}
	}
	signature, err := inside(input)
	if err != nil {
		return nil, err
	}
	if m.Encoding == EncodingRaw {
		if signature, err = encode(signature); err != nil {
			return nil, err
		}
	}
	if !sm2.VerifyASN1WithSM2(public, nil, message, signature) {
		return nil, errors.New("keystore: what the module signed does not verify with the certificate: another key, mechanism, input or encoding (密码机的签名与证书不符)")
	}
	return signature, nil
}

// encode is r ‖ s as DER.
func encode(raw []byte) ([]byte, error) {
	if len(raw) != 2*scalar {
		return nil, fmt.Errorf("keystore: the module's signature has %d bytes, not %d", len(raw), 2*scalar)
	}
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1BigInt(new(big.Int).SetBytes(raw[:scalar]))
		b.AddASN1BigInt(new(big.Int).SetBytes(raw[scalar:]))
	})
	return b.Bytes()
}

// token is one key in a module, with a session of its own. A module signs one
// message at a time for it.
type token struct {
	module      Module
	library     *pkcs11.Ctx
	extractable bool // the module would give the key out

	mu      sync.Mutex
	open    bool
	session pkcs11.SessionHandle
	key     pkcs11.ObjectHandle
}

// openToken loads the module and finds the key. The library stays loaded as long as
// the process lives: other keys may use it.
func openToken(m Module) (*token, error) {
	t := &token{module: m, library: pkcs11.New(m.Library)}
	if t.library == nil {
		return nil, fmt.Errorf("library %s cannot be loaded (无法装载密码机的库)", m.Library)
	}
	if err := t.library.Initialize(); err != nil && !is(err, pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED) {
		return nil, fmt.Errorf("C_Initialize: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.begin(); err != nil {
		return nil, err
	}
	// A module that will not say is taken to give keys out.
	a, err := t.library.GetAttributeValue(t.session, t.key, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, nil)})
	t.extractable = err != nil || len(a) != 1 || !bytes.Equal(a[0].Value, []byte{0})
	return t, nil
}

func (t *token) close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.open {
		return nil
	}
	t.open = false
	return t.library.CloseSession(t.session)
}

// gone are the answers of a module that has forgotten the session: it was
// restarted, or its token pulled out.
var gone = []pkcs11.Error{pkcs11.CKR_SESSION_HANDLE_INVALID, pkcs11.CKR_SESSION_CLOSED, pkcs11.CKR_DEVICE_REMOVED, pkcs11.CKR_TOKEN_NOT_PRESENT,
	pkcs11.CKR_USER_NOT_LOGGED_IN, pkcs11.CKR_OBJECT_HANDLE_INVALID, pkcs11.CKR_KEY_HANDLE_INVALID}

func is(err error, codes ...pkcs11.Error) bool {
	var e pkcs11.Error
	return errors.As(err, &e) && slices.Contains(codes, e)
}

// sign is one C_Sign, in a new session if the old one is gone.
func (t *token) sign(input []byte) ([]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for again := false; ; again = true {
		signature, err := t.once(input)
		if err == nil {
			return signature, nil
		}
		if again || !is(err, gone...) {
			return nil, fmt.Errorf("keystore: module: %w", err)
		}
		t.open = false
	}
}

func (t *token) once(input []byte) ([]byte, error) {
	if !t.open {
		if err := t.begin(); err != nil {
			return nil, err
		}
	}
	if err := t.library.SignInit(t.session, []*pkcs11.Mechanism{pkcs11.NewMechanism(t.module.Mechanism, nil)}, t.key); err != nil {
		return nil, fmt.Errorf("C_SignInit, mechanism %#x: %w", t.module.Mechanism, err)
	}
	signature, err := t.library.Sign(t.session, input)
	if err != nil {
		return nil, fmt.Errorf("C_Sign: %w", err)
	}
	return signature, nil
}

// begin opens a session, logs in and finds the key.
func (t *token) begin() error {
	slot, err := t.slot()
	if err != nil {
		return err
	}
	if t.session, err = t.library.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION); err != nil {
		return fmt.Errorf("C_OpenSession: %w", err)
	}
	if err = t.login(); err == nil {
		t.key, err = t.find()
	}
	if err != nil {
		return errors.Join(err, t.library.CloseSession(t.session))
	}
	t.open = true
	return nil
}

// slot is where the token with the label is; exactly one has to be there.
func (t *token) slot() (uint, error) {
	slots, err := t.library.GetSlotList(true)
	if err != nil {
		return 0, fmt.Errorf("C_GetSlotList: %w", err)
	}
	var found []uint
	for _, s := range slots {
		if info, err := t.library.GetTokenInfo(s); err == nil && info.Label == t.module.Token {
			found = append(found, s)
		}
	}
	if len(found) != 1 {
		return 0, fmt.Errorf("%d tokens are named %q, one is needed (须恰有一个此名的令牌)", len(found), t.module.Token)
	}
	return found[0], nil
}

func (t *token) login() error {
	pin, err := os.ReadFile(t.module.PINFile)
	if err != nil {
		return fmt.Errorf("PIN: %w", err)
	}
	defer clear(pin)
	err = t.library.Login(t.session, pkcs11.CKU_USER, string(bytes.TrimRight(pin, "\r\n")))
	if err != nil && !is(err, pkcs11.CKR_USER_ALREADY_LOGGED_IN) { // as another key of the token has
		return fmt.Errorf("C_Login: %w", err)
	}
	return nil
}

func (t *token) find() (pkcs11.ObjectHandle, error) {
	err := t.library.FindObjectsInit(t.session, []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_ID, t.module.ID),
	})
	if err != nil {
		return 0, fmt.Errorf("C_FindObjectsInit: %w", err)
	}
	keys, _, err := t.library.FindObjects(t.session, 2)
	if err := errors.Join(err, t.library.FindObjectsFinal(t.session)); err != nil {
		return 0, fmt.Errorf("C_FindObjects: %w", err)
	}
	if len(keys) != 1 {
		return 0, fmt.Errorf("%d private keys have the id %x, one is needed (须恰有一把此 CKA_ID 的私钥)", len(keys), t.module.ID)
	}
	return keys[0], nil
}
