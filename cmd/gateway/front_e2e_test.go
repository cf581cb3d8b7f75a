//go:build e2e

package main

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/catalog"
	"yizheng/cmd/gateway/demo"
	"yizheng/exchange"
	"yizheng/exchange/ferry"
	"yizheng/exchange/front"
	"yizheng/identity"
	"yizheng/identity/jose"
)

// A gateway that was taken over has its key, its certificate for the broker and
// the catalogue. Without a card on a reader it learns nothing, and each try is
// in the front's log. Then the front goes, and the rest of the city goes on.
func TestFrontBelievesNobody(t *testing.T) {
	city, _ := startCity(t)
	clerk, err := city.Login(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := demo.Case{Item: "PRH", Situation: "LOCAL", Purpose: "P-PRH", Cards: []demo.Card{{Role: "applicant", Person: "li-ming"}}}
	if got := employment(t, clerk, c, "SJ-1"); got.Code != exchange.Found {
		t.Errorf("with a card: %s", got.Code)
	}
	taken := takeOver(t, city)
	tries := map[string]identity.Challenge{"made up": freshChallenge(time.Now()), "an hour old": freshChallenge(time.Now().Add(-time.Hour))}
	for name, challenge := range tries {
		for _, signer := range []*jose.Key{taken.key, newKey(t)} {
			if a, err := taken.ask(t, challenge, signer); !errors.Is(err, exchange.ErrDenied) {
				t.Errorf("%s: %q, %v", name, a.State, err)
			}
		}
	}
	taken.stop()
	if err := city.StopProgram(demo.Agent, "hr-front"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if got := employment(t, clerk, c, "SJ-2"); got.Code != exchange.Unreachable {
		t.Errorf("without the front: %s", got.Code)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("a front that has said farewell was waited for: %v", took)
	}
	if err := city.Stop(); err != nil {
		t.Fatal(err)
	}
	refused := 0
	for _, e := range frontLog(t, city, "hr-front") {
		if e.Open.Op == audit.OpDeny && e.Open.System == "gw00" && e.Closed.Reason == "CARD_READ" {
			refused++
		}
	}
	if refused != 2*len(tries) {
		t.Errorf("%d refusals in the front's log, want %d", refused, 2*len(tries))
	}
}

// employment does a case and returns the part that the front answers.
func employment(t *testing.T, clerk *demo.Clerk, c demo.Case, number string) exchange.PartView {
	t.Helper()
	tokens, err := clerk.Read(t.Context(), c, number)
	if err != nil {
		t.Fatal(err)
	}
	a, err := clerk.Begin(t.Context(), c, number, tokens)
	if err != nil {
		t.Fatal(err)
	}
	if err := clerk.Follow(t.Context(), a.Exchange, func(string, exchange.PartView) {}); err != nil {
		t.Fatal(err)
	}
	if a, err = clerk.Fetch(t.Context(), a.Exchange); err != nil {
		t.Fatal(err)
	}
	for _, p := range a.Parts {
		if p.Part == "UE-01" {
			return p
		}
		if p.Code != exchange.Found && p.Code != exchange.NotFound {
			t.Errorf("%s: %s", p.Part, p.Code)
		}
	}
	t.Fatal("UE-01 is not there")
	return exchange.PartView{}
}

// takenOver is a gateway in the wrong hands.
type takenOver struct {
	*front.Source
	key    *jose.Key
	source catalog.Source
	stop   func()
}

func takeOver(t *testing.T, city *demo.City) *takenOver {
	t.Helper()
	fail := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	in := func(path string) string { return filepath.Join(city.State, path) }
	g := &takenOver{}
	var err error
	g.key, err = jose.ReadKey(in("keys/gateway.key"), "")
	fail(err)
	bus, err := ferry.OpenKafka(t.Context(), ferry.KafkaConfig{Brokers: strings.Split(city.Brokers, ","), ClientID: "taken-over", Logger: slog.New(slog.DiscardHandler),
		TLS: ferry.Files{CA: in("keys/tls/ca.crt"), Certificate: in("keys/tls/kafka-gw00.crt"), Key: in("keys/tls/kafka-gw00.key")}})
	fail(err)
	asker, err := ferry.NewAsker(bus, ferry.AskerConfig{Slot: "00", Logger: slog.New(slog.DiscardHandler)})
	fail(err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- asker.Run(ctx) }()
	g.stop = func() {
		cancel()
		fail(<-ended)
		fail(bus.Close())
	}
	<-asker.Ready()
	pem, err := os.ReadFile(in("keys/fronts/hr-front.pub.pem"))
	fail(err)
	g.source, _ = demoCatalogue(t).Source("ue-city")
	g.Source, err = front.NewSource(front.SourceConfig{Front: catalog.Front{ID: "hr-front", Key: string(pem)}, Sender: "gw00", Key: g.key, Asker: asker})
	fail(err)
	return g
}

func newKey(t *testing.T) *jose.Key {
	t.Helper()
	k, err := jose.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func freshChallenge(now time.Time) identity.Challenge {
	return identity.Challenge{Origin: "gw00.690100.example/audit", ReadSession: "rs", Caller: "window-hall", Workstation: "ws-01", Operator: "clerk-01",
		Item: "PRH", Case: "SJ-9", Purpose: "P-PRH", Role: "applicant", Nonce: identity.NewNonce(),
		IssuedAt: now.Add(-2 * time.Second).UnixMilli(), Expires: now.Add(time.Minute).UnixMilli()}
}

// ask asks about Wang Fang, who is not here, with an attestation that signer made.
func (g *takenOver) ask(t *testing.T, c identity.Challenge, signer *jose.Key) (exchange.Answer, error) {
	t.Helper()
	fail := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	p := samplePeople(t)["wang-fang"]
	text, err := identity.CardText{Layout: p.Layout, Name: p.Name, Sex: p.Sex, Nation: p.Nation, Birth: p.Birth, Address: p.Address, Number: p.Number,
		Issuer: p.Issuer, ValidFrom: p.ValidFrom, ValidTo: p.ValidTo}.Encode()
	fail(err)
	card, err := identity.ParseCard(text[:])
	fail(err)
	challenge, err := identity.SignChallenge(g.key, c)
	fail(err)
	attestation, salts, err := identity.AttestRead(signer, challenge, card, identity.Reading{SAM: sams["ws-01"], Seq: 1 << 40,
		At: time.UnixMilli(c.IssuedAt).Add(time.Second), UID: make([]byte, 8), OperatorChecked: true, Simulated: true})
	fail(err)
	commitment := identity.IDDigest(salts.ID, card.Type, card.Number)
	terms := exchange.LegTerms{Exchange: "X-" + c.Nonce[:12] + signer.ID()[:4], Leg: "UE-01.1", Commitment: commitment[:], Item: "PRH", Proof: "UE-01",
		Fields: []string{"status"}, Purpose: "P-PRH", Case: c.Case, Release: 1}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return g.Query(ctx, exchange.Ask{Source: g.source, Terms: terms, Digest: terms.Digest(), Subject: card.Person, Salts: salts,
		Attestation: attestation, Operator: "clerk-01", Caller: "window-hall"})
}

// frontLog verifies a front's log and returns its entries.
func frontLog(t *testing.T, city *demo.City, id string) []audit.Entry {
	t.Helper()
	dir := filepath.Join(city.State, "fronts", id)
	key, err := jose.ReadPublicKey(filepath.Join(dir, "audit-key.pub.pem"))
	if err != nil {
		t.Fatal(err)
	}
	shards, err := os.ReadDir(filepath.Join(dir, "audit"))
	if err != nil || len(shards) != 1 {
		t.Fatalf("%d shards: %v", len(shards), err)
	}
	shard := filepath.Join(dir, "audit", shards[0].Name())
	report, err := audit.VerifyDir(t.Context(), shard, audit.VerifyOptions{Keys: []*ecdsa.PublicKey{key}})
	if err != nil {
		t.Fatal(err)
	}
	var list []audit.Entry
	for i := range report.Entries {
		stored, _, err := audit.Prove(shard, i, key)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, stored.Entry)
	}
	return list
}
