package front

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/audit/audittest"
	"yizheng/catalog"
	"yizheng/exchange"
	"yizheng/exchange/certificate"
	"yizheng/exchange/store"
	"yizheng/identity"
	"yizheng/identity/jose"
	"yizheng/seal"
	"yizheng/seal/pdf"
	"yizheng/seal/pdf/pdftest"
)

// mint makes seals as a seal maker does, into registries of their own.
type mint struct {
	dir, font   string
	years       seal.Validity
	root, maker seal.Credential
	picture     []byte
	renderer    *pdf.Renderer
	mode        seal.Mode        // of what is sealed
	tsa         []byte           // PEM of a time stamp authority's root; nil: none is trusted
	stamps      *seal.TimeStamps // of what is sealed; nil: none
}

func newMint(dir string) (*mint, error) {
	born := time.Now().AddDate(-1, 0, 0)
	m := &mint{dir: dir, font: filepath.Join(dir, "test.ttf"), years: seal.Validity{From: born, Until: born.AddDate(5, 0, 0)}}
	err := os.WriteFile(m.font, pdftest.Font(), 0o600)
	if err != nil {
		return nil, err
	}
	if m.root, err = seal.MakeRoot(seal.Subject{Name: "测试根"}, m.years); err != nil {
		return nil, err
	}
	if m.maker, err = seal.MakeMaker(m.root, seal.Subject{Name: "制章中心"}, m.years); err != nil {
		return nil, err
	}
	if m.picture, err = seal.DrawRoundSeal(seal.RoundSeal{FontPath: m.font, Name: "示例市", DPI: 72}); err != nil {
		return nil, err
	}
	fonts, err := pdf.LoadFonts(m.font, nil)
	if err != nil {
		return nil, err
	}
	m.renderer, err = pdf.NewRenderer(fonts)
	return m, err
}

// order is one seal: where it lies, what is inside it and who holds it.
type order struct {
	dir    catalog.SealID
	esID   string
	name   string
	holder string // unified social credit code
}

// registry has the seals of these orders.
func (m *mint) registry(t testing.TB, orders ...order) *seal.Registry {
	t.Helper()
	dir := t.TempDir()
	m.lay(t, dir, orders...)
	o := seal.RegistryOptions{Mode: m.mode, TimeStamps: m.stamps}
	if m.stamps != nil {
		o.Trust = m.trust(t)
	}
	r, err := seal.OpenRegistry(dir, o)
	must(t, err)
	return r
}

// lay puts seals into a directory.
func (m *mint) lay(t testing.TB, dir string, orders ...order) {
	t.Helper()
	for _, o := range orders {
		holder, err := seal.MakeHolder(m.root, seal.Subject{Name: "示例市人力资源和社会保障局", Code: o.holder}, m.years)
		must(t, err)
		made, err := seal.MakeSeal(m.maker, seal.SealOrder{ESID: o.esID, Name: o.name, VendorID: "YZ", PictureGIF: m.picture, WidthMM: 42, HeightMM: 42,
			Created: m.years.From.Add(time.Hour), Validity: m.years, HolderCert: holder.Cert})
		must(t, err)
		must(t, seal.WriteSealDir(dir, string(o.dir), seal.SealDir{Seal: made, Holder: holder, Since: m.years.From}))
	}
}

func (m *mint) trust(t testing.TB) *seal.Trust {
	t.Helper()
	dir := t.TempDir()
	for name, cert := range map[string][]byte{"roots/root.crt": m.root.CertPEM(), "makers/maker.crt": m.maker.CertPEM(), "tsa/root.crt": m.tsa} {
		if cert == nil {
			continue
		}
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700))
		must(t, os.WriteFile(filepath.Join(dir, name), cert, 0o600))
	}
	trust, err := seal.LoadTrust(dir)
	must(t, err)
	return trust
}

// press is the department's own, with these seals in its directory.
func (m *mint) press(t testing.TB, orders ...order) *certificate.Press {
	t.Helper()
	return &certificate.Press{Key: own["hr-front"], Renderer: m.renderer, Seals: m.registry(t, orders...)}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const hrCode, hrSeal = "116901000069000425", "就业专用章"

var ownSeal = order{"hr-own", "6901000000421", hrSeal, hrCode}

// hall is a gateway whose only source is a desk, and what may happen to its
// replies on the way: a front that was taken over sends what it likes.
type hall struct {
	*exchange.Service
	t      testing.TB
	desk   *desk
	trust  *seal.Trust
	log    *audit.Log
	reply  *jose.Key
	forge  func(src catalog.Source, q Question, r Reply) Reply
	asked  Question
	logged *lockedBuffer
	seals  string // directory of the gateway's
	held   *seal.Registry
}

func newHall(t testing.TB) *hall { t.Helper(); return newHallOf(t, seals) }

// newHallOf has the seals, and the trust, of a mint.
func newHallOf(t testing.TB, m *mint) *hall {
	t.Helper()
	h := &hall{t: t, desk: newDesk(t), trust: m.trust(t), logged: &lockedBuffer{}, seals: t.TempDir()}
	h.desk.Press = m.press(t, ownSeal)
	var err error
	signer, err := jose.GenerateKey()
	must(h.t, err)
	h.reply, err = jose.GenerateKey()
	must(h.t, err)
	h.log, err = audit.OpenLog(t.Context(), audit.Config{AppendTimeout: audittest.Patience, Dir: filepath.Join(t.TempDir(), "audit"), Origin: "gw00.example/audit/2026q4", Signer: signer, SegmentSize: 1 << 20})
	must(h.t, err)
	pseudonyms, err := audit.OpenPseudonyms(filepath.Join(t.TempDir(), "pseudonyms"))
	must(h.t, err)
	st, err := store.Open(t.Context(), store.Config{Driver: "sqlite", DSN: store.Memory})
	must(h.t, err)
	m.lay(t, h.seals, order{"hr", "hr", "业务专用章", hrCode})
	h.held, err = seal.OpenRegistry(h.seals, seal.RegistryOptions{})
	must(h.t, err)
	h.Service, err = exchange.New(t.Context(), exchange.Config{Slot: "00", Key: own["gateway"], Release: release,
		Sources: map[string]exchange.Source{"front:hr-front": h}, Audit: h.log, Pseudonyms: pseudonyms, Store: st,
		Seals: h.held, Renderer: m.renderer, Trust: h.trust,
		Logger: slog.New(slog.NewTextHandler(h.logged, nil)), TokenKey: func(string) []byte { return bytes.Repeat([]byte{7}, 16) }})
	must(h.t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		must(h.t, h.Close(ctx))
		_ = h.log.Close()
		_ = st.Close()
	})
	return h
}

// Query is the way between both ends, without its envelopes.
func (h *hall) Query(ctx context.Context, ask exchange.Ask) (exchange.Answer, error) {
	h.asked = Question{Terms: ask.Terms, Source: ask.Source.ID, Caller: ask.Caller, Operator: ask.Operator, Person: ask.Subject, Salts: ask.Salts,
		Attestation: ask.Attestation, Order: ask.Order}
	body, err := h.asked.encode()
	if err != nil {
		return exchange.Answer{}, err
	}
	raw, err := h.desk.Handle(ctx, attributes(h.asked), body)
	if err != nil {
		return exchange.Answer{}, err
	}
	r, err := decodeReply(raw)
	if err == nil && h.forge != nil {
		if raw, err = h.forge(ask.Source, h.asked, r).encode(); err == nil {
			r, err = decodeReply(raw)
		}
	}
	if err != nil {
		return exchange.Answer{}, err
	}
	return r.answer()
}

// ask does a case with one proof and returns its part and what the caller decrypts.
func (h *hall) ask(proof catalog.ProofCode) (exchange.PartView, exchange.Result) {
	h.t.Helper()
	read := cardRead(time.Now())
	attestation, salts, person := read.attest(h.t)
	claims := identity.SubjectClaims{JTI: identity.NewNonce(), Caller: "hall", Workstation: "ws-01", Operator: "clerk-01", Item: "PRH", Case: "SJ-1", Purpose: "P-PRH",
		Role: "applicant", Level: 3, Evidence: "card_chip+operator_checked", Person: person, Salts: salts, Attestation: attestation,
		IssuedAt: time.Now().UnixMilli(), Expires: time.Now().Add(10 * time.Minute).UnixMilli()}
	token, err := identity.MintSubject(bytes.Repeat([]byte{7}, 16), "fleet", claims)
	must(h.t, err)
	x, err := h.Exchange(context.Background(), exchange.Principal{Caller: "hall", Operator: "clerk-01", Workstations: []catalog.WorkstationID{"ws-01"}},
		exchange.Request{Item: "PRH", Situation: "ONE", Case: "SJ-1", Purpose: "P-PRH", Proofs: []catalog.ProofCode{proof},
			Subjects: []exchange.SubjectToken{{Role: "applicant", Token: token}}, ReplyKey: jose.NewReplyKey(h.reply.Public()).JWK()}, "")
	must(h.t, err)
	for {
		_, changed, ended := x.Events(0)
		if ended {
			break
		}
		<-changed
	}
	sealed, err := h.Sealed(context.Background(), x, string(proof))
	must(h.t, err)
	plain, err := jose.DecryptSM2(h.reply, exchange.TypeResult, string(sealed))
	must(h.t, err)
	var r exchange.Result
	must(h.t, json.Unmarshal(plain, &r))
	return h.View(x).Parts[0], r
}

// entries are the gateway's entries of one operation in an exchange, "" for public ones.
func (h *hall) entries(op audit.Op, x string) []audit.Entry {
	h.t.Helper()
	_, err := h.log.Append(context.Background(), audit.Entry{Open: audit.Open{Op: audit.OpAdmin}}) // all that was queued is durable now
	must(h.t, err)
	var list []audit.Entry
	must(h.t, h.log.Read(context.Background(), 0, h.log.Head().Size, func(_ uint64, e audit.Stored) error {
		if e.Entry.Open.Op == op && e.Entry.Open.Exchange == x {
			list = append(list, e.Entry)
		}
		return nil
	}))
	return list
}
