package envelope

import (
	"crypto/ecdsa"
	"crypto/rand"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"yizheng/identity/jose"
)

// SignForTest makes the inner message alone.
func SignForTest(t testing.TB, from *jose.Key, a Attributes, recipientKey string, body []byte) []byte {
	t.Helper()
	a.RecipientKey = recipientKey
	a.SignedAt = time.Unix(1790000000, 0)
	plain, err := sign(Sender{Key: from}, a, body)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

// SealForTest seals any bytes.
func SealForTest(t testing.TB, to *ecdsa.PublicKey, plain []byte) []byte {
	t.Helper()
	der, err := seal(Recipient{Key: to}, jose.KeyID(to), plain)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// SealerForTest seals with one content key and vector, so that equal input gives
// an equal message: a fuzzer needs that.
func SealerForTest(t testing.TB, to *ecdsa.PublicKey) func(testing.TB, []byte) []byte {
	t.Helper()
	var key, iv [16]byte
	encryptedKey, err := sm2.EncryptASN1(rand.Reader, to, key[:])
	if err != nil {
		t.Fatal(err)
	}
	name, err := nameOf(jose.KeyID(to), nil)
	if err != nil {
		t.Fatal(err)
	}
	return func(t testing.TB, plain []byte) []byte {
		t.Helper()
		content, err := encrypt(key, iv, plain)
		if err != nil {
			t.Fatal(err)
		}
		der, err := envelopedData(name, encryptedKey, iv, content)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
}

// SealUnpaddedForTest seals whole blocks without padding.
func SealUnpaddedForTest(t testing.TB, to *ecdsa.PublicKey, plain []byte) []byte {
	t.Helper()
	var key, iv [16]byte
	encryptedKey, err := sm2.EncryptASN1(rand.Reader, to, key[:])
	if err != nil {
		t.Fatal(err)
	}
	name, err := nameOf(jose.KeyID(to), nil)
	if err != nil {
		t.Fatal(err)
	}
	content, err := encrypt(key, iv, plain)
	if err != nil {
		t.Fatal(err)
	}
	der, err := envelopedData(name, encryptedKey, iv, content[:len(content)-16])
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// CutForTest cuts what is signed, and the signature, out of an inner message.
func CutForTest(t testing.TB, plain []byte) (signed, signature []byte) {
	t.Helper()
	m, ok := parseSigned(plain)
	if !ok {
		t.Fatal("not an inner message")
	}
	return m.signed, m.signature
}

// FerryForTest is the value of the ferry attribute.
func FerryForTest(t testing.TB, a Attributes) []byte {
	t.Helper()
	der, err := ferryAttribute(a)
	if err != nil {
		t.Fatal(err)
	}
	return der
}
