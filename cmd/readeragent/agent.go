package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"yizheng/identity/jose"
)

const (
	callTimeout  = 10 * time.Second // one call to the gateway
	silenceLimit = 45 * time.Second // three heartbeats of the gateway missed
	retryFirst   = time.Second
	retryLast    = 30 * time.Second
)

// errUnpaired ends a connection whose session at the gateway is over: the next
// one shows a new pairing code.
var errUnpaired = errors.New("session ended")

// event is one line of standard output.
type event struct {
	Event       string `json:"event"` // connected, pairing_code, waiting, read, failed, unpaired, disconnected, error
	Code        string `json:"code,omitempty"`
	ReadSession string `json:"read_session,omitempty"`
	Message     string `json:"message,omitempty"`
}

// agent keeps one connection to the gateway and answers its challenges.
type agent struct {
	config     Config
	client     *http.Client
	key        *jose.Key
	gatewayKey *ecdsa.PublicKey
	reader     *simulatedReader
	sequence   *sequence
	log        *slog.Logger

	outMu sync.Mutex
	out   *json.Encoder
}

func newAgent(c Config, out io.Writer, log *slog.Logger) (*agent, error) {
	client, err := newClient(c)
	if err != nil {
		return nil, err
	}
	a := &agent{config: c, client: client, log: log, out: json.NewEncoder(out)}
	if a.key, err = jose.ReadKey(c.AgentKey, c.AgentPassphrase); err != nil {
		return nil, err
	}
	if a.gatewayKey, err = jose.ReadPublicKey(c.GatewayKey); err != nil {
		return nil, err
	}
	if a.reader, err = newSimulatedReader(c.Cards); err != nil {
		return nil, err
	}
	if a.sequence, err = openSequence(c.State, time.Now()); err != nil {
		return nil, err
	}
	return a, nil
}

// newClient returns a client that knows the gateway by the configured
// authorities only and follows no redirect.
func newClient(c Config) (*http.Client, error) {
	pair, err := tls.LoadX509KeyPair(c.Certificate, c.Key)
	if err != nil {
		return nil, fmt.Errorf("client certificate %s: %w", c.Certificate, err)
	}
	raw, err := os.ReadFile(c.CA)
	if err != nil {
		return nil, fmt.Errorf("ca: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(raw) {
		return nil, fmt.Errorf("ca %s: no certificate in it", c.CA)
	}
	return &http.Client{
		Transport: &http.Transport{
			TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: []tls.Certificate{pair}},
			TLSHandshakeTimeout:   callTimeout,
			ResponseHeaderTimeout: callTimeout,
			ForceAttemptHTTP2:     true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// tell writes one line for the program that started the agent.
func (a *agent) tell(e event) {
	a.outMu.Lock()
	defer a.outMu.Unlock()
	if err := a.out.Encode(e); err != nil {
		a.log.Error("standard output failed", "err", err)
	}
}

// run keeps the agent connected until ctx ends.
func (a *agent) run(ctx context.Context) {
	wait := retryFirst
	for ctx.Err() == nil {
		connected, err := a.connect(ctx)
		if connected {
			wait = retryFirst
		}
		if ctx.Err() != nil {
			return
		}
		a.log.Warn("no connection to the gateway / 与网关的连接中断", "err", err, "again_in", wait.String())
		a.tell(event{Event: "disconnected"})
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, retryLast)
	}
}

// connect registers with a fresh pairing code and serves the gateway's events
// until the connection ends. connected says whether the gateway said hello.
func (a *agent) connect(ctx context.Context) (connected bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	code, err := pairingCode()
	if err != nil {
		return false, err
	}
	resp, err := a.post(ctx, "/v1/agents/connect", map[string]string{"pairing_code": code})
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		return false, fmt.Errorf("gateway refused the connection: status %d", resp.StatusCode)
	}
	silence := time.AfterFunc(silenceLimit, cancel)
	defer silence.Stop()

	work := newWork(a)
	defer work.stop()
	err = readStream(resp.Body, func() { silence.Reset(silenceLimit) }, func(m message) error {
		if !connected {
			if err := a.checkHello(m); err != nil {
				return err
			}
			connected = true
			a.tell(event{Event: "connected"})
			a.tell(event{Event: "pairing_code", Code: code})
			return nil
		}
		switch m.name {
		case "challenge":
			return work.begin(ctx, m.data)
		case "unpaired":
			a.tell(event{Event: "unpaired"})
			return errUnpaired
		}
		return nil // an event of a later version
	})
	return connected, err
}

// checkHello makes sure that the gateway is the pinned one and takes this
// agent for the workstation it is.
func (a *agent) checkHello(m message) error {
	var hello struct {
		Workstation string `json:"workstation"`
		Kid         string `json:"kid"`
		GatewayKey  string `json:"gateway_key"`
	}
	if m.name != "hello" || json.Unmarshal([]byte(m.data), &hello) != nil {
		return errors.New("gateway did not say hello")
	}
	key, err := jose.ParsePublicKeyPEM([]byte(hello.GatewayKey))
	if err != nil || !key.Equal(a.gatewayKey) || hello.Kid != jose.KeyID(a.gatewayKey) {
		return errors.New("gateway's key is not the configured gateway_key: ask the gateway's administrator / 网关公钥与配置不符，请联系管理员")
	}
	if hello.Workstation != a.config.Workstation {
		return fmt.Errorf("gateway knows this certificate as workstation %q, configured is %q / 工位与证书不符", hello.Workstation, a.config.Workstation)
	}
	return nil
}

// post sends v as JSON. The caller closes the body; ctx bounds reading it.
func (a *agent) post(ctx context.Context, path string, v any) (*http.Response, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	url := strings.TrimSuffix(a.config.Gateway, "/") + path
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	return a.client.Do(req)
}

// pairingCode returns six random digits.
func pairingCode() (string, error) {
	n, err := rand.Int(rand.Reader, big.NewInt(1_000_000))
	if err != nil {
		return "", fmt.Errorf("pairing code: %w", err)
	}
	return fmt.Sprintf("%06d", n), nil
}
