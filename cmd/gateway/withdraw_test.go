package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"yizheng/exchange"
	"yizheng/identity/jose"
	"yizheng/identity/staff"
)

const someNumber = "690100202611220004K7M2XQ9R1"

// office answers as a gateway does about one document: what it was last told to, and
// statements by the persons it knows. The end-to-end tests ask a real one.
type office struct {
	*httptest.Server
	dir     string // ca.crt, tls.key and the persons' keys
	state   withdrawal
	record  string // answer of /v1/verify
	persons *staff.Register
	got     []exchange.WithdrawalStatement
	asked   string // body of /v1/verify
	refuses string // problem, JSON
}

func newOffice(t *testing.T) *office {
	t.Helper()
	o := &office{dir: t.TempDir(), state: withdrawal{Number: someNumber, State: "issued"}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/admin/certificates/{number}/withdrawal", func(w http.ResponseWriter, _ *http.Request) { o.answer(w) })
	mux.HandleFunc("POST /v1/admin/certificates/{number}/withdraw", func(w http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) != 1 {
			t.Error("sent without a client certificate")
		}
		o.take(t, r.Body)
		o.answer(w)
	})
	mux.HandleFunc("POST /v1/verify", func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("asked with %s: %v", r.Header.Get("Content-Type"), err)
		}
		o.asked = string(b)
		fmt.Fprint(w, o.record)
	})
	o.Server = httptest.NewUnstartedServer(mux)
	o.TLS = &tls.Config{ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}
	o.StartTLS()
	t.Cleanup(o.Close)
	key, err := x509.MarshalPKCS8PrivateKey(o.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, filepath.Join(o.dir, "ca.crt"), "CERTIFICATE", o.Certificate().Raw)
	writePEM(t, filepath.Join(o.dir, "tls.key"), "PRIVATE KEY", key)
	var persons []staff.Person
	for _, name := range []string{"security-1", "security-2"} {
		k, err := jose.GenerateKey()
		if err == nil {
			err = k.WriteFile(filepath.Join(o.dir, name+".key"), nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		persons = append(persons, staff.Person{Name: name, Role: staff.Security, Key: k.Public()})
	}
	if o.persons, err = staff.NewRegister(persons); err != nil {
		t.Fatal(err)
	}
	return o
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (o *office) answer(w http.ResponseWriter) {
	if o.refuses != "" {
		w.WriteHeader(http.StatusConflict)
		fmt.Fprint(w, o.refuses)
		return
	}
	_ = json.NewEncoder(w).Encode(o.state)
}

// take opens a statement, as package exchange does.
func (o *office) take(t *testing.T, body io.Reader) {
	var (
		in struct{ Statement string }
		st exchange.WithdrawalStatement
	)
	if err := json.NewDecoder(body).Decode(&in); err != nil {
		t.Error(err)
	}
	_, by, err := o.persons.Verify(in.Statement, exchange.TypeWithdrawal, func(payload []byte) (time.Time, error) {
		err := json.Unmarshal(payload, &st)
		return st.At, err
	})
	if err != nil || st.Number != someNumber {
		t.Errorf("statement about %q: %v", st.Number, err)
	}
	o.got = append(o.got, st)
	switch st.Action {
	case exchange.WithdrawAsk:
		o.state = withdrawal{Number: st.Number, State: "asked", Asked: "digest", By: by.Name, Reason: st.Reason}
	case exchange.WithdrawApprove:
		o.state = withdrawal{Number: st.Number, State: "withdrawn", Withdrawn: time.Now()}
	case exchange.WithdrawReject:
		o.state = withdrawal{Number: st.Number, State: "issued"}
	}
}

// as runs the command as a person of the office and returns what it says.
func (o *office) as(person string, args ...string) (said string, code int) {
	file := func(name string) string { return filepath.Join(o.dir, name) }
	args = append([]string{"withdraw", "-url", o.URL, "-ca", file("ca.crt"), "-cert", file("ca.crt"), "-cert-key", file("tls.key"),
		"-key", file(person + ".key"), "-number", someNumber}, args...)
	var out bytes.Buffer
	code = run(context.Background(), args, &out, &out)
	return out.String(), code
}

func TestWithdraw_OnePersonAsksAnotherApproves(t *testing.T) {
	o := newOffice(t)
	for _, step := range []struct {
		name, person string
		args         []string
		code         int
		says         string
		action       exchange.WithdrawalAction // that was sent, none if empty
	}{
		{"nothing to reject", "security-2", []string{"-reject"}, 1, "no request is pending", ""},
		{"ask", "security-1", []string{"-reason", "WRONG_DATA"}, 0, "security-1 已申请撤回（WRONG_DATA）", exchange.WithdrawAsk},
		{"reject", "security-2", []string{"-reject"}, 0, "the document stands", exchange.WithdrawReject},
		{"ask again", "security-1", []string{"-reason", "WRONG_SEAL"}, 0, "pending", exchange.WithdrawAsk},
		{"approve for another reason", "security-2", []string{"-reason", "WRONG_DATA"}, 1, "-reason WRONG_SEAL", ""},
		{"approve", "security-2", []string{"-reason", "WRONG_SEAL"}, 0, "withdrawn since", exchange.WithdrawApprove},
		{"once more", "security-1", []string{"-reason", "WRONG_SEAL"}, 1, "stays so", ""},
	} {
		o.got = nil
		said, code := o.as(step.person, step.args...)
		if code != step.code || !strings.Contains(said, step.says) {
			t.Errorf("%s: code %d\n%s", step.name, code, said)
		}
		var sent exchange.WithdrawalStatement
		if len(o.got) == 1 {
			sent = o.got[0]
		}
		if sent.Action != step.action || (sent.Of == "digest") != (sent.Action == exchange.WithdrawApprove || sent.Action == exchange.WithdrawReject) {
			t.Errorf("%s: sent %+v", step.name, o.got)
		}
	}
}

func TestWithdraw_SaysWhyNot(t *testing.T) {
	o := newOffice(t)
	if said, code := o.as("security-1", "-reason", "BECAUSE"); code != 2 {
		t.Errorf("a reason that is none: code %d\n%s", code, said)
	}
	if said, code := o.as("nobody", "-reason", "WRONG_DATA"); code != 1 || !strings.Contains(said, "nobody.key") {
		t.Errorf("no key: code %d\n%s", code, said)
	}
	if said, code := o.as("security-1", "-reason", "WRONG_DATA", "-url", "http://localhost:1"); code != 1 || !strings.Contains(said, "https") {
		t.Errorf("plain HTTP: code %d\n%s", code, said)
	}
	o.refuses = `{"code":"WITHDRAWAL_REFUSED","title":"不可","title_en":"your role does not allow this"}`
	if said, code := o.as("security-1", "-reason", "WRONG_DATA"); code != 1 || !strings.Contains(said, "your role does not allow this (WITHDRAWAL_REFUSED)") {
		t.Errorf("refused: code %d\n%s", code, said)
	}
	o.Close()
	if said, code := o.as("security-1", "-reason", "WRONG_DATA"); code != 1 || !strings.Contains(said, "cannot reach the gateway") {
		t.Errorf("gateway down: code %d\n%s", code, said)
	}
}

func TestVerifyOnline_SaysWhatTheIssuerSays(t *testing.T) {
	o := newOffice(t)
	gateway, err := newIssuer(o.URL, filepath.Join(o.dir, "ca.crt"), "", "")
	if err != nil {
		t.Fatal(err)
	}
	record := func(rest string) string { return `{"record":{"number":"` + someNumber + `",` + rest + `}}` }
	for name, c := range map[string]struct {
		answer, state, says string
		bad                 bool
	}{
		"issued":          {record(`"state":"valid","matches":true`), "valid", "not withdrawn", false},
		"over":            {record(`"state":"expired","matches":true`), "expired", "no longer valid", false},
		"withdrawn":       {record(`"state":"withdrawn","withdrawn":"2026-11-22T01:00:00Z","matches":true`), "withdrawn", "withdrawn by its issuer since 2026-11-2", true},
		"another file":    {record(`"state":"valid","matches":false`), "valid", "another document", true},
		"not issued":      {record(`"state":"unknown"`), "unknown", "no such number", true},
		"nothing of ours": {`{}`, stateUnreachable, "is unknown, so this does not pass", true},
		"another number":  {`{"record":{"number":"1","state":"valid","matches":true}}`, stateUnreachable, "is unknown, so this does not pass", true},
		"not compared":    {record(`"state":"valid"`), stateUnreachable, "is unknown, so this does not pass", true},
		"a new state":     {record(`"state":"fine","matches":true`), stateUnreachable, "is unknown, so this does not pass", true},
	} {
		o.record = c.answer
		got := gateway.look(t.Context(), someNumber, bytes.Repeat([]byte{1}, 32))
		if got.State != c.state || got.bad() != c.bad || !strings.Contains(got.text().EN, c.says) {
			t.Errorf("%s: %+v %s", name, got, got.text().EN)
		}
		if want := `{"number":"` + someNumber + `","digest":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="}`; strings.TrimSpace(o.asked) != want {
			t.Errorf("%s: sent %s", name, o.asked)
		}
	}
	o.asked = ""
	if got := gateway.look(t.Context(), "", nil); got.State != stateNone || !got.bad() || o.asked != "" {
		t.Errorf("a document without a number: %+v, sent %s", got, o.asked)
	}
	o.Close()
	if got := gateway.look(t.Context(), someNumber, nil); got.State != stateUnreachable || !got.bad() || !strings.Contains(got.text().EN, "connection was refused") {
		t.Errorf("gateway down: %+v", got)
	}
}
