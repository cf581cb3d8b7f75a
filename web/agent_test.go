package web_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"yizheng/catalog"
	"yizheng/exchange"
	"yizheng/exchange/reading"
	"yizheng/identity"
	"yizheng/identity/jose"
)

// The sample person is fictional: region 69 does not exist.
const (
	sampleName   = "李明"
	sampleNumber = "690102198503120016"
)

// sse is one server-sent event.
type sse struct{ id, kind, data string }

// events reads a stream until it ends; each event is held against the document.
func (g *gateway) events(body io.Reader, place string, seen func(sse)) {
	s := bufio.NewScanner(body)
	s.Buffer(nil, 1<<20)
	var e sse
	for s.Scan() {
		name, value, _ := strings.Cut(s.Text(), ": ")
		switch name {
		case "id":
			e.id = value
		case "event":
			e.kind = value
		case "data":
			e.data = value
		case "":
			if e.kind != "" {
				g.checkEvent(place, e)
				seen(e)
			}
			e = sse{}
		}
	}
}

func (g *gateway) checkEvent(place string, e sse) {
	list, _ := g.api.at("paths", place, map[bool]string{true: "post", false: "get"}[place == "/v1/agents/connect"], "responses", "200", "content", "text/event-stream", "x-events")
	ref, _ := mapOf(mapOf(list)[e.kind])["$ref"].(string)
	if ref == "" {
		g.t.Errorf("event %q of %s is not in the document", e.kind, place)
		return
	}
	g.api.validate(g.t, ref, []byte(e.data))
}

// agent is a read agent with one card on its reader.
type agent struct {
	*client
	workstation string
	key         *jose.Key
	gateway     *jose.Key // its public half is pinned
	sam         string
	number      string // of the card laid on
	code        string
	challenges  chan reading.AgentEvent
	stop        func()
}

// connect starts a read agent and waits for its hello.
func (g *gateway) connect(ws, code string) *agent {
	t := g.t
	key, err := jose.ReadKey(g.in("keys/agents/"+ws+".key"), "")
	ok(t, err)
	own, err := jose.ReadKey(g.in("keys/gateway.key"), "")
	ok(t, err)
	w, _ := g.release.Catalogue.Workstation(catalog.WorkstationID(ws))
	a := &agent{client: g.as("agent-" + ws), workstation: ws, key: key, gateway: own, sam: w.SAMs[0], number: sampleNumber, code: code,
		challenges: make(chan reading.AgentEvent, 4)}
	ctx, cancel := context.WithCancel(context.Background())
	req := a.request(http.MethodPost, "/v1/agents/connect", map[string]string{"pairing_code": code}, "Content-Type", "application/json").WithContext(ctx)
	resp, err := a.http.Do(req)
	ok(t, err)
	if resp.StatusCode != http.StatusOK {
		t.Fatal("connect:", resp.Status)
	}
	hello := make(chan struct{})
	var ended sync.WaitGroup
	ended.Go(func() {
		defer resp.Body.Close()
		g.events(resp.Body, "/v1/agents/connect", func(e sse) {
			switch e.kind {
			case "hello":
				close(hello)
			case "challenge":
				var c reading.AgentEvent
				if json.Unmarshal([]byte(e.data), &c) == nil {
					a.challenges <- c
				}
			}
		})
	})
	a.stop = func() { cancel(); ended.Wait() }
	t.Cleanup(a.stop)
	select {
	case <-hello:
	case <-time.After(30 * time.Second):
		t.Fatal("no hello")
	}
	return a
}

// answer attests the sample card for the next challenge.
func (a *agent) answer() got {
	a.g.t.Helper()
	return a.attestation().send()
}

func (a *agent) attestation() knock {
	t := a.g.t
	t.Helper()
	var c reading.AgentEvent
	select {
	case c = <-a.challenges:
	case <-time.After(30 * time.Second):
		t.Fatal("no challenge")
	}
	text := identity.CardText{Layout: identity.LayoutResident, Name: sampleName, Sex: "1", Nation: "01", Birth: "19850312", Address: "示例市城东区人民路18号",
		Number: a.number, Issuer: "示例市公安局", ValidFrom: "20180501", ValidTo: "20380501"}
	raw, err := text.Encode()
	ok(t, err)
	card, err := identity.ParseCard(raw[:])
	ok(t, err)
	uid := make([]byte, 8)
	_, _ = rand.Read(uid)
	signed, salts, err := identity.AttestRead(a.key, c.Challenge, card, identity.Reading{SAM: a.sam, Seq: uint64(time.Now().UnixMicro()), At: time.Now(), UID: uid, OperatorChecked: true, Simulated: true})
	ok(t, err)
	sealed, err := identity.SealCard(a.gateway.Public(), identity.CardRead{Card: card, Salts: salts, UID: uid})
	ok(t, err)
	return a.knock(http.MethodPost, "/v1/read-sessions/"+c.ReadSession+"/attestation", map[string]string{"attestation": signed, "card": sealed})
}

// login pairs a clerk with the agent.
func (g *gateway) login(clerk string, a *agent) *client {
	g.t.Helper()
	k := g.as(clerk)
	var s struct {
		Session string `json:"session"`
	}
	k.call(http.MethodPost, "/v1/sessions", map[string]any{"pairing_codes": []string{a.code}}).into(g.t.(*testing.T), &s)
	k.session = s.Session
	return k
}

var ask = map[string]string{"item": "PRH", "case": "SJ-20261122-0001", "purpose": "P-PRH", "role": "applicant"}

// read has the sample card read and returns the finished read session.
func (k *client) read(a *agent) reading.View {
	t := k.g.t.(*testing.T)
	t.Helper()
	var v reading.View
	k.call(http.MethodPost, "/v1/read-sessions", ask).into(t, &v)
	want(t, a.answer(), http.StatusNoContent, "")
	k.call(http.MethodGet, "/v1/read-sessions/"+v.ReadSession, nil, "Prefer", "wait=5").into(t, &v)
	if v.State != "read" || v.Token == "" {
		t.Fatalf("read session: %+v", v.State)
	}
	return v
}

// question is the body of POST /v1/exchanges for one subject token.
func question(reply *jose.Key, token string) map[string]any {
	return map[string]any{"item": "PRH", "situation": "LOCAL", "case": ask["case"], "purpose": ask["purpose"],
		"subjects": []any{map[string]string{"role": "applicant", "token": token}}, "reply_key": json.RawMessage(jose.NewReplyKey(reply.Public()).JWK())}
}

type answer struct {
	exchange.View
	Results map[string]string `json:"results"`
}

// open decrypts a result and holds it against the document.
func (g *gateway) open(reply *jose.Key, token string) exchange.Result {
	t := g.t
	t.Helper()
	plain, err := jose.DecryptSM2(reply, exchange.TypeResult, token)
	ok(t, err)
	g.api.validate(t, "#/components/schemas/Result", plain)
	var r exchange.Result
	ok(t, json.Unmarshal(plain, &r))
	if r.Data != "" {
		payload, err := jose.Unverified(r.Data)
		ok(t, err)
		g.api.validate(t, "#/components/schemas/ResultData", payload)
	}
	return r
}
