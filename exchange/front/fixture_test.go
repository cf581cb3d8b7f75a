package front

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/audit/audittest"
	"yizheng/catalog"
	"yizheng/exchange"
	"yizheng/exchange/envelope"
	"yizheng/identity"
	"yizheng/identity/jose"
)

// The persons of the tests are fictional (province 69 does not exist).
const (
	liNumber, liName     = "690102198503120016", "李明"
	wangNumber, wangName = "690102199011250046", "王芳"
)

// keys are those of the fixture, by name; which of them the catalogue has is in city.yaml.
type keys map[string]*jose.Key

var (
	own     = make(keys)
	release *catalog.Release
	seals   *mint
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "front")
	if err == nil {
		err = makeRelease(dir)
	}
	if err == nil {
		seals, err = newMint(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fixture:", err)
		os.Exit(2)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

func makeRelease(dir string) (err error) {
	for _, name := range []string{"owner", "hr-front", "si-front", "agent-1", "agent-2", "gateway", "stranger"} {
		if own[name], err = jose.GenerateKey(); err != nil {
			return err
		}
		text, err := jose.MarshalPublicKeyPEM(own[name].Public())
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name+".pub.pem"), text, 0o600); err != nil {
			return err
		}
	}
	c, err := catalog.Load("testdata/catalog", catalog.Options{Vars: map[string]string{"keys": dir}})
	if err != nil {
		return err
	}
	o := catalog.ReleaseOptions{Number: 7, Created: time.Now().Add(-time.Hour), Expires: time.Now().AddDate(30, 0, 0)}
	for _, g := range c.Grants {
		signed, err := catalog.SignGrant(own["owner"], c, g)
		if err != nil {
			return err
		}
		o.Grants = append(o.Grants, signed)
	}
	release, err = catalog.NewRelease(c, o)
	return err
}

// system is a department's system that counts how often it is asked.
type system struct {
	mu     sync.Mutex
	asked  []exchange.Ask
	answer func(context.Context, exchange.Ask) (exchange.Answer, error)
}

func (s *system) Query(ctx context.Context, ask exchange.Ask) (exchange.Answer, error) {
	s.mu.Lock()
	s.asked = append(s.asked, ask)
	f := s.answer
	s.mu.Unlock()
	return f(ctx, ask)
}

func (s *system) says(f func(context.Context, exchange.Ask) (exchange.Answer, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = f
}

func (s *system) gives(a exchange.Answer, err error) {
	s.says(func(context.Context, exchange.Ask) (exchange.Answer, error) { return a, err })
}

func (s *system) times() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

func found(fields map[string]any) exchange.Answer {
	return exchange.Answer{State: exchange.StateFound, DataTime: time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC),
		Records: []exchange.Record{{Number: liNumber, Name: liName, Fields: fields}}}
}

// registered is a whole record as the department's system has it.
func registered() map[string]any {
	return map[string]any{"certificate_no": "6901020026001234", "status": "1", "region": "690102", "education": "大学本科", "months": 5}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// desk is one front with its log and the system behind it.
type desk struct {
	*Agent
	t      testing.TB
	system *system
	log    *audit.Log
	logged *lockedBuffer

	spoiler *audittest.Spoiler // signs for the log
}

func newDesk(t testing.TB) *desk {
	t.Helper()
	d := &desk{t: t, system: &system{}, logged: &lockedBuffer{}}
	d.system.gives(found(registered()), nil)
	signer, err := jose.GenerateKey()
	d.ok(err)
	dir := t.TempDir()
	d.spoiler = audittest.NewSpoiler(signer, filepath.Join(dir, "audit"))
	d.log, err = audit.OpenLog(t.Context(), audit.Config{Dir: filepath.Join(dir, "audit"), Origin: "hr-front/audit/2026q4", Signer: d.spoiler,
		SegmentSize: 1 << 20, AppendTimeout: audittest.Patience})
	d.ok(err)
	pseudonyms, err := audit.OpenPseudonyms(filepath.Join(dir, "pseudonyms"))
	d.ok(err)
	d.Agent, err = NewAgent(Config{Front: "hr-front", Release: release, Sources: map[string]exchange.Source{"hr": d.system}, Audit: d.log,
		Pseudonyms: pseudonyms, Reads: filepath.Join(dir, "reads"), AllowSimulated: true, Logger: slog.New(slog.NewTextHandler(d.logged, nil)),
		GatewayKeys: func(kid string) *ecdsa.PublicKey {
			if kid == own["gateway"].ID() {
				return own["gateway"].Public()
			}
			return nil
		}})
	d.ok(err)
	t.Cleanup(func() {
		d.ok(d.Agent.Close())
		_ = d.log.Close() // some tests break it
		for _, secret := range []string{liNumber, liName, wangNumber, wangName, "6901020026001234"} {
			if strings.Contains(d.logged.String(), secret) {
				t.Errorf("the process log tells who was asked about or what was found:\n%s", d.logged)
			}
		}
	})
	return d
}

func (d *desk) ok(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// entries are the log's entries of one operation, all if op is empty.
func (d *desk) entries(op audit.Op) []audit.Entry {
	d.t.Helper()
	var list []audit.Entry
	d.ok(d.log.Read(context.Background(), 0, d.log.Head().Size, func(_ uint64, e audit.Stored) error {
		if op == "" || e.Entry.Open.Op == op {
			list = append(list, e.Entry)
		}
		return nil
	}))
	return list
}

// read is one card read at a window, and what may be wrong with it.
type read struct {
	challenge identity.Challenge
	reading   identity.Reading
	gateway   string // key that signs the challenge
	agent     string // key that signs the attestation
	number    string
	name      string
}

func cardRead(now time.Time) read {
	return read{
		challenge: identity.Challenge{Origin: "gw00.example/audit", ReadSession: "rs-1", Caller: "hall", Workstation: "ws-01", Operator: "clerk-01",
			Item: "PRH", Case: "SJ-1", Purpose: "P-PRH", Role: "applicant", Nonce: identity.NewNonce(),
			IssuedAt: now.Add(-2 * time.Second).UnixMilli(), Expires: now.Add(58 * time.Second).UnixMilli()},
		reading: identity.Reading{SAM: "05.03-20191225-0000012345-0987654321", Seq: 1, At: now.Add(-time.Second), UID: make([]byte, 8), OperatorChecked: true, Simulated: true},
		gateway: "gateway", agent: "agent-1", number: liNumber, name: liName,
	}
}

func (r read) attest(t testing.TB) (string, identity.Salts, identity.Person) {
	t.Helper()
	fail := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	n, _, err := identity.ParseNumber(r.number)
	fail(err)
	text, err := identity.CardText{Layout: identity.LayoutResident, Name: r.name, Sex: string(n.Sex()), Nation: "01", Birth: n.Birth().Compact(),
		Address: "示例市", Number: r.number, Issuer: "示例市公安局", ValidFrom: "20200101", ValidTo: "20400101"}.Encode()
	fail(err)
	card, err := identity.ParseCard(text[:])
	fail(err)
	challenge, err := identity.SignChallenge(own[r.gateway], r.challenge)
	fail(err)
	attestation, salts, err := identity.AttestRead(own[r.agent], challenge, card, r.reading)
	fail(err)
	return attestation, salts, card.Person
}

// question is what a gateway asks after this read.
func (r read) question(t testing.TB, exchangeNo string) Question {
	t.Helper()
	attestation, salts, person := r.attest(t)
	commitment := identity.IDDigest(salts.ID, person.Type, person.Number)
	return Question{
		Terms: exchange.LegTerms{Exchange: exchangeNo, Leg: "UE-01.1", Commitment: commitment[:], Item: "PRH", Proof: "UE-01",
			Fields: []string{"certificate_no", "status"}, Purpose: "P-PRH", Case: "SJ-1", Release: 7},
		Source: "ue", Caller: "hall", Operator: "clerk-01", Person: person, Salts: salts, Attestation: attestation,
	}
}

func attributes(q Question) envelope.Attributes {
	return envelope.Attributes{Kind: envelope.Request, Exchange: q.Terms.Exchange, Leg: q.Terms.Leg, Attempt: 1, Sender: "gw00", Recipient: "hr-front",
		Deadline: time.Now().Add(5 * time.Second), LegDigest: q.Terms.Digest()}
}

// handle asks the agent as an opened envelope does.
func (d *desk) handle(attrs envelope.Attributes, q Question) Reply {
	d.t.Helper()
	body, err := q.encode()
	d.ok(err)
	raw, err := d.Handle(d.t.Context(), attrs, body)
	d.ok(err)
	r, err := decodeReply(raw)
	d.ok(err)
	return r
}
