package front

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"yizheng/exchange"
)

func anyKey(_, _ string) *ecdsa.PublicKey { return own["agent-1"].Public() }

func TestQuestionSurvivesItsEncoding(t *testing.T) {
	q := cardRead(time.Now()).question(t, "X-1")
	b, err := q.encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeQuestion(b)
	if err != nil {
		t.Fatal(err)
	}
	q.Salts.Card = [16]byte{} // stays between agent and gateway
	if !reflect.DeepEqual(got, q) {
		t.Error("a question changes on its way")
	}
	if got.Terms.Digest() != q.Terms.Digest() {
		t.Error("its leg digest changes on its way")
	}
	q = ordered(q)
	if b, err = q.encode(); err != nil {
		t.Fatal(err)
	}
	if got, err = decodeQuestion(b); err != nil || !reflect.DeepEqual(got, q) {
		t.Errorf("a question with an order changes on its way: %v", err)
	}
}

func TestMalformedOrderIsNoQuestion(t *testing.T) {
	for name, change := range map[string]func(*exchange.Order){
		"no number":             func(o *exchange.Order) { o.Number = "" },
		"number of an exchange": func(o *exchange.Order) { o.Number = "2026112201ABCDEFGHJKV" },
		"wrong check character": func(o *exchange.Order) { o.Number = o.Number[:26] + "*" },
		"no receipt":            func(o *exchange.Order) { o.Receipt = "" },
		"text as receipt":       func(o *exchange.Order) { o.Receipt = "something to sign" },
	} {
		q := ordered(cardRead(time.Now()).question(t, "X-1"))
		change(q.Order)
		b, err := q.encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodeQuestion(b); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestReplySurvivesItsEncoding(t *testing.T) {
	for name, r := range map[string]Reply{
		"refused": {Refusal: TooLate}, "not found": {State: exchange.StateNotFound, DataTime: time.Date(2026, 11, 22, 1, 2, 3, 456, time.UTC)},
		"two records": {State: exchange.StateFound, Records: []exchange.Record{
			{Number: liNumber, Name: "李𬸚", Fields: map[string]any{"area": json.Number("88.50"), "none": nil, "list": []any{"a"}}},
			{Fields: map[string]any{}}}},
		"document": {State: exchange.StateFound, Document: &exchange.Document{File: []byte("%PDF"), IssuedAt: time.Date(2026, 11, 22, 1, 2, 3, 0, time.UTC)}},
		"no glyph": {State: exchange.StateFound, Document: &exchange.Document{Missing: []rune{0x3402, 0x20C8E}}},
	} {
		b, err := r.encode()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := decodeReply(b); err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("%s: %v\n%s", name, err, b)
		}
	}
}

func TestMalformedReplyIsNoAnswer(t *testing.T) {
	for name, b := range map[string]string{
		"nothing": "", "null": "null", "other version": `{"v":2,"state":"FOUND"}`, "neither state nor refusal": `{"v":1}`,
		"state and refusal": `{"v":1,"state":"FOUND","refusal":"DENIED"}`, "member nobody knows": `{"v":1,"state":"FOUND","x":1}`,
		"two replies": `{"v":1,"state":"FOUND"}{"v":1,"state":"FOUND"}`, "no time": `{"v":1,"state":"FOUND","data_time":"yesterday"}`,
		"state nobody knows": `{"v":1,"state":"MAYBE"}`, "refusal nobody knows": `{"v":1,"refusal":"MAYBE"}`,
		"document without records": `{"v":1,"state":"NOT_FOUND","document":{"file":"JVBERg","issued_at":"2026-11-22T03:04:05Z"}}`,
		"refusal with a document":  `{"v":1,"refusal":"SOURCE_ERROR","document":{"file":"JVBERg","issued_at":"2026-11-22T03:04:05Z"}}`,
		"empty document":           `{"v":1,"state":"FOUND","document":{}}`, "document without a time": `{"v":1,"state":"FOUND","document":{"file":"JVBERg"}}`,
		"document and no document": `{"v":1,"state":"FOUND","document":{"file":"JVBERg","issued_at":"2026-11-22T03:04:05Z","missing":["U+3402"]}}`,
		"no code point":            `{"v":1,"state":"FOUND","document":{"missing":["U+110000"]}}`, "file that is not base64url": `{"v":1,"state":"FOUND","document":{"file":"+/==","issued_at":"2026-11-22T03:04:05Z"}}`,
		"refusal with records": `{"v":1,"refusal":"DENIED","records":[{"fields":{}}]}`,
	} {
		if r, err := decodeReply([]byte(b)); err == nil {
			t.Errorf("%s: state %q, refusal %q", name, r.State, r.Refusal)
		}
	}
}

func TestNothingOfAPersonCanBePrinted(t *testing.T) {
	q := cardRead(time.Now()).question(t, "X-1")
	r := Reply{State: exchange.StateFound, Records: found(registered()).Records}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+verb+verb+verb, q, &q, r, &r)
	}
	log := slog.New(slog.NewJSONHandler(&out, nil))
	log.Info("x", "q", q, "r", r)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "q", q, "r", &r)
	if b, err := json.Marshal(map[string]any{"q": q, "r": r}); err == nil {
		out.Write(b)
	}
	_, err := decodeQuestion([]byte(`{"v":1,"person":{"number":"` + liNumber + `","name":"` + liName + `"}}`))
	fmt.Fprint(&out, err)
	_, err = decodeReply([]byte(`{"v":1,"state":"FOUND","records":[{"number":"` + liNumber + `","name":3}]}`))
	fmt.Fprint(&out, err)
	for _, secret := range []string{liNumber, liName, "6901020026001234", "1985", fmt.Sprintf("%x", liName), fmt.Sprintf("%x", liNumber), q.Attestation} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("printed %q in\n%s", secret, &out)
		}
	}
}

func FuzzQuestion(f *testing.F) {
	q := cardRead(time.Now()).question(f, "X-1")
	q.Attestation = "a.b.c"
	b, err := q.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	if b, err = ordered(q).encode(); err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"v":1,"person":{"type":"553","number":"969840198507040013"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := decodeQuestion(b)
		if err != nil {
			return
		}
		again, err := q.encode()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := decodeQuestion(again); err != nil || back.Terms.Digest() != q.Terms.Digest() || back.Person != q.Person || back.Salts != q.Salts {
			t.Errorf("not the same again: %v", err)
		}
	})
}

func FuzzReply(f *testing.F) {
	f.Add([]byte(`{"v":1,"state":"FOUND","data_time":"2026-11-22T03:00:00Z","records":[{"number":"1","name":"n","fields":{"a":1.0,"b":null}}]}`))
	f.Add([]byte(`{"v":1,"state":"FOUND","document":{"file":"JVBERg","issued_at":"2026-11-22T03:04:05Z"},"pad":"00"}`))
	f.Add([]byte(`{"v":1,"state":"FOUND","document":{"missing":["U+3402"]}}`))
	f.Add([]byte(`{"v":1,"refusal":"DENIED"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeReply(b)
		if err != nil {
			return
		}
		again, err := r.encode()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := decodeReply(again); err != nil || back.State != r.State || back.Refusal != r.Refusal || len(back.Records) != len(r.Records) || !back.DataTime.Equal(r.DataTime) {
			t.Errorf("not the same again: %v", err)
		}
	})
}
