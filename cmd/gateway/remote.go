package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"yizheng/cmd/internal/assembly"
	"yizheng/seal/reach"
)

// remoteWait is how long a gateway may take to answer a command.
const remoteWait = 30 * time.Second

// maxAnswer in bytes: a thousand entries of an audit log with their proofs.
const maxAnswer = 16 << 20

// remote is a gateway as a command sees it: over HTTPS, without redirects or proxies.
type remote struct {
	url  string // without a slash at the end
	http *http.Client
}

// newRemote prepares to ask the gateway at an https address. ca is the PEM of the roots
// of its certificate, empty for the machine's; certificate and key are the caller's own,
// empty where none is needed.
func newRemote(address, ca, certificate, key string) (*remote, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, fmt.Errorf("%q 不是 https 地址，例如 https://gateway.example:8443 / not an https address", address)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.RootCAs, err = assembly.CertPool(ca); err != nil {
		return nil, fmt.Errorf("CA 证书，请用 -ca 指定 / CA certificate: %w", err)
	}
	if certificate != "" {
		own, err := tls.LoadX509KeyPair(certificate, key)
		if err != nil {
			return nil, fmt.Errorf("客户端证书与其私钥，请用 -cert、-cert-key 指定 / client certificate and its key: %w", err)
		}
		// Shown even if the gateway does not name its issuer: then it says why it refuses.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &own, nil }
	}
	return &remote{strings.TrimRight(address, "/"), &http.Client{
		Timeout:       remoteWait,
		Transport:     &http.Transport{TLSClientConfig: c, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// call sends body as JSON, nothing for nil, and reads the answer into into. A refusal is
// an error in the gateway's own words.
func (r *remote) call(ctx context.Context, method, path string, body, into any) error {
	answer, err := r.fetch(ctx, method, path, body)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("网关的回答读不懂，地址对吗 / the answer is not a gateway's, is the address right? %w", err)
	}
	return nil
}

// fetch is call for an answer that is taken as it is.
func (r *remote) fetch(ctx context.Context, method, path string, body any) ([]byte, error) {
	var in bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&in).Encode(body); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, r.url+path, &in)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return nil, unreached{reach.Of(err)}
	}
	defer resp.Body.Close() // only read
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, unreached{reach.Of(err)}
	}
	if resp.StatusCode != http.StatusOK {
		return nil, refusal(resp.StatusCode, answer)
	}
	return answer, nil
}

// unreached says why there is no answer of the gateway.
type unreached struct{ *reach.Fault }

func (u unreached) Error() string {
	zh, en := u.Text()
	return "连不上网关：" + zh + " / cannot reach the gateway: " + en
}

func (u unreached) Unwrap() error { return u.Fault }

// refusal is what an answer other than 200 says.
func refusal(status int, answer []byte) error {
	var p struct {
		Title   string `json:"title"`
		TitleEN string `json:"title_en"`
		Code    string `json:"code"`
		Where   string `json:"where"` // which part of what was sent
	}
	if err := json.Unmarshal(answer, &p); err != nil || p.Code == "" {
		return fmt.Errorf("网关未予办理 / the gateway refused: HTTP %d", status)
	}
	if p.Where != "" {
		p.Code += ", " + p.Where
	}
	return fmt.Errorf("网关未予办理：%s / the gateway refused: %s (%s)", p.Title, p.TitleEN, p.Code)
}
