package assembly

import (
	"bufio"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"yizheng/audit"
)

// collector is an HTTPS receiver: how many records of each log it has taken.
type collector struct {
	*httptest.Server
	ca  string
	mu  sync.Mutex
	got map[string]uint64
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{got: map[string]uint64{}, ca: filepath.Join(t.TempDir(), "ca.pem")}
	c.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		for lines := bufio.NewScanner(r.Body); lines.Scan(); {
			var record struct {
				Origin string
				Index  uint64
			}
			if json.Unmarshal(lines.Bytes(), &record) != nil || record.Index != c.got[record.Origin] {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			c.got[record.Origin]++
		}
	}))
	t.Cleanup(c.Close)
	if err := os.WriteFile(c.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *collector) count(origin string) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.got[origin]
}

func TestOpenCopies_ShipsEarlierQuartersThenTheRunningOneAndTheNext(t *testing.T) {
	n, c := newNode(t), newCollector(t)
	n.run(time.Date(2026, 8, 1, 8, 0, 0, 0, time.UTC), "Q3")
	live, err := n.open(time.Date(2026, 11, 1, 8, 0, 0, 0, time.UTC))
	n.must(err)
	defer live.Close()
	conf := AuditConfig{Dir: n.dir, Ship: []SinkConfig{{Name: "soc", Kind: "https", URL: c.URL, CA: c.ca}}}
	conf.Paths()
	copies, err := OpenCopies(conf, live, slog.New(slog.DiscardHandler), n.key.Public())
	n.must(err)
	n.issue(live, "Q4")
	n.turner(live).look(context.Background(), winter.Add(-time.Second), winter, time.Second)
	n.issue(live, "Q1")
	if live.Next() == nil {
		t.Fatal("the log has not turned")
	}
	for _, l := range []*audit.Log{live, live.Next()} {
		for end := time.Now().Add(20 * time.Second); c.count(l.Origin()) < l.Head().Size; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: %d of %d, %+v", l.Origin(), c.count(l.Origin()), l.Head().Size, copies.Status())
			}
		}
	}
	n.must(copies.Close())
	if got := c.count(testOrigin + "/2026q3"); got < 3 {
		t.Errorf("%d records of the earlier quarter", got)
	}
}

// A copy that knows more than the log has seen what the log no longer shows.
func TestOpenCopies_HoldsALogThatIsShorterThanItsCopy(t *testing.T) {
	n := newNode(t)
	live, err := n.open(time.Now())
	n.must(err)
	defer live.Close()
	c := newCollector(t)
	conf := AuditConfig{Dir: n.dir, Ship: []SinkConfig{{Name: "soc", Kind: "https", URL: c.URL, CA: c.ca}}, ShipDir: t.TempDir()}
	cursor, err := json.Marshal(map[string]any{"origin": live.Origin(), "next": 1000})
	n.must(err)
	n.must(os.WriteFile(filepath.Join(conf.ShipDir, "soc.cursor"), cursor, 0o600))
	copies, err := OpenCopies(conf, live, slog.New(slog.DiscardHandler), n.key.Public())
	n.must(err)
	defer copies.Close()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		_, err := live.Append(context.Background(), audit.Entry{Open: audit.Open{Op: audit.OpQuery}})
		if errors.Is(err, audit.ErrHeld) {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the log goes on")
		}
	}
}

func TestOpenCopies_RefusesSinksThatCannotBe(t *testing.T) {
	n, c := newNode(t), newCollector(t)
	live, err := n.open(time.Now())
	n.must(err)
	defer live.Close()
	good := SinkConfig{Name: "soc", Kind: "https", URL: c.URL, CA: c.ca}
	for name, tt := range map[string]struct {
		sinks []SinkConfig
		want  string
	}{
		"no kind":          {[]SinkConfig{{Name: "a"}}, "ship[0]: kind"},
		"plain http":       {[]SinkConfig{good, {Name: "b", Kind: "https", URL: "http://b.example", CA: c.ca}}, "ship[1]"},
		"no CA":            {[]SinkConfig{{Name: "b", Kind: "syslog", Address: "b.example:6514"}}, "ship[0]"},
		"one name twice":   {[]SinkConfig{good, good}, "重复"},
		"a name of a path": {[]SinkConfig{{Name: "../a", Kind: "https", URL: c.URL, CA: c.ca}}, "ship[0]"},
		"kafka, no topic":  {[]SinkConfig{{Name: "k", Kind: "kafka", Brokers: []string{"k:9093"}, CA: c.ca}}, "topic"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := OpenCopies(AuditConfig{Dir: n.dir, ShipDir: t.TempDir(), Ship: tt.sinks}, live, slog.New(slog.DiscardHandler), n.key.Public())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}
