package web_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	"yizheng/exchange"
	"yizheng/web"
)

// What is accepted is read the same way by every parser: it survives being written and read again.
func FuzzStrictJSON(f *testing.F) {
	for _, seed := range []string{
		`{"item":"PRH","case":"1","subjects":[{"role":"applicant","token":"t"}],"fields":{"RE-01":["status"]},"reply_key":{"kty":"EC"}}`,
		`{"item":"PRH","item":"X"}`, `{"Item":"PRH"}`, `{"reply_key":[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]}`, `{"item":null}`, `null`, `{}`, `{}{}`, "{\"case\":\"\xff\"}", `{"fields":{"a":[],"A":[]}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var got, standard exchange.Request
		if web.Strict(body, &got) != nil {
			return
		}
		d := json.NewDecoder(bytes.NewReader(body))
		d.DisallowUnknownFields()
		if err := d.Decode(&standard); err != nil || !reflect.DeepEqual(got, standard) {
			t.Fatalf("accepted %q: %v", body, err)
		}
		var members map[string]json.RawMessage
		if json.Unmarshal(body, &members) != nil {
			t.Fatalf("accepted %q", body)
		}
		for name := range members {
			if !bytes.Contains([]byte("item situation case purpose subjects proofs fields reply_key"), []byte(name)) {
				t.Fatalf("accepted member %q", name)
			}
		}
	})
}
