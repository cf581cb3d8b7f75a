package demo

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"yizheng/catalog"
	"yizheng/exchange"
	"yizheng/exchange/reading"
	"yizheng/identity/jose"
)

// Clerk is a window clerk at the API, with a certificate and a reply key.
type Clerk struct {
	city    *City
	client  *http.Client
	reply   *jose.Key
	session string
}

// Problem is an RFC 9457 answer of the gateway.
type Problem struct {
	Status int    `json:"status"`
	Code   string `json:"code"`
	Where  string `json:"where"`
	Title  string `json:"title"`
}

func (p *Problem) Error() string {
	return fmt.Sprintf("%d %s %s: %s", p.Status, p.Code, p.Where, p.Title)
}

// Login opens a session of clerk-01 with both workstations.
func (c *City) Login(ctx context.Context) (*Clerk, error) {
	k := &Clerk{city: c}
	var err error
	if k.client, err = c.client("clerk-01"); err != nil {
		return nil, err
	}
	if k.reply, err = jose.GenerateKey(); err != nil {
		return nil, err
	}
	var codes []string
	for _, ws := range workstations {
		codes = append(codes, c.agents[ws.id].code)
	}
	var s struct {
		Session string `json:"session"`
	}
	err = k.call(ctx, http.MethodPost, "/v1/sessions", map[string]any{"pairing_codes": codes}, &s)
	k.session = s.Session
	return k, err
}

// client is an HTTPS client with the certificate of the given name.
func (c *City) client(name string) (*http.Client, error) {
	ca, err := os.ReadFile(c.in("keys/tls/ca.crt"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	conf := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}
	if name != "" {
		pair, err := tls.LoadX509KeyPair(c.in("keys/tls/"+name+".crt"), c.in("keys/tls/"+name+".key"))
		if err != nil {
			return nil, err
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: conf, MaxIdleConnsPerHost: 16}}, nil
}

// request sends JSON and returns the response if it is no problem.
func (k *Clerk) request(ctx context.Context, method, path string, body any, header map[string]string) (*http.Response, error) {
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		r = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, k.city.URL+path, r)
	if err != nil {
		return nil, err
	}
	if k.session != "" {
		req.Header.Set("Yizheng-Session", k.session)
	}
	for name, v := range header {
		req.Header.Set(name, v)
	}
	resp, err := k.client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 400 {
		return resp, nil
	}
	defer resp.Body.Close()
	p := &Problem{}
	if err := json.NewDecoder(resp.Body).Decode(p); err != nil {
		return nil, fmt.Errorf("%s %s: %s", method, path, resp.Status)
	}
	return nil, p
}

func (k *Clerk) call(ctx context.Context, method, path string, body, into any) error {
	resp, err := k.request(ctx, method, path, body, map[string]string{"Prefer": "wait=60"})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(into)
}

// Case is one exchange a clerk asks for: who brings which card, in which role.
type Case struct {
	Item, Situation string
	Purpose         string
	Cards           []Card
}

// Card is a person's card in a role.
type Card struct{ Role, Person string }

// Read has every card of the case read, each at its own window, and returns the tokens.
func (k *Clerk) Read(ctx context.Context, c Case, number string) ([]exchange.SubjectToken, error) {
	var tokens []exchange.SubjectToken
	for i, card := range c.Cards {
		t, err := k.readCard(ctx, c, number, card, workstations[i%len(workstations)].id)
		if err != nil {
			return nil, fmt.Errorf("%s（%s）: %w", catalog.Role(card.Role).Chinese(), card.Person, err)
		}
		tokens = append(tokens, t)
	}
	return tokens, nil
}

// ErrRead is wrapped when a card could not be read; the failure's code follows it.
var ErrRead = errors.New("读卡未成功 / card read failed")

// failures says what a window's screen would.
var failures = map[string]string{
	"CARD_EXPIRED":    "证件已过有效期，请持有人换领新证 / the card has expired",
	"NO_CARD":         "时限内没有放置证件 / no card was laid down in time",
	"CARD_UNREADABLE": "证件读不出 / the card cannot be read",
	"READER_ERROR":    "读卡器故障 / the reader failed",
	"EXPIRED":         "读卡代理没有回应 / the read agent did not answer",
}

func (k *Clerk) readCard(ctx context.Context, c Case, number string, card Card, ws string) (exchange.SubjectToken, error) {
	var v reading.View
	ask := map[string]string{"workstation": ws, "item": c.Item, "case": number, "purpose": c.Purpose, "role": card.Role}
	if err := k.call(ctx, http.MethodPost, "/v1/read-sessions", ask, &v); err != nil {
		return exchange.SubjectToken{}, err
	}
	if err := k.city.Put(ws, card.Person); err != nil {
		return exchange.SubjectToken{}, err
	}
	err := k.call(ctx, http.MethodGet, "/v1/read-sessions/"+v.ReadSession, nil, &v)
	if err := errors.Join(err, k.city.Remove(ws)); err != nil {
		return exchange.SubjectToken{}, err
	}
	if v.State != "read" {
		return exchange.SubjectToken{}, fmt.Errorf("%w: %s %s", ErrRead, v.Failure, failures[v.Failure])
	}
	return exchange.SubjectToken{Role: v.Role, Token: v.Token}, nil
}

// Answer is what POST and GET of an exchange say.
type Answer struct {
	exchange.View
	Results map[string]string `json:"results"`
}

// Begin starts an exchange and does not wait.
func (k *Clerk) Begin(ctx context.Context, c Case, number string, tokens []exchange.SubjectToken) (Answer, error) {
	var a Answer
	resp, err := k.request(ctx, http.MethodPost, "/v1/exchanges", map[string]any{
		"item": c.Item, "situation": c.Situation, "case": number, "purpose": c.Purpose, "subjects": tokens,
		"reply_key": json.RawMessage(jose.NewReplyKey(k.reply.Public()).JWK()),
	}, map[string]string{"Idempotency-Key": rand.Text()})
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	return a, json.NewDecoder(resp.Body).Decode(&a)
}

// Follow calls seen for every event of an exchange until it has ended.
func (k *Clerk) Follow(ctx context.Context, number string, seen func(kind string, part exchange.PartView)) error {
	resp, err := k.request(ctx, http.MethodGet, "/v1/exchanges/"+number+"/events", nil, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	s := bufio.NewScanner(resp.Body)
	s.Buffer(nil, 1<<20)
	kind := ""
	for s.Scan() {
		if v, ok := strings.CutPrefix(s.Text(), "event: "); ok {
			kind = v
		}
		data, ok := strings.CutPrefix(s.Text(), "data: ")
		if !ok {
			continue
		}
		var e struct {
			Now exchange.PartView `json:"now"`
		}
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			return fmt.Errorf("event: %w", err)
		}
		seen(kind, e.Now)
		if kind == "exchange.ended" {
			return nil
		}
	}
	return errors.Join(s.Err(), ctx.Err())
}

// Fetch gets the state of an exchange.
func (k *Clerk) Fetch(ctx context.Context, number string) (Answer, error) {
	var a Answer
	return a, k.call(ctx, http.MethodGet, "/v1/exchanges/"+number, nil, &a)
}

// Result fetches and decrypts one part.
func (k *Clerk) Result(ctx context.Context, number, part string) (exchange.Result, error) {
	var r exchange.Result
	resp, err := k.request(ctx, http.MethodGet, "/v1/exchanges/"+number+"/results/"+part, nil, nil)
	if err != nil {
		return r, err
	}
	defer resp.Body.Close()
	token, err := io.ReadAll(resp.Body)
	if err != nil {
		return r, err
	}
	plain, err := jose.DecryptSM2(k.reply, exchange.TypeResult, string(token))
	if err != nil {
		return r, fmt.Errorf("decrypt result: %w", err)
	}
	return r, json.Unmarshal(plain, &r)
}

// Verify hands a document to the gateway's public verification.
func (c *City) Verify(ctx context.Context, file []byte) (matches bool, err error) {
	client, err := c.client("")
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL+"/v1/verify", bytes.NewReader(file))
	if err != nil {
		return false, err
	}
	req.Header.Set("Content-Type", "application/pdf")
	resp, err := client.Do(req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	var a struct {
		Report struct {
			Overall bool `json:"overall"`
		} `json:"report"`
		Record struct {
			State   string `json:"state"`
			Matches bool   `json:"matches"`
		} `json:"record"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		return false, err
	}
	return a.Report.Overall && a.Record.Matches && a.Record.State == "valid", nil
}
