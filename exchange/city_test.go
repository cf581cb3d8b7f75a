package exchange

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/audit/audittest"
	"yizheng/catalog"
	"yizheng/exchange/fleet"
	"yizheng/exchange/store"
	"yizheng/identity"
	"yizheng/identity/jose"
	"yizheng/seal"
	"yizheng/seal/pdf"
	"yizheng/seal/pdf/pdftest"
)

// The persons of the tests are fictional (province 69 does not exist).
const (
	liNumber, liName     = "690102198503120016", "李明"
	wangNumber, wangName = "690102199011250046", "王芳"
)

// fixture is what all tests share and none changes.
type fixture struct {
	release  *catalog.Release
	seals    *seal.Registry
	renderer *pdf.Renderer
	key      *jose.Key
	token    []byte
}

var shared fixture

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "exchange")
	if err == nil {
		shared, err = newFixture(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fixture:", err)
		os.Exit(2)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

func newFixture(dir string) (f fixture, err error) {
	f.token = bytes.Repeat([]byte{7}, 16)
	if f.key, err = jose.GenerateKey(); err != nil {
		return f, err
	}
	if f.release, err = newRelease(dir); err != nil {
		return f, err
	}
	font := filepath.Join(dir, "test.ttf")
	if err = os.WriteFile(font, pdftest.Font(), 0o600); err != nil {
		return f, err
	}
	if f.seals, err = newSeals(filepath.Join(dir, "seals"), font, f.release.Catalogue); err != nil {
		return f, err
	}
	fonts, err := pdf.LoadFonts(font, nil)
	if err != nil {
		return f, err
	}
	f.renderer, err = pdf.NewRenderer(fonts)
	return f, err
}

func newRelease(dir string) (*catalog.Release, error) {
	owner, err := jose.GenerateKey()
	if err != nil {
		return nil, err
	}
	text, err := jose.MarshalPublicKeyPEM(owner.Public())
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"owner", "front", "agent-1", "agent-2", "agent-3"} {
		if name != "owner" {
			k, err := jose.GenerateKey()
			if err != nil {
				return nil, err
			}
			if text, err = jose.MarshalPublicKeyPEM(k.Public()); err != nil {
				return nil, err
			}
		}
		if err := os.WriteFile(filepath.Join(dir, name+".pub.pem"), text, 0o600); err != nil {
			return nil, err
		}
	}
	c, err := catalog.Load("testdata/catalog", catalog.Options{Vars: map[string]string{"keys": dir}})
	if err != nil {
		return nil, err
	}
	o := catalog.ReleaseOptions{Number: 7, Created: time.Now().Add(-time.Hour), Expires: time.Now().AddDate(1, 0, 0)}
	for _, g := range c.Grants {
		signed, err := catalog.SignGrant(owner, c, g)
		if err != nil {
			return nil, err
		}
		o.Grants = append(o.Grants, signed)
	}
	return catalog.NewRelease(c, o)
}

func newSeals(dir, font string, c *catalog.Catalogue) (*seal.Registry, error) {
	born := time.Now().AddDate(-1, 0, 0)
	years := seal.Validity{From: born, Until: born.AddDate(5, 0, 0)}
	root, err := seal.MakeRoot(seal.Subject{Name: "测试根"}, years)
	if err != nil {
		return nil, err
	}
	maker, err := seal.MakeMaker(root, seal.Subject{Name: "制章中心"}, years)
	if err != nil {
		return nil, err
	}
	holder, err := seal.MakeHolder(root, seal.Subject{Name: "示例市"}, years)
	if err != nil {
		return nil, err
	}
	picture, err := seal.DrawRoundSeal(seal.RoundSeal{FontPath: font, Name: "示例市", DPI: 72})
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	for i, s := range c.Seals {
		made, err := seal.MakeSeal(maker, seal.SealOrder{ESID: fmt.Sprintf("690100000000%d", i), Name: s.Name, VendorID: "YZ", PictureGIF: picture,
			WidthMM: 42, HeightMM: 42, Created: born.Add(time.Hour), Validity: years, HolderCert: holder.Cert})
		if err != nil {
			return nil, err
		}
		if err := seal.WriteSealDir(dir, string(s.ID), seal.SealDir{Seal: made, Holder: holder, Since: born}); err != nil {
			return nil, err
		}
	}
	return seal.OpenRegistry(dir, seal.RegistryOptions{})
}

// fake is a source in memory: it answers what it is told to.
type fake struct {
	mu     sync.Mutex
	answer func(ctx context.Context, ask Ask) (Answer, error)
	asked  []Ask
}

func (f *fake) Query(ctx context.Context, ask Ask) (Answer, error) {
	f.mu.Lock()
	f.asked = append(f.asked, ask)
	answer := f.answer
	f.mu.Unlock()
	return answer(ctx, ask)
}

func (f *fake) says(answer func(ctx context.Context, ask Ask) (Answer, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

func (f *fake) gives(a Answer, err error) {
	f.says(func(context.Context, Ask) (Answer, error) { return a, err })
}

func (f *fake) times() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.asked)
}

// city is one gateway with its log, store and sources.
type city struct {
	*Service
	t       testing.TB
	log     *audit.Log
	store   *store.Store
	auditIn string
	sources map[string]*fake
	slow    *slow
	reply   *jose.Key
	fleet   *fleet.Keys
	gate    *gate
	spoiler *audittest.Spoiler // signs behind the gate
	offset  *atomic.Int64      // of the clock, ns
	logged  *lockedBuffer
	counted *lockedBuffer // legs, as metrics are told of them
	who     Principal
	tokens  int
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

// gate is a log's signer that can be held: nothing becomes durable meanwhile.
type gate struct {
	audit.Signer
	mu sync.Mutex
}

func (g *gate) SignMessage(m []byte) ([]byte, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.Signer.SignMessage(m)
}

func newCity(t testing.TB) *city {
	t.Helper()
	c := &city{t: t, sources: map[string]*fake{}, slow: &slow{}, fleet: fleet.InMemory(), offset: new(atomic.Int64), logged: &lockedBuffer{}, counted: &lockedBuffer{}, auditIn: filepath.Join(t.TempDir(), "audit"),
		who: Principal{Caller: "hall", Operator: "clerk-01", Workstations: []catalog.WorkstationID{"ws-01", "ws-02"}}}
	var err error
	c.reply, err = jose.GenerateKey()
	c.ok(err)
	c.record("yz.test/audit/2026q4")
	c.store, err = store.Open(context.Background(), store.Config{Driver: "sqlite", DSN: store.Memory, Now: c.now})
	c.ok(err)
	t.Cleanup(func() { _ = c.store.Close() })
	c.run("01")
	return c
}

// twin is another gateway of the same fleet.
func (c *city) twin() *city {
	c.t.Helper()
	d := *c
	d.logged, d.auditIn, d.tokens = &lockedBuffer{}, filepath.Join(c.t.TempDir(), "audit"), c.tokens+1000
	d.record("yz2.test/audit/2026q4")
	d.run("02")
	return &d
}

// record opens the gateway's log.
func (c *city) record(origin string) {
	c.t.Helper()
	signer, err := jose.GenerateKey()
	c.ok(err)
	c.spoiler = audittest.NewSpoiler(signer, c.auditIn)
	c.gate = &gate{Signer: c.spoiler}
	c.log, err = audit.OpenLog(context.Background(), audit.Config{AppendTimeout: audittest.Patience, Dir: c.auditIn, Origin: origin, Signer: c.gate, SegmentSize: 1 << 20})
	c.ok(err)
}

// run starts the gateway of a slot.
func (c *city) run(slot string) {
	t := c.t
	t.Helper()
	pseudonyms, err := audit.OpenPseudonyms(filepath.Join(t.TempDir(), "pseudonyms"))
	c.ok(err)
	sources := map[string]Source{}
	sources["front:pb-front"] = c.slow
	for _, s := range shared.release.Catalogue.Sources {
		if c.sources[s.Connection] != nil {
			sources[s.Connection] = c.sources[s.Connection]
			continue
		}
		f := &fake{}
		f.gives(c.found(s.Connection), nil)
		c.sources[s.Connection], sources[s.Connection] = f, f
	}
	c.Service, err = New(context.Background(), Config{Slot: slot, Fleet: c.fleet, Key: shared.key, Release: shared.release, Sources: sources, Seals: shared.seals,
		Renderer: shared.renderer, Audit: c.log, Pseudonyms: pseudonyms, Store: c.store, Now: c.now,
		LegEnded: func(department, route, outcome string) { fmt.Fprintln(c.counted, department, route, outcome) },
		Logger:   slog.New(slog.NewTextHandler(c.logged, nil)),
		TokenKey: func(kid string) []byte { return map[string][]byte{"fleet": shared.token}[kid] }})
	c.ok(err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := c.Close(ctx); err != nil {
			t.Error(err)
		}
		_ = c.log.Close() // some tests break it
		for _, secret := range []string{liNumber, liName, wangNumber, wangName} {
			if strings.Contains(c.logged.String(), secret) {
				t.Error("the process log tells who was asked about")
			}
		}
	})
}

func (c *city) now() time.Time { return time.Now().Add(time.Duration(c.offset.Load())) }

func (c *city) ok(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// found is a good answer of the connection about Li Ming.
func (c *city) found(connection string) Answer {
	fields := map[string]map[string]any{
		"si": {"month": "2026-10", "base": "5000.00"}, "mr": {"state": "20"}, "hf": {"account": "0001"},
		"re-city": {"unit": "U1", "area": 88.5}, "re-county": {"unit": "U2", "area": 90.0}, "hj-city": {"account": "H1"},
	}[connection]
	auth := catalog.AuthChannel
	if connection == "si" || connection == "re-county" {
		auth = catalog.AuthPeerMAC
	}
	return Answer{State: StateFound, DataTime: c.now().Add(-time.Hour), Authenticity: auth,
		Records: []Record{{Number: liNumber, Name: liName, Fields: fields}}}
}

func (c *city) state(connection string, s State) Answer {
	a := c.found(connection)
	a.State, a.Records = s, nil
	return a
}

func person(t testing.TB, number, name string) identity.Person {
	t.Helper()
	n, _, err := identity.ParseNumber(number)
	if err != nil {
		t.Fatal(err)
	}
	return identity.Person{Type: identity.TypeResident, Number: n, Name: identity.NewName(name), Birth: n.Birth(), Sex: n.Sex()}
}

// claims are those of a fresh read of Li Ming's card.
func (c *city) claims() identity.SubjectClaims {
	c.tokens++
	return identity.SubjectClaims{JTI: fmt.Sprintf("%s-%d", c.t.Name(), c.tokens), Caller: string(c.who.Caller), Workstation: string(c.who.Workstations[0]),
		Operator: string(c.who.Operator), Item: "PRH", Case: "C-1", Purpose: "P-PRH", Role: "applicant", Level: 3,
		Evidence: "card_chip+operator_checked", Person: person(c.t, liNumber, liName), Attestation: "attested",
		IssuedAt: c.now().UnixMilli(), Expires: c.now().Add(10 * time.Minute).UnixMilli()}
}

func (c *city) mint(claims identity.SubjectClaims) SubjectToken {
	c.t.Helper()
	token, err := identity.MintSubject(shared.token, "fleet", claims)
	c.ok(err)
	return SubjectToken{Role: catalog.Role(claims.Role), Token: token}
}

// request asks for a situation with a fresh token.
func (c *city) request(situation string) Request {
	return Request{Item: "PRH", Situation: catalog.SituationCode(situation), Case: "C-1", Purpose: "P-PRH",
		Subjects: []SubjectToken{c.mint(c.claims())}, ReplyKey: jose.NewReplyKey(c.reply.Public()).JWK()}
}

func (c *city) begin(req Request) *Exchange {
	c.t.Helper()
	x, err := c.Exchange(context.Background(), c.who, req, "")
	c.ok(err)
	return x
}

// ended begins and waits.
func (c *city) ended(req Request) *Exchange {
	c.t.Helper()
	return c.await(c.begin(req))
}

func (c *city) await(x *Exchange) *Exchange {
	c.t.Helper()
	timeout := time.After(10 * time.Second)
	for {
		_, changed, ended := x.Events(0)
		if ended {
			return x
		}
		select {
		case <-changed:
		case <-timeout:
			c.t.Fatal("exchange does not end")
		}
	}
}

func (c *city) part(x *Exchange, id string) PartView {
	c.t.Helper()
	for _, p := range c.View(x).Parts {
		if p.Part == id {
			return p
		}
	}
	c.t.Fatalf("no part %s", id)
	return PartView{}
}

// result is what the caller decrypts.
func (c *city) result(x *Exchange, part string) Result {
	c.t.Helper()
	token, err := c.Sealed(context.Background(), x, part)
	c.ok(err)
	plain, err := jose.DecryptSM2(c.reply, TypeResult, string(token))
	c.ok(err)
	var r Result
	c.ok(json.Unmarshal(plain, &r))
	return r
}

// data is the signed data of a result.
func (c *city) data(r Result) Data {
	c.t.Helper()
	payload, kid, err := jose.Verify(r.Data, TypeData, publicOf(shared.key))
	c.ok(err)
	if kid != shared.key.ID() {
		c.t.Errorf("signed by %s", kid)
	}
	var d Data
	c.ok(json.Unmarshal(payload, &d))
	return d
}

// entries are the log's entries of one operation, of all if op is empty, once
// all that was queued is durable.
func (c *city) entries(op audit.Op) []audit.Entry {
	c.t.Helper()
	_, err := c.log.Append(context.Background(), audit.Entry{Open: audit.Open{Op: audit.OpAdmin}})
	c.ok(err)
	var list []audit.Entry
	c.ok(c.log.Read(context.Background(), 0, c.log.Head().Size, func(_ uint64, e audit.Stored) error {
		if op == "" || e.Entry.Open.Op == op {
			list = append(list, e.Entry)
		}
		return nil
	}))
	return list
}

// breakLog makes every further append fail, as when the disk goes away.
func (c *city) breakLog() { c.ok(c.log.Close()) }
