//go:build integration && pkcs11

package keystore

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/emmansun/gmsm/sm2"
	"github.com/miekg/pkcs11"
)

// The module here is SoftHSM2, which knows no SM2: its P-256 key goes the same way
// (library, token, session, PIN, key, C_Sign, encoding) with ECDSA in the place of
// the maker's SM2 mechanism. What is special to SM2 is tested on a module that is
// a function.

const tokenLabel, tokenPIN = "云州印章", "1234"

var keyID = []byte{0x5e, 0xa1}

// softHSM makes a token with two P-256 keys of its own and returns the way to the
// first one, and its public key.
func softHSM(t *testing.T) (Module, *ecdsa.PublicKey) {
	t.Helper()
	m := Module{Library: "/usr/lib/softhsm/libsofthsm2.so", Token: tokenLabel, ID: keyID, Mechanism: pkcs11.CKM_ECDSA, Input: InputDigest, Encoding: EncodingRaw}
	dir := t.TempDir()
	m.PINFile = filepath.Join(dir, "pin")
	must(t, os.WriteFile(m.PINFile, []byte(tokenPIN+"\n"), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "softhsm2.conf"), fmt.Appendf(nil, "directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n", dir), 0o600))
	t.Setenv("SOFTHSM2_CONF", filepath.Join(dir, "softhsm2.conf"))
	p := pkcs11.New(m.Library)
	if p == nil {
		t.Fatal("SoftHSM2 is not installed: deploy/dev/setup test")
	}
	must(t, p.Initialize())
	t.Cleanup(func() { must(t, p.Finalize()) })
	slots, err := p.GetSlotList(true)
	must(t, err)
	must(t, p.InitToken(slots[0], "so-pin", tokenLabel))
	slots, err = p.GetSlotList(true) // SoftHSM gives the token another slot
	must(t, err)
	s, err := p.OpenSession(slots[0], pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	must(t, err)
	must(t, p.Login(s, pkcs11.CKU_SO, "so-pin"))
	must(t, p.InitPIN(s, tokenPIN))
	must(t, p.Logout(s))
	must(t, p.Login(s, pkcs11.CKU_USER, tokenPIN))
	public := generate(t, p, s, keyID, false)
	generate(t, p, s, []byte{0x0f}, true)
	must(t, p.Logout(s))
	must(t, p.CloseSession(s))
	return m, public
}

func generate(t *testing.T, p *pkcs11.Ctx, s pkcs11.SessionHandle, id []byte, extractable bool) *ecdsa.PublicKey {
	t.Helper()
	curve, err := asn1.Marshal(asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7})
	must(t, err)
	pub, _, err := p.GenerateKeyPair(s, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_EC_KEY_PAIR_GEN, nil)},
		[]*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true), pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, curve), pkcs11.NewAttribute(pkcs11.CKA_ID, id)},
		[]*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true), pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true), pkcs11.NewAttribute(pkcs11.CKA_SIGN, true),
			pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true), pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, extractable), pkcs11.NewAttribute(pkcs11.CKA_ID, id)})
	must(t, err)
	a, err := p.GetAttributeValue(s, pub, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_EC_POINT, nil)})
	must(t, err)
	var point []byte
	_, err = asn1.Unmarshal(a[0].Value, &point)
	must(t, err)
	k, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	must(t, err)
	return k
}

func TestSoftHSM(t *testing.T) {
	m, public := softHSM(t)
	tok, err := openToken(m)
	must(t, err)
	signs := func(t *testing.T) {
		t.Helper()
		digest := make([]byte, 32)
		rand.Read(digest)
		raw, err := tok.sign(digest)
		must(t, err)
		der, err := encode(raw)
		must(t, err)
		if !ecdsa.VerifyASN1(public, digest, der) {
			t.Error("the signature does not verify")
		}
	}
	t.Run("signs what verifies", signs)
	t.Run("for many at once", func(t *testing.T) {
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for range 20 {
					signs(t)
				}
			})
		}
		all.Wait()
	})
	t.Run("after its session was closed by the module", func(t *testing.T) {
		must(t, tok.library.CloseSession(tok.session))
		signs(t)
	})
	t.Run("two keys of a token", func(t *testing.T) {
		other := m
		other.ID = []byte{0x0f}
		second, err := openToken(other)
		must(t, err)
		if tok.extractable || !second.extractable {
			t.Errorf("extractable: %v and %v", tok.extractable, second.extractable)
		}
		must(t, second.close())
		signs(t)
	})
	for name, c := range map[string]struct {
		change func(*Module)
		says   string
	}{
		"another token":     {func(m *Module) { m.Token = "another" }, "0 tokens"},
		"another key":       {func(m *Module) { m.ID = []byte{9} }, "0 private keys"},
		"another library":   {func(m *Module) { m.Library = "/nosuch.so" }, "cannot be loaded"},
		"no PIN":            {func(m *Module) { m.PINFile = "/nosuch" }, "PIN"},
		"unknown mechanism": {func(m *Module) { m.Mechanism = 0x80000101 }, "CKR_MECHANISM_INVALID"},
	} {
		t.Run(name, func(t *testing.T) {
			other := m
			c.change(&other)
			tok, err := openToken(other)
			if err == nil {
				_, err = tok.sign(make([]byte, 32))
				must(t, tok.close())
			}
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("is refused where an SM2 key is expected", func(t *testing.T) {
		own, dir := stored(t)
		must(t, os.Remove(filepath.Join(dir, FileName(own.ID()))))
		path := filepath.Join(dir, ModuleName(own.ID()))
		must(t, os.WriteFile(path, fmt.Appendf(nil, `{"library":%q,"token":%q,"pin_file":%q,"id":"5ea1","mechanism":"0x1041","input":"digest","encoding":"raw"}`,
			m.Library, m.Token, m.PINFile), 0o600))
		if _, err := Open(path, "", own.Public()); err == nil || !strings.Contains(err.Error(), "does not verify with the certificate") {
			t.Errorf("got %v", err)
		}
	})
}

func TestWrongPINIsSaid(t *testing.T) {
	m, _ := softHSM(t)
	must(t, os.WriteFile(m.PINFile, []byte("4321"), 0o600))
	if _, err := openToken(m); !is(err, pkcs11.CKR_PIN_INCORRECT) {
		t.Errorf("got %v", err)
	}
}

func TestModuleThatSignsSM2(t *testing.T) {
	k, err := sm2.GenerateKey(rand.Reader)
	must(t, err)
	other, err := sm2.GenerateKey(rand.Reader)
	must(t, err)
	digest := func(k *sm2.PrivateKey) func([]byte) ([]byte, error) {
		return func(in []byte) ([]byte, error) { return sm2.SignASN1(rand.Reader, k, in, nil) }
	}
	whole := func(in []byte) ([]byte, error) { return sm2.SignASN1(rand.Reader, k, in, sm2.DefaultSM2SignerOpts) }
	raw := func(sign func([]byte) ([]byte, error)) func([]byte) ([]byte, error) {
		return func(in []byte) ([]byte, error) {
			der, err := sign(in)
			must(t, err)
			var v struct{ R, S *big.Int }
			_, err = asn1.Unmarshal(der, &v)
			return slices.Concat(v.R.FillBytes(make([]byte, scalar)), v.S.FillBytes(make([]byte, scalar))), err
		}
	}
	message := bytes.Repeat([]byte("印"), 100)
	for name, c := range map[string]struct {
		module Module
		inside func([]byte) ([]byte, error)
		good   bool
	}{
		"digest, DER":              {Module{Input: InputDigest, Encoding: EncodingDER}, digest(k), true},
		"digest, raw":              {Module{Input: InputDigest, Encoding: EncodingRaw}, raw(digest(k)), true},
		"message, DER":             {Module{Input: InputMessage, Encoding: EncodingDER}, whole, true},
		"message, raw":             {Module{Input: InputMessage, Encoding: EncodingRaw}, raw(whole), true},
		"hashes once more":         {Module{Input: InputDigest, Encoding: EncodingDER}, whole, false},
		"does not hash":            {Module{Input: InputMessage, Encoding: EncodingDER}, digest(k), false},
		"another key":              {Module{Input: InputDigest, Encoding: EncodingDER}, digest(other), false},
		"DER where raw is said":    {Module{Input: InputDigest, Encoding: EncodingRaw}, digest(k), false},
		"raw where DER is said":    {Module{Input: InputDigest, Encoding: EncodingDER}, raw(digest(k)), false},
		"a module that is out":     {Module{Input: InputDigest}, func([]byte) ([]byte, error) { return nil, errors.New("out") }, false},
		"a signature of no length": {Module{Input: InputDigest, Encoding: EncodingRaw}, func([]byte) ([]byte, error) { return nil, nil }, false},
	} {
		signature, err := c.module.sign(message, &k.PublicKey, c.inside)
		if (err == nil) != c.good || c.good && !sm2.VerifyASN1WithSM2(&k.PublicKey, nil, message, signature) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
