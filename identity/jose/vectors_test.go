package jose_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emmansun/gmsm/sm2"
	gojose "github.com/go-jose/go-jose/v4"

	"yizheng/identity/jose"
)

var update = flag.Bool("update", false, "write the test vectors anew: only when a format is meant to change")

const vectorFile = "../../docs/protocol/vectors/jose.json"

// vectors is docs/protocol/vectors/jose.json. Signatures and encryptions are
// random, so the committed tokens are checked and taken over; everything else
// is computed and must come out the same.
type vectors struct {
	Note   string `json:"note"`
	Signer struct {
		Private   string `json:"private_hex"`
		PublicPEM string `json:"public_pem"`
		Kid       string `json:"kid"`
	} `json:"signer"`
	JWS struct {
		Typ          string `json:"typ"`
		Header       string `json:"header"`
		Payload      string `json:"payload"`
		SigningInput string `json:"signing_input"`
		Token        string `json:"token"`
	} `json:"jws"`
	JWESM2 struct {
		Typ       string `json:"typ"`
		Header    string `json:"header"`
		Plaintext string `json:"plaintext"`
		Token     string `json:"token"`
	} `json:"jwe_sm2"`
	JWEDirect struct {
		Key       string `json:"key_hex"`
		Kid       string `json:"kid"`
		Typ       string `json:"typ"`
		Header    string `json:"header"`
		Plaintext string `json:"plaintext"`
		Token     string `json:"token"`
	} `json:"jwe_direct"`
	ReplyKeys struct {
		SM2         json.RawMessage `json:"sm2"`
		P256        json.RawMessage `json:"p256"`
		P256Private string          `json:"p256_private_hex"`
		P256Token   string          `json:"p256_token"`
		Typ         string          `json:"typ"`
		Plaintext   string          `json:"plaintext"`
	} `json:"reply_keys"`
}

func TestFormatsHaveNotDrifted(t *testing.T) {
	var old vectors
	committed, err := os.ReadFile(vectorFile)
	if err == nil {
		err = json.Unmarshal(committed, &old)
	}
	if err != nil && !*update {
		t.Fatal(err)
	}
	v := compute(t, old)
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	raw = append(raw, '\n')
	if *update {
		if err := os.MkdirAll(filepath.Dir(vectorFile), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(vectorFile, raw, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(raw, committed) {
		t.Errorf("the format is not the one of %s any more; now\n%s", vectorFile, raw)
	}
}

func compute(t *testing.T, old vectors) vectors {
	var v vectors
	v.Note = "Keys are for tests only. Tokens hold random values: verify or decrypt them; all other members are exact."
	v.Signer.Private = strings.Repeat("11", 32)
	secret, _ := hex.DecodeString(v.Signer.Private)
	private, err := sm2.NewPrivateKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	k := jose.NewKey(private)
	public, err := jose.MarshalPublicKeyPEM(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	v.Signer.PublicPEM, v.Signer.Kid = string(public), k.ID()

	v.JWS.Typ, v.JWS.Payload = "yz-example+jws", `{"v":1}`
	v.JWS.Header = `{"alg":"SM2SM3","kid":"` + k.ID() + `","typ":"yz-example+jws"}`
	enc := base64.RawURLEncoding
	v.JWS.SigningInput = enc.EncodeToString([]byte(v.JWS.Header)) + "." + enc.EncodeToString([]byte(v.JWS.Payload))
	v.JWS.Token = once(t, old.JWS.Token, func() (string, error) { return jose.Sign(k, v.JWS.Typ, []byte(v.JWS.Payload)) })
	if _, _, err := jose.Verify(v.JWS.Token, v.JWS.Typ, only(k)); err != nil || !strings.HasPrefix(v.JWS.Token, v.JWS.SigningInput+".") {
		t.Errorf("jws: %v", err)
	}
	fresh, err := jose.Sign(k, v.JWS.Typ, []byte(v.JWS.Payload))
	if err != nil || !strings.HasPrefix(fresh, v.JWS.SigningInput+".") {
		t.Errorf("Sign writes another input: %v", err)
	}

	v.JWESM2.Typ, v.JWESM2.Plaintext = "yz-example+jwe", "plaintext"
	v.JWESM2.Header = `{"alg":"SM2","enc":"SM4GCM","kid":"` + k.ID() + `","typ":"yz-example+jwe"}`
	v.JWESM2.Token = once(t, old.JWESM2.Token, func() (string, error) {
		return jose.EncryptSM2(k.Public(), v.JWESM2.Typ, []byte(v.JWESM2.Plaintext))
	})
	plain, err := jose.DecryptSM2(k, v.JWESM2.Typ, v.JWESM2.Token)
	if err != nil || string(plain) != v.JWESM2.Plaintext || !strings.HasPrefix(v.JWESM2.Token, enc.EncodeToString([]byte(v.JWESM2.Header))+".") {
		t.Errorf("jwe_sm2: %v", err)
	}

	v.JWEDirect.Key, v.JWEDirect.Kid = strings.Repeat("22", jose.ContentKeySize), "fleet-1"
	v.JWEDirect.Typ, v.JWEDirect.Plaintext = "yz-example+jwe", "plaintext"
	v.JWEDirect.Header = `{"alg":"dir","enc":"SM4GCM","kid":"fleet-1","typ":"yz-example+jwe"}`
	key, _ := hex.DecodeString(v.JWEDirect.Key)
	v.JWEDirect.Token = once(t, old.JWEDirect.Token, func() (string, error) {
		return jose.EncryptDirect(key, v.JWEDirect.Kid, v.JWEDirect.Typ, []byte(v.JWEDirect.Plaintext))
	})
	plain, err = jose.DecryptDirect(func(string) []byte { return key }, v.JWEDirect.Typ, v.JWEDirect.Token)
	if err != nil || string(plain) != v.JWEDirect.Plaintext || !strings.HasPrefix(v.JWEDirect.Token, enc.EncodeToString([]byte(v.JWEDirect.Header))+"..") {
		t.Errorf("jwe_direct: %v", err)
	}

	r := &v.ReplyKeys
	r.SM2, r.Typ, r.Plaintext = jose.NewReplyKey(k.Public()).JWK(), "yz-example+jwe", "plaintext"
	r.P256Private = strings.Repeat("33", 32)
	secret, _ = hex.DecodeString(r.P256Private)
	browser, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), secret)
	if err != nil {
		t.Fatal(err)
	}
	reply := jose.NewReplyKey(&browser.PublicKey)
	r.P256 = reply.JWK()
	r.P256Token = once(t, old.ReplyKeys.P256Token, func() (string, error) { return reply.Encrypt(r.Typ, []byte(r.Plaintext)) })
	parsed, err := gojose.ParseEncryptedCompact(r.P256Token, []gojose.KeyAlgorithm{gojose.ECDH_ES}, []gojose.ContentEncryption{gojose.A256GCM})
	if err != nil {
		t.Fatal(err)
	}
	if plain, err = parsed.Decrypt(browser); err != nil || string(plain) != r.Plaintext {
		t.Errorf("p256_token: %v", err)
	}
	return v
}

// once returns the committed token, or makes one when vectors are written anew.
func once(t *testing.T, committed string, make func() (string, error)) string {
	t.Helper()
	if !*update {
		return committed
	}
	token, err := make()
	if err != nil {
		t.Fatal(err)
	}
	return token
}
