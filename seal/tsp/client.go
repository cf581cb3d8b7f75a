package tsp

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"time"

	"github.com/emmansun/gmsm/sm3"
	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"

	"yizheng/seal/cms/der"
	"yizheng/seal/reach"
)

// ErrUnavailable is wrapped when the authority gives no token: it cannot be reached in
// time, refuses, or answers what was not asked for.
var ErrUnavailable = errors.New("tsp: no time stamp to be had (时间戳服务不可用)")

// Config of a Client.
type Config struct {
	URL     string                // https
	RootCAs *x509.CertPool        // for the connection; nil: the machine's
	Policy  asn1.ObjectIdentifier // to ask for and to insist on; nil: the authority's own
	Timeout time.Duration         // of one request; default 3 s
	// Pause is how long nobody is asked after the authority could not be reached: the
	// first document waits for the time limit, those after it fail at once. Default 30 s.
	Pause time.Duration
}

const (
	defaultTimeout = 3 * time.Second
	defaultPause   = 30 * time.Second
	maxResponse    = 64 << 10 // bytes
	nonceBits      = 128
)

// MaxToken is the longest token a Client returns, in bytes: what to keep free for one.
const MaxToken = 8 << 10

// Client asks one authority. It is safe for concurrent use.
type Client struct {
	url     string
	policy  asn1.ObjectIdentifier
	timeout time.Duration
	breaker breaker
	http    *http.Client
}

// NewClient checks the configuration.
func NewClient(c Config) (*Client, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, fmt.Errorf("tsp: %q is not an https address (时间戳服务地址须为 https)", c.URL)
	}
	return &Client{
		url: c.URL, policy: c.Policy, timeout: cmp.Or(max(c.Timeout, 0), defaultTimeout),
		breaker: breaker{pause: cmp.Or(max(c.Pause, 0), defaultPause)},
		http: &http.Client{
			Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: c.RootCAs, MinVersion: tls.VersionTLS12}, IdleConnTimeout: time.Minute},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Down reports whether the authority could not be reached when it was asked last.
func (c *Client) Down() bool { return c.breaker.down() }

// Stamp returns a token for the bytes over, as DER and parsed. Imprint, nonce and
// policy are those asked for; the signature is not verified yet. Errors wrap
// ErrUnavailable.
func (c *Client) Stamp(ctx context.Context, over []byte) ([]byte, *Token, error) {
	nonce, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), nonceBits))
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	imprint := sm3.Sum(over)
	request, err := c.request(imprint[:], nonce)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	answer, err := c.call(ctx, request)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	raw, err := readResponse(answer)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	token, err := Parse(raw)
	switch {
	case err != nil:
	case !token.Algorithm.Equal(der.OIDSM3) || !bytes.Equal(token.Imprint, imprint[:]):
		err = ErrImprint
	case token.Nonce == nil || token.Nonce.Cmp(nonce) != 0:
		err = malformed("the nonce is not that of the request")
	case c.policy != nil && !token.Policy.Equal(c.policy):
		err = malformed("issued under another policy")
	case len(raw) > MaxToken:
		err = malformed("longer than 8 KiB")
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return raw, token, nil
}

// request is TimeStampReq with certReq.
func (c *Client) request(imprint []byte, nonce *big.Int) ([]byte, error) {
	return der.Build(128, func(b *cryptobyte.Builder) {
		der.AddSequence(b, func(b *cryptobyte.Builder) {
			b.AddASN1Int64(1)
			der.AddSequence(b, func(b *cryptobyte.Builder) {
				der.AddAlgorithm(b, der.OIDSM3)
				b.AddASN1OctetString(imprint)
			})
			if c.policy != nil {
				b.AddASN1ObjectIdentifier(c.policy)
			}
			b.AddASN1BigInt(nonce)
			b.AddASN1Boolean(true)
		})
	})
}

func (c *Client) call(ctx context.Context, request []byte) ([]byte, error) {
	began := time.Now()
	if err := c.breaker.enter(began); err != nil {
		return nil, err
	}
	answer, err := c.post(ctx, request)
	gaveUp := ctx.Err() != nil && time.Since(began) < c.timeout/2 // too early to blame the authority
	c.breaker.leave(err, gaveUp, time.Now())
	return answer, err
}

func (c *Client) post(ctx context.Context, request []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(request))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/timestamp-query")
	res, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnreachable, reach.Of(err))
	}
	defer res.Body.Close()
	switch {
	case res.StatusCode >= http.StatusInternalServerError:
		return nil, fmt.Errorf("%w: %w", errUnreachable, reach.OfStatus(res.StatusCode))
	case res.StatusCode != http.StatusOK:
		return nil, reach.OfStatus(res.StatusCode)
	}
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxResponse+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errUnreachable, reach.Of(err))
	case len(raw) > maxResponse:
		return nil, malformed("response too long")
	}
	return raw, nil
}

// readResponse reads TimeStampResp and returns the token.
func readResponse(raw []byte) ([]byte, error) {
	s := cryptobyte.String(raw)
	var response, info, token cryptobyte.String
	var status int64
	if !s.ReadASN1(&response, tag.SEQUENCE) || !s.Empty() ||
		!response.ReadASN1(&info, tag.SEQUENCE) || !info.ReadASN1Integer(&status) {
		return nil, errNotResponse
	}
	if status != 0 && status != 1 { // granted, granted with modifications
		return nil, &refusal{status}
	}
	if !response.ReadASN1Element(&token, tag.SEQUENCE) || !response.Empty() {
		return nil, malformed("response without a token")
	}
	return token, nil
}
