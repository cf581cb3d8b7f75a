package jose_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gojose "github.com/go-jose/go-jose/v4"
	tjfoc "github.com/tjfoc/gmsm/sm2"

	"yizheng/identity/jose"
)

const typ = "yz-test+jws"

func newKey(t testing.TB) *jose.Key {
	t.Helper()
	k, err := jose.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func only(k *jose.Key) func(string) *ecdsa.PublicKey {
	return func(kid string) *ecdsa.PublicKey {
		if kid == k.ID() {
			return k.Public()
		}
		return nil
	}
}

func TestSignedTokenVerifiesAndYieldsItsPayload(t *testing.T) {
	k := newKey(t)
	for _, payload := range [][]byte{{}, []byte("{}"), bytes.Repeat([]byte("证"), 5000)} {
		token, err := jose.Sign(k, typ, payload)
		if err != nil {
			t.Fatal(err)
		}
		got, kid, err := jose.Verify(token, typ, only(k))
		if err != nil || kid != k.ID() || !bytes.Equal(got, payload) {
			t.Errorf("Verify(%d bytes) = %d bytes, %q, %v", len(payload), len(got), kid, err)
		}
	}
}

func TestSignatureIsAcceptedByAnotherImplementation(t *testing.T) {
	k := newKey(t)
	token, err := jose.Sign(k, typ, []byte("payload"))
	if err != nil {
		t.Fatal(err)
	}
	cut := strings.LastIndexByte(token, '.')
	sig, _ := base64.RawURLEncoding.DecodeString(token[cut+1:])
	var point struct{ X, Y string }
	if err := json.Unmarshal(jose.NewReplyKey(k.Public()).JWK(), &point); err != nil {
		t.Fatal(err)
	}
	pub := &tjfoc.PublicKey{Curve: tjfoc.P256Sm2(), X: number(t, point.X), Y: number(t, point.Y)}
	r, s := new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])
	if !tjfoc.Sm2Verify(pub, []byte(token[:cut]), []byte("1234567812345678"), r, s) {
		t.Error("the other implementation refuses the signature")
	}
}

func number(t *testing.T, s string) *big.Int {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return new(big.Int).SetBytes(raw)
}

func TestVerifyRefuses(t *testing.T) {
	k, other := newKey(t), newKey(t)
	token, err := jose.Sign(k, typ, []byte(`{"a":1}`))
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := jose.Sign(other, typ, []byte(`{"a":1}`))
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(token, ".")
	enc := base64.RawURLEncoding
	withHeader := func(h string) string {
		return enc.EncodeToString([]byte(h)) + "." + parts[1] + "." + parts[2]
	}
	head := func(format string) string { return withHeader(fmt.Sprintf(format, k.ID())) }
	cases := map[string]struct {
		token string
		want  error
	}{
		"changed payload":         {parts[0] + "." + enc.EncodeToString([]byte(`{"a":2}`)) + "." + parts[2], jose.ErrSignature},
		"unknown key":             {foreign, jose.ErrUnknownKey},
		"signature of another":    {parts[0] + "." + parts[1] + foreign[strings.LastIndexByte(foreign, '.'):], jose.ErrSignature},
		"no signature":            {parts[0] + "." + parts[1] + ".", jose.ErrToken},
		"zero signature":          {parts[0] + "." + parts[1] + "." + enc.EncodeToString(make([]byte, 64)), jose.ErrSignature},
		"long signature":          {parts[0] + "." + parts[1] + "." + enc.EncodeToString(make([]byte, 65)), jose.ErrToken},
		"four parts":              {token + ".x", jose.ErrToken},
		"empty":                   {"", jose.ErrToken},
		"another typ":             {head(`{"alg":"SM2SM3","kid":"%s","typ":"other"}`), jose.ErrToken},
		"no typ":                  {head(`{"alg":"SM2SM3","kid":"%s"}`), jose.ErrToken},
		"alg none":                {head(`{"alg":"none","kid":"%s","typ":"yz-test+jws"}`), jose.ErrToken},
		"crit":                    {head(`{"alg":"SM2SM3","kid":"%s","typ":"yz-test+jws","crit":["x"]}`), jose.ErrToken},
		"embedded key":            {head(`{"alg":"SM2SM3","kid":"%s","typ":"yz-test+jws","jwk":{}}`), jose.ErrToken},
		"an enc in a signature":   {head(`{"alg":"SM2SM3","enc":"SM4GCM","kid":"%s","typ":"yz-test+jws"}`), jose.ErrToken},
		"header with data after":  {head(`{"alg":"SM2SM3","kid":"%s","typ":"yz-test+jws"}{}`), jose.ErrToken},
		"header in another order": {head(`{"typ":"yz-test+jws","alg":"SM2SM3","kid":"%s"}`), jose.ErrSignature},
		"padded base64":           {token + "==", jose.ErrToken},
		"line end":                {token + "\n", jose.ErrToken},
		"too large":               {strings.Repeat("A", jose.MaxToken+1), jose.ErrToken},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if _, _, err := jose.Verify(c.token, typ, only(k)); !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
		})
	}
}

func TestVerifyWithoutTypRefusesEverything(t *testing.T) {
	k := newKey(t)
	token, _ := jose.Sign(k, "", []byte("x"))
	if _, _, err := jose.Verify(token, "", only(k)); !errors.Is(err, jose.ErrToken) {
		t.Errorf("error %v", err)
	}
}

func TestAP256KeyNeverVerifiesAnSM2Signature(t *testing.T) {
	k := newKey(t)
	token, _ := jose.Sign(k, typ, []byte("x"))
	wrong, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = jose.Verify(token, typ, func(string) *ecdsa.PublicKey { return &wrong.PublicKey })
	if !errors.Is(err, jose.ErrSignature) {
		t.Errorf("error %v", err)
	}
}

func TestSeveralSignersOfOneDocument(t *testing.T) {
	a, b, stranger := newKey(t), newKey(t), newKey(t)
	m := jose.NewMultiSigned([]byte(`{"number":7}`))
	for _, k := range []*jose.Key{a, b} {
		if err := m.AddSignature(k, typ); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.AddSignature(a, typ); err == nil {
		t.Error("a key signed twice")
	}
	raw, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	keys := func(kid string) *ecdsa.PublicKey {
		return map[string]*ecdsa.PublicKey{a.ID(): a.Public(), b.ID(): b.Public()}[kid]
	}
	read, err := jose.ParseMultiSigned(raw)
	if err != nil {
		t.Fatal(err)
	}
	signers, err := read.Verify(typ, keys)
	if err != nil || len(signers) != 2 || signers[0] != a.ID() || string(read.Payload()) != `{"number":7}` {
		t.Errorf("signers %v, error %v", signers, err)
	}
	if _, err := read.Verify("other", keys); !errors.Is(err, jose.ErrToken) {
		t.Errorf("another typ: %v", err)
	}

	t.Run("one stranger spoils it", func(t *testing.T) {
		read, _ := jose.ParseMultiSigned(raw)
		if err := read.AddSignature(stranger, typ); err != nil {
			t.Fatal(err)
		}
		if _, err := read.Verify(typ, keys); !errors.Is(err, jose.ErrUnknownKey) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("changed payload", func(t *testing.T) {
		changed := bytes.Replace(raw, []byte(base64.RawURLEncoding.EncodeToString([]byte(`{"number":7}`))),
			[]byte(base64.RawURLEncoding.EncodeToString([]byte(`{"number":8}`))), 1)
		read, err := jose.ParseMultiSigned(changed)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := read.Verify(typ, keys); !errors.Is(err, jose.ErrSignature) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("the same signature twice", func(t *testing.T) {
		var doc map[string]any
		json.Unmarshal(raw, &doc)
		list := doc["signatures"].([]any)
		doc["signatures"] = append(list, list[0])
		twice, _ := json.Marshal(doc)
		read, err := jose.ParseMultiSigned(twice)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := read.Verify(typ, keys); !errors.Is(err, jose.ErrToken) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("nobody", func(t *testing.T) {
		if _, err := jose.NewMultiSigned([]byte("{}")).Verify(typ, keys); !errors.Is(err, jose.ErrSignature) {
			t.Errorf("error %v", err)
		}
	})
}

func TestEncryptedTokenOpensOnlyWithItsKeyAndTyp(t *testing.T) {
	k := newKey(t)
	token, err := jose.EncryptSM2(k.Public(), typ, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := jose.DecryptSM2(k, typ, token); err != nil || string(got) != "secret" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := jose.DecryptSM2(newKey(t), typ, token); !errors.Is(err, jose.ErrUnknownKey) {
		t.Errorf("another key: %v", err)
	}
	if _, err := jose.DecryptSM2(k, "other", token); !errors.Is(err, jose.ErrToken) {
		t.Errorf("another typ: %v", err)
	}
	everyChangeIsRefused(t, token, func(s string) error { _, err := jose.DecryptSM2(k, typ, s); return err })
}

func TestDirectTokenOpensOnlyWithItsKey(t *testing.T) {
	key := bytes.Repeat([]byte{7}, jose.ContentKeySize)
	token, err := jose.EncryptDirect(key, "fleet-1", typ, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	keys := func(kid string) []byte { return map[string][]byte{"fleet-1": key}[kid] }
	if got, err := jose.DecryptDirect(keys, typ, token); err != nil || string(got) != "secret" {
		t.Errorf("%q, %v", got, err)
	}
	none := func(string) []byte { return nil }
	if _, err := jose.DecryptDirect(none, typ, token); !errors.Is(err, jose.ErrUnknownKey) {
		t.Errorf("unknown key: %v", err)
	}
	wrong := func(string) []byte { return make([]byte, jose.ContentKeySize) }
	if _, err := jose.DecryptDirect(wrong, typ, token); !errors.Is(err, jose.ErrDecrypt) {
		t.Errorf("wrong key: %v", err)
	}
	everyChangeIsRefused(t, token, func(s string) error { _, err := jose.DecryptDirect(keys, typ, s); return err })
	if _, err := jose.EncryptDirect(key[:8], "x", typ, nil); err == nil {
		t.Error("a short key was used")
	}
}

// everyChangeIsRefused changes each character of token in turn.
func everyChangeIsRefused(t *testing.T, token string, open func(string) error) {
	t.Helper()
	for i := range token {
		changed := []byte(token)
		changed[i] = 'A'
		if token[i] == 'A' {
			changed[i] = 'B'
		}
		if open(string(changed)) == nil {
			t.Errorf("token opens with byte %d changed", i)
		}
	}
}

func TestReplyKey(t *testing.T) {
	t.Run("SM2", func(t *testing.T) {
		k := newKey(t)
		r, err := jose.ParseReplyKey(jose.NewReplyKey(k.Public()).JWK())
		if err != nil {
			t.Fatal(err)
		}
		token, err := r.Encrypt(typ, []byte("result"))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := jose.DecryptSM2(k, typ, token); err != nil || string(got) != "result" {
			t.Errorf("%q, %v", got, err)
		}
	})
	t.Run("P-256 as a browser exports it", func(t *testing.T) {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		exported := bytes.Replace(jose.NewReplyKey(&k.PublicKey).JWK(), []byte(`{`), []byte(`{"key_ops":[],"ext":true,`), 1)
		r, err := jose.ParseReplyKey(exported)
		if err != nil {
			t.Fatal(err)
		}
		token, err := r.Encrypt(typ, []byte("result"))
		if err != nil {
			t.Fatal(err)
		}
		read, err := gojose.ParseEncryptedCompact(token, []gojose.KeyAlgorithm{gojose.ECDH_ES}, []gojose.ContentEncryption{gojose.A256GCM})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := read.Decrypt(k); err != nil || string(got) != "result" || read.Header.ExtraHeaders["typ"] != typ {
			t.Errorf("%q, %v, typ %v", got, err, read.Header.ExtraHeaders["typ"])
		}
	})
	good := string(jose.NewReplyKey(newKey(t).Public()).JWK())
	bad := map[string]string{
		"empty":              "",
		"not JSON":           "key",
		"private key":        strings.Replace(good, `{`, `{"d":"AAAA",`, 1),
		"curve and point":    strings.Replace(good, `"SM2"`, `"P-256"`, 1),
		"unknown curve":      strings.Replace(good, `"SM2"`, `"P-384"`, 1),
		"RSA":                `{"kty":"RSA","n":"AQAB","e":"AQAB"}`,
		"point at zero":      `{"kty":"EC","crv":"SM2","x":"` + strings.Repeat("A", 43) + `","y":"` + strings.Repeat("A", 43) + `"}`,
		"short coordinate":   `{"kty":"EC","crv":"SM2","x":"AA","y":"AA"}`,
		"missing coordinate": `{"kty":"EC","crv":"P-256","x":"` + strings.Repeat("A", 43) + `"}`,
	}
	for name, jwk := range bad {
		t.Run(name, func(t *testing.T) {
			if _, err := jose.ParseReplyKey([]byte(jwk)); !errors.Is(err, jose.ErrReplyKey) {
				t.Errorf("error %v", err)
			}
		})
	}
	if _, err := (jose.ReplyKey{}).Encrypt(typ, nil); !errors.Is(err, jose.ErrReplyKey) {
		t.Errorf("zero key: %v", err)
	}
}

func TestKeyFiles(t *testing.T) {
	dir := t.TempDir()
	k := newKey(t)
	pass := filepath.Join(dir, "pass")
	if err := os.WriteFile(pass, []byte("long enough\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	wrong := filepath.Join(dir, "wrong")
	if err := os.WriteFile(wrong, []byte("not it\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, passphrase := range map[string][]byte{"plain": nil, "protected": []byte("long enough")} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, name)
			if err := k.WriteFile(path, passphrase); err != nil {
				t.Fatal(err)
			}
			if err := k.WriteFile(path, passphrase); err == nil {
				t.Error("a key file was overwritten")
			}
			if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
				t.Errorf("mode %v", info.Mode())
			}
			protected, err := jose.IsProtected(path)
			if err != nil || protected != (passphrase != nil) {
				t.Errorf("IsProtected = %v, %v", protected, err)
			}
			read, err := jose.ReadKey(path, pass)
			if err != nil || read.ID() != k.ID() {
				t.Fatalf("ReadKey: %v", err)
			}
			if passphrase == nil {
				return
			}
			for _, p := range []string{"", wrong} {
				if _, err := jose.ReadKey(path, p); !errors.Is(err, jose.ErrPassphrase) {
					t.Errorf("passphrase file %q: %v", p, err)
				}
			}
		})
	}
	public := filepath.Join(dir, "public")
	raw, err := jose.MarshalPublicKeyPEM(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(public, raw, 0o644)
	if pub, err := jose.ReadPublicKey(public); err != nil || jose.KeyID(pub) != k.ID() {
		t.Errorf("ReadPublicKey: %v", err)
	}
	if _, err := jose.ReadKey(public, ""); err == nil {
		t.Error("a public key was read as a private one")
	}
	if _, err := jose.ReadPublicKey(filepath.Join(dir, "plain")); err == nil {
		t.Error("a private key was read as a public one")
	}
}

func TestKeyNeverPrintsItself(t *testing.T) {
	k := newKey(t)
	secret := k.SM2().D.Text(16)
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("key", "pointer", k, "value", *k)
	asJSON, _ := json.Marshal(map[string]any{"pointer": k, "value": *k})
	all := fmt.Sprintf("%v %+v %#v %s %x %d %v %#v", k, k, k, k, k, k, *k, struct{ K *jose.Key }{k}) + log.String() + string(asJSON)
	if strings.Contains(strings.ToLower(all), secret) || strings.Contains(all, k.SM2().D.String()) {
		t.Errorf("the key shows in %s", all)
	}
}

func FuzzVerify(f *testing.F) {
	k := newKey(f)
	token, _ := jose.Sign(k, typ, []byte("payload"))
	f.Add(token)
	f.Add("..")
	f.Add("e30..")
	f.Fuzz(func(t *testing.T, s string) {
		if payload, _, err := jose.Verify(s, typ, only(k)); err == nil && string(payload) != "payload" {
			t.Errorf("verified a payload nobody signed: %q", payload)
		}
	})
}

func FuzzDecrypt(f *testing.F) {
	k := newKey(f)
	key := make([]byte, jose.ContentKeySize)
	a, _ := jose.EncryptSM2(k.Public(), typ, []byte("a"))
	b, _ := jose.EncryptDirect(key, "1", typ, []byte("b"))
	f.Add(a)
	f.Add(b)
	f.Add("....")
	f.Fuzz(func(t *testing.T, s string) {
		jose.DecryptSM2(k, typ, s)
		jose.DecryptDirect(func(string) []byte { return key }, typ, s)
	})
}

func FuzzParseMultiSigned(f *testing.F) {
	k := newKey(f)
	m := jose.NewMultiSigned([]byte("{}"))
	m.AddSignature(k, typ)
	raw, _ := m.Marshal()
	f.Add(raw)
	f.Add([]byte(`{"payload":"","signatures":[]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if m, err := jose.ParseMultiSigned(raw); err == nil {
			m.Payload()
			m.Verify(typ, only(k))
		}
	})
}

func FuzzParseReplyKey(f *testing.F) {
	f.Add(jose.NewReplyKey(newKey(f).Public()).JWK())
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if r, err := jose.ParseReplyKey(raw); err == nil {
			if again, err := jose.ParseReplyKey(r.JWK()); err != nil || !bytes.Equal(again.JWK(), r.JWK()) {
				t.Errorf("a key changed by being written: %v", err)
			}
		}
	})
}
