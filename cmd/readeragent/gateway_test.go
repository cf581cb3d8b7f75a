package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"yizheng/identity"
	"yizheng/identity/jose"
)

const (
	testSAM   = "05.03-20191225-0000012345-0987654321"
	testCards = "../../configs/demo/people.yaml"
	patience  = 20 * time.Second
)

// gateway speaks the gateway's half of the protocol over mutual TLS.
type gateway struct {
	t        *testing.T
	server   *httptest.Server
	key      *jose.Key
	agentKey *jose.Key
	helloKey *jose.Key // what hello names; the gateway's own unless a test says otherwise
	status   int       // answer to an attestation

	events chan message       // sent down the open stream
	codes  chan string        // pairing codes of connections
	cut    chan struct{}      // ends the open stream
	reads  chan attestation   // attestations received
	fails  chan [2]string     // read session, code
	next   int                // number of the next read session
	config Config             // of the agent
	lines  chan event         // the agent's standard output
	output *strings.Builder   // all of it
	stop   context.CancelFunc // ends the agent and waits
	cards  *io.PipeWriter     // the agent's standard input
}

func newGateway(t *testing.T) *gateway {
	g := &gateway{
		t: t, key: newKey(t), agentKey: newKey(t), status: http.StatusNoContent,
		events: make(chan message, 4), codes: make(chan string, 16), cut: make(chan struct{}),
		reads: make(chan attestation, 4), fails: make(chan [2]string, 4), lines: make(chan event, 256), output: &strings.Builder{},
	}
	g.helloKey = g.key
	dir := t.TempDir()
	ca := newCA(t)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/agents/connect", g.connect)
	mux.HandleFunc("POST /v1/read-sessions/{id}/attestation", g.attest)
	mux.HandleFunc("POST /v1/read-sessions/{id}/failure", g.failure)
	g.server = httptest.NewUnstartedServer(mux)
	pool := x509.NewCertPool()
	pool.AddCert(ca.certificate)
	serverPair, _, _ := ca.issue("127.0.0.1", x509.ExtKeyUsageServerAuth)
	g.server.TLS = &tls.Config{Certificates: []tls.Certificate{serverPair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	g.server.StartTLS()
	t.Cleanup(g.server.Close)

	_, certificate, key := ca.issue("agent", x509.ExtKeyUsageClientAuth)
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	public, err := jose.MarshalPublicKeyPEM(g.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	g.config = Config{
		Mode: modeDemo, Gateway: g.server.URL, CA: write("ca.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.certificate.Raw})),
		Certificate: write("agent.crt", certificate), Key: write("agent.key", key), GatewayKey: write("gateway.pem", public),
		AgentKey: filepath.Join(dir, "agent.pem"), Workstation: "ws-01", Reader: readerSimulated, SAM: testSAM,
		Cards: testCards, OperatorCheck: checkAlways, State: filepath.Join(dir, "sequence"),
	}
	if err := g.agentKey.WriteFile(g.config.AgentKey, nil); err != nil {
		t.Fatal(err)
	}
	return g
}

// start runs the agent as a user would, from its configuration file.
func (g *gateway) start() {
	g.t.Helper()
	stdin, cards := io.Pipe()
	out, stdout := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		if code := run(ctx, []string{"-config", g.writeConfig()}, stdin, stdout, g.t.Output()); code != exitOK {
			g.t.Errorf("exit code %d", code)
		}
		stdout.Close()
	})
	done.Go(func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			var e event
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				g.t.Errorf("not a JSON line: %s", lines.Text())
			}
			fmt.Fprintln(g.output, lines.Text())
			g.lines <- e
		}
	})
	g.cards = cards
	g.stop = func() {
		cancel()
		cards.Close()
		done.Wait()
	}
	g.t.Cleanup(g.stop)
}

func (g *gateway) writeConfig() string {
	c := g.config
	text := fmt.Sprintf(`mode: %q
gateway: %q
ca: %q
certificate: %q
key: %q
gateway_key: %q
agent_key: %q
workstation: %q
reader: %q
sam: %q
cards: %q
operator_check: %q
state: %q
`, c.Mode, c.Gateway, c.CA, c.Certificate, c.Key, c.GatewayKey, c.AgentKey, c.Workstation, c.Reader, c.SAM, c.Cards, c.OperatorCheck, c.State)
	path := filepath.Join(filepath.Dir(c.State), "readeragent.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		g.t.Error(err)
	}
	return path
}

func (g *gateway) connect(w http.ResponseWriter, r *http.Request) {
	var in struct {
		PairingCode string `json:"pairing_code"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		g.t.Error(err)
	}
	g.codes <- in.PairingCode
	public, err := jose.MarshalPublicKeyPEM(g.helloKey.Public())
	if err != nil {
		g.t.Error(err)
	}
	hello, _ := json.Marshal(map[string]string{"workstation": "ws-01", "kid": g.helloKey.ID(), "gateway_key": string(public)})
	w.Header().Set("Content-Type", "text/event-stream")
	send := func(m message) {
		fmt.Fprintf(w, ": hb\n\nevent: %s\ndata: %s\n\n", m.name, m.data)
		w.(http.Flusher).Flush()
	}
	send(message{"hello", string(hello)})
	for {
		select {
		case m := <-g.events:
			send(m)
		case <-g.cut:
			return
		case <-r.Context().Done():
			return
		}
	}
}

func (g *gateway) attest(w http.ResponseWriter, r *http.Request) {
	var in attestation
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		g.t.Error(err)
	}
	w.WriteHeader(g.status)
	g.reads <- in
}

func (g *gateway) failure(w http.ResponseWriter, r *http.Request) {
	var in struct{ Code string }
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		g.t.Error(err)
	}
	w.WriteHeader(http.StatusNoContent)
	g.fails <- [2]string{r.PathValue("id"), in.Code}
}

// challenge sends a challenge that lasts for life and returns its read session.
func (g *gateway) challenge(k *jose.Key, life time.Duration, change func(*identity.Challenge)) string {
	g.t.Helper()
	g.next++
	now := time.Now()
	c := identity.Challenge{
		Origin: "gateway.example", ReadSession: fmt.Sprintf("rs-%d", g.next), Caller: "hall", Workstation: "ws-01", Operator: "op1",
		Item: "item", Case: "case", Purpose: "purpose", Role: "applicant", Nonce: identity.NewNonce(),
		IssuedAt: now.UnixMilli(), Expires: now.Add(life).UnixMilli(),
	}
	session := c.ReadSession
	if change != nil {
		change(&c)
	}
	token, err := identity.SignChallenge(k, c)
	if err != nil {
		g.t.Fatal(err)
	}
	data, _ := json.Marshal(map[string]string{"read_session": session, "challenge": token})
	g.events <- message{"challenge", string(data)}
	return session
}

// verify checks an attestation as the gateway does and opens the card.
func (g *gateway) verify(a attestation) (identity.VerifiedRead, identity.CardRead) {
	g.t.Helper()
	v, err := identity.VerifyAttestation(a.Attestation, identity.AttestationPolicy{
		GatewayKey:     func(string) *ecdsa.PublicKey { return g.key.Public() },
		AgentKey:       func(string, string) *ecdsa.PublicKey { return g.agentKey.Public() },
		SAMAllowed:     func(ws, sam string) bool { return ws == "ws-01" && sam == testSAM },
		AllowSimulated: true, MaxSkew: time.Second, Now: time.Now(),
	})
	if err != nil {
		g.t.Fatal(err)
	}
	read, err := identity.OpenCard(g.key, a.Card)
	if err != nil {
		g.t.Fatal(err)
	}
	if err := v.MatchesCard(read); err != nil {
		g.t.Fatal(err)
	}
	return v, read
}

// command writes one line to the agent's standard input.
func (g *gateway) command(line string) {
	g.t.Helper()
	if _, err := io.WriteString(g.cards, line+"\n"); err != nil {
		g.t.Fatal(err)
	}
}

// expect waits for an event of the agent's output, passing over others.
func (g *gateway) expect(name string) event {
	g.t.Helper()
	for {
		if e := receive(g.t, g.lines); e.Event == name {
			return e
		}
	}
}

func receive[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

func newKey(t *testing.T) *jose.Key {
	t.Helper()
	k, err := jose.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// authority is a certificate authority for one test.
type authority struct {
	t           *testing.T
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newCA(t *testing.T) authority {
	t.Helper()
	a := authority{t: t, key: newP256(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.certificate, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

func newP256(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// issue returns a certificate for 127.0.0.1 with its key, parsed and in PEM.
func (a authority) issue(name string, use x509.ExtKeyUsage) (pair tls.Certificate, certificate, key []byte) {
	a.t.Helper()
	k := newP256(a.t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, ExtKeyUsage: []x509.ExtKeyUsage{use},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &k.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		a.t.Fatal(err)
	}
	certificate = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	if pair, err = tls.X509KeyPair(certificate, key); err != nil {
		a.t.Fatal(err)
	}
	return pair, certificate, key
}
