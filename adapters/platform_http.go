package adapters

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"regexp"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/emmansun/gmsm/sm3"

	"yizheng/exchange"
)

const renewLimit = 10 * time.Second // of one token request

// errSecretExpired is the platform's word that it no longer knows a secret.
var errSecretExpired = fmt.Errorf("%w: secret is no longer good", ErrAnswer)

// newHTTPSClient trusts the configured authorities only, follows no redirect
// and uses no proxy: nothing but the named peer may see a question.
func newHTTPSClient(c PlatformConfig) (*http.Client, error) {
	pem, err := os.ReadFile(c.CA)
	if err != nil {
		return nil, fmt.Errorf("ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca: %s holds no certificate", c.CA)
	}
	conf := &tls.Config{RootCAs: pool, ServerName: c.ServerName, MinVersion: tls.VersionTLS12}
	if c.Certificate != "" || c.Key != "" {
		own, err := tls.LoadX509KeyPair(c.Certificate, c.Key)
		if err != nil {
			return nil, fmt.Errorf("certificate: %w", err)
		}
		conf.Certificates = []tls.Certificate{own}
	}
	connect := time.Duration(c.ConnectTimeout)
	return &http.Client{
		Transport: &http.Transport{
			DialContext:            (&net.Dialer{Timeout: connect}).DialContext,
			TLSClientConfig:        conf,
			TLSHandshakeTimeout:    connect,
			DisableCompression:     true, // what is bounded is what was sent
			MaxConnsPerHost:        c.MaxConnections,
			MaxIdleConnsPerHost:    c.MaxConnections,
			IdleConnTimeout:        time.Minute,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// post sends one signed request and returns the answer's body. Only answers to
// business requests may say that a secret expired, and carry a MAC.
func (p *Platform) post(ctx context.Context, path, sid, key string, stamp int64, body []byte, business bool) ([]byte, error) {
	var connected atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	})
	req, err := http.NewRequestWithContext(traced, http.MethodPost, p.config.URL+path, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("request cannot be made; check url and paths")
	}
	rtime := strconv.FormatInt(stamp, 10)
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	req.Header.Set("Accept", "application/json")
	for name, value := range map[string]string{"rid": p.config.RID, "sid": sid, "rtime": rtime, "sign": sign(key, sid, p.config.RID, rtime)} {
		// Not Header.Set: some platforms compare the names' case.
		req.Header[p.config.Prefix+name] = []string{value}
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, connectError(ctx, err, connected.Load())
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, p.config.MaxAnswer+1))
	if err != nil {
		return nil, connectError(ctx, err, true)
	}
	if int64(len(raw)) > p.config.MaxAnswer {
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrAnswer, p.config.MaxAnswer)
	}
	code := answerCode(resp.StatusCode, raw)
	if business && slices.Contains(p.config.ExpiredCodes, code) {
		return nil, errSecretExpired
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%w: HTTP status %d %s", ErrAnswer, resp.StatusCode, errorName.FindString(code))
	}
	if business && p.config.AnswerMAC {
		mac := sign(key, sid, p.config.RID, rtime, sm3Hex(raw))
		if !hmac.Equal([]byte(mac), []byte(resp.Header.Get(p.config.Prefix+"answer_sign"))) {
			return nil, fmt.Errorf("%w: answer_sign is missing or wrong", ErrAnswer)
		}
	}
	return raw, nil
}

// connectError tells nobody-there from too-late from broken-off. The transport's
// errors hold addresses and certificate names, nothing of the question.
func connectError(ctx context.Context, err error, connected bool) error {
	if ctx.Err() != nil {
		return fmt.Errorf("no answer in time: %w", ctx.Err())
	}
	var remote *net.OpError // a TLS 1.3 server refuses our certificate only after the handshake
	if !connected || errors.As(err, &remote) && remote.Op == "remote error" {
		return fmt.Errorf("%w: %w", exchange.ErrUnreachable, err)
	}
	return fmt.Errorf("connection broke off: %w", err)
}

// errorName is what may be quoted of a refusal: names like RTIME_OUTSIDE, which
// tell an operator what to mend.
var errorName = regexp.MustCompile(`^[A-Z][A-Z_]{2,31}$`)

// answerCode is the text member "code" of an answer that may be a refusal.
func answerCode(status int, raw []byte) string {
	if status != http.StatusOK && status/100 != 4 {
		return ""
	}
	var head struct {
		Code any `json:"code"`
	}
	if json.Unmarshal(raw, &head) != nil {
		return ""
	}
	code, _ := head.Code.(string)
	return code
}

// fetchSecret exchanges the app key for a secret.
func (p *Platform) fetchSecret(ctx context.Context, c *credential, sid string) (secret, error) {
	key := p.appKeys[sid]
	if key == "" {
		key = p.appKey
	}
	raw, err := p.breaker.Execute(func() ([]byte, error) {
		return p.post(ctx, p.config.TokenPath, sid, key, c.stamp(), []byte("{}"), false)
	})
	if err != nil {
		return secret{}, broken(err)
	}
	var answer struct {
		Secret        string      `json:"secret"`
		SecretEndTime json.Number `json:"secretEndTime"` // milliseconds since the epoch, a number or a string
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return secret{}, fmt.Errorf("%w: token answer", ErrAnswer)
	}
	ends, err := answer.SecretEndTime.Int64()
	if err != nil || answer.Secret == "" {
		return secret{}, fmt.Errorf("%w: token answer has no secret or secretEndTime", ErrAnswer)
	}
	return secret{answer.Secret, time.UnixMilli(ends)}, nil
}

func sm3Hex(b []byte) string {
	sum := sm3.Sum(b)
	return hex.EncodeToString(sum[:])
}
