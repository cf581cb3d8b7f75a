package front

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"yizheng/exchange"
	"yizheng/identity"
)

var update = flag.Bool("update", false, "write the test vectors anew: only when a format is meant to change")

const vectorFile = "../../docs/protocol/vectors/front.json"

type vectors struct {
	Note      string           `json:"note"`
	Questions []questionVector `json:"questions"`
	Replies   []replyVector    `json:"replies"`
	Malformed []malformed      `json:"malformed"`
}

type questionVector struct {
	Name      string `json:"name"`
	Body      string `json:"body"`
	LegDigest string `json:"leg_digest_hex"`
}

type replyVector struct {
	Name string `json:"name"`
	Body string `json:"body"`
}

type malformed struct {
	Name string `json:"name"`
	Kind string `json:"kind"` // question or reply
	Body string `json:"body"`
}

func TestFormatHasNotDrifted(t *testing.T) {
	v := vectors{Note: "Persons, keys and numbers are fictional. Bodies are what stands inside an envelope, byte by byte. The attestation is shortened; docs/protocol/vectors/read-attestation.json has whole ones."}
	question := func(name string, q Question) {
		b, err := q.encode()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := decodeQuestion(b); err != nil || back.Terms.Digest() != q.Terms.Digest() {
			t.Errorf("%s cannot be read: %v", name, err)
		}
		d := q.Terms.Digest()
		v.Questions = append(v.Questions, questionVector{name, string(b), hex.EncodeToString(d[:])})
	}
	q := fixedQuestion(t, "690102198503120016", "李明")
	question("a resident", q)
	q = fixedQuestion(t, "969840198507040013", "约翰·米勒")
	q.Terms.Case, q.Terms.Fields, q.Terms.Leg = "示例〔2026〕第1号 <a&b>", []string{}, "UE-01@spouse.2"
	question("a foreigner, a case in Chinese, no field", q)
	q = fixedQuestion(t, "690102198503120016", "李明")
	question("a document is ordered", ordered(q))
	for _, r := range []struct {
		name string
		Reply
	}{
		{"found", Reply{State: exchange.StateFound, DataTime: time.Date(2026, 11, 22, 3, 4, 5, 0, time.UTC), Records: []exchange.Record{{Number: "690102198503120016", Name: "李明",
			Fields: map[string]any{"certificate_no": "6901020026001234", "status": "1", "months": json.Number("5")}}}}},
		{"found twice, in systems that keep no name or number", Reply{State: exchange.StateFound, DataTime: time.Date(2026, 11, 22, 11, 4, 5, 6_000_000, time.FixedZone("", 8*3600)),
			Records: []exchange.Record{{Number: "690102198503120016", Fields: map[string]any{"a": "1"}}, {Name: "李明", Fields: map[string]any{"a": "2"}}}}},
		{"found, with the sealed document (shortened)", Reply{State: exchange.StateFound, DataTime: time.Date(2026, 11, 22, 3, 4, 5, 0, time.UTC), Records: []exchange.Record{{Number: "690102198503120016", Name: "李明",
			Fields: map[string]any{"status": "1"}}}, Document: &exchange.Document{File: []byte("%PDF-1.7 ..."), IssuedAt: time.Date(2026, 11, 22, 3, 4, 6, 0, time.UTC)}}},
		{"found, but characters cannot be drawn", Reply{State: exchange.StateFound, DataTime: time.Date(2026, 11, 22, 3, 4, 5, 0, time.UTC), Records: []exchange.Record{{Number: "690102198503120016", Name: "李明",
			Fields: map[string]any{"status": "1"}}}, Document: &exchange.Document{Missing: []rune{0x3402, 0x20C8E}}}},
		{"not found, of a sensitive proof with an order (padded to 128 bytes instead of 524288)", Reply{State: exchange.StateNotFound, pad: 128}},
		{"not found", Reply{State: exchange.StateNotFound, DataTime: time.Date(2026, 11, 22, 3, 4, 5, 0, time.UTC)}},
		{"several", Reply{State: exchange.StateMultiple}}, {"to be checked by hand", Reply{State: exchange.StatePending}}, {"not to be issued", Reply{State: exchange.StateNotIssuable}},
		{"refused", Reply{Refusal: Denied}}, {"out of time", Reply{Refusal: TooLate}}, {"nobody behind the front", Reply{Refusal: Unreachable}}, {"unusable answer", Reply{Refusal: Failed}},
	} {
		b, err := r.encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodeReply(b); err != nil {
			t.Errorf("%s cannot be read: %v", r.name, err)
		}
		v.Replies = append(v.Replies, replyVector{r.name, string(b)})
	}
	v.Malformed = []malformed{
		{"another version", "question", `{"v":2}`}, {"a member nobody knows", "reply", `{"v":1,"state":"FOUND","more":1}`},
		{"neither state nor refusal", "reply", `{"v":1}`}, {"both", "reply", `{"v":1,"state":"NOT_FOUND","refusal":"DENIED"}`},
		{"a state nobody knows", "reply", `{"v":1,"state":"PERHAPS"}`}, {"records with a refusal", "reply", `{"v":1,"refusal":"DENIED","records":[{"fields":{}}]}`},
		{"a document without an answer", "reply", `{"v":1,"state":"NOT_FOUND","document":{"file":"JVBERg","issued_at":"2026-11-22T03:04:05Z"}}`},
		{"an order without a number", "question", strings.Replace(v.Questions[2].Body, ordered(q).Order.Number, "", 1)},
		{"more after the end", "reply", `{"v":1,"state":"NOT_FOUND"} {}`}, {"a time without a zone", "reply", `{"v":1,"state":"NOT_FOUND","data_time":"2026-11-22T03:04:05"}`},
	}
	for _, m := range v.Malformed {
		_, err := decodeReply([]byte(m.Body))
		if m.Kind == "question" {
			_, err = decodeQuestion([]byte(m.Body))
		}
		if err == nil {
			t.Errorf("%s was taken", m.Name)
		}
	}
	sameVectors(t, v)
}

func fixedQuestion(t *testing.T, number, name string) Question {
	t.Helper()
	n, _, err := identity.ParseNumber(number)
	if err != nil {
		t.Fatal(err)
	}
	q := Question{
		Terms: exchange.LegTerms{Exchange: "2026112201ABCDEFGHJKV", Leg: "UE-01.1", Item: "PRH", Proof: "UE-01", Fields: []string{"certificate_no", "status"},
			Purpose: "P-PRH", Case: "SJ-20261122-1", Release: 7},
		Source: "ue-city", Caller: "window-hall", Operator: "clerk-01", Attestation: "eyJhbGci.eyJ2Ijox.c2ln",
		Person: identity.Person{Type: n.Type(), Number: n, Name: identity.NewName(name)},
		Salts:  identity.Salts{ID: [16]byte(bytes.Repeat([]byte{0xA1}, 16)), Name: [16]byte(bytes.Repeat([]byte{0xB2}, 16))},
	}
	q.Terms.Commitment = commit(q)
	return q
}

func sameVectors(t *testing.T, v vectors) {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(vectorFile, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if committed, err := os.ReadFile(vectorFile); err != nil || !bytes.Equal(b.Bytes(), committed) {
		t.Errorf("the format is not the one of %s any more; now\n%s", vectorFile, b.Bytes())
	}
}
