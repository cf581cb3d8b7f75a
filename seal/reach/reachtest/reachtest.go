// Package reachtest has services that fail, each in its own way, for tests of callers.
package reachtest

import (
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"yizheng/seal/reach"
)

// Patience is how long a test's caller should wait for the service that never answers;
// the others answer at once.
const Patience = 300 * time.Millisecond

// Service is an https address, and what a caller must find out.
type Service struct {
	Name, URL string
	Kind      reach.Kind
	Says      string // in the English sentence
}

// Services starts one of each kind. They end with the test.
func Services(t testing.TB) []Service {
	t.Helper()
	over := make(chan struct{})
	start := func(tls bool, answer http.HandlerFunc) string {
		s := httptest.NewUnstartedServer(answer)
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		if tls {
			s.StartTLS()
		} else {
			s.Start()
		}
		t.Cleanup(s.Close)
		return "https" + s.URL[strings.Index(s.URL, ":"):]
	}
	ok := func(http.ResponseWriter, *http.Request) {}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := "https://" + l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	list := []Service{
		{"a name that nobody has", "https://yizheng.invalid/", reach.Name, "cannot be resolved"},
		{"a port where nobody listens", closed, reach.Refused, "refused"},
		{"a certificate of another authority", start(true, ok), reach.Untrusted, "not trusted"},
		{"no TLS", start(false, ok), reach.TLS, "no TLS connection"},
		{"silence", silent(t, over), reach.Timeout, "in time"},
	}
	t.Cleanup(func() { close(over) }) // before the servers wait for their callers
	return list
}

// silent accepts connections and says nothing.
func silent(t testing.TB, over <-chan struct{}) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { <-over; _ = c.Close() }()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return "https://" + l.Addr().String()
}
