//go:build e2e

package main

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
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
// the catalogue. Without a card on a reader it learns nothing from any front,
// over Kafka or through a gap, and each try is in that front's log. Then the
// fronts go one by one, and the rest of the city goes on.
func TestFrontBelievesNobody(t *testing.T) {
	city, _ := startCity(t)
	clerk, err := city.Login(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var behind []question
	for _, f := range demoCatalogue(t).Fronts {
		q := questionTo(t, f.ID)
		behind = append(behind, q)
		if got := codesBySource(doMatter(t, clerk, q.matter, "SJ-1"))[q.source.ID]; got != exchange.Found && got != exchange.NotFound {
			t.Errorf("%s, with a card: %s", f.ID, got)
		}
	}
	taken := takeOver(t, city)
	tries := map[string]func(question) identity.Challenge{
		"made up":     func(q question) identity.Challenge { return q.challenge(time.Now()) },
		"an hour old": func(q question) identity.Challenge { return q.challenge(time.Now().Add(-time.Hour)) },
	}
	for name, challenge := range tries {
		for _, signer := range []*jose.Key{taken.key, newKey(t)} {
			for _, q := range behind {
				if a, err := taken.ask(t, q, challenge(q), signer); !errors.Is(err, exchange.ErrDenied) {
					t.Errorf("%s, %s: %q, %v", q.source.Front, name, a.State, err)
				}
			}
		}
	}
	taken.stop()
	gone := make(map[catalog.SourceID]bool)
	for _, q := range behind {
		before := codesBySource(doMatter(t, clerk, q.matter, "SJ-2"))
		if err := errors.Join(city.StopProgram(demo.Agent, q.source.Front), city.AwaitFront(t.Context(), q.source.Front, false)); err != nil {
			t.Fatal(err)
		}
		gone[q.source.ID] = true
		began := time.Now()
		after := codesBySource(doMatter(t, clerk, q.matter, "SJ-3"))
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s has said farewell and was waited for: %v", q.source.Front, took)
		}
		for id, code := range after {
			want := before[id]
			if gone[id] {
				want = exchange.Unreachable
			}
			if code != want {
				t.Errorf("without %s: %s gave %s, want %s", q.source.Front, id, code, want)
			}
		}
	}
	if err := city.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, q := range behind {
		refused := 0
		for _, e := range frontLog(t, city, q.source.Front) {
			if e.Open.Op == audit.OpDeny && e.Open.System == "gw00" && e.Closed.Reason == "CARD_READ" {
				refused++
			}
		}
		if refused != 2*len(tries) {
			t.Errorf("%s: %d refusals in its log, want %d", q.source.Front, refused, 2*len(tries))
		}
	}
}

// question is one that a front is asked in the course of a matter.
type question struct {
	front  catalog.Front
	source catalog.Source
	grant  catalog.Grant
	matter demo.Case // of one person
}

// questionTo finds a matter of one person in which the window asks the front something.
func questionTo(t *testing.T, f catalog.FrontID) question {
	t.Helper()
	c := demoCatalogue(t)
	for _, g := range c.Grants {
		item, _ := c.Item(g.Item)
		proof, _ := c.Proof(g.Proof)
		for _, s := range item.Situations {
			if roles := item.RolesIn(s); g.Caller != "window-hall" || len(roles) != 1 || !slices.Contains(s.Proofs(), g.Proof) {
				continue
			}
			for _, id := range proof.Sources {
				if src, _ := c.Source(id); src.Front == f {
					front, _ := c.Front(f)
					return question{front, src, g, demo.Case{Item: string(item.Code), Situation: string(s.Code), Purpose: item.Purposes[0],
						Cards: []demo.Card{{Role: string(item.RolesIn(s)[0]), Person: "li-ming"}}}}
				}
			}
		}
	}
	t.Fatalf("the window asks %s nothing", f)
	return question{}
}

// codesBySource is what came of each source.
func codesBySource(a demo.Answer) map[catalog.SourceID]exchange.Code {
	codes := make(map[catalog.SourceID]exchange.Code)
	for _, p := range a.Parts {
		for _, l := range p.Legs {
			codes[l.Source] = l.Code
		}
	}
	return codes
}

// doMatter reads the cards, asks and waits for the end.
func doMatter(t *testing.T, clerk *demo.Clerk, c demo.Case, number string) demo.Answer {
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
	return a
}

// takenOver is a gateway in the wrong hands.
type takenOver struct {
	city  *demo.City
	key   *jose.Key
	asker *ferry.Asker
	stop  func()
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
	g := &takenOver{city: city}
	var err error
	g.key, err = jose.ReadKey(in("keys/gateway.key"), "")
	fail(err)
	bus, err := ferry.OpenKafka(t.Context(), ferry.KafkaConfig{Brokers: strings.Split(city.Brokers, ","), ClientID: "taken-over", Logger: slog.New(slog.DiscardHandler),
		TLS: ferry.Files{CA: in("keys/tls/ca.crt"), Certificate: in("keys/tls/kafka-gw00.crt"), Key: in("keys/tls/kafka-gw00.key")}})
	fail(err)
	g.asker, err = ferry.NewAsker(bus, ferry.AskerConfig{Slot: "00", Logger: slog.New(slog.DiscardHandler)})
	fail(err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- g.asker.Run(ctx) }()
	g.stop = func() {
		cancel()
		fail(<-ended)
		fail(bus.Close())
	}
	<-g.asker.Ready()
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

func (q question) challenge(now time.Time) identity.Challenge {
	return identity.Challenge{Origin: "gw00.690100.example/audit", ReadSession: "rs", Caller: "window-hall", Workstation: "ws-01", Operator: "clerk-01",
		Item: q.matter.Item, Case: "SJ-9", Purpose: q.matter.Purpose, Role: "applicant", Nonce: identity.NewNonce(),
		IssuedAt: now.Add(-2 * time.Second).UnixMilli(), Expires: now.Add(time.Minute).UnixMilli()}
}

// ask asks a front about Wang Fang, who is not here, with an attestation that signer made.
func (g *takenOver) ask(t *testing.T, q question, c identity.Challenge, signer *jose.Key) (exchange.Answer, error) {
	t.Helper()
	fail := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	pem, err := os.ReadFile(filepath.Join(g.city.State, "keys/fronts", string(q.front.ID)+".pub.pem"))
	fail(err)
	source, err := front.NewSource(front.SourceConfig{Front: catalog.Front{ID: q.front.ID, Key: string(pem)}, Sender: "gw00", Key: g.key, Asker: g.asker})
	fail(err)
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
	terms := exchange.LegTerms{Exchange: "X-" + c.Nonce[:12] + signer.ID()[:4], Leg: string(q.grant.Proof) + ".1", Commitment: commitment[:],
		Item: q.grant.Item, Proof: q.grant.Proof, Fields: q.grant.Fields, Purpose: q.matter.Purpose, Case: c.Case, Release: g.city.Release}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return source.Query(ctx, exchange.Ask{Source: q.source, Terms: terms, Digest: terms.Digest(), Subject: card.Person, Salts: salts,
		Attestation: attestation, Operator: "clerk-01", Caller: "window-hall"})
}

// frontLog verifies a front's log and returns its entries.
func frontLog(t *testing.T, city *demo.City, id catalog.FrontID) []audit.Entry {
	t.Helper()
	dir := filepath.Join(city.State, "fronts", string(id))
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
