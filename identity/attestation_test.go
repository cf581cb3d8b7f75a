package identity

import (
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"yizheng/identity/jose"
)

const sam = "05.03-20191225-0000012345-0987654321"

var readAt = time.UnixMilli(1_790_000_000_000)

func newKey(t testing.TB) *jose.Key {
	t.Helper()
	k, err := jose.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func challenge() Challenge {
	return Challenge{
		Origin: "gateway.example", ReadSession: "rs-1", Caller: "hall", Workstation: "w1", Operator: "op1",
		Item: "item-1", Case: "case-1", Purpose: "p1", Role: "applicant", Nonce: NewNonce(),
		IssuedAt: readAt.Add(-time.Second).UnixMilli(), Expires: readAt.Add(59 * time.Second).UnixMilli(),
	}
}

type fixture struct {
	gateway, agent *jose.Key
	card           Card
	policy         AttestationPolicy
}

func newFixture(t testing.TB) fixture {
	card, err := ParseCard(encode(t, residentText()))
	if err != nil {
		t.Fatal(err)
	}
	f := fixture{gateway: newKey(t), agent: newKey(t), card: card}
	f.policy = AttestationPolicy{
		GatewayKey: func(kid string) *ecdsa.PublicKey {
			if kid == f.gateway.ID() {
				return f.gateway.Public()
			}
			return nil
		},
		AgentKey: func(workstation, kid string) *ecdsa.PublicKey {
			if workstation == "w1" && kid == f.agent.ID() {
				return f.agent.Public()
			}
			return nil
		},
		SAMAllowed: func(workstation, s string) bool { return workstation == "w1" && s == sam },
		MaxSkew:    5 * time.Second,
		Now:        readAt.Add(2 * time.Second),
	}
	return f
}

func (f fixture) attest(t testing.TB, c Challenge, change func(*Reading)) (string, Salts) {
	t.Helper()
	signed, err := SignChallenge(f.gateway, c)
	if err != nil {
		t.Fatal(err)
	}
	r := Reading{SAM: sam, Seq: 1, At: readAt, UID: []byte{1, 2, 3, 4, 5, 6, 7, 8}, OperatorChecked: true}
	if change != nil {
		change(&r)
	}
	token, salts, err := AttestRead(f.agent, signed, f.card, r)
	if err != nil {
		t.Fatal(err)
	}
	return token, salts
}

func TestAttestedReadVerifiesAndMatchesItsCard(t *testing.T) {
	f := newFixture(t)
	c := challenge()
	token, salts := f.attest(t, c, nil)
	v, err := VerifyAttestation(token, f.policy)
	if err != nil {
		t.Fatal(err)
	}
	c.V = 1
	if v.Challenge != c || v.Attestation.Seq != 1 || !v.Attestation.OperatorChecked || v.Attestation.Simulated {
		t.Errorf("challenge %+v", v.Challenge)
	}
	sealed, err := SealCard(f.gateway.Public(), CardRead{Card: f.card, Salts: salts, UID: []byte{1, 2, 3, 4, 5, 6, 7, 8}})
	if err != nil {
		t.Fatal(err)
	}
	opened, err := OpenCard(f.gateway, sealed)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.MatchesCard(opened); err != nil {
		t.Error(err)
	}
	if err := v.Matches(opened.Person, salts); err != nil {
		t.Error(err)
	}
	if strings.Contains(token, "690102") || strings.Contains(token, b64.EncodeToString([]byte("690102198503120016"))) {
		t.Error("the attestation shows the number")
	}
}

func TestMatchesRefusesAnotherPersonOrCard(t *testing.T) {
	f := newFixture(t)
	token, salts := f.attest(t, challenge(), nil)
	v, err := VerifyAttestation(token, f.policy)
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := ParseNumber("690102199011250046")
	if err != nil {
		t.Fatal(err)
	}
	persons := map[string]func(*Person, *Salts){
		"number": func(p *Person, _ *Salts) { p.Number = other },
		"name":   func(p *Person, _ *Salts) { p.Name = NewName("王芳") },
		"type":   func(p *Person, _ *Salts) { p.Type = TypeHMT },
		"salt":   func(_ *Person, s *Salts) { s.ID[0]++ },
		"salt 2": func(_ *Person, s *Salts) { s.Name[0]++ },
	}
	for name, change := range persons {
		p, s := f.card.Person, salts
		change(&p, &s)
		if err := v.Matches(p, s); !errors.Is(err, ErrCommitment) {
			t.Errorf("%s: %v", name, err)
		}
	}
	later := residentText()
	later.ValidTo = "20990401" // the same person, but an expiry date that was not on the card
	forged, err := ParseCard(encode(t, later))
	if err != nil {
		t.Fatal(err)
	}
	uid := []byte{1, 2, 3, 4, 5, 6, 7, 8}
	if err := v.MatchesCard(CardRead{Card: forged, Salts: salts, UID: uid}); !errors.Is(err, ErrCommitment) {
		t.Errorf("forged expiry: %v", err)
	}
	uid[0]++
	if err := v.MatchesCard(CardRead{Card: f.card, Salts: salts, UID: uid}); !errors.Is(err, ErrCommitment) {
		t.Errorf("another chip: %v", err)
	}
}

func TestVerifyAttestationRefuses(t *testing.T) {
	f := newFixture(t)
	token, _ := f.attest(t, challenge(), nil)
	with := func(change func(*Challenge), reading func(*Reading)) string {
		c := challenge()
		if change != nil {
			change(&c)
		}
		token, _ := f.attest(t, c, reading)
		return token
	}
	stranger := newFixture(t)
	foreignChallenge, _ := fixture{gateway: stranger.gateway, agent: f.agent, card: f.card}.attest(t, challenge(), nil)
	foreignAgent, _ := fixture{gateway: f.gateway, agent: stranger.agent, card: f.card}.attest(t, challenge(), nil)
	plain := func(p *AttestationPolicy) {}
	cases := []struct {
		name   string
		token  string
		policy func(*AttestationPolicy)
		want   error
	}{
		{"challenge of another gateway", foreignChallenge, plain, ErrChallenge},
		{"agent of another workstation", foreignAgent, plain, ErrAttestation},
		{"challenge for another workstation", with(func(c *Challenge) { c.Workstation = "w2" }, nil), plain, ErrAttestation},
		{"unregistered reader", with(nil, func(r *Reading) { r.SAM = "05.03-20191225-0000012345-0987654322" }), plain, ErrSAM},
		{"simulated read", with(nil, func(r *Reading) { r.Simulated = true }), plain, ErrSimulated},
		{"read before the challenge", with(nil, func(r *Reading) { r.At = readAt.Add(-time.Minute) }), plain, ErrStale},
		{"read after the challenge", with(nil, func(r *Reading) { r.At = readAt.Add(2 * time.Minute) }), func(p *AttestationPolicy) { p.Now = readAt.Add(2 * time.Minute) }, ErrStale},
		{"read in the future", with(nil, func(r *Reading) { r.At = readAt.Add(30 * time.Second) }), plain, ErrStale},
		{"presented too late", token, func(p *AttestationPolicy) { p.Now = readAt.Add(2 * time.Minute) }, ErrStale},
		{"older than the front accepts", token, func(p *AttestationPolicy) { p.MaxAge, p.Now = 10*time.Minute, readAt.Add(11*time.Minute) }, ErrStale},
		{"a challenge in its place", mustSign(t, f.gateway), plain, ErrAttestation},
		{"empty", "", plain, ErrAttestation},
		{"too large", strings.Repeat("A", maxRead+1), plain, ErrAttestation},
		{"cut", token[:len(token)-1], plain, ErrAttestation},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := f.policy
			c.policy(&p)
			if _, err := VerifyAttestation(c.token, p); !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
		})
	}
	t.Run("a front may look later", func(t *testing.T) {
		p := f.policy
		p.MaxAge, p.Now = 10*time.Minute, readAt.Add(9*time.Minute)
		if _, err := VerifyAttestation(token, p); err != nil {
			t.Error(err)
		}
	})
	t.Run("a simulated read where allowed", func(t *testing.T) {
		p := f.policy
		p.AllowSimulated = true
		if _, err := VerifyAttestation(with(nil, func(r *Reading) { r.Simulated = true }), p); err != nil {
			t.Error(err)
		}
	})
}

func mustSign(t testing.TB, k *jose.Key) string {
	t.Helper()
	token, err := SignChallenge(k, challenge())
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestAttestationWithAnyMemberChangedIsRefused(t *testing.T) {
	f := newFixture(t)
	token, _ := f.attest(t, challenge(), nil)
	raw, err := jose.Unverified(token)
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]any
	if err := json.Unmarshal(raw, &members); err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(token, ".")
	for name := range members {
		for _, value := range []any{nil, "x", 7, true} {
			changed := make(map[string]any, len(members))
			for k, v := range members {
				changed[k] = v
			}
			changed[name] = value
			if name == "operator_checked" && value == true {
				continue // unchanged but for the member order
			}
			payload, _ := json.Marshal(changed)
			if _, err := VerifyAttestation(parts[0]+"."+b64.EncodeToString(payload)+"."+parts[2], f.policy); err == nil {
				t.Errorf("accepted with %s = %v", name, value)
			}
		}
	}
	members["extra"] = 1
	payload, _ := json.Marshal(members)
	signed, err := jose.Sign(f.agent, TypRead, payload)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := VerifyAttestation(signed, f.policy); !errors.Is(err, ErrAttestation) {
		t.Errorf("unknown member: %v", err)
	}
}

func TestSignChallengeRefusesGaps(t *testing.T) {
	k := newKey(t)
	for name, change := range map[string]func(*Challenge){
		"workstation": func(c *Challenge) { c.Workstation = "" },
		"operator":    func(c *Challenge) { c.Operator = "" },
		"purpose":     func(c *Challenge) { c.Purpose = "" },
		"short nonce": func(c *Challenge) { c.Nonce = "AAAA" },
		"times":       func(c *Challenge) { c.Expires = c.IssuedAt },
	} {
		c := challenge()
		change(&c)
		if _, err := SignChallenge(k, c); !errors.Is(err, ErrChallenge) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAttestReadRefusesSequenceZero(t *testing.T) {
	f := newFixture(t)
	if _, _, err := AttestRead(f.agent, mustSign(t, f.gateway), f.card, Reading{SAM: sam, At: readAt}); !errors.Is(err, ErrAttestation) {
		t.Error(err)
	}
}

func TestOpenCardRefuses(t *testing.T) {
	f := newFixture(t)
	seal := func(typ, payload string) string {
		token, err := jose.EncryptSM2(f.gateway.Public(), typ, []byte(payload))
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	good, err := CardRead{Card: f.card, UID: []byte{1}}.encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{
		"another typ":    seal(TypSubject, string(good)),
		"unknown member": seal(TypCard, strings.Replace(string(good), `"v":1`, `"v":1,"photo":""`, 1)),
		"version":        seal(TypCard, strings.Replace(string(good), `"v":1`, `"v":2`, 1)),
		"no salts":       seal(TypCard, `{"v":1,"text":"","uid":"AQ","salts":{"id":"","name":""}}`),
		"not JSON":       seal(TypCard, "card"),
		"too large":      strings.Repeat("A", maxCardRead+1),
	} {
		if _, err := OpenCard(f.gateway, token); !errors.Is(err, ErrCardRead) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := OpenCard(newKey(t), seal(TypCard, string(good))); !errors.Is(err, jose.ErrUnknownKey) {
		t.Errorf("another key: %v", err)
	}
	if _, err := OpenCard(f.gateway, seal(TypCard, string(good))); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

func claims(f fixture, attestation string, salts Salts) SubjectClaims {
	return SubjectClaims{
		JTI: "01J", Caller: "hall", Workstation: "w1", Operator: "op1", Item: "item-1", Case: "case-1", Purpose: "p1",
		Role: "applicant", Level: 3, Evidence: "card_chip+operator_checked", Person: f.card.Person, Salts: salts,
		Attestation: attestation, IssuedAt: readAt.UnixMilli(), Expires: readAt.Add(10 * time.Minute).UnixMilli(),
	}
}

func TestSubjectToken(t *testing.T) {
	f := newFixture(t)
	attestation, salts := f.attest(t, challenge(), nil)
	salts.Card = [16]byte{} // stays behind
	key := make([]byte, jose.ContentKeySize)
	keys := func(kid string) []byte {
		if kid == "fleet-1" {
			return key
		}
		return nil
	}
	want := claims(f, attestation, salts)
	token, err := MintSubject(key, "fleet-1", want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := OpenSubject(keys, token, readAt)
	if err != nil || got != want {
		t.Fatalf("error %v, claims equal: %v", err, got == want)
	}
	v, err := VerifyAttestation(got.Attestation, f.policy)
	if err != nil || b64.EncodeToString(got.Commitment()) != v.Attestation.IDDigest {
		t.Errorf("the commitment is not the attested digest: %v", err)
	}
	if _, err := OpenSubject(keys, token, time.UnixMilli(want.Expires)); !errors.Is(err, ErrExpiredToken) {
		t.Errorf("expired: %v", err)
	}
	none := func(string) []byte { return nil }
	if _, err := OpenSubject(none, token, readAt); !errors.Is(err, ErrToken) {
		t.Errorf("unknown key: %v", err)
	}
	typed, err := jose.EncryptDirect(key, "fleet-1", TypSubject, []byte(`{"v":1,"person":{"type":"111","number":"690102198503120017"}}`))
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{"a bare number": "690102198503120016", "empty": "", "wrong person": typed,
		"cut": token[:len(token)-2], "too large": strings.Repeat("A", MaxSubjectToken+1), "attestation": attestation} {
		if _, err := OpenSubject(keys, bad, readAt); !errors.Is(err, ErrToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, change := range map[string]func(*SubjectClaims){
		"no attestation": func(c *SubjectClaims) { c.Attestation = "" },
		"no person":      func(c *SubjectClaims) { c.Person = Person{} },
		"no jti":         func(c *SubjectClaims) { c.JTI = "" },
	} {
		c := want
		change(&c)
		if _, err := MintSubject(key, "fleet-1", c); err == nil {
			t.Errorf("%s: minted", name)
		}
	}
}

func TestLevelFollowsTheTable(t *testing.T) {
	cases := []struct {
		name     string
		checks   Checks
		level    int
		evidence string
	}{
		{"nothing", Checks{}, 0, ""},
		{"password", Checks{Password: true}, 1, ""},
		{"phone", Checks{Password: true, Phone: true}, 2, ""},
		{"verified information", Checks{VerifiedID: true}, 3, ""},
		{"network credential with password", Checks{CyberCredential: true, Password: true}, 3, ""},
		{"network credential alone", Checks{CyberCredential: true}, 0, ""},
		{"card", Checks{Card: true}, 3, "card_chip"},
		{"card and clerk is not five", Checks{Card: true, OperatorChecked: true}, 3, "card_chip+operator_checked"},
		{"face without card", Checks{VerifiedID: true, Biometric: true}, 4, "biometric"},
		{"face and card", Checks{Card: true, Biometric: true}, 5, "card_chip+biometric"},
		{"face alone proves nothing", Checks{Biometric: true}, 0, "biometric"},
	}
	for _, c := range cases {
		if Level(c.checks) != c.level || c.checks.Evidence() != c.evidence {
			t.Errorf("%s: level %d evidence %q", c.name, Level(c.checks), c.checks.Evidence())
		}
	}
}

func TestSatisfies(t *testing.T) {
	window := SubjectClaims{Level: 3, Evidence: "card_chip+operator_checked"}
	cases := []struct {
		name     string
		claims   SubjectClaims
		level    int
		accepted []string
		want     bool
	}{
		{"level reached", window, 3, nil, true},
		{"level missed", window, 5, nil, false},
		{"evidence in place of level", window, 5, []string{"card_chip+operator_checked"}, true},
		{"order does not matter", window, 5, []string{"operator_checked+card_chip"}, true},
		{"more than accepted", window, 5, []string{"card_chip"}, true},
		{"less than accepted", SubjectClaims{Level: 3, Evidence: "card_chip"}, 5, []string{"card_chip+operator_checked"}, false},
		{"empty evidence accepts nobody", SubjectClaims{Level: 3}, 5, []string{""}, false},
	}
	for _, c := range cases {
		if got := c.claims.Satisfies(c.level, c.accepted); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func FuzzVerifyAttestation(f *testing.F) {
	fix := newFixture(f)
	token, _ := fix.attest(f, challenge(), nil)
	f.Add(token)
	f.Add("e30.e30.")
	f.Fuzz(func(t *testing.T, s string) {
		if _, err := VerifyAttestation(s, fix.policy); err == nil && s != token {
			t.Error("accepted what nobody signed")
		}
	})
}

func FuzzOpenSubject(f *testing.F) {
	fix := newFixture(f)
	attestation, salts := fix.attest(f, challenge(), nil)
	raw, err := claims(fix, attestation, salts).encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`{"v":1}`))
	key := make([]byte, jose.ContentKeySize)
	f.Fuzz(func(t *testing.T, payload []byte) {
		token, err := jose.EncryptDirect(key, "k", TypSubject, payload)
		if err != nil {
			t.Fatal(err)
		}
		OpenSubject(func(string) []byte { return key }, token, readAt)
	})
}

func FuzzOpenCard(f *testing.F) {
	fix := newFixture(f)
	raw, err := CardRead{Card: fix.card, UID: []byte{1}}.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, payload []byte) {
		token, err := jose.EncryptSM2(fix.gateway.Public(), TypCard, payload)
		if err != nil {
			t.Fatal(err)
		}
		OpenCard(fix.gateway, token)
	})
}
