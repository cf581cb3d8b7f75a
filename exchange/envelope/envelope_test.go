package envelope_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm3"
	"github.com/emmansun/gmsm/smx509"

	"yizheng/exchange/envelope"
	"yizheng/identity/jose"
)

// pair is two ends of the ferry: a gateway that asks and a front that answers.
type pair struct {
	gateway, front, reply *jose.Key
}

func newPair(t testing.TB) pair {
	t.Helper()
	return pair{newKey(t), newKey(t), newKey(t)}
}

func newKey(t testing.TB) *jose.Key {
	t.Helper()
	k, err := jose.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (p pair) request() envelope.Attributes {
	return envelope.Attributes{
		Kind: envelope.Request, Exchange: "20251122010123456789X", Leg: "HOUSEHOLD.1", Attempt: 1,
		Sender: "gateway", Recipient: "front-police", Deadline: time.UnixMilli(1790000000123),
		LegDigest: sm3.Sum([]byte("leg")), ReplyTo: "xg.rep.gw00", ReplyKey: p.reply.Public(), Epoch: 7,
	}
}

// reader is the front's.
func (p pair) reader() envelope.Reader {
	return envelope.Reader{
		Name: "front-police",
		Key:  keys(p.front),
		Sender: func(name, keyID string) *ecdsa.PublicKey {
			if name == "gateway" && keyID == p.gateway.ID() {
				return p.gateway.Public()
			}
			return nil
		},
	}
}

func keys(ks ...*jose.Key) func(string) *jose.Key {
	return func(id string) *jose.Key {
		for _, k := range ks {
			if k.ID() == id {
				return k
			}
		}
		return nil
	}
}

func (p pair) seal(t testing.TB, a envelope.Attributes, body []byte) ([]byte, envelope.Attributes) {
	t.Helper()
	der, a, err := envelope.Seal(envelope.Sender{Key: p.gateway}, envelope.Recipient{Key: p.front.Public()}, a, body)
	if err != nil {
		t.Fatal(err)
	}
	return der, a
}

// same compares attributes field by field, keys by value.
func same(a, b envelope.Attributes) bool {
	if (a.ReplyKey == nil) != (b.ReplyKey == nil) || a.ReplyKey != nil && !a.ReplyKey.Equal(b.ReplyKey) {
		return false
	}
	a.ReplyKey, b.ReplyKey = nil, nil
	return a == b
}

func refused(t *testing.T, err error) string {
	t.Helper()
	var open *envelope.OpenError
	if !errors.Is(err, envelope.ErrOpen) || !errors.As(err, &open) || err.Error() != envelope.ErrOpen.Error() {
		t.Fatalf("error is %v, want one that says no more than ErrOpen", err)
	}
	if open.Cause() == "" {
		t.Fatal("no cause for the local log")
	}
	return open.Cause()
}

func TestWhatWasSealedIsOpened(t *testing.T) {
	p := newPair(t)
	answer := p.request()
	answer.Kind, answer.ReplyTo, answer.ReplyKey = envelope.Answer, "", nil
	late := p.request()
	late.SignedAt, late.Epoch = time.Date(2051, 2, 3, 4, 5, 6, 7, time.UTC), 0
	for _, c := range []struct {
		name string
		a    envelope.Attributes
		size int
	}{
		{"a request", p.request(), 1000},
		{"an answer", answer, 64 << 10},
		{"an empty body", answer, 0},
		{"signed after 2049", late, 1},
		{"the largest body", p.request(), envelope.MaxBody},
	} {
		t.Run(c.name, func(t *testing.T) {
			body := bytes.Repeat([]byte("证"), c.size/3+1)[:c.size]
			der, sealed := p.seal(t, c.a, body)
			if bytes.Contains(der, []byte("police")) || len(der) > envelope.MaxSealed {
				t.Error("attributes are readable outside, or the message is too long")
			}
			a, got, err := p.reader().Open(der)
			if err != nil {
				t.Fatal(err)
			}
			if !same(a, sealed) || !bytes.Equal(got, body) {
				t.Error("another message came out than went in")
			}
			if a.RecipientKey != p.front.ID() || a.SignedAt.IsZero() || a.Deadline.UnixMilli() != c.a.Deadline.UnixMilli() {
				t.Errorf("attributes: %+v", a)
			}
			if err := a.EqualHeaders(sealed.Headers()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestPaddingOfEveryLengthIsTakenOff(t *testing.T) {
	p := newPair(t)
	for n := range 17 {
		body := bytes.Repeat([]byte{7}, n)
		der, _ := p.seal(t, p.request(), body)
		if _, got, err := p.reader().Open(der); err != nil || !bytes.Equal(got, body) {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
}

func TestKeysMayComeInCertificates(t *testing.T) {
	p := newPair(t)
	now := time.Now()
	own, err := envelope.Certificate(p.gateway, now, now.AddDate(1, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	for name, certificate := range map[string][]byte{"key certificate": own, "authority's certificate": issued(t, p.gateway)} {
		t.Run(name, func(t *testing.T) {
			from := envelope.Sender{Key: p.gateway, Certificate: certificate}
			der, _, err := envelope.Seal(from, envelope.Recipient{Key: p.front.Public()}, p.request(), []byte("body"))
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := p.reader().Open(der); err != nil {
				t.Fatal(err)
			}
			from.Key = p.front
			if _, _, err := envelope.Seal(from, envelope.Recipient{Key: p.front.Public()}, p.request(), nil); err == nil {
				t.Error("a certificate of another key was taken")
			}
		})
	}
	front, err := envelope.Certificate(p.front, now, now.AddDate(1, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	der, _, err := envelope.Seal(envelope.Sender{Key: p.gateway}, envelope.Recipient{Key: p.front.Public(), Certificate: front}, p.request(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.reader().Open(der); err != nil {
		t.Error("a key certificate has another name than its key:", err)
	}
}

func TestMisdirectedMessagesAreRefused(t *testing.T) {
	p := newPair(t)
	der, _ := p.seal(t, p.request(), []byte("body"))
	other := newKey(t)
	for _, c := range []struct {
		name   string
		change func(*envelope.Reader)
		cause  string
	}{
		{"another reader's name", func(r *envelope.Reader) { r.Name = "front-land" }, "another recipient"},
		{"a key that is gone", func(r *envelope.Reader) { r.Key = keys(other) }, "not here"},
		{"another key under the id", func(r *envelope.Reader) { r.Key = func(string) *jose.Key { return other } }, "decryption"},
		{"a sender not trusted", func(r *envelope.Reader) { r.Sender = func(string, string) *ecdsa.PublicKey { return nil } }, "not known"},
		{"another sender's key", func(r *envelope.Reader) {
			r.Sender = func(string, string) *ecdsa.PublicKey { return other.Public() }
		}, "signature"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := p.reader()
			c.change(&r)
			_, body, err := r.Open(der)
			if cause := refused(t, err); !strings.Contains(cause, c.cause) || body != nil {
				t.Errorf("refused because of %q, want %q", cause, c.cause)
			}
		})
	}
}

func TestMessageResealedToAnotherKeyIsRefused(t *testing.T) {
	p := newPair(t)
	plain := envelope.SignForTest(t, p.gateway, p.request(), p.front.ID(), []byte("body"))
	second := newKey(t) // of the same recipient, of the day before
	r := p.reader()
	r.Key = keys(p.front, second)
	if _, _, err := r.Open(envelope.SealForTest(t, p.front.Public(), plain)); err != nil {
		t.Fatal(err)
	}
	_, _, err := r.Open(envelope.SealForTest(t, second.Public(), plain))
	if cause := refused(t, err); !strings.Contains(cause, "another key") {
		t.Error("refused because of", cause)
	}
}

func TestChangedByteIsRefused(t *testing.T) {
	p := newPair(t)
	der, sealed := p.seal(t, p.request(), []byte("body"))
	causes := map[string]int{}
	opened := 0
	for i := range der {
		for _, bit := range []byte{0x01, 0x80} {
			changed := bytes.Clone(der)
			changed[i] ^= bit
			a, body, err := p.reader().Open(changed)
			if err == nil {
				// The two version numbers of the outer structure may be 0 or 1.
				if opened++; changed[i] != 0 || !same(a, sealed) || string(body) != "body" {
					t.Errorf("byte %d changed and the message was opened", i)
				}
				continue
			}
			causes[refused(t, err)]++
		}
	}
	for n := range len(der) {
		_, _, err := p.reader().Open(der[:n])
		refused(t, err)
	}
	_, _, err := p.reader().Open(append(bytes.Clone(der), 0))
	refused(t, err)
	if causes["decryption"] == 0 || opened > 2 {
		t.Error("changes not refused:", opened, "causes:", causes)
	}
}

func TestChangedPlaintextIsRefused(t *testing.T) {
	p := newPair(t)
	plain := envelope.SignForTest(t, p.gateway, p.request(), p.front.ID(), []byte("body"))
	for i := range plain {
		changed := bytes.Clone(plain)
		changed[i] ^= 0x01
		if _, _, err := p.reader().Open(envelope.SealForTest(t, p.front.Public(), changed)); err == nil {
			t.Errorf("byte %d changed and the message was opened", i)
		}
	}
}

func TestMessageWithoutPaddingIsRefused(t *testing.T) {
	p := newPair(t)
	for n := range 1000 { // a signature's length varies, so the right one has to be met
		plain := envelope.SignForTest(t, p.gateway, p.request(), p.front.ID(), make([]byte, n%16))
		if len(plain)%16 != 0 {
			continue
		}
		_, _, err := p.reader().Open(envelope.SealUnpaddedForTest(t, p.front.Public(), plain))
		refused(t, err)
		return
	}
	t.Fatal("no length fills its last block")
}

func TestUnsealableAttributesAreNamed(t *testing.T) {
	p := newPair(t)
	for _, c := range []struct {
		name, want string
		change     func(*envelope.Attributes)
	}{
		{"no kind", "kind", func(a *envelope.Attributes) { a.Kind = "" }},
		{"no exchange", "exchange", func(a *envelope.Attributes) { a.Exchange = "" }},
		{"a line end in the leg", "leg", func(a *envelope.Attributes) { a.Leg = "a\nb" }},
		{"Chinese sender", "sender", func(a *envelope.Attributes) { a.Sender = "公安" }},
		{"long recipient", "recipient", func(a *envelope.Attributes) { a.Recipient = strings.Repeat("x", 129) }},
		{"attempt zero", "attempt", func(a *envelope.Attributes) { a.Attempt = 0 }},
		{"no deadline", "deadline", func(a *envelope.Attributes) { a.Deadline = time.Time{} }},
		{"request without reply address", "reply", func(a *envelope.Attributes) { a.ReplyTo = "" }},
		{"request without reply key", "reply", func(a *envelope.Attributes) { a.ReplyKey = nil }},
		{"answer with reply address", "answer", func(a *envelope.Attributes) { a.Kind = envelope.Answer }},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := p.request()
			c.change(&a)
			_, _, err := envelope.Seal(envelope.Sender{Key: p.gateway}, envelope.Recipient{Key: p.front.Public()}, a, nil)
			if !errors.Is(err, envelope.ErrAttributes) || !strings.Contains(err.Error(), c.want) {
				t.Error(err)
			}
		})
	}
	_, _, err := envelope.Seal(envelope.Sender{Key: p.gateway}, envelope.Recipient{Key: p.front.Public()}, p.request(), make([]byte, envelope.MaxBody+1))
	if !errors.Is(err, envelope.ErrTooLarge) {
		t.Error(err)
	}
}

func TestHeadersMustEqualAttributes(t *testing.T) {
	p := newPair(t)
	_, a := p.seal(t, p.request(), nil)
	if len(a.Headers()) != 12 {
		t.Fatalf("%d headers", len(a.Headers()))
	}
	for name := range a.Headers() {
		changed, missing := a.Headers(), a.Headers()
		changed[name] += "0"
		delete(missing, name)
		for what, h := range map[string]map[string]string{"changed": changed, "missing": missing} {
			if err := a.EqualHeaders(h); !errors.Is(err, envelope.ErrHeaders) || !strings.HasSuffix(err.Error(), name) {
				t.Errorf("%s %s: %v", name, what, err)
			}
		}
	}
	more := a.Headers()
	more["traceparent"] = "00-1"
	if err := a.EqualHeaders(more); err != nil {
		t.Error("a transport's own header was not let be:", err)
	}
	answer := p.request()
	answer.Kind, answer.ReplyTo, answer.ReplyKey, answer.Epoch = envelope.Answer, "", nil, 0
	_, answer = p.seal(t, answer, nil)
	extra := maps.Clone(answer.Headers())
	extra[envelope.HeaderReplyTo] = ""
	if err := answer.EqualHeaders(extra); !errors.Is(err, envelope.ErrHeaders) {
		t.Error("a header that is not signed was let be:", err)
	}
}

func TestErrorsHoldNothingOfTheBody(t *testing.T) {
	p := newPair(t)
	der, _ := p.seal(t, p.request(), []byte("canary-value"))
	r := p.reader()
	r.Name = "front-land"
	_, _, err := r.Open(der)
	if s := fmt.Sprintf("%v %+v %#v %s", err, err, err, refused(t, err)); strings.Contains(s, "canary") {
		t.Error("the error holds the body")
	}
}

// issued is a certificate for key from an authority, as a department may have one.
func issued(t *testing.T, key *jose.Key) []byte {
	t.Helper()
	authority := newKey(t)
	template := &smx509.Certificate{
		SerialNumber: big.NewInt(4711), Subject: pkix.Name{CommonName: "Gateway"},
		NotBefore: time.Unix(1700000000, 0), NotAfter: time.Unix(1900000000, 0),
	}
	parent := &smx509.Certificate{Subject: pkix.Name{CommonName: "Sample authority"}}
	der, err := smx509.CreateCertificate(rand.Reader, template, parent, key.Public(), authority.SM2())
	if err != nil {
		t.Fatal(err)
	}
	return der
}
