package reading

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/audit/audittest"
	"yizheng/catalog"
	"yizheng/exchange/store"
	"yizheng/identity"
	"yizheng/identity/jose"
)

const sam1 = "05.03-20191225-0000012345-0987654321"

// hall is a desk with its catalogue, agents' keys and a clock.
type hall struct {
	*Desk
	t      testing.TB
	agents map[catalog.WorkstationID]*jose.Key
	clerk  catalog.Operator
	log    *audit.Log
	offset atomic.Int64
	seq    uint64
}

func newHall(t testing.TB) *hall {
	t.Helper()
	h := &hall{t: t, agents: map[catalog.WorkstationID]*jose.Key{}}
	keys := t.TempDir()
	write := func(name string) *jose.Key {
		k, err := jose.GenerateKey()
		h.ok(err)
		text, err := jose.MarshalPublicKeyPEM(k.Public())
		h.ok(err)
		h.ok(os.WriteFile(filepath.Join(keys, name+".pub.pem"), text, 0o600))
		return k
	}
	write("owner")
	write("front")
	h.agents["ws-01"], h.agents["ws-02"], h.agents["ws-03"] = write("agent-1"), write("agent-2"), write("agent-3")
	c, err := catalog.Load("../testdata/catalog", catalog.Options{Vars: map[string]string{"keys": keys}})
	h.ok(err)
	h.clerk, _ = c.OperatorByID("clerk-01")
	signer, err := jose.GenerateKey()
	h.ok(err)
	h.log, err = audit.OpenLog(context.Background(), audit.Config{AppendTimeout: audittest.Patience, Dir: filepath.Join(t.TempDir(), "audit"), Origin: "yz.test/audit/2026q4", Signer: signer, SegmentSize: 1 << 20})
	h.ok(err)
	t.Cleanup(func() { _ = h.log.Close() }) // some tests close it before
	now := func() time.Time { return time.Now().Add(time.Duration(h.offset.Load())) }
	st, err := store.Open(context.Background(), store.Config{Driver: "sqlite", DSN: store.Memory, Now: now})
	h.ok(err)
	t.Cleanup(func() { _ = st.Close() })
	pseudonyms, err := audit.OpenPseudonyms(filepath.Join(t.TempDir(), "pseudonyms"))
	h.ok(err)
	key, err := jose.GenerateKey()
	h.ok(err)
	h.Desk = New(Config{Origin: "yz.test", Key: key, TokenKeyID: "fleet", TokenKey: make([]byte, 16), Catalogue: c, Store: st,
		Audit: h.log, Pseudonyms: pseudonyms, AllowSimulated: true, Now: now})
	return h
}

func (h *hall) ok(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *hall) pass(d time.Duration) { h.offset.Add(int64(d)) }

// paired connects ws-01's agent and pairs the clerk with it.
func (h *hall) paired() (*Agent, Who) {
	h.t.Helper()
	a, err := h.Connect("ws-01", "123456")
	h.ok(err)
	id, ws, err := h.Pair(context.Background(), h.clerk, []string{"123456"})
	h.ok(err)
	return a, Who{Operator: h.clerk, Workstations: ws, Session: id}
}

var ask = Ask{Item: "PRH", Case: "C-1", Purpose: "P-PRH", Role: "applicant"}

// challenged starts a read and returns what the agent got.
func (h *hall) challenged(a *Agent, who Who) AgentEvent {
	h.t.Helper()
	_, err := h.Start(context.Background(), who, ask)
	h.ok(err)
	return <-a.Events
}

// reading is what an agent can do differently.
type reading struct {
	key       *jose.Key
	challenge string
	text      identity.CardText
	other     *identity.CardText // sent instead of the one attested
	how       identity.Reading
}

func (h *hall) reading(e AgentEvent) reading {
	h.seq++
	return reading{key: h.agents["ws-01"], challenge: e.Challenge, text: card(),
		how: identity.Reading{SAM: sam1, Seq: h.seq, At: h.Now(), UID: []byte{1, 2, 3, 4, 5, 6, 7, 8}, OperatorChecked: true, Simulated: true}}
}

func card() identity.CardText {
	return identity.CardText{Layout: identity.LayoutResident, Name: "李明", Sex: "1", Nation: "01", Birth: "19850312", Address: "示例市人民路1号",
		Number: "690102198503120016", Issuer: "示例市公安局", ValidFrom: "20240401", ValidTo: "20440401"}
}

func (h *hall) tokens(r reading) (attestation, sealed string) {
	h.t.Helper()
	parse := func(text identity.CardText) identity.Card {
		raw, err := text.Encode()
		h.ok(err)
		c, err := identity.ParseCard(raw[:])
		h.ok(err)
		return c
	}
	c := parse(r.text)
	attestation, salts, err := identity.AttestRead(r.key, r.challenge, c, r.how)
	h.ok(err)
	if r.other != nil {
		c = parse(*r.other)
	}
	sealed, err = identity.SealCard(h.Key.Public(), identity.CardRead{Card: c, Salts: salts, UID: r.how.UID})
	h.ok(err)
	return attestation, sealed
}

func (h *hall) send(id string, r reading) error {
	h.t.Helper()
	attestation, sealed := h.tokens(r)
	return h.Attest(context.Background(), "ws-01", id, attestation, sealed)
}

func (h *hall) view(id string) View {
	h.t.Helper()
	v, _, err := h.Get("clerk-01", id)
	h.ok(err)
	return v
}

func (h *hall) records(op audit.Op) (list []audit.Entry) {
	h.t.Helper()
	h.ok(h.log.Read(context.Background(), 0, h.log.Head().Size, func(_ uint64, e audit.Stored) error {
		if e.Entry.Open.Op == op {
			list = append(list, e.Entry)
		}
		return nil
	}))
	return list
}

func code(err error) string {
	var r *Refusal
	if errors.As(err, &r) {
		return r.Code
	}
	return ""
}

func TestCardOnTheReaderBecomesAToken(t *testing.T) {
	h := newHall(t)
	a, who := h.paired()
	e := h.challenged(a, who)
	v, changed, err := h.Get("clerk-01", e.ReadSession)
	h.ok(err)
	if v.State != "waiting" || v.Token != "" {
		t.Fatalf("%+v", v)
	}
	h.ok(h.send(e.ReadSession, h.reading(e)))
	<-changed
	v = h.view(e.ReadSession)
	if v.State != "read" || v.Token == "" || v.Role != "applicant" {
		t.Fatalf("%+v", v)
	}
	claims, err := identity.OpenSubject(func(string) []byte { return make([]byte, 16) }, v.Token, h.Now())
	h.ok(err)
	if claims.Caller != "hall" || claims.Workstation != "ws-01" || claims.Operator != "clerk-01" || claims.Item != "PRH" || claims.Case != "C-1" ||
		claims.Purpose != "P-PRH" || claims.Role != "applicant" || claims.Evidence != "card_chip+operator_checked" || claims.Level != 3 ||
		claims.Person.Number.Reveal() != card().Number || claims.Person.Name.Reveal() != card().Name {
		t.Error("the token says something else than challenge and card")
	}
	reads := h.records(audit.OpCardRead)
	if len(reads) != 1 || len(reads[0].Open.Subjects) != 1 || reads[0].Open.Case != "C-1" || reads[0].Closed.Workstation != "ws-01" {
		t.Errorf("%+v", reads)
	}
	if _, _, err := h.Get("clerk-02", e.ReadSession); code(err) != "NO_SUCH_READ" {
		t.Errorf("another clerk sees the token: %v", err)
	}
}

// TestAttestationIsRefused is the table of reads that do not count. Each ends
// the read session with a record, and none yields a token.
func TestAttestationIsRefused(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(h *hall, r *reading)
		want   string
	}{
		{"a key that is not the workstation's", func(h *hall, r *reading) { r.key = h.agents["ws-02"] }, "ATTESTATION"},
		{"a reader that is not registered", func(_ *hall, r *reading) { r.how.SAM = "05.03-20200618-0000023456-0123456789" }, "ATTESTATION"},
		{"another text than the one attested", func(_ *hall, r *reading) {
			other := card()
			other.Address = "示例市人民路2号"
			r.other = &other
		}, "ATTESTATION"},
		{"another person than the one attested", func(_ *hall, r *reading) {
			other := card()
			other.Number, other.Name, other.Sex, other.Birth = "690102199011250046", "王芳", "2", "19901125"
			r.other = &other
		}, "ATTESTATION"},
		{"read before the challenge", func(h *hall, r *reading) { r.how.At = h.Now().Add(-2 * time.Minute) }, "ATTESTATION"},
		{"read in the future", func(h *hall, r *reading) { r.how.At = h.Now().Add(2 * time.Minute) }, "ATTESTATION"},
		{"simulated where only cards count", func(h *hall, _ *reading) { h.AllowSimulated = false }, "ATTESTATION"},
		{"an expired card", func(_ *hall, r *reading) { r.text.ValidFrom, r.text.ValidTo = "20050401", "20250401" }, "CARD_EXPIRED"},
		{"a challenge made by somebody else", func(h *hall, r *reading) { r.challenge = h.forged(nil) }, "ATTESTATION"},
		{"a challenge of ours for another case", func(h *hall, r *reading) {
			r.challenge = h.forged(h.Key)
		}, "ATTESTATION"},
		{"a sequence that does not rise", func(h *hall, r *reading) {
			h.ok(h.Store.ConsumeNonce(context.Background(), "another", "ws-01", 9, h.Now().Add(time.Minute)))
			r.how.Seq = 9
		}, "REPLAY"},
		{"the number typed as the case", func(h *hall, _ *reading) {
			for _, r := range h.reads {
				r.ask.Case = "件" + card().Number
			}
		}, "CASE_HOLDS_NUMBER"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHall(t)
			a, who := h.paired()
			e := h.challenged(a, who)
			r := h.reading(e)
			test.change(h, &r)
			err := h.send(e.ReadSession, r)
			v := h.view(e.ReadSession)
			if code(err) != test.want || v.State != "failed" || v.Failure != test.want || v.Token != "" {
				t.Errorf("%v; %+v", err, v)
			}
			reads := h.records(audit.OpCardRead)
			if len(reads) != 1 || reads[0].Open.Outcome != test.want || len(reads[0].Open.Subjects) > 0 || strings.Contains(reads[0].Open.Case, card().Number) {
				t.Errorf("%+v", reads)
			}
			if err != nil && (strings.Contains(err.Error(), card().Number) || strings.Contains(err.Error(), card().Name)) {
				t.Errorf("the error tells who: %v", err)
			}
			if again := h.send(e.ReadSession, h.reading(e)); code(again) != "READ_OVER" {
				t.Errorf("a second try on the same read: %v", again)
			}
		})
	}
}

// forged is a challenge for another case, signed by key or by a stranger.
func (h *hall) forged(key *jose.Key) string {
	if key == nil {
		var err error
		key, err = jose.GenerateKey()
		h.ok(err)
	}
	token, err := identity.SignChallenge(key, identity.Challenge{Origin: "yz.test", ReadSession: "r", Caller: "hall", Workstation: "ws-01",
		Operator: "clerk-01", Item: "PRH", Case: "C-9", Purpose: "P-PRH", Role: "applicant", Nonce: identity.NewNonce(),
		IssuedAt: h.Now().UnixMilli(), Expires: h.Now().Add(time.Minute).UnixMilli()})
	h.ok(err)
	return token
}

func TestAttestationCountsOnceAndForItsOwnReadOnly(t *testing.T) {
	h := newHall(t)
	a, who := h.paired()
	first := h.challenged(a, who)
	attestation, sealed := h.tokens(h.reading(first))
	second := h.challenged(a, who)
	ctx := context.Background()
	if err := h.Attest(ctx, "ws-01", second.ReadSession, attestation, sealed); code(err) != "ATTESTATION" {
		t.Errorf("for another read: %v", err)
	}
	if err := h.Attest(ctx, "ws-02", first.ReadSession, attestation, sealed); code(err) != "NO_SUCH_READ" {
		t.Errorf("from another workstation: %v", err)
	}
	h.ok(h.Attest(ctx, "ws-01", first.ReadSession, attestation, sealed))
	if err := h.Attest(ctx, "ws-01", first.ReadSession, attestation, sealed); code(err) != "READ_OVER" {
		t.Errorf("again: %v", err)
	}
	if n := h.view(first.ReadSession); n.State != "read" {
		t.Errorf("the replay undid the read: %+v", n)
	}
}

func TestNonceIsConsumedOnceEvenIfMemoryForgets(t *testing.T) {
	h := newHall(t)
	a, who := h.paired()
	e := h.challenged(a, who)
	r := h.Desk.reads[e.ReadSession]
	h.ok(h.Store.ConsumeNonce(context.Background(), r.nonce, "ws-02", 1, h.Now().Add(time.Minute)))
	if err := h.send(e.ReadSession, h.reading(e)); code(err) != "REPLAY" {
		t.Errorf("%v", err)
	}
}

func TestChallengeEndsAfterAMinute(t *testing.T) {
	h := newHall(t)
	a, who := h.paired()
	e := h.challenged(a, who)
	h.pass(61 * time.Second)
	if err := h.send(e.ReadSession, h.reading(e)); code(err) != "READ_OVER" {
		t.Errorf("%v", err)
	}
	if v := h.view(e.ReadSession); v.Failure != "EXPIRED" {
		t.Errorf("%+v", v)
	}
	h.pass(2 * time.Minute)
	h.challenged(a, who)
	if _, _, err := h.Get("clerk-01", e.ReadSession); code(err) != "NO_SUCH_READ" || len(h.reads) != 1 {
		t.Errorf("kept for ever: %v", err)
	}
}

func TestReadThatCannotBeRecordedYieldsNoToken(t *testing.T) {
	h := newHall(t)
	a, who := h.paired()
	e := h.challenged(a, who)
	h.ok(h.log.Close())
	if err := h.send(e.ReadSession, h.reading(e)); code(err) != "UNAVAILABLE" {
		t.Errorf("%v", err)
	}
	if v := h.view(e.ReadSession); v.Token != "" || v.Failure != "UNAVAILABLE" {
		t.Errorf("%+v", v)
	}
}

func TestReadWhileTheStoreIsDownYieldsNoToken(t *testing.T) {
	h := newHall(t)
	a, who := h.paired()
	e := h.challenged(a, who)
	h.ok(h.Store.Close())
	err := h.send(e.ReadSession, h.reading(e))
	if v := h.view(e.ReadSession); code(err) != "UNAVAILABLE" || v.Token != "" || v.Failure != "UNAVAILABLE" {
		t.Errorf("%v; %+v", err, v)
	}
}

func TestAgentReportsWhyItCouldNotRead(t *testing.T) {
	h := newHall(t)
	a, who := h.paired()
	e := h.challenged(a, who)
	ctx := context.Background()
	if err := h.Fail(ctx, "ws-01", e.ReadSession, "690102198503120016"); code(err) != "INVALID_REQUEST" {
		t.Errorf("any text is taken: %v", err)
	}
	h.ok(h.Fail(ctx, "ws-01", e.ReadSession, "NO_CARD"))
	if v := h.view(e.ReadSession); v.Failure != "NO_CARD" {
		t.Errorf("%+v", v)
	}
}

func TestReadIsNotStarted(t *testing.T) {
	h := newHall(t)
	_, who := h.paired()
	for _, test := range []struct {
		name   string
		change func(w *Who, a *Ask)
		want   string
	}{
		{"at a workstation of somebody else", func(_ *Who, a *Ask) { a.Workstation = "ws-02" }, "WORKSTATION"},
		{"without a workstation", func(w *Who, _ *Ask) { w.Workstations = nil }, "WORKSTATION"},
		{"for an unknown item", func(_ *Who, a *Ask) { a.Item = "NONE" }, "UNKNOWN_ITEM"},
		{"without a case", func(_ *Who, a *Ask) { a.Case = "" }, "INVALID_REQUEST"},
		{"with an ID number for a case", func(_ *Who, a *Ask) { a.Case = "690102-19850312-0016" }, "INVALID_REQUEST"},
		{"for a purpose of another item", func(_ *Who, a *Ask) { a.Purpose = "P-OTHER" }, "PURPOSE_NOT_ALLOWED"},
		{"for a role the item does not know", func(_ *Who, a *Ask) { a.Role = "child" }, "INVALID_REQUEST"},
		{"while the agent is away", func(w *Who, a *Ask) { w.Workstations, a.Workstation = append(w.Workstations, "ws-02"), "ws-02" }, "AGENT_OFFLINE"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w, a := who, ask
			w.Workstations = slices.Clone(who.Workstations)
			test.change(&w, &a)
			if _, err := h.Start(context.Background(), w, a); code(err) != test.want {
				t.Errorf("%v", err)
			}
		})
	}
	for range 16 {
		_, err := h.Start(context.Background(), who, ask)
		h.ok(err)
	}
	if _, err := h.Start(context.Background(), who, ask); code(err) != "AGENT_BUSY" || len(h.reads) != 16 {
		t.Errorf("%v", err)
	}
}

func FuzzAttest(f *testing.F) {
	h := newHall(f)
	a, who := h.paired()
	e := h.challenged(a, who)
	attestation, sealed := h.tokens(h.reading(e))
	f.Add(attestation, "x")
	f.Add("", sealed)
	f.Add("a.b.c", "a.b.c.d.e")
	r := h.Desk.reads[e.ReadSession]
	f.Fuzz(func(t *testing.T, attested, card string) {
		if attested == attestation && card == sealed {
			return
		}
		if _, _, err := h.check(r, attested, card); err == nil {
			t.Error("accepted")
		}
	})
}
