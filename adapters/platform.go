package adapters

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"

	"yizheng/catalog"
	"yizheng/exchange"
)

// PlatformConfig is one connection to a national or provincial sharing
// platform, protocol of docs/protocol/national-platform.md.
type PlatformConfig struct {
	// URL is the platform's address, https only: https://10.1.2.3:8443/gateway
	URL string `yaml:"url"`
	// CA is the PEM file of the only authorities accepted for the platform's
	// certificate. The system's own are not used.
	CA string `yaml:"ca"`
	// ServerName is the name in the platform's certificate if it is not the
	// host in URL.
	ServerName string `yaml:"server_name"`
	// Certificate and Key are PEM files of our TLS client certificate, if the
	// platform asks for one.
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
	// RID is our requester number on the platform.
	RID string `yaml:"rid"`
	// AppKeyFile holds the app key. AppKeyFiles names files for services (sid)
	// whose key is another.
	AppKeyFile  string            `yaml:"app_key_file"`
	AppKeyFiles map[string]string `yaml:"app_key_files"`
	// Prefix of the protocol's headers: gjgxjhpt_ (default) or gjzwfwpt_.
	Prefix string `yaml:"prefix"`
	// TokenPath and QueryPath are appended to URL. Defaults: /token, /query.
	TokenPath string `yaml:"token_path"`
	QueryPath string `yaml:"query_path"`
	// RenewBefore is how long before its end a secret is renewed. Default 3m.
	RenewBefore catalog.Duration `yaml:"renew_before"`
	// ExpiredCodes are the values of "code" by which the platform says that a
	// secret is no longer good; it is then renewed and the question asked once
	// more. Default: SECRET_EXPIRED, and SIGN_INVALID because a platform that
	// was restarted does not know its former secrets.
	ExpiredCodes []string `yaml:"expired_codes"`
	// AnswerMAC demands that every answer carries a valid <prefix>answer_sign;
	// answers then count as peer-mac, otherwise as channel.
	AnswerMAC bool `yaml:"answer_mac"`
	// ConnectTimeout bounds connecting and TLS. Default 3s.
	ConnectTimeout catalog.Duration `yaml:"connect_timeout"`
	// MaxAnswer is the largest answer taken, in bytes. Default 1 MiB.
	MaxAnswer int64 `yaml:"max_answer"`
	// MaxConnections to the platform at a time. Default 64.
	MaxConnections int `yaml:"max_connections"`
	// After BreakAfter failures to connect in a row the platform counts as
	// down for BreakFor, and questions end at once. Defaults 3 and 5s.
	BreakAfter uint32           `yaml:"break_after"`
	BreakFor   catalog.Duration `yaml:"break_for"`

	// Now is the clock; nil means time.Now.
	Now func() time.Time `yaml:"-"`
}

// Platform is an exchange.Source of one platform connection. Close it.
type Platform struct {
	config  PlatformConfig
	client  *http.Client
	breaker *gobreaker.CircuitBreaker[[]byte]
	appKey  string
	appKeys map[string]string
	sources compiled[*platformPlan]

	root        context.Context // of renewals, which outlive the question that started them
	stop        context.CancelFunc
	renews      sync.WaitGroup
	mu          sync.Mutex
	credentials map[string]*credential // by sid
}

var _ exchange.Source = (*Platform)(nil)

// platformPlan is one source's entry made ready.
type platformPlan struct {
	params   map[string]parameter
	literals map[string]string
	mapping  *mapping
}

// NewPlatform reads the certificates and keys and connects to nothing yet.
func NewPlatform(c PlatformConfig) (*Platform, error) {
	c.Prefix = orDefault(c.Prefix, "gjgxjhpt_")
	c.TokenPath = orDefault(c.TokenPath, "/token")
	c.QueryPath = orDefault(c.QueryPath, "/query")
	c.RenewBefore = orDefault(c.RenewBefore, catalog.Duration(3*time.Minute))
	c.ConnectTimeout = orDefault(c.ConnectTimeout, catalog.Duration(3*time.Second))
	c.MaxAnswer = orDefault(c.MaxAnswer, 1<<20)
	c.MaxConnections = orDefault(c.MaxConnections, 64)
	c.BreakAfter = orDefault(c.BreakAfter, 3)
	c.BreakFor = orDefault(c.BreakFor, catalog.Duration(5*time.Second))
	if len(c.ExpiredCodes) == 0 {
		c.ExpiredCodes = []string{"SECRET_EXPIRED", "SIGN_INVALID"}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("platform: url must be https://host[:port][/path]")
	}
	c.URL = strings.TrimSuffix(c.URL, "/")
	if c.RID == "" {
		return nil, fmt.Errorf("platform %s: rid is missing", u.Host)
	}
	p := &Platform{config: c, appKeys: make(map[string]string), credentials: make(map[string]*credential)}
	if err := p.readKeys(); err != nil {
		return nil, fmt.Errorf("platform %s: %w", u.Host, err)
	}
	if p.client, err = newHTTPSClient(c); err != nil {
		return nil, fmt.Errorf("platform %s: %w", u.Host, err)
	}
	p.breaker = newBreaker(u.Host, c.BreakAfter, time.Duration(c.BreakFor))
	p.root, p.stop = context.WithCancel(context.Background())
	return p, nil
}

func (p *Platform) readKeys() error {
	read := func(path string) (string, error) {
		b, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("app key: %w", err)
		}
		key := strings.TrimSpace(string(b))
		if key == "" {
			return "", fmt.Errorf("app key: %s is empty", path)
		}
		return key, nil
	}
	var err error
	if p.config.AppKeyFile != "" {
		if p.appKey, err = read(p.config.AppKeyFile); err != nil {
			return err
		}
	}
	for sid, path := range p.config.AppKeyFiles {
		if p.appKeys[sid], err = read(path); err != nil {
			return err
		}
	}
	if p.appKey == "" && len(p.appKeys) == 0 {
		return errors.New("app_key_file is missing")
	}
	return nil
}

// Close ends renewals and idle connections. Questions under way fail.
func (p *Platform) Close() error {
	p.stop()
	p.mu.Lock()
	for _, c := range p.credentials {
		c.close()
	}
	p.mu.Unlock()
	p.renews.Wait()
	p.client.CloseIdleConnections()
	return nil
}

// Prepare checks that a source's catalogue entry can be asked here: a service,
// parameters that name a number, expressions that compile. Query does the same
// on first use; calling it at start finds mistakes before a resident does.
func (p *Platform) Prepare(src catalog.Source) error {
	_, err := p.sources.get(src, p.prepare)
	return err
}

func (p *Platform) prepare(src catalog.Source) (*platformPlan, error) {
	plan := &platformPlan{params: make(map[string]parameter), literals: make(map[string]string)}
	if src.Query.Service == "" {
		return nil, fmt.Errorf("%w: query.service is missing", ErrSource)
	}
	if p.appKeys[src.Query.Service] == "" && p.appKey == "" {
		return nil, fmt.Errorf("%w: no app key for service %s", ErrSource, src.Query.Service)
	}
	keyed := false
	for field, value := range src.Query.Params {
		if literal, ok := strings.CutPrefix(value, "="); ok {
			plan.literals[field] = literal
			continue
		}
		switch param := parameter(value); param {
		case paramNumber, paramNumber15:
			keyed = true
			plan.params[field] = param
		case paramName:
			plan.params[field] = param
		default:
			return nil, fmt.Errorf("%w: query.params.%s: %q is not number, name, number15 or =literal", ErrSource, field, value)
		}
	}
	if !keyed {
		return nil, fmt.Errorf("%w: query.params carry no number: the question would be about nobody", ErrSource)
	}
	var err error
	plan.mapping, err = compileMapping(src.Answer)
	return plan, err
}

// Query asks one service about one person. A secret that the platform calls
// expired is renewed and the question asked once more.
func (p *Platform) Query(ctx context.Context, ask exchange.Ask) (exchange.Answer, error) {
	plan, err := p.sources.get(ask.Source, p.prepare)
	if err != nil {
		return exchange.Answer{}, err
	}
	body, err := plan.body(ask)
	if err != nil {
		return exchange.Answer{}, err
	}
	sid := ask.Source.Query.Service
	raw, err := p.ask(ctx, sid, body)
	if errors.Is(err, errSecretExpired) {
		raw, err = p.ask(ctx, sid, body)
	}
	if err != nil {
		return exchange.Answer{}, fmt.Errorf("platform service %s: %w", sid, broken(err))
	}
	answer, err := plan.mapping.apply(ctx, raw)
	if err != nil {
		return exchange.Answer{}, fmt.Errorf("platform service %s: %w", sid, err)
	}
	answer.Authenticity = catalog.AuthChannel
	if p.config.AnswerMAC {
		answer.Authenticity = catalog.AuthPeerMAC
	}
	return answer, nil
}

func (p *Platform) ask(ctx context.Context, sid string, body []byte) ([]byte, error) {
	c := p.credential(sid)
	value, err := c.get(ctx)
	if err != nil {
		return nil, err
	}
	raw, err := p.breaker.Execute(func() ([]byte, error) {
		return p.post(ctx, p.config.QueryPath, sid, value, c.stamp(), body, true)
	})
	if errors.Is(err, errSecretExpired) {
		c.drop(value)
	}
	return raw, err
}

// body is the request's JSON object. A parameter this person has no value for is left out.
func (plan *platformPlan) body(ask exchange.Ask) ([]byte, error) {
	fields := make(map[string]string, len(plan.params)+len(plan.literals))
	for field, literal := range plan.literals {
		fields[field] = literal
	}
	keyed := false
	for field, param := range plan.params {
		if v, ok := param.of(ask.Subject); ok {
			fields[field] = v
			keyed = keyed || param != paramName
		}
	}
	if !keyed {
		return nil, fmt.Errorf("%w: this person has none of the numbers it asks by", ErrSource)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(fields); err != nil {
		return nil, fmt.Errorf("%w: request cannot be encoded", ErrSource)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func (p *Platform) credential(sid string) *credential {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.credentials[sid]
	if c == nil {
		c = &credential{
			now: p.config.Now, ahead: time.Duration(p.config.RenewBefore), limit: renewLimit,
			root: p.root, renews: &p.renews,
		}
		c.fetch = func(ctx context.Context) (secret, error) { return p.fetchSecret(ctx, c, sid) }
		p.credentials[sid] = c
	}
	return c
}
