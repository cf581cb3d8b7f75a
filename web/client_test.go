package web_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

// client is somebody with (or without) a certificate.
type client struct {
	g       *gateway
	http    *http.Client
	session string
}

// got is an answer, whole.
type got struct {
	*http.Response
	body []byte
}

// problem is the answer's problem code, "" if it is none.
func (a got) problem() string {
	var p struct {
		Code string `json:"code"`
	}
	if a.StatusCode >= 400 {
		_ = json.Unmarshal(a.body, &p) // the document check has said what is wrong with it
	}
	return p.Code
}

// do sends a request and holds the answer against the document.
func (c *client) do(req *http.Request) got {
	c.g.t.Helper()
	resp, err := c.http.Do(req)
	ok(c.g.t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	ok(c.g.t, err)
	c.g.api.check(c.g.t, req.Method, req.URL.Path, resp, body)
	return got{resp, body}
}

// call sends body (JSON, or bytes as they are) with header pairs.
func (c *client) call(method, path string, body any, header ...string) got {
	c.g.t.Helper()
	return c.knock(method, path, body, header...).send()
}

func (c *client) request(method, path string, body any, header ...string) *http.Request {
	c.g.t.Helper()
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case []byte:
		r = bytes.NewReader(b)
	case io.Reader:
		r = b
	case string:
		r = strings.NewReader(b)
	default:
		j, err := json.Marshal(b)
		ok(c.g.t, err)
		r = bytes.NewReader(j)
	}
	req, err := http.NewRequestWithContext(c.g.t.Context(), method, c.g.url+path, r)
	ok(c.g.t, err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	if c.session != "" && req.Header.Get("Yizheng-Session") == "" {
		req.Header.Set("Yizheng-Session", c.session)
	}
	return req
}

// knock is a request that is about to be sent.
type knock struct {
	who *client
	req *http.Request
}

func (c *client) knock(method, path string, body any, header ...string) knock {
	c.g.t.Helper()
	return knock{c, c.request(method, path, body, header...)}
}

// send sends it, and holds the answer against the document.
func (k knock) send() got {
	k.who.g.t.Helper()
	return k.who.do(k.req)
}

func want(t testing.TB, a got, status int, code string) {
	t.Helper()
	if a.StatusCode != status || a.problem() != code {
		t.Fatalf("%s %s: %d %s, want %d %s\n%s", a.Request.Method, a.Request.URL.Path, a.StatusCode, a.problem(), status, code, a.body)
	}
}

func (a got) into(t testing.TB, v any) {
	t.Helper()
	if a.StatusCode >= 300 {
		t.Fatalf("%s %s: %d %s", a.Request.Method, a.Request.URL.Path, a.StatusCode, a.body)
	}
	ok(t, json.Unmarshal(a.body, v))
}
