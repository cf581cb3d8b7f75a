package assembly

import (
	"crypto/ecdsa"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/audit/ship"
	"yizheng/identity/jose"
)

// subscriber takes events, and keeps the numbers of their cards and orders.
type subscriber struct {
	*httptest.Server
	ca  string
	mu  sync.Mutex
	got []string
}

func newSubscriber(t *testing.T, signer *jose.Key) *subscriber {
	t.Helper()
	s := &subscriber{ca: filepath.Join(t.TempDir(), "ca.pem")}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // what is cut does not verify
		payload, _, err := jose.Verify(string(body), ship.TypeEvent, func(string) *ecdsa.PublicKey { return signer.Public() })
		var batch struct{ Events []struct{ Open audit.Open } }
		if err != nil || json.Unmarshal(payload, &batch) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, e := range batch.Events {
			s.got = append(s.got, e.Open.Number)
		}
	}))
	t.Cleanup(s.Close)
	if err := os.WriteFile(s.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *subscriber) numbers() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

func (n *node) event(l *audit.Log, op audit.Op, number string) {
	n.t.Helper()
	_, err := l.Append(n.t.Context(), audit.Entry{Open: audit.Open{Op: op, Phase: audit.PhaseDone, Number: number, Status: "raised"}})
	n.must(err)
}

// TestOpenEvents_PushesCardsAndOrdersAndGoesOnAfterARestart: to every subscriber,
// once each, and nothing else of the log.
func TestOpenEvents_PushesCardsAndOrdersAndGoesOnAfterARestart(t *testing.T) {
	n := newNode(t)
	signer, err := jose.GenerateKey()
	n.must(err)
	a, b := newSubscriber(t, signer), newSubscriber(t, signer)
	live, err := n.open(time.Now())
	n.must(err)
	defer live.Close()
	conf, dir := AuditConfig{Dir: n.dir}, filepath.Join(t.TempDir(), "events")
	list := []EventConfig{{Name: "discipline", URL: a.URL, CA: a.ca}, {Name: "audit-office", URL: b.URL, CA: b.ca}}
	var want []string
	for range 2 { // the second time from the cursors
		events, err := OpenEvents(conf, dir, list, signer, live, slog.New(slog.DiscardHandler), n.key.Public())
		n.must(err)
		for _, op := range []audit.Op{audit.OpSuperviseCard, audit.OpIssue, audit.OpSuperviseOrder} {
			number := "N" + string(rune('0'+len(want)))
			if n.event(live, op, number); op != audit.OpIssue {
				want = append(want, number)
			}
		}
		for _, s := range []*subscriber{a, b} {
			for end := time.Now().Add(20 * time.Second); !slices.Equal(s.numbers(), want); time.Sleep(5 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("pushed %v, want %v: %+v", s.numbers(), want, events.Status())
				}
			}
		}
		for end := time.Now().Add(20 * time.Second); slices.ContainsFunc(events.Status(), func(s ship.Status) bool { return s.Next < live.Head().Size }); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%+v", events.Status())
			}
		}
		n.must(events.Close())
	}
}

func TestOpenEvents_RefusesWhatIsConfiguredWrongly(t *testing.T) {
	n := newNode(t)
	signer, err := jose.GenerateKey()
	n.must(err)
	s := newSubscriber(t, signer)
	live, err := n.open(time.Now())
	n.must(err)
	defer live.Close()
	for name, list := range map[string][]EventConfig{
		"one name for two":       {{Name: "a", URL: s.URL, CA: s.ca}, {Name: "a", URL: s.URL, CA: s.ca}},
		"a name that is a path":  {{Name: "../a", URL: s.URL, CA: s.ca}},
		"without TLS":            {{Name: "a", URL: "http://127.0.0.1:1", CA: s.ca}},
		"an authority of nobody": {{Name: "a", URL: s.URL, CA: filepath.Join(t.TempDir(), "none.pem")}},
	} {
		if events, err := OpenEvents(AuditConfig{Dir: n.dir}, t.TempDir(), list, signer, live, slog.New(slog.DiscardHandler), n.key.Public()); err == nil {
			t.Errorf("%s: taken", name)
			n.must(events.Close())
		}
	}
}
