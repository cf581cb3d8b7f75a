package web_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/exchange"
	"yizheng/web"
)

func TestEveryRouteAsksForItsOwnCertificate(t *testing.T) {
	g := start(t, nil)
	nobody, clerk, agent := g.as(""), g.as("clerk-01"), g.as("agent-ws-01")
	former := g.with(g.issue(t, time.Now().Add(time.Hour))) // of the same CA, but no longer in the catalogue
	for _, rt := range g.server.RouteTable() {
		path := strings.NewReplacer(":name", "pages.css", ":number", "690100202611220004K7M2XQ9R1", ":id", "x", ":no", "x", ":part", "x", ":leg", "x", ":code", "PRH").Replace(rt.Path)
		var body any
		if rt.Limit > 0 {
			body = "{}"
		}
		t.Run(rt.Method+" "+rt.Path, func(t *testing.T) {
			if rt.Public {
				if a := nobody.call(rt.Method, path, body); a.StatusCode == http.StatusUnauthorized || a.StatusCode == http.StatusForbidden {
					t.Errorf("public, but %d %s", a.StatusCode, a.problem())
				}
				return
			}
			want(t, nobody.call(rt.Method, path, body), http.StatusUnauthorized, "CERTIFICATE_REQUIRED")
			want(t, former.call(rt.Method, path, body), http.StatusForbidden, "UNKNOWN_CERTIFICATE")
			stranger := agent // an agent's certificate at a clerk's door, and the other way round
			if strings.Contains(rt.Path, "/agents/") || strings.HasSuffix(rt.Path, "/attestation") || strings.HasSuffix(rt.Path, "/failure") {
				stranger = clerk
			}
			want(t, stranger.call(rt.Method, path, body), http.StatusForbidden, "UNKNOWN_CERTIFICATE")
		})
	}
	denied := 0
	ok(t, g.audit.Read(t.Context(), 0, g.audit.Head().Size, func(_ uint64, e audit.Stored) error {
		if e.Entry.Open.Op == audit.OpLogin && e.Entry.Open.Phase == audit.PhaseDenied {
			denied++
		}
		return nil
	}))
	if denied == 0 {
		t.Error("failed logins are not in the log")
	}
}

// issue makes a client certificate of the city's CA for a key the catalogue does not know.
func (g *gateway) issue(t *testing.T, until time.Time) tls.Certificate {
	t.Helper()
	ca, err := tls.LoadX509KeyPair(g.in("keys/tls/ca.crt"), g.in("keys/tls/ca.key"))
	ok(t, err)
	return clientCertificate(t, ca.Leaf, ca.PrivateKey, until)
}

// clientCertificate is signed by a CA, or by itself where parent is nil.
func clientCertificate(t *testing.T, parent *x509.Certificate, signer any, until time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ok(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "clerk-01"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	ok(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// with is a client that sends this certificate whatever the server asks for.
func (g *gateway) with(pair tls.Certificate) *client {
	c := g.as("")
	c.http.Transport.(*http.Transport).TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	return c
}

func notAfter(t *testing.T, pair tls.Certificate) time.Time {
	t.Helper()
	c, err := x509.ParseCertificate(pair.Certificate[0])
	ok(t, err)
	return c.NotAfter
}

func TestForeignAndExpiredCertificatesAreRefused(t *testing.T) {
	g := start(t, nil)
	for name, pair := range map[string]tls.Certificate{
		"self-signed with a clerk's name": clientCertificate(t, nil, nil, time.Now().Add(time.Hour)),
		"expired":                         g.issue(t, time.Now().Add(-time.Minute)),
	} {
		t.Run(name, func(t *testing.T) {
			for _, path := range []string{"/v1/items", "/"} {
				if resp, err := g.with(pair).http.Get(g.url + path); err == nil {
					resp.Body.Close()
					t.Errorf("%s: %s", path, resp.Status)
				}
			}
		})
	}
}

// A certificate that ends while its connection stays open ends with it.
func TestCertificateThatExpiresOnAnOpenConnection(t *testing.T) {
	g := start(t, nil)
	var c *client
	for life := 1500 * time.Millisecond; ; life *= 2 {
		pair := g.issue(t, time.Now().Add(life))
		c = g.with(pair)
		resp, err := c.http.Get(g.url + "/")
		end := time.Until(notAfter(t, pair))
		if err != nil && end <= 0 {
			continue // this machine was too slow for such a life
		}
		ok(t, err)
		_, err = io.Copy(io.Discard, resp.Body)
		ok(t, err)
		ok(t, resp.Body.Close())
		time.Sleep(end + 10*time.Millisecond)
		break
	}
	want(t, c.call(http.MethodGet, "/", nil), http.StatusOK, "") // public calls ask for none
	want(t, c.call(http.MethodGet, "/v1/items", nil), http.StatusForbidden, "UNKNOWN_CERTIFICATE")
}

func TestOldTLSIsRefused(t *testing.T) {
	g := start(t, nil)
	conf := g.tls("")
	conf.MinVersion, conf.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if c, err := tls.Dial("tcp", strings.TrimPrefix(g.url, "https://"), conf); err == nil {
		c.Close()
		t.Error("TLS 1.1 was accepted")
	}
}

func TestForwardedCertificatesAreRefused(t *testing.T) {
	g := start(t, nil)
	for _, name := range []string{"X-Client-Cert", "X-Forwarded-Client-Cert", "Client-Cert", "Client-Cert-Chain", "X-SSL-Client-Cert", "X-SSL-Client-Verify",
		"X-SSL-Client-S-DN", "SSL-Client-Cert", "X_Client_Cert", "x-forwarded-client_cert", "X-ARR-ClientCert", "X-Amzn-Mtls-Clientcert", "X-SSL-Cert", "X-Client-DN"} {
		t.Run(name, func(t *testing.T) {
			for _, who := range []string{"", "clerk-01"} {
				want(t, g.as(who).call(http.MethodGet, "/v1/items", nil, name, "anything"), http.StatusBadRequest, "FORWARDED_CERTIFICATE")
			}
		})
	}
}

// Headers with which proxies speak of addresses and methods change nothing.
func TestProxyHeadersAreNotBelieved(t *testing.T) {
	g := start(t, nil)
	clerk := g.as("clerk-01")
	for name, value := range map[string]string{"X-Forwarded-For": "10.0.0.1", "X-Real-IP": "10.0.0.1", "Forwarded": "for=10.0.0.1;proto=http", "X-HTTP-Method-Override": "DELETE", "X-Original-URL": "/v1/verify/x"} {
		want(t, clerk.call(http.MethodGet, "/v1/items", nil, name, value), http.StatusOK, "")
	}
	want(t, g.as("").call(http.MethodGet, "/v1/verify/690100202611220004K7M2XQ9R1", nil, "X-Forwarded-For", "10.0.0.1"), http.StatusOK, "")
	ok(t, g.audit.Read(t.Context(), 0, g.audit.Head().Size, func(_ uint64, e audit.Stored) error {
		if e.Entry.Open.Op == audit.OpVerify && e.Entry.Closed.IP != "127.0.0.1" {
			t.Errorf("recorded address %q", e.Entry.Closed.IP)
		}
		return nil
	}))
	c, err := net.Dial("tcp", strings.TrimPrefix(g.url, "https://"))
	ok(t, err)
	defer c.Close()
	ok(t, c.SetDeadline(time.Now().Add(30*time.Second)))
	_, err = c.Write([]byte("PROXY TCP4 10.0.0.1 10.0.0.2 1 443\r\nGET /v1/items HTTP/1.1\r\nHost: x\r\n\r\n"))
	ok(t, err)
	if answer, _ := io.ReadAll(c); bytes.Contains(answer, []byte("items")) {
		t.Errorf("plain text got an answer: %s", answer)
	}
}

func TestOtherWebSitesCannotUseAClerksCertificate(t *testing.T) {
	g, clerk, _ := desk(t, nil)
	for name, header := range map[string][]string{
		"cross-site fetch":           {"Sec-Fetch-Site", "cross-site"},
		"another host of the domain": {"Sec-Fetch-Site", "same-site"},
		"an old browser's origin":    {"Origin", "https://evil.example"},
		"a sandboxed frame":          {"Origin", "null"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, call := range []struct{ method, path string }{{http.MethodPost, "/v1/read-sessions"}, {http.MethodGet, "/v1/items"}, {http.MethodDelete, "/v1/exchanges/x"}} {
				a := clerk.call(call.method, call.path, nil, header...)
				want(t, a, http.StatusForbidden, "CROSS_SITE")
				if a.Header.Get("Access-Control-Allow-Origin") != "" {
					t.Error("CORS is open")
				}
			}
			want(t, g.as("").call(http.MethodPost, "/v1/verify", "x", header...), http.StatusForbidden, "CROSS_SITE")
			want(t, g.as("").call(http.MethodGet, "/v/690100202611220004K7M2XQ9R1", nil, header...), http.StatusOK, "") // a link may lead here
		})
	}
	own := clerk.request(http.MethodGet, "/v1/items", nil, "Sec-Fetch-Site", "same-origin")
	want(t, clerk.do(own), http.StatusOK, "")
}

func TestMalformedBodiesAreRefused(t *testing.T) {
	_, clerk, _ := desk(t, nil)
	deep := strings.Repeat("[", 10000) + strings.Repeat("]", 10000)
	for name, c := range map[string]struct {
		body   any
		header []string
		status int
		code   string
	}{
		"empty":                      {"", nil, 400, "MALFORMED_BODY"},
		"not JSON":                   {"item=PRH", nil, 400, "MALFORMED_BODY"},
		"a typed ID number":          {`{"id_number":"690102198503120016","item":"PRH"}`, nil, 400, "MALFORMED_BODY"},
		"a repeated member":          {`{"item":"PRH","item":"HPW"}`, nil, 400, "MALFORMED_BODY"},
		"a repeated member, escaped": {`{"item":"PRH","\u0069tem":"HPW"}`, nil, 400, "MALFORMED_BODY"},
		"repeated in another case":   {`{"item":"PRH","ITEM":"HPW"}`, nil, 400, "MALFORMED_BODY"},
		"a member in another case":   {`{"Item":"PRH"}`, nil, 400, "MALFORMED_BODY"},
		"folding letters":            {`{"ca\u017fe":"x"}`, nil, 400, "MALFORMED_BODY"},
		"two values":                 {`{"item":"PRH"}{}`, nil, 400, "MALFORMED_BODY"},
		"null":                       {`null`, nil, 400, "MALFORMED_BODY"},
		"a null member":              {`{"item":null}`, nil, 400, "MALFORMED_BODY"},
		"a list":                     {`[]`, nil, 400, "MALFORMED_BODY"},
		"a huge number":              {`{"item":1e999999}`, nil, 400, "MALFORMED_BODY"},
		"not UTF-8":                  {[]byte("{\"case\":\"\xc0\xae\"}"), nil, 400, "MALFORMED_BODY"},
		"UTF-16":                     {[]byte("{\x00}\x00"), nil, 400, "MALFORMED_BODY"},
		"deep nesting":               {`{"reply_key":` + deep + `}`, nil, 400, "MALFORMED_BODY"},
		"repeated inside a key":      {`{"reply_key":{"kty":"EC","kty":"RSA"}}`, nil, 400, "MALFORMED_BODY"},
		"too large":                  {`{"case":"` + strings.Repeat("x", 300<<10) + `"}`, nil, 413, "BODY_TOO_LARGE"},
		"a form":                     {"item=PRH", []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "CONTENT_TYPE"},
		"text":                       {"{}", []string{"Content-Type", "text/plain"}, 415, "CONTENT_TYPE"},
		"another character set":      {"{}", []string{"Content-Type", "application/json; charset=gb18030"}, 415, "CONTENT_TYPE"},
		"a key with spaces":          {"{}", []string{"Idempotency-Key", "a b"}, 422, "INVALID_REQUEST"},
		"two keys":                   {"{}", []string{"Idempotency-Key", "a", "Idempotency-Key", "b"}, 422, "INVALID_REQUEST"},
		"a long key":                 {"{}", []string{"Idempotency-Key", strings.Repeat("k", 129)}, 422, "INVALID_REQUEST"},
	} {
		t.Run(name, func(t *testing.T) {
			a := clerk.call(http.MethodPost, "/v1/exchanges", c.body, c.header...)
			want(t, a, c.status, c.code)
			if bytes.Contains(a.body, []byte("690102198503120016")) || len(a.body) > 1024 {
				t.Errorf("the problem echoes the request: %s", a.body)
			}
		})
	}
	t.Run("too large, in chunks", func(t *testing.T) {
		req := clerk.request(http.MethodPost, "/v1/exchanges", io.MultiReader(strings.NewReader(`{"case":"`), strings.NewReader(strings.Repeat("x", 300<<10))))
		if req.ContentLength > 0 {
			t.Fatal("not chunked")
		}
		want(t, clerk.do(req), 413, "BODY_TOO_LARGE")
	})
	t.Run("a body where none belongs", func(t *testing.T) {
		want(t, clerk.call(http.MethodDelete, "/v1/exchanges/x", "{}"), 413, "BODY_TOO_LARGE")
	})
}

func TestOddAddressesAreRefused(t *testing.T) {
	g, clerk, _ := desk(t, nil)
	for name, c := range map[string]struct {
		path   string
		status int
		code   string
	}{
		"a query parameter":           {"/v1/items?id_number=690102198503120016", 400, "UNKNOWN_PARAMETER"},
		"a query on an exchange":      {"/v1/exchanges/x?part=RE-01", 400, "UNKNOWN_PARAMETER"},
		"an ID number for a code":     {"/v1/items/690102198503120016", 404, "UNKNOWN_ITEM"},
		"an unknown call":             {"/v1/people/690102198503120016", 404, "NO_SUCH_CALL"},
		"a trailing slash":            {"/v1/items/", 404, "NO_SUCH_CALL"},
		"a doubled slash":             {"//v1/items", 404, "NO_SUCH_CALL"},
		"dots":                        {"/v1/../v1/items", 404, "NO_SUCH_CALL"},
		"an encoded slash":            {"/v1/exchanges/a%2Fresults%2Fb", 404, "NO_RESULT_OR_CALL"},
		"a line break":                {"/v1/exchanges/a%0d%0aX: y", 422, "INVALID_REQUEST"},
		"a NUL":                       {"/v1/items/%00", 422, "INVALID_REQUEST"},
		"Chinese":                     {"/v1/items/%E5%BC%A0%E4%B8%89", 422, "INVALID_REQUEST"},
		"bytes that are not UTF-8":    {"/v1/items/%ff%fe", 422, "INVALID_REQUEST"},
		"a long code":                 {"/v1/items/" + strings.Repeat("A", 65), 422, "INVALID_REQUEST"},
		"words for a number":          {"/v1/verify/please-call-13800000000", 422, "INVALID_REQUEST"},
		"words on the paper page":     {"/v/%E8%AF%B7%E8%87%B4%E7%94%B5", 422, "INVALID_REQUEST"},
		"a mistyped number":           {"/v1/verify/690100202611220004K7M2XQ9R2", 422, "INVALID_REQUEST"},
		"a file outside of the pages": {"/assets/..%2fopenapi.yaml", 404, "NO_SUCH_CALL"},
		"a page as an asset":          {"/assets/paper.html", 404, "NO_SUCH_CALL"},
	} {
		t.Run(name, func(t *testing.T) {
			a := clerk.call(http.MethodGet, c.path, nil)
			if c.code == "NO_RESULT_OR_CALL" && a.StatusCode == 404 {
				return
			}
			want(t, a, c.status, c.code)
			for _, echo := range []string{"690102198503120016", "13800000000", "张三"} {
				if bytes.Contains(a.body, []byte(echo)) {
					t.Errorf("the problem echoes %q", echo)
				}
			}
		})
	}
	unknown := g.as("").call(http.MethodGet, "/v1/verify/690100202611220004K7M2XQ9R1", nil)
	if !bytes.Contains(unknown.body, []byte(`"unknown"`)) {
		t.Errorf("an unknown number: %s", unknown.body)
	}
}

func TestOtherMethodsAreRefused(t *testing.T) {
	g := start(t, nil)
	clerk := g.as("clerk-01")
	for _, method := range []string{http.MethodPut, http.MethodPatch, http.MethodHead, http.MethodOptions, http.MethodTrace, "PROPFIND"} {
		a := clerk.call(method, "/v1/items", nil)
		if a.StatusCode != http.StatusMethodNotAllowed || a.Header.Get("Allow") != "GET" {
			t.Errorf("%s: %d, Allow %q", method, a.StatusCode, a.Header.Get("Allow"))
		}
	}
}

// The headers of every kind of answer, problems of the router and of panics included.
func TestEveryAnswerHasItsNumberAndHeaders(t *testing.T) {
	g := startWith(t, nil, (*web.Server).Explode)
	for _, path := range []string{"/v1/items", "/v1/nothing", "/openapi.json", "/v1/audit/checkpoint", "/assets/pages.css", "/v1/verify/x"} {
		a := g.as("").call(http.MethodGet, path, nil)
		for name, value := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Strict-Transport-Security": "max-age=31536000"} {
			if a.Header.Get(name) != value {
				t.Errorf("%s: %s %q", path, name, a.Header.Get(name))
			}
		}
		if csp := a.Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: %s", path, csp)
		}
	}
	want(t, g.as("clerk-01").call(http.MethodGet, "/v1/items", nil), http.StatusInternalServerError, "INTERNAL")
}

func TestStrangersAreHeldToTheirAllowance(t *testing.T) {
	g := start(t, nil)
	public := g.as("")
	refused := 0
	for range 260 {
		if a := public.call(http.MethodGet, "/v1/verify/690100202611220004K7M2XQ9R1", nil); a.StatusCode == http.StatusTooManyRequests {
			refused++
		}
	}
	if refused == 0 || refused > 60 {
		t.Errorf("%d of 260 calls were refused", refused)
	}
	if size := g.audit.Head().Size; size > 260 {
		t.Errorf("%d records", size)
	}
	want(t, g.as("clerk-01").call(http.MethodGet, "/v1/items", nil), http.StatusOK, "") // clerks go on
}

// A stream must outlive the time a request may take to arrive, the time an event
// may take to leave, and silence.
func TestStreamsOutliveTheTimeouts(t *testing.T) {
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			release := make(chan struct{})
			released := (<-chan struct{})(release)
			g := startWith(t, func(ctx context.Context, _ exchange.Ask) (exchange.Answer, error) {
				select {
				case <-released:
				case <-ctx.Done():
				}
				return exchange.Answer{}, fmt.Errorf("nothing")
			}, func(s *web.Server) { s.Hurry(300*time.Millisecond, 150*time.Millisecond, 500*time.Millisecond) })
			a := g.connect("ws-01", "381204")
			clerk := g.login("clerk-01", a)
			var x answer
			clerk.call(http.MethodPost, "/v1/exchanges", question(newReplyKey(t), clerk.read(a).Token)).into(t, &x)
			tr := &http.Transport{TLSClientConfig: g.tls("clerk-01"), ForceAttemptHTTP2: protocol == "HTTP/2.0"}
			defer tr.CloseIdleConnections()
			resp, err := (&http.Client{Transport: tr, Timeout: 30 * time.Second}).Do(clerk.request(http.MethodGet, "/v1/exchanges/"+x.Exchange+"/events", nil))
			ok(t, err)
			defer resp.Body.Close()
			if resp.Proto != protocol {
				t.Fatal(resp.Proto)
			}
			began, beats, last := time.Now(), 0, ""
			for s := bufio.NewScanner(resp.Body); s.Scan(); {
				if s.Text() == ": hb" {
					beats++
				}
				if release != nil && beats > 0 && time.Since(began) > 1200*time.Millisecond {
					close(release)
					release = nil
				}
				if v, is := strings.CutPrefix(s.Text(), "event: "); is {
					last = v
				}
			}
			if beats == 0 || last != "exchange.ended" {
				t.Errorf("%d beats, last event %q", beats, last)
			}
		})
	}
}

func TestSlowSendersAreCutOff(t *testing.T) {
	g := startWith(t, nil, func(s *web.Server) { s.Hurry(300*time.Millisecond, time.Second, time.Second) })
	c, err := tls.Dial("tcp", strings.TrimPrefix(g.url, "https://"), g.tls("clerk-01"))
	ok(t, err)
	defer c.Close()
	ok(t, c.SetDeadline(time.Now().Add(30*time.Second))) // or it is never cut off
	_, err = fmt.Fprintf(c, "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
	ok(t, err)
	answer, err := io.ReadAll(c)
	if errors.Is(err, os.ErrDeadlineExceeded) || !bytes.Contains(answer, []byte("MALFORMED_BODY")) {
		t.Errorf("%v: %s", err, answer)
	}
}

// Documents being sent may fill their share of memory and no more; clerks go on.
func TestUploadsAreHeldToTheirMemory(t *testing.T) {
	g := startWith(t, nil, func(s *web.Server) { s.Hurry(time.Minute, 200*time.Millisecond, time.Second) })
	for range 4 {
		c, err := tls.Dial("tcp", strings.TrimPrefix(g.url, "https://"), g.tls(""))
		ok(t, err)
		defer c.Close()
		_, err = fmt.Fprintf(c, "POST /v1/verify HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/pdf\r\nContent-Length: %d\r\n\r\n%%PDF", 20<<20)
		ok(t, err)
	}
	chunked := func() got { // of unknown length: counted as the most it may be
		return g.as("").do(g.as("").request(http.MethodPost, "/v1/verify", io.MultiReader(strings.NewReader("%PDF-1.7"))))
	}
	full := chunked()
	for end := time.Now().Add(20 * time.Second); full.StatusCode == http.StatusOK && time.Now().Before(end); full = chunked() {
		time.Sleep(10 * time.Millisecond) // until all four have begun
	}
	want(t, full, http.StatusServiceUnavailable, "BUSY")
	want(t, g.as("").call(http.MethodPost, "/v1/verify", "%PDF-1.7"), http.StatusOK, "") // a small one still fits
	want(t, g.as("clerk-01").call(http.MethodGet, "/v1/items", nil), http.StatusOK, "")
}

func TestTooLargeDocumentsAreRefused(t *testing.T) {
	g := start(t, nil)
	for name, body := range map[string]any{"said": make([]byte, 20<<20+1), "in chunks": io.MultiReader(bytes.NewReader(make([]byte, 20<<20+1)))} {
		t.Run(name, func(t *testing.T) {
			req := g.as("").request(http.MethodPost, "/v1/verify", body)
			resp, err := g.as("").http.Do(req)
			if err != nil { // the gateway hung up while we were still sending
				return
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusRequestEntityTooLarge {
				t.Error(resp.Status)
			}
		})
	}
}
