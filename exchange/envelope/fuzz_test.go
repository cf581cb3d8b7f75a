package envelope_test

import (
	"bytes"
	"crypto/ecdsa"
	"errors"
	"testing"

	"yizheng/exchange/envelope"
	"yizheng/identity/jose"
)

// FuzzOpen feeds the outer parser what the broker or the boundary could: it must
// not panic, and whatever opens is what was sealed.
func FuzzOpen(f *testing.F) {
	p := newPair(f)
	der, sealed := p.seal(f, p.request(), []byte("body"))
	f.Add(der)
	f.Add(der[:len(der)/2])
	r := p.reader()
	r.Key = func(string) *jose.Key { return p.front } // whatever the name, so that decryption is reached
	f.Fuzz(func(t *testing.T, b []byte) {
		a, body, err := r.Open(b)
		if err != nil {
			if !errors.Is(err, envelope.ErrOpen) || err.Error() != envelope.ErrOpen.Error() {
				t.Fatal(err)
			}
			return
		}
		if !same(a, sealed) || string(body) != "body" {
			t.Fatal("something opened that nobody sealed")
		}
	})
}

// FuzzOpenInner seals its input first: what a sender with a key of its own, or
// one that only knows the recipient's key, can do.
func FuzzOpenInner(f *testing.F) {
	p := newPair(f)
	signed := envelope.SignForTest(f, p.gateway, p.request(), p.front.ID(), []byte("body"))
	f.Add(signed)
	f.Add(signed[:100])
	f.Add(envelope.SignForTest(f, p.front, p.request(), p.front.ID(), []byte("body"))) // not trusted
	r := p.reader()
	r.Sender = func(string, string) *ecdsa.PublicKey { return p.gateway.Public() }
	seal := envelope.SealerForTest(f, p.front.Public())
	f.Fuzz(func(t *testing.T, plain []byte) {
		if len(plain) > 64<<10 {
			return
		}
		_, body, err := r.Open(seal(t, plain))
		if err == nil && !bytes.Equal(body, []byte("body")) {
			t.Fatal("something opened that nobody signed")
		}
	})
}
