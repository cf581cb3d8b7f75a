package audit

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/pem"
	"testing"

	"github.com/emmansun/gmsm/smx509"
)

// Keys are written and read as everybody else writes and reads them.
func TestKeysAreInTheirUsualForm(t *testing.T) {
	pub := newKey(t).Public()
	der, err := marshalKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	want, err := smx509.MarshalPKIXPublicKey(pub)
	if err != nil || !bytes.Equal(der, want) {
		t.Fatalf("%x, want %x (%v)", der, want, err)
	}
	back, err := ParseKey(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: want}))
	if err != nil || !back.Equal(pub) {
		t.Errorf("read back: %v", err)
	}
}

func TestOtherKeysAreRefused(t *testing.T) {
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := smx509.MarshalPKIXPublicKey(&p256.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	offCurve, err := marshalKey(newKey(t).Public())
	if err != nil {
		t.Fatal(err)
	}
	offCurve[len(offCurve)-1] ^= 1
	for name, text := range map[string][]byte{
		"no PEM":      []byte("key"),
		"private key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: other}),
		"P-256":       pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: other}),
		"cut":         pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: offCurve[:80]}),
		"off curve":   pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: offCurve}),
	} {
		if _, err := ParseKey(text); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if _, err := KeyID(&p256.PublicKey); err == nil {
		t.Error("a P-256 key has an id")
	}
}
