package tsp_test

import (
	"context"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"yizheng/seal/reach"
	"yizheng/seal/reach/reachtest"
	"yizheng/seal/tsp"
)

// TestText_TellsFaultsApart asks authorities that fail, each in its own way.
func TestText_TellsFaultsApart(t *testing.T) {
	why := func(c tsp.Config) (zh, en string) {
		k, err := tsp.NewClient(c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(k.Close)
		_, _, err = k.Stamp(context.Background(), over)
		return tsp.Text(err)
	}
	for _, s := range reachtest.Services(t) {
		c := tsp.Config{URL: s.URL, Timeout: 20 * time.Second}
		if s.Kind == reach.Timeout {
			c.Timeout = reachtest.Patience
		}
		if zh, en := why(c); !strings.Contains(zh, "未取得时间戳，时间戳服务：") || !strings.Contains(en, s.Says) {
			t.Errorf("%s: %q, %q", s.Name, zh, en)
		}
	}
	for _, tt := range []struct {
		name, zh, en string
		status       int
		body         []byte
	}{
		{"out of order", "HTTP 503", "HTTP 503", 503, nil},
		{"nothing there", "HTTP 404", "HTTP 404", 404, nil},
		{"a page", "不是时间戳答复", "no time stamp authority", 200, []byte("<html>")},
		{"a refusal", "拒绝签发，状态 2", "refused with status 2", 200, []byte{0x30, 5, 0x30, 3, 2, 1, 2}},
	} {
		s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(tt.status)
			_, _ = w.Write(tt.body)
		}))
		t.Cleanup(s.Close)
		roots := x509.NewCertPool()
		roots.AddCert(s.Certificate())
		if zh, en := why(tsp.Config{URL: s.URL, RootCAs: roots, Timeout: 20 * time.Second}); !strings.Contains(zh, tt.zh) || !strings.Contains(en, tt.en) {
			t.Errorf("%s: %q, %q", tt.name, zh, en)
		}
	}
}
