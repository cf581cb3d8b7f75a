package envelope

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm3"

	"yizheng/identity/jose"
)

var update = flag.Bool("update", false, "write the test vectors anew: only when the format is meant to change")

const vectorFile = "../../docs/protocol/vectors/envelope.json"

type vectorKey struct {
	Private string `json:"private_hex"`
	Public  string `json:"public_hex"` // uncompressed point
	ID      string `json:"key_id"`
	Name    string `json:"issuer_and_serial_hex"`
}

type vectorMessage struct {
	Note             string            `json:"note"`
	Signer           string            `json:"signer"`
	Recipient        string            `json:"recipient"`
	SigningTime      string            `json:"signing_time"`
	Headers          map[string]string `json:"headers"`
	Body             string            `json:"body"`
	SignedAttributes string            `json:"signed_attributes_hex"`
	Signature        string            `json:"signature_hex"`
	SignedData       string            `json:"signed_data_hex"`
	ContentKey       string            `json:"content_key_hex"`
	IV               string            `json:"iv_hex"`
	EncryptedKey     string            `json:"encrypted_key_hex"`
	Envelope         string            `json:"envelope_hex"`
}

type vectorRefusal struct {
	Why      string `json:"why"`
	Envelope string `json:"envelope_hex"`
}

type vectorFileContent struct {
	Note     string               `json:"note"`
	Keys     map[string]vectorKey `json:"keys"`
	Messages []vectorMessage      `json:"messages"`
	Refused  []vectorRefusal      `json:"refused"`
}

// TestFormatHasNotDrifted builds every vector from its random parts (signature,
// encrypted key) as committed, compares each byte, and opens the result.
func TestFormatHasNotDrifted(t *testing.T) {
	var old vectorFileContent
	committed, err := os.ReadFile(vectorFile)
	if err == nil {
		err = json.Unmarshal(committed, &old)
	}
	if err != nil && !*update {
		t.Fatal(err)
	}
	w := newVectorWorld(t)
	raw, err := json.MarshalIndent(w.compute(t, old), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	raw = append(raw, '\n')
	if *update {
		if err := os.WriteFile(vectorFile, raw, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(raw, committed) {
		t.Errorf("the format is not the one of %s any more; now\n%s", vectorFile, raw)
	}
}

type vectorWorld struct {
	keys    map[string]*jose.Key
	secrets map[string]string // hex
}

func newVectorWorld(t *testing.T) vectorWorld {
	t.Helper()
	w := vectorWorld{map[string]*jose.Key{}, map[string]string{}}
	for name, digits := range map[string]string{"gateway": "11", "front": "22", "reply": "33", "front-next": "44"} {
		w.secrets[name] = strings.Repeat(digits, 32)
		private, err := sm2.NewPrivateKey(unhex(t, w.secrets[name]))
		if err != nil {
			t.Fatal(err)
		}
		w.keys[name] = jose.NewKey(private)
	}
	return w
}

// reader of one end, with the keys that end has.
func (w vectorWorld) reader(name string, own ...string) Reader {
	return Reader{
		Name: name,
		Key: func(id string) *jose.Key {
			for _, o := range own {
				if w.keys[o].ID() == id {
					return w.keys[o]
				}
			}
			return nil
		},
		Sender: func(sender, id string) *ecdsa.PublicKey {
			if k := map[string]*jose.Key{"gateway": w.keys["gateway"], "front-sample": w.keys["front"]}[sender]; k != nil && k.ID() == id {
				return k.Public()
			}
			return nil
		},
	}
}

func (w vectorWorld) compute(t *testing.T, old vectorFileContent) vectorFileContent {
	v := vectorFileContent{
		Note: "Keys are for tests only. signature_hex and encrypted_key_hex hold random values: verify and decrypt them; all other members are exact.",
		Keys: map[string]vectorKey{},
	}
	for name, k := range w.keys {
		point, err := sm2.PublicKeyToECDH(k.Public())
		if err != nil {
			t.Fatal(err)
		}
		id, err := nameOf(k.ID(), nil)
		if err != nil {
			t.Fatal(err)
		}
		v.Keys[name] = vectorKey{w.secrets[name], hex.EncodeToString(point.Bytes()), k.ID(), hex.EncodeToString(id)}
	}
	request := Attributes{
		Kind: Request, Exchange: "20251122010123456789X", Leg: "HOUSEHOLD.1", Attempt: 2,
		Sender: "gateway", Recipient: "front-sample", Deadline: time.UnixMilli(1790000000123),
		LegDigest: sm3.Sum([]byte("leg")), ReplyTo: "xg.rep.gw00", ReplyKey: w.keys["reply"].Public(), Epoch: 7,
	}
	answer := request
	answer.Kind, answer.Sender, answer.Recipient, answer.ReplyTo, answer.ReplyKey = Answer, "front-sample", "gateway", "", nil
	old.Messages = append(old.Messages, make([]vectorMessage, 2)...)
	v.Messages = []vectorMessage{
		w.message(t, old.Messages[0], request, "gateway", "front", "a request with every attribute", `{"v":1}`),
		w.message(t, old.Messages[1], answer, "front", "reply", "its answer", `{"v":1,"result":"NOT_FOUND"}`),
	}
	w.open(t, w.reader("front-sample", "front"), v.Messages[0], request)
	w.open(t, w.reader("gateway", "reply"), v.Messages[1], answer)
	v.Refused = w.refusals(t, old.Refused, v.Messages[0])
	r := w.reader("front-sample", "front", "front-next")
	for _, refused := range v.Refused {
		if _, _, err := r.Open(unhex(t, refused.Envelope)); !errors.Is(err, ErrOpen) {
			t.Errorf("opened, although %s", refused.Why)
		}
	}
	return v
}

// message builds one vector, with the random parts of old unless there are none.
func (w vectorWorld) message(t *testing.T, old vectorMessage, a Attributes, from, to, note, body string) vectorMessage {
	a.RecipientKey = w.keys[to].ID()
	a.SignedAt = time.Date(2026, 9, 21, 14, 13, 20, 0, time.UTC)
	attributes, err := signedAttributes(a, sm3.Sum([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	m := vectorMessage{
		Note: note, Signer: from, Recipient: to, SigningTime: a.SignedAt.Format(time.RFC3339), Headers: a.Headers(), Body: body,
		SignedAttributes: hex.EncodeToString(attributes),
		ContentKey:       strings.Repeat("55", 16), IV: "000102030405060708090a0b0c0d0e0f",
	}
	m.Signature = once(t, old.Signature, func() ([]byte, error) { return w.keys[from].SignMessage(attributes) })
	name, err := nameOf(w.keys[from].ID(), nil)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signedData(name, nil, attributes, unhex(t, m.Signature), []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	m.SignedData = hex.EncodeToString(signed)
	m.EncryptedKey = w.encryptedKey(t, old.EncryptedKey, to, m)
	m.Envelope = hex.EncodeToString(w.envelope(t, m, to, m.EncryptedKey, encryptVector(t, m, signed)))
	return m
}

func (w vectorWorld) encryptedKey(t *testing.T, old, to string, m vectorMessage) string {
	return once(t, old, func() ([]byte, error) {
		return sm2.EncryptASN1(rand.Reader, w.keys[to].Public(), unhex(t, m.ContentKey))
	})
}

func encryptVector(t *testing.T, m vectorMessage, plain []byte) []byte {
	content, err := encrypt([16]byte(unhex(t, m.ContentKey)), [16]byte(unhex(t, m.IV)), plain)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func (w vectorWorld) envelope(t *testing.T, m vectorMessage, to, encryptedKey string, content []byte) []byte {
	name, err := nameOf(w.keys[to].ID(), nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := envelopedData(name, unhex(t, encryptedKey), [16]byte(unhex(t, m.IV)), content)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func (w vectorWorld) open(t *testing.T, r Reader, m vectorMessage, want Attributes) {
	a, body, err := r.Open(unhex(t, m.Envelope))
	if err != nil {
		var refused *OpenError
		errors.As(err, &refused)
		t.Fatalf("%s: %s", m.Note, refused.Cause())
	}
	want.RecipientKey, want.SignedAt, want.Deadline = a.RecipientKey, a.SignedAt, a.Deadline
	if !reflect.DeepEqual(a.Headers(), m.Headers) || !reflect.DeepEqual(want.Headers(), m.Headers) ||
		string(body) != m.Body || a.SignedAt.Format(time.RFC3339) != m.SigningTime {
		t.Errorf("%s: opened as %v %q", m.Note, a.Headers(), body)
	}
}

// refusals are messages a reader must not open, made of the request's parts.
func (w vectorWorld) refusals(t *testing.T, old []vectorRefusal, m vectorMessage) []vectorRefusal {
	before := map[string]string{}
	for _, r := range old {
		before[r.Why] = r.Envelope
	}
	signed, attributes := unhex(t, m.SignedData), unhex(t, m.SignedAttributes)
	seal := func(plain []byte) []byte {
		return w.envelope(t, m, "front", m.EncryptedKey, encryptVector(t, m, plain))
	}

	changed := bytes.Replace(signed, []byte(`{"v":1}`), []byte(`{"v":2}`), 1)
	padding := append(bytes.Clone(signed), bytes.Repeat([]byte{0}, 16-len(signed)%16)...)
	zeros := encryptVector(t, m, padding)
	gateway, err := nameOf(w.keys["gateway"].ID(), nil)
	if err != nil {
		t.Fatal(err)
	}
	indefinite := unhex(t, m.Envelope)
	indefinite = append(append([]byte{0x30, 0x80}, indefinite[4:]...), 0, 0)
	const (
		otherSigner = "the signature is by another key than the one that is named"
		resealed    = "it is sealed to another key of the recipient than the signed attributes name"
	)
	return []vectorRefusal{
		{"the body is not the one that was signed", hex.EncodeToString(seal(changed))},
		{"the padding is not of PKCS#7", hex.EncodeToString(w.envelope(t, m, "front", m.EncryptedKey, zeros[:len(zeros)-16]))},
		{"the encoding is BER, not DER", hex.EncodeToString(indefinite)},
		{otherSigner, once(t, before[otherSigner], func() ([]byte, error) {
			signature, err := w.keys["front"].SignMessage(attributes)
			if err != nil {
				return nil, err
			}
			plain, err := signedData(gateway, nil, attributes, signature, []byte(m.Body))
			return seal(plain), err
		})},
		{resealed, once(t, before[resealed], func() ([]byte, error) {
			key := w.encryptedKey(t, "", "front-next", m)
			return w.envelope(t, m, "front-next", key, encryptVector(t, m, signed)), nil
		})},
	}
}

// once returns the committed random value, or makes one when vectors are written anew.
func once(t *testing.T, committed string, make func() ([]byte, error)) string {
	t.Helper()
	if !*update {
		return committed
	}
	b, err := make()
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(b)
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
