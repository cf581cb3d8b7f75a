//go:build e2e

package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"yizheng/cmd/gateway/demo"
	"yizheng/exchange"
	"yizheng/identity"
	"yizheng/identity/jose"
)

// siege is a running city whose windows' agents are ours.
type siege struct {
	city           *demo.City
	home           string
	people         map[string]sampleCard
	one, two       *rogue // of the two windows
	clerk, housing *door
	three          *rogue // of the housing system
}

// TestBadInput: everything a clerk, an agent, a system or a stranger may send
// wrongly is refused with a code, and nothing is asked about anybody.
func TestBadInput(t *testing.T) {
	s := besiege(t)
	asked := s.asked(t)
	t.Run("typed numbers", s.typedNumbers)
	t.Run("certificates", s.certificates)
	t.Run("attestations", s.attestations)
	t.Run("exchanges", s.exchanges)
	t.Run("quota", s.quota)
	if now := s.asked(t); now != asked {
		t.Errorf("the provincial platform was asked %d times", now-asked)
	}
	t.Run("once", s.once)
	t.Run("without grant", s.withoutGrant)
	t.Run("another workstation", s.anotherWorkstation)
	if err := s.city.Stop(); err != nil {
		t.Fatal(err)
	}
	noCanary(t, s.home)
}

func besiege(t *testing.T) *siege {
	s := &siege{people: samplePeople(t)}
	s.city, s.home = startCity(t)
	for _, ws := range []string{"ws-01", "ws-02"} {
		if err := s.city.StopAgent(ws); err != nil {
			t.Fatal(err)
		}
	}
	s.one, s.two, s.three = newRogue(t, s.city, "ws-01"), newRogue(t, s.city, "ws-02"), newRogue(t, s.city, "ws-03")
	s.one.connect("111111")
	s.two.connect("222222")
	s.three.connect("333333")
	s.clerk, s.housing = doorOf(t, s.city, "clerk-01"), doorOf(t, s.city, "system-housing")
	s.clerk.login("111111", "222222")
	s.housing.login("333333")
	return s
}

// asked is how often the provincial platform was asked so far.
func (s *siege) asked(t *testing.T) int {
	b, err := os.ReadFile(filepath.Join(s.home, "processes.log"))
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Count(b, []byte(`"path":"/query"`))
}

func expectRefusal(t *testing.T, got answered, status int, code string) {
	t.Helper()
	if got.status != status || got.code != code {
		t.Errorf("got %d %s at %q, want %d %s\n%s", got.status, got.code, got.where, status, code, got.body)
	}
}

// typedNumbers: there is no parameter that takes a number, wherever somebody tries to put one.
func (s *siege) typedNumbers(t *testing.T) {
	number := s.people["li-ming"].Number
	for _, tt := range []struct {
		name, method, path string
		body               any
	}{
		{"query of an exchange", "POST", "/v1/exchanges?id_no=" + number, s.clerk.request(ordinary, "LOCAL", "x", nil)},
		{"query of a read", "POST", "/v1/read-sessions?id_no=" + number, map[string]string{}},
		{"query of a list", "GET", "/v1/items?id_no=" + number, nil},
		{"query of verification", "GET", "/v1/verify/1?id_no=" + number, nil},
		{"member of an exchange", "POST", "/v1/exchanges", s.clerk.request(ordinary, "LOCAL", "x", func(b map[string]any) { b["id_no"] = number })},
		{"member of a subject", "POST", "/v1/exchanges", s.clerk.request(ordinary, "LOCAL", "x", func(b map[string]any) {
			b["subjects"] = []any{map[string]string{"role": "applicant", "id_no": number}}
		})},
		{"in place of a token", "POST", "/v1/exchanges", s.clerk.request(ordinary, "LOCAL", number, nil)},
		{"member of a read", "POST", "/v1/read-sessions", map[string]string{"item": "PRH", "case": "1", "purpose": "P-PRH", "role": "applicant", "id_no": number}},
		{"path of an exchange", "GET", "/v1/exchanges/" + number, nil},
		{"path of results", "GET", "/v1/exchanges/" + number + "/results/SI-01", nil},
		{"path of a read", "GET", "/v1/read-sessions/" + number, nil},
		{"path of an item", "GET", "/v1/items/" + number, nil},
		{"path that does not exist", "GET", "/v1/persons/" + number, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := s.clerk.call(tt.method, tt.path, tt.body)
			if got.status < 400 || got.status >= 500 || got.code == "" {
				t.Errorf("got %d %s, want a refusal", got.status, got.body)
			}
			if bytes.Contains(got.body, []byte(number)) {
				t.Errorf("the number is repeated in the answer: %s", got.body)
			}
		})
	}
}

// certificates: who does not show one, shows a stranger's, or one for another door.
func (s *siege) certificates(t *testing.T) {
	session := s.clerk.session
	for _, tt := range []struct {
		name   string
		door   *door
		path   string
		status int
		code   string
	}{
		{"none", doorOf(t, s.city, ""), "/v1/exchanges", 401, "CERTIFICATE_REQUIRED"},
		{"an agent's at the clerk's door", doorOf(t, s.city, "agent-ws-01"), "/v1/exchanges", 403, "UNKNOWN_CERTIFICATE"},
		{"a clerk's at the agent's door", doorOf(t, s.city, "clerk-01"), "/v1/agents/connect", 403, "UNKNOWN_CERTIFICATE"},
		{"another clerk's in this session", doorOf(t, s.city, "clerk-02"), "/v1/exchanges", 403, "NOT_PAIRED"},
		{"a system's in this session", s.housing, "/v1/exchanges", 403, "NOT_PAIRED"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := *tt.door
			d.t, d.session = t, session
			expectRefusal(t, d.call("POST", tt.path, s.clerk.request(ordinary, "LOCAL", "x", nil)), tt.status, tt.code)
		})
	}
	t.Run("forwarded in a header", func(t *testing.T) {
		for _, h := range []string{"X-Client-Cert", "X-Forwarded-Client-Cert", "X-SSL-Client-Cert", "X-SSL-Client-Verify", "Client-Cert"} {
			expectRefusal(t, doorOf(t, s.city, "").call("GET", "/v1/items", nil, h, "x"), 400, "FORWARDED_CERTIFICATE")
		}
	})
	for name, d := range map[string]*door{"of an unknown CA": newDoor(t, s.city, selfSigned(t)), "of a server": doorOf(t, s.city, "gateway")} {
		t.Run(name, func(t *testing.T) {
			if got, err := d.try("GET", "/v1/items", nil); err == nil {
				t.Errorf("answered %d %s", got.status, got.body)
			}
		})
	}
	t.Run("plain HTTP", func(t *testing.T) {
		d := doorOf(t, s.city, "")
		d.url = strings.Replace(d.url, "https://", "http://", 1)
		if got, err := d.try("GET", "/v1/items", nil); err == nil && got.status != 400 {
			t.Errorf("answered %d %s", got.status, got.body)
		}
	})
}

func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "clerk-01"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// attestations: a read that was not made for exactly this challenge yields no token.
func (s *siege) attestations(t *testing.T) {
	liMing := s.people["li-ming"]
	own, err := jose.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	// instead: the attestation answers the challenge of another read
	instead := func(m matter, a *rogue) func(string) proof {
		return func(string) proof {
			other := s.clerk.startRead(a.ws, m)
			return a.attest(a.asked(other), liMing, nil)
		}
	}
	reading := func(change func(*identity.Reading)) func(string) proof {
		return func(challenge string) proof { return s.one.attest(challenge, liMing, change) }
	}
	text := func(change func(*sampleCard)) func(string) proof {
		return func(challenge string) proof {
			p := s.one.attest(challenge, liMing, nil)
			wrong := liMing
			change(&wrong)
			p.Card = s.one.sealText(s.one.text(wrong))
			return p
		}
	}
	for _, tt := range []struct {
		name string
		make func(challenge string) proof
		code string
	}{
		{"for another item", instead(matter{"DPS", "BAD-001", "P-DPS", "applicant"}, s.one), "ATTESTATION"},
		{"for another case", instead(matter{"PRH", "BAD-002", "P-PRH", "applicant"}, s.one), "ATTESTATION"},
		{"for another read of the same case", instead(ordinary, s.one), "ATTESTATION"},
		{"for another role", instead(matter{"HPW", "BAD-001", "P-HPW", "spouse"}, s.one), "ATTESTATION"},
		{"for another workstation", instead(ordinary, s.two), "ATTESTATION"},
		{"for a challenge nobody sent", func(challenge string) proof {
			payload, err := jose.Unverified(challenge)
			if err != nil {
				t.Fatal(err)
			}
			forged, err := jose.Sign(own, identity.TypChallenge, payload)
			if err != nil {
				t.Fatal(err)
			}
			return s.one.attest(forged, liMing, nil)
		}, "ATTESTATION"},
		{"signed by another workstation's agent", func(challenge string) proof { return s.two.attest(challenge, liMing, nil) }, "ATTESTATION"},
		{"signed by a stranger", func(challenge string) proof {
			a := *s.one
			a.key = own
			return a.attest(challenge, liMing, nil)
		}, "ATTESTATION"},
		{"of a reader that belongs elsewhere", reading(func(r *identity.Reading) { r.SAM = s.two.sam }), "ATTESTATION"},
		{"read before the challenge", reading(func(r *identity.Reading) { r.At = r.At.Add(-10 * time.Minute) }), "ATTESTATION"},
		{"read in the future", reading(func(r *identity.Reading) { r.At = r.At.Add(10 * time.Minute) }), "ATTESTATION"},
		{"with a sequence number used before", reading(func(r *identity.Reading) { r.Seq = 1 }), "REPLAY"},
		{"with another person's card", func(challenge string) proof {
			p := s.one.attest(challenge, liMing, nil)
			p.Card = s.one.attest(challenge, s.people["wang-fang"], nil).Card
			return p
		}, "ATTESTATION"},
		{"with the person's card read twice", func(challenge string) proof {
			p := s.one.attest(challenge, liMing, nil)
			p.Card = s.one.attest(challenge, liMing, nil).Card
			return p
		}, "ATTESTATION"},
		{"of an expired card", func(challenge string) proof { return s.one.attest(challenge, s.people["zheng-xiaoman"], nil) }, "CARD_EXPIRED"},
		{"with a wrong check digit", text(func(p *sampleCard) { p.Number = p.Number[:17] + "7" }), "CARD_UNREADABLE"},
		{"with an impossible date", text(func(p *sampleCard) { p.Number = "690102198502300012"; p.Birth = "19850230" }), "CARD_UNREADABLE"},
		{"with nothing for a card", func(challenge string) proof { p := s.one.attest(challenge, liMing, nil); p.Card = "x"; return p }, "CARD_UNREADABLE"},
		{"that is none", func(string) proof { return proof{"x.y.z", "x"} }, "ATTESTATION"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.code == "REPLAY" {
				s.clerk.token(s.one, ordinary, liMing) // sets the sequence
			}
			session := s.clerk.startRead("ws-01", ordinary)
			p := tt.make(s.one.asked(session))
			expectRefusal(t, s.one.post(session, p), 422, tt.code)
			if v := s.clerk.read(session); v.State != "failed" || v.Failure != tt.code || v.Token != "" {
				t.Errorf("read session: %s %s, token %v", v.State, v.Failure, v.Token != "")
			}
		})
	}
	t.Run("replayed", s.replayed)
	t.Run("posted by another workstation", func(t *testing.T) {
		session := s.clerk.startRead("ws-01", ordinary)
		p := s.one.attest(s.one.asked(session), liMing, nil)
		expectRefusal(t, s.two.post(session, p), 404, "NO_SUCH_READ")
	})
	t.Run("session names another workstation", func(t *testing.T) {
		got := s.clerk.call("POST", "/v1/read-sessions", map[string]string{"workstation": "ws-03", "item": "PRH", "case": "1", "purpose": "P-PRH", "role": "applicant"})
		expectRefusal(t, got, 403, "WORKSTATION")
	})
	t.Run("another clerk's read", func(t *testing.T) {
		session := s.clerk.startRead("ws-01", ordinary)
		expectRefusal(t, s.housing.call("GET", "/v1/read-sessions/"+session, nil), 404, "NO_SUCH_READ")
	})
	t.Run("for another operator", s.anotherOperator)
}

// replayed: the same attestation again, for the read that it ended and for the next one.
func (s *siege) replayed(t *testing.T) {
	session := s.clerk.startRead("ws-01", ordinary)
	p := s.one.attest(s.one.asked(session), s.people["li-ming"], nil)
	if got := s.one.post(session, p); got.status != 204 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	expectRefusal(t, s.one.post(session, p), 409, "READ_OVER")
	next := s.clerk.startRead("ws-01", ordinary)
	expectRefusal(t, s.one.post(next, p), 422, "ATTESTATION")
}

// anotherOperator: a challenge and a token of clerk-02 are of no use to clerk-01.
func (s *siege) anotherOperator(t *testing.T) {
	s.two.connect("202020")
	other := doorOf(t, s.city, "clerk-02")
	other.login("202020")
	theirs := other.startRead("ws-02", ordinary)
	challenge := s.two.asked(theirs)
	token := other.token(s.two, ordinary, s.people["li-ming"])
	s.one.connect("111112")
	s.two.connect("222223")
	s.clerk.login("111112", "222223")
	mine := s.clerk.startRead("ws-02", ordinary)
	expectRefusal(t, s.two.post(mine, s.two.attest(challenge, s.people["li-ming"], nil)), 422, "ATTESTATION")
	expectRefusal(t, s.clerk.call("POST", "/v1/exchanges", s.clerk.request(ordinary, "LOCAL", token, nil)), 403, "SUBJECT_TOKEN_ELSEWHERE")
}

// exchanges: requests that have a good token, and something wrong.
func (s *siege) exchanges(t *testing.T) {
	token := s.clerk.token(s.one, ordinary, s.people["li-ming"])
	spouse := s.clerk.token(s.two, matter{"HPW", "BAD-001", "P-HPW", "spouse"}, s.people["wang-fang"])
	set := func(key string, value any) func(map[string]any) { return func(b map[string]any) { b[key] = value } }
	subjects := func(list ...string) any {
		var v []any
		for i := 0; i < len(list); i += 2 {
			v = append(v, map[string]string{"role": list[i], "token": list[i+1]})
		}
		return v
	}
	for _, tt := range []struct {
		name   string
		door   *door
		change func(map[string]any)
		status int
		code   string
	}{
		{"proof outside the item", s.clerk, set("proofs", []string{"SI-01", "MI-01"}), 403, "PROOF_OUTSIDE_ITEM"},
		{"unknown proof", s.clerk, set("proofs", []string{"XX-99"}), 403, "PROOF_OUTSIDE_ITEM"},
		{"field outside the grant", s.clerk, set("fields", map[string][]string{"MR-01": {"spouse"}}), 403, "FIELD_OUTSIDE_GRANT"},
		{"field of a proof outside the item", s.clerk, set("fields", map[string][]string{"MI-01": {"kind"}}), 403, "PROOF_OUTSIDE_ITEM"},
		{"token of another item", s.clerk, func(b map[string]any) { b["item"], b["situation"], b["purpose"] = "DPS", "LIVING", "P-DPS" }, 403, "SUBJECT_TOKEN_ELSEWHERE"},
		{"token of another case", s.clerk, set("case", "BAD-002"), 403, "SUBJECT_TOKEN_ELSEWHERE"},
		{"token of another purpose", s.clerk, set("purpose", "P-DPS"), 403, "SUBJECT_TOKEN_ELSEWHERE"},
		{"token of another role", s.clerk, set("subjects", subjects("spouse", token)), 403, "SUBJECT_TOKEN_ELSEWHERE"},
		{"token of another caller", s.housing, nil, 403, "SUBJECT_TOKEN_ELSEWHERE"},
		{"token and another matter's token", s.clerk, set("subjects", subjects("applicant", token, "spouse", spouse)), 403, "SUBJECT_TOKEN_ELSEWHERE"},
		{"the same token twice", s.clerk, set("subjects", subjects("applicant", token, "applicant", token)), 422, "INVALID_REQUEST"},
		{"no token", s.clerk, set("subjects", []any{}), 422, "SUBJECT_ROLE_MISSING"},
		{"changed token", s.clerk, set("subjects", subjects("applicant", token[:len(token)-8]+"AAAAAAAA")), 422, "SUBJECT_TOKEN_INVALID"},
		{"nine tokens", s.clerk, set("subjects", subjects(strings.Split(strings.Repeat("applicant,x,", 9)[:107], ",")...)), 422, "INVALID_REQUEST"},
		{"unknown item", s.clerk, set("item", "NONE"), 403, "SUBJECT_TOKEN_ELSEWHERE"},
		{"unknown situation", s.clerk, set("situation", "NONE"), 404, "UNKNOWN_ITEM"},
		{"no reply key", s.clerk, func(b map[string]any) { delete(b, "reply_key") }, 422, "REPLY_KEY_INVALID"},
		{"private reply key of another curve", s.clerk, set("reply_key", map[string]string{"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"}), 422, "REPLY_KEY_INVALID"},
		{"wrong type", s.clerk, set("proofs", "SI-01"), 400, "MALFORMED_BODY"},
		{"unknown member", s.clerk, set("name", "x"), 400, "MALFORMED_BODY"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body := tt.door.request(ordinary, "LOCAL", token, tt.change)
			expectRefusal(t, tt.door.call("POST", "/v1/exchanges", body), tt.status, tt.code)
		})
	}
	for name, tt := range map[string]struct {
		body   []byte
		status int
		code   string
	}{
		"nothing":          {nil, 400, "MALFORMED_BODY"},
		"half an object":   {[]byte(`{"item":"PRH"`), 400, "MALFORMED_BODY"},
		"two objects":      {[]byte(`{}{}`), 400, "MALFORMED_BODY"},
		"an array":         {[]byte(`[]`), 400, "MALFORMED_BODY"},
		"deep nesting":     {bytes.Repeat([]byte(`[`), 100_000), 400, "MALFORMED_BODY"},
		"no text":          {[]byte{0xff, 0xfe, 0}, 400, "MALFORMED_BODY"},
		"more than fits":   {append([]byte(`{"case":"`), bytes.Repeat([]byte("1"), 300<<10)...), 413, "BODY_TOO_LARGE"},
		"far more":         {append([]byte(`{"case":"`), bytes.Repeat([]byte("1"), 8<<20)...), 413, "BODY_TOO_LARGE"},
		"much white space": {append(bytes.Repeat([]byte(" "), 300<<10), '{', '}'), 413, "BODY_TOO_LARGE"},
	} {
		t.Run("body of "+name, func(t *testing.T) {
			got, err := s.clerk.try("POST", "/v1/exchanges", tt.body)
			if err != nil && tt.status == 413 { // the server need not read it all
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			expectRefusal(t, got, tt.status, tt.code)
		})
	}
}

// quota: the kiosk may ask ten times a minute.
func (s *siege) quota(t *testing.T) {
	four := newRogue(t, s.city, "ws-04")
	four.connect("444444")
	kiosk := doorOf(t, s.city, "kiosk-hall")
	kiosk.login("444444")
	for range 10 {
		expectRefusal(t, kiosk.call("POST", "/v1/exchanges", kiosk.request(ordinary, "LOCAL", "x", nil)), 422, "SUBJECT_TOKEN_INVALID")
	}
	expectRefusal(t, kiosk.call("POST", "/v1/exchanges", kiosk.request(ordinary, "LOCAL", "x", nil)), 429, "QUOTA_EXCEEDED")
}

// once: a token is good for one exchange, an idempotency key for one request.
func (s *siege) once(t *testing.T) {
	token := s.clerk.token(s.one, ordinary, s.people["li-ming"])
	body := s.clerk.request(ordinary, "LOCAL", token, func(b map[string]any) { b["proofs"] = []string{"HF-01"} })
	var first, again exchange.View
	a := s.clerk.call("POST", "/v1/exchanges", body, "Idempotency-Key", "k-1", "Prefer", "wait=20")
	a.into(t, &first)
	if got := codes(t, a); !maps.Equal(got, map[string]exchange.Code{"HF-01": exchange.Found}) {
		t.Fatalf("got %v", got)
	}
	s.clerk.call("POST", "/v1/exchanges", body, "Idempotency-Key", "k-1").into(t, &again)
	if again.Exchange != first.Exchange {
		t.Error("the same request with the same key began another exchange")
	}
	other := maps.Clone(body)
	other["proofs"] = []string{"SI-01"}
	expectRefusal(t, s.clerk.call("POST", "/v1/exchanges", other, "Idempotency-Key", "k-1"), 422, "IDEMPOTENCY_KEY_REUSED")
	expectRefusal(t, s.clerk.call("POST", "/v1/exchanges", body, "Idempotency-Key", "k-2"), 409, "SUBJECT_TOKEN_SPENT")
	expectRefusal(t, s.clerk.call("POST", "/v1/exchanges", body), 409, "SUBJECT_TOKEN_SPENT")
	for _, path := range []string{"", "/results/HF-01", "/events"} {
		expectRefusal(t, s.housing.call("GET", "/v1/exchanges/"+first.Exchange+path, nil), 404, "NO_SUCH_EXCHANGE")
	}
	expectRefusal(t, s.clerk.call("POST", "/v1/exchanges/"+first.Exchange+"/legs/HF-01.1/retry", nil), 409, "NOT_RETRYABLE")
	if got := s.clerk.call("GET", "/v1/exchanges/"+first.Exchange+"/results/SI-01", nil); got.status != 404 {
		t.Errorf("a result never asked for: %d", got.status)
	}
}

// withoutGrant: what nobody granted to the housing system is denied unasked; the rest is answered.
func (s *siege) withoutGrant(t *testing.T) {
	for _, tt := range []struct {
		m         matter
		situation string
		want      map[string]exchange.Code
	}{
		{ordinary, "LOCAL", map[string]exchange.Code{"SI-01": exchange.Found, "HF-01": exchange.Found, "RE-01": exchange.Found, "LI-01": exchange.NotFound,
			"MR-01": exchange.Denied, "DP-01": exchange.Denied, "UE-01": exchange.Denied, "HR-01": exchange.Denied, "VE-01": exchange.Denied}},
		{matter{"DPS", "BAD-003", "P-DPS", "applicant"}, "LIVING", map[string]exchange.Code{"DP-01": exchange.Denied, "HR-01": exchange.Denied, "LI-01": exchange.Denied, "SI-01": exchange.Denied}},
	} {
		token := s.housing.token(s.three, tt.m, s.people["li-ming"])
		a := s.housing.call("POST", "/v1/exchanges", s.housing.request(tt.m, tt.situation, token, nil), "Prefer", "wait=20")
		if got := codes(t, a); !maps.Equal(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.m.item, got, tt.want)
		}
	}
}

// anotherWorkstation: a token stays with the window at which the card was read.
func (s *siege) anotherWorkstation(t *testing.T) {
	token := s.clerk.token(s.one, ordinary, s.people["li-ming"])
	s.one.hangUp()
	deadline := time.Now().Add(10 * time.Second)
	for {
		got := s.clerk.call("POST", "/v1/read-sessions", map[string]string{"workstation": "ws-01", "item": "PRH", "case": "1", "purpose": "P-PRH", "role": "applicant"})
		if got.code == "WORKSTATION" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the session keeps a workstation whose agent has gone: %d %s", got.status, got.body)
		}
		time.Sleep(50 * time.Millisecond)
	}
	expectRefusal(t, s.clerk.call("POST", "/v1/exchanges", s.clerk.request(ordinary, "LOCAL", token, nil)), 403, "SUBJECT_TOKEN_ELSEWHERE")
}
