package web_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/audit/audittest"
	"yizheng/audit/index"
	"yizheng/audit/search"
	"yizheng/audit/supervise"
	"yizheng/catalog"
	"yizheng/cmd/gateway/setup"
	"yizheng/exchange"
	"yizheng/exchange/custody"
	"yizheng/exchange/reading"
	"yizheng/exchange/store"
	"yizheng/identity/jose"
	"yizheng/identity/staff"
	"yizheng/seal"
	"yizheng/seal/pdf"
	"yizheng/seal/pdf/pdftest"
	"yizheng/web"
	"yizheng/web/health"
)

// city is what all tests share: keys, certificates, seals and a release, made
// once by the same set-up that makes a real gateway's.
type city struct {
	dir, font string
	release   *catalog.Release
}

var cityDir string // removed by TestMain

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "web-city-")
	if err != nil {
		panic(err)
	}
	cityDir = dir
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		panic(err)
	}
	os.Exit(code)
}

var theCity = sync.OnceValues(func() (*city, error) {
	c := &city{dir: cityDir, font: filepath.Join(cityDir, "test.ttf")}
	if err := os.WriteFile(c.font, pdftest.Font(), 0o600); err != nil {
		return nil, err
	}
	o := setup.Options{Dir: c.dir, Catalog: "testdata/city", Font: c.font, Hosts: []string{"localhost", "127.0.0.1"}, Now: time.Now()}
	if err := setup.Make(o); err != nil {
		return nil, err
	}
	number, err := setup.Publish(o)
	if err != nil {
		return nil, err
	}
	data, _, err := catalog.Latest(c.in("releases"))
	if err != nil {
		return nil, err
	}
	trust := catalog.Trust{Need: 2, Now: o.Now.Add(time.Second), MinNumber: number, Administrators: map[string]*ecdsa.PublicKey{}}
	for _, name := range []string{"security-1", "security-2"} {
		pub, err := jose.ReadPublicKey(c.in("keys/admins/" + name + ".pub.pem"))
		if err != nil {
			return nil, err
		}
		trust.Administrators[jose.KeyID(pub)] = pub
	}
	c.release, err = catalog.Open(data, trust)
	return c, err
})

func (c *city) in(path string) string { return filepath.Join(c.dir, path) }

// admin is an administrator's own signing key.
func (c *city) admin(name string) (*jose.Key, error) {
	return jose.ReadKey(c.in("keys/admins/"+name+".key"), "")
}

// persons are those that set-up makes: who administers, who audits, who
// approves, who supervises, and who answers for the clerks' department.
func (c *city) persons() (*staff.Register, error) {
	var list []staff.Person
	for name, role := range map[string]staff.Role{"security-1": staff.Security, "security-2": staff.Security, "audit": staff.Auditor,
		"approver-1": staff.Approver, "approver-2": staff.Approver, "supervisor-1": staff.Supervisor, "respondent-1": staff.Respondent} {
		k, err := c.admin(name)
		if err != nil {
			return nil, err
		}
		pair, err := tls.LoadX509KeyPair(c.in("keys/tls/admin-"+name+".crt"), c.in("keys/tls/admin-"+name+".key"))
		if err != nil {
			return nil, err
		}
		p := staff.Person{Name: name, Role: role, Key: k.Public(), Certificate: catalog.KeyDigest(pair.Leaf.RawSubjectPublicKeyInfo)}
		if role == staff.Respondent {
			p.Departments = []string{hallDepartment}
		}
		list = append(list, p)
	}
	return staff.NewRegister(list)
}

// department answers for a test; nil answers FOUND with one estate.
type department func(ctx context.Context, ask exchange.Ask) (exchange.Answer, error)

func (d department) Query(ctx context.Context, ask exchange.Ask) (exchange.Answer, error) {
	if d != nil {
		return d(ctx, ask)
	}
	return exchange.Answer{State: exchange.StateFound, DataTime: time.Now().Add(-time.Minute), Authenticity: catalog.AuthChannel,
		Records: []exchange.Record{{Number: ask.Subject.Number.Reveal(), Fields: map[string]any{"unit_no": "690102001001GB00012F00030301", "status": "现势"}}}}, nil
}

// gateway is a running gateway of the city, as cmd/gateway builds it.
type gateway struct {
	*city
	t       testing.TB
	server  *web.Server
	url     string
	audit   *audit.Log
	logs    string // the audit log's directory
	auditor *jose.Key
	spoiler *audittest.Spoiler // signs for the log
	custody *custody.Custody
	persons *staff.Register
	trust   *seal.Trust
	search  *search.Service
	api     *document

	supervision *supervise.Engine
	condition   health.Report // what the gateway is asked how it is; its log is added
}

func start(t *testing.T, answers department) *gateway {
	t.Helper()
	return startWith(t, answers, func(*web.Server) {})
}

func startWith(t *testing.T, answers department, change func(*web.Server)) *gateway {
	t.Helper()
	return startIn(t, answers, func(_, _ string) {}, change)
}

// startIn lets prepare change the gateway's own copies of the seals and of the trust
// directory before they are read.
func startIn(t *testing.T, answers department, prepare func(seals, trusted string), change func(*web.Server)) *gateway {
	t.Helper()
	c, err := theCity()
	ok(t, err)
	g := &gateway{city: c, t: t, logs: filepath.Join(t.TempDir(), "audit")}
	must := func(err error) { t.Helper(); ok(t, err) }
	g.auditor, err = jose.ReadKey(c.in("keys/audit.key"), "")
	must(err)
	g.spoiler = audittest.NewSpoiler(g.auditor, g.logs)
	must(os.Mkdir(g.logs, 0o700))
	g.audit, err = audit.OpenLog(t.Context(), audit.Config{AppendTimeout: audittest.Patience, Dir: g.logs, Origin: audit.ShardOrigin("gw00.690100.example/audit", time.Now()), Signer: g.spoiler, SegmentSize: 1 << 20})
	must(err)
	t.Cleanup(func() { _ = g.audit.Close() }) // a poisoned log says so again
	private := filepath.Join(t.TempDir(), "pseudonyms")
	must(os.Mkdir(private, 0o700))
	pseudonyms, err := audit.OpenPseudonyms(private)
	must(err)
	st, err := store.Open(t.Context(), store.Config{Driver: "sqlite", DSN: filepath.Join(t.TempDir(), "state.db"), DigestKey: make([]byte, 32)})
	must(err)
	t.Cleanup(func() { must(st.Close()) })
	fonts, err := pdf.LoadFonts(c.font, nil)
	must(err)
	t.Cleanup(func() { must(fonts.Close()) })
	renderer, err := pdf.NewRenderer(fonts)
	must(err)
	own := filepath.Join(t.TempDir(), "seals") // tests change their states
	must(os.CopyFS(own, os.DirFS(c.in("seals"))))
	trusted := filepath.Join(t.TempDir(), "trust")
	must(os.CopyFS(trusted, os.DirFS(c.in("trust"))))
	prepare(own, trusted)
	g.trust, err = seal.LoadTrust(trusted)
	must(err)
	g.persons, err = c.persons()
	must(err)
	g.custody, err = custody.Open(t.Context(), custody.Config{Dir: own, Persons: g.persons, Audit: g.audit, Registry: seal.RegistryOptions{Trust: g.trust}})
	must(err)
	key, err := jose.ReadKey(c.in("keys/gateway.key"), "")
	must(err)
	token := []byte("sixteen bytes...")
	exchanges, err := exchange.New(t.Context(), exchange.Config{Slot: "00", Key: key, Release: c.release, Sources: map[string]exchange.Source{"re": answers},
		Seals: g.custody.Seals(), Renderer: renderer, Audit: g.audit, Pseudonyms: pseudonyms, Store: st, TokenKey: func(string) []byte { return token }})
	must(err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		must(exchanges.Close(ctx))
	})
	desk := reading.New(reading.Config{Origin: "gw00.690100.example/audit", Key: key, TokenKeyID: "fleet", TokenKey: token, Catalogue: c.release.Catalogue,
		Store: st, Audit: g.audit, Pseudonyms: pseudonyms, AllowSimulated: true})
	g.supervise(pseudonyms)
	g.search, err = g.openSearch(key, pseudonyms)
	must(err)
	g.condition = health.Report{Mode: "demo", Store: health.Store{Reachable: true}, Pseudonyms: health.Pseudonyms{Reachable: true}, Copies: []health.Copy{}, Lines: []health.Line{}, Ends: []health.End{}, Catalogue: health.Catalogue{Number: 1}}
	watch := health.NewWatch(func(context.Context) health.Report {
		r := g.condition
		r.Log.Status = g.audit.Status()
		return r
	})
	g.server, err = web.New(web.Config{Font: c.font, Health: watch, Metrics: health.NewMetrics(watch), Monitors: map[string]bool{g.digest("clerk-02"): true}, Supervision: g.supervision, Catalogue: c.release.Catalogue, Exchanges: exchanges, Desk: desk, Audit: g.audit, Custody: g.custody, Persons: g.persons,
		Search: g.search, Peers: map[string]string{g.digest("clerk-02"): "gw01"}, Trust: g.trust, Renderer: renderer, Key: key, Demo: true})
	must(err)
	change(g.server)
	g.api = readDocument(t, g.server.OpenAPI())
	g.serve()
	return g
}

// openSearch indexes the log and lets it be searched.
func (g *gateway) openSearch(key *jose.Key, pseudonyms *audit.Pseudonyms) (*search.Service, error) {
	logs := index.NewShards(index.ShardsConfig{Dir: filepath.Join(g.t.TempDir(), "index"), Every: 5 * time.Millisecond})
	g.t.Cleanup(func() { ok(g.t, logs.Close()) })
	logs.Add(g.audit)
	for logs.State()[0].Err != nil {
		if err := g.t.Context().Err(); err != nil {
			return nil, err
		}
		time.Sleep(time.Millisecond)
	}
	return search.New(search.Config{Node: search.Node{Log: g.audit, Logs: logs}, Origin: "gw00.690100.example/audit", Key: key, Persons: g.persons,
		Pseudonyms: search.NewVault(pseudonyms, g.persons, nil), Front: func(string) string { return "" }}), nil
}

// digest is that of a client's certificate.
func (g *gateway) digest(name string) string {
	pair, err := tls.LoadX509KeyPair(g.in("keys/tls/"+name+".crt"), g.in("keys/tls/"+name+".key"))
	ok(g.t, err)
	return catalog.KeyDigest(pair.Leaf.RawSubjectPublicKeyInfo)
}

// serve runs the real listener, with its timeouts and TLS settings.
func (g *gateway) serve() {
	t := g.t
	pair, err := tls.LoadX509KeyPair(g.in("keys/tls/gateway.crt"), g.in("keys/tls/gateway.key"))
	ok(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err)
	g.url = "https://" + l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- g.server.Serve(ctx, l, pair, g.roots(), 3*time.Second) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Error("serve:", err)
		}
	})
}

func (g *gateway) roots() *x509.CertPool {
	ca, err := os.ReadFile(g.in("keys/tls/ca.crt"))
	ok(g.t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	return pool
}

// tls is a client's configuration with the certificate of the given name, or none.
func (g *gateway) tls(name string) *tls.Config {
	conf := &tls.Config{RootCAs: g.roots(), MinVersion: tls.VersionTLS12}
	if name != "" {
		pair, err := tls.LoadX509KeyPair(g.in("keys/tls/"+name+".crt"), g.in("keys/tls/"+name+".key"))
		ok(g.t, err)
		conf.Certificates = []tls.Certificate{pair}
	}
	return conf
}

// as is a client; every answer it gets is held against the OpenAPI document.
func (g *gateway) as(name string) *client {
	tr := &http.Transport{TLSClientConfig: g.tls(name)}
	g.t.Cleanup(tr.CloseIdleConnections)
	return &client{g: g, http: &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
