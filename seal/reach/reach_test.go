package reach_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode"

	"yizheng/seal/reach"
	"yizheng/seal/reach/reachtest"
)

func get(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, err = io.ReadAll(res.Body)
	return err
}

func TestOf_NamesWhatFailed(t *testing.T) {
	for _, s := range reachtest.Services(t) {
		patience := 20 * time.Second
		if s.Kind == reach.Timeout {
			patience = reachtest.Patience
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		f := reach.Of(get(ctx, s.URL))
		cancel()
		if _, en := f.Text(); f.Kind != s.Kind || !strings.Contains(en, s.Says) {
			t.Errorf("%s: kind %d, want %d: %v", s.Name, f.Kind, s.Kind, f)
		}
	}
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = w.Write([]byte("half of it"))
	}))
	t.Cleanup(broken.Close)
	if f := reach.Of(get(t.Context(), broken.URL)); f.Kind != reach.Interrupted {
		t.Errorf("half an answer: %v", f)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if f := reach.Of(get(gone, broken.URL)); f.Kind != reach.Stopped || !errors.Is(f, context.Canceled) {
		t.Errorf("the caller has gone: %v", f)
	}
}

// TestText_IsOfOneLanguage for every kind, statuses of HTTP included.
func TestText_IsOfOneLanguage(t *testing.T) {
	seen := map[string]bool{}
	faults := []*reach.Fault{reach.OfStatus(204), reach.OfStatus(302), reach.OfStatus(404), reach.OfStatus(503)}
	for k := reach.Other; k < reach.Status; k++ {
		faults = append(faults, &reach.Fault{Kind: k})
	}
	for _, f := range faults {
		zh, en := f.Text()
		bare := strings.NewReplacer("HTTP", "", "https", "", "TLS", "", "DNS", "", "CA", "").Replace(zh)
		if seen[en] || !strings.Contains(zh, "；") || !strings.Contains(en, ";") ||
			strings.IndexFunc(bare, func(r rune) bool { return r < 0x80 && unicode.IsLetter(r) }) >= 0 ||
			strings.IndexFunc(en, func(r rune) bool { return unicode.Is(unicode.Han, r) }) >= 0 {
			t.Errorf("%+v: %q, %q", f, zh, en)
		}
		seen[en] = true
	}
}
