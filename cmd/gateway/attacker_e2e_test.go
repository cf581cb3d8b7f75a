//go:build e2e

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"yizheng/cmd/gateway/demo"
	"yizheng/exchange"
	"yizheng/exchange/reading"
	"yizheng/identity"
	"yizheng/identity/jose"
)

// rogue is a read agent with the real keys of a workstation that does whatever a test wants.
type rogue struct {
	t          *testing.T
	ws         string
	sam        string
	key        *jose.Key
	gateway    *ecdsa.PublicKey
	door       *door
	challenges chan reading.AgentEvent
	seq        uint64
	hangUp     context.CancelFunc
}

// sams are the readers' numbers in the demo catalogue.
var sams = map[string]string{
	"ws-01": "05.03-20191225-0000012345-0987654321", "ws-02": "05.03-20200618-0000023456-0123456789",
	"ws-03": "05.03-20210309-0000034567-0234567890", "ws-04": "05.03-20220714-0000045678-0345678901",
}

func newRogue(t *testing.T, city *demo.City, ws string) *rogue {
	t.Helper()
	a := &rogue{t: t, ws: ws, sam: sams[ws], gateway: publicKey(t, city, "gateway"), door: doorOf(t, city, "agent-"+ws), seq: uint64(time.Now().UnixMicro())}
	a.door.client.Timeout = 0 // its stream stays open
	var err error
	if a.key, err = jose.ReadKey(filepath.Join(city.State, "keys/agents", ws+".key"), ""); err != nil {
		t.Fatal(err)
	}
	return a
}

// connect shows a pairing code, and takes the workstation over from whoever had it.
func (a *rogue) connect(code string) {
	a.t.Helper()
	if a.hangUp != nil {
		a.hangUp()
	}
	ctx, cancel := context.WithCancel(a.t.Context())
	a.hangUp = cancel
	body, _ := json.Marshal(map[string]string{"pairing_code": code}) // strings always encode
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.door.url+"/v1/agents/connect", bytes.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	resp, err := a.door.client.Do(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		a.t.Fatalf("connect %s: %v %v", a.ws, resp, err)
	}
	a.challenges = make(chan reading.AgentEvent, 64)
	hello := make(chan struct{})
	go func(got chan<- reading.AgentEvent) {
		defer resp.Body.Close()
		kind := ""
		for s := bufio.NewScanner(resp.Body); s.Scan(); {
			if k, ok := strings.CutPrefix(s.Text(), "event: "); ok {
				kind = k
			}
			data, ok := strings.CutPrefix(s.Text(), "data: ")
			switch {
			case ok && kind == "hello":
				close(hello)
			case ok && kind == "challenge":
				var e reading.AgentEvent
				if json.Unmarshal([]byte(data), &e) == nil {
					got <- e
				}
			}
		}
	}(a.challenges)
	select {
	case <-hello:
	case <-time.After(10 * time.Second):
		a.t.Fatal("no hello")
	}
}

// asked waits for the challenge of a read session.
func (a *rogue) asked(session string) string {
	a.t.Helper()
	for {
		select {
		case e := <-a.challenges:
			if e.ReadSession == session {
				return e.Challenge
			}
		case <-time.After(10 * time.Second):
			a.t.Fatalf("%s: no challenge", a.ws)
		}
	}
}

// card makes the true 256-byte card of a sample person.
func (a *rogue) card(p sampleCard) identity.Card {
	a.t.Helper()
	c, err := identity.ParseCard(a.text(p))
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

func (a *rogue) text(p sampleCard) []byte {
	a.t.Helper()
	raw, err := identity.CardText{Layout: p.Layout, Name: p.Name, EnglishName: p.EnglishName, Sex: p.Sex, Nation: p.Nation, Birth: p.Birth, Address: p.Address,
		Number: p.Number, Issuer: p.Issuer, ValidFrom: p.ValidFrom, ValidTo: p.ValidTo, Permit: p.Permit, Issues: p.Issues,
		Nationality: p.Nationality, Version: p.Version, PastLink: p.PastLink}.Encode()
	if err != nil {
		a.t.Fatal(err)
	}
	return raw[:]
}

// proof is what an agent posts: the attestation and the encrypted card.
type proof struct {
	Attestation string `json:"attestation"`
	Card        string `json:"card"`
}

var chipUID = []byte{1, 2, 3, 4, 5, 6, 7, 8}

// attest signs a read of a person's card; change may spoil the reading first.
func (a *rogue) attest(challenge string, p sampleCard, change func(*identity.Reading)) proof {
	a.t.Helper()
	a.seq++
	r := identity.Reading{SAM: a.sam, Seq: a.seq, At: time.Now(), UID: chipUID, OperatorChecked: true, Simulated: true}
	if change != nil {
		change(&r)
	}
	card := a.card(p)
	signed, salts, err := identity.AttestRead(a.key, challenge, card, r)
	if err != nil {
		a.t.Fatal(err)
	}
	sealed, err := identity.SealCard(a.gateway, identity.CardRead{Card: card, Salts: salts, UID: r.UID})
	if err != nil {
		a.t.Fatal(err)
	}
	return proof{signed, sealed}
}

// sealText encrypts 256 bytes that no parser has seen.
func (a *rogue) sealText(text []byte) string {
	a.t.Helper()
	b64 := base64.RawURLEncoding.EncodeToString
	salt := b64(make([]byte, 16))
	raw, err := json.Marshal(map[string]any{"v": 1, "text": b64(text), "uid": b64(chipUID), "salt": map[string]string{"id": salt, "name": salt, "card": salt}})
	if err != nil {
		a.t.Fatal(err)
	}
	token, err := jose.EncryptSM2(a.gateway, identity.TypCard, raw)
	if err != nil {
		a.t.Fatal(err)
	}
	return token
}

func (a *rogue) post(session string, p proof) answered {
	a.t.Helper()
	return a.door.call("POST", "/v1/read-sessions/"+session+"/attestation", p)
}

// login opens a session of this door's operator with the codes' workstations.
func (d *door) login(codes ...string) {
	d.t.Helper()
	var s struct{ Session string }
	d.call("POST", "/v1/sessions", map[string]any{"pairing_codes": codes}).into(d.t, &s)
	d.session = s.Session
}

// matter is what a read or an exchange is for.
type matter struct{ item, number, purpose, role string }

var ordinary = matter{"PRH", "BAD-001", "P-PRH", "applicant"}

// startRead asks for a card at a workstation and returns the read session.
func (d *door) startRead(ws string, m matter) string {
	d.t.Helper()
	var v reading.View
	d.call("POST", "/v1/read-sessions", map[string]string{"workstation": ws, "item": m.item, "case": m.number, "purpose": m.purpose, "role": m.role}).into(d.t, &v)
	return v.ReadSession
}

func (d *door) read(session string) reading.View {
	d.t.Helper()
	var v reading.View
	d.call("GET", "/v1/read-sessions/"+session, nil).into(d.t, &v)
	return v
}

// token has a card read properly.
func (d *door) token(a *rogue, m matter, p sampleCard) string {
	d.t.Helper()
	session := d.startRead(a.ws, m)
	if got := a.post(session, a.attest(a.asked(session), p, nil)); got.status != http.StatusNoContent {
		d.t.Fatalf("attestation: %d %s", got.status, got.body)
	}
	return d.read(session).Token
}

// request is the body of POST /v1/exchanges; change may spoil it.
func (d *door) request(m matter, situation, token string, change func(body map[string]any)) map[string]any {
	d.t.Helper()
	k, err := jose.GenerateKey()
	if err != nil {
		d.t.Fatal(err)
	}
	body := map[string]any{"item": m.item, "situation": situation, "case": m.number, "purpose": m.purpose,
		"subjects": []any{map[string]string{"role": m.role, "token": token}}, "reply_key": json.RawMessage(jose.NewReplyKey(k.Public()).JWK())}
	if change != nil {
		change(body)
	}
	return body
}

// codes are the parts of an ended exchange.
func codes(t *testing.T, a answered) map[string]exchange.Code {
	t.Helper()
	var v exchange.View
	a.into(t, &v)
	m := make(map[string]exchange.Code)
	for _, p := range v.Parts {
		m[p.Part] = p.Code
	}
	return m
}
