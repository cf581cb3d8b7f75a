//go:build e2e

package main

import (
	"io"
	"maps"
	"net"
	"net/http"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"yizheng/cmd/gateway/demo"
	"yizheng/exchange"
)

// outages takes each service away from a working city. The gateway then does
// nothing that it could not answer for, says so at once, and goes on by itself
// when the service is back.
func outages(t *testing.T, city *demo.City, clerk *demo.Clerk, s *realServices) {
	for name, w := range map[string]*wire{"Redis": s.redis, "PostgreSQL": s.postgres} {
		t.Run(name, func(t *testing.T) { w.outage(t, doorOf(t, city, "clerk-01"), clerk) })
	}
	t.Run("Kafka", func(t *testing.T) { kafkaOutage(t, city, clerk, s.kafkaPID) })
}

var drivers = demo.Case{Item: "RHD", Situation: "OWNER", Purpose: "P-RHD", Cards: []demo.Card{{Role: "applicant", Person: "zhang-yan"}}}

// outage cuts a wire that nothing can be admitted without.
func (w *wire) outage(t *testing.T, raw *door, clerk *demo.Clerk) {
	tokens, err := clerk.Read(t.Context(), drivers, "CUT-001")
	if err != nil {
		t.Fatal(err)
	}
	w.cut()
	defer w.mend()
	for range 3 {
		began := time.Now()
		_, err := clerk.Begin(t.Context(), drivers, "CUT-001", tokens)
		problem, ok := err.(*demo.Problem)
		if !ok || problem.Status != http.StatusServiceUnavailable || problem.Code != "UNAVAILABLE" || problem.Title == "" {
			t.Errorf("begin: %v, want a problem 503 UNAVAILABLE", err)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("it took %v to say so", took)
		}
	}
	if got := raw.of(t).call("GET", "/v1/items", nil); got.status >= http.StatusInternalServerError {
		t.Errorf("items need no service, and answer %d %s", got.status, got.code)
	}
	w.mend()
	mended := time.Now()
	a, err := clerk.Begin(t.Context(), drivers, "CUT-001", tokens)
	for err != nil && time.Since(mended) < 30*time.Second {
		time.Sleep(200 * time.Millisecond)
		a, err = clerk.Begin(t.Context(), drivers, "CUT-001", tokens)
	}
	if err != nil {
		t.Fatalf("half a minute after it is back: %v", err)
	}
	t.Logf("taken up again %v after it was back", time.Since(mended).Round(10*time.Millisecond))
	if got := follow(t, clerk, a.Exchange); got["NC-01"] != exchange.Found {
		t.Errorf("once it is back: %v", got)
	}
}

// kafkaOutage has the broker stand still. Who is asked directly answers; of
// those behind it is said at once that they cannot be reached.
func kafkaOutage(t *testing.T, city *demo.City, clerk *demo.Clerk, pid string) {
	n, err := strconv.Atoi(pid)
	if err != nil || n <= 1 {
		t.Fatalf("no process: %q", pid)
	}
	c := demo.Case{Item: "PRH", Situation: "LOCAL", Purpose: "P-PRH", Cards: []demo.Card{{Role: "applicant", Person: "li-ming"}}}
	want := map[string]exchange.Code{"SI-01": exchange.Found, "HF-01": exchange.Found, "MR-01": exchange.Found, "LI-01": exchange.NotFound, "DP-01": exchange.NotFound,
		"RE-01": exchange.Unreachable, "HR-01": exchange.Unreachable, "VE-01": exchange.Unreachable, "UE-01": exchange.Unreachable}
	if err := syscall.Kill(n, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	resume := sync.OnceFunc(func() {
		if err := syscall.Kill(n, syscall.SIGCONT); err != nil {
			t.Error(err)
		}
	})
	defer resume()
	fronts := demoCatalogue(t).Fronts
	for _, f := range fronts {
		if err := city.AwaitFront(t.Context(), f.ID, false); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	got := exchangeOf(t, clerk, c, "STILL-001")
	if !maps.Equal(got, want) {
		t.Errorf("while the broker stands still\n got %v\nwant %v", got, want)
	}
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("it took %v to say so", took)
	}
	resume()
	began = time.Now()
	for _, f := range fronts {
		if err := city.AwaitFront(t.Context(), f.ID, true); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("all fronts are heard of again after %v", time.Since(began).Round(10*time.Millisecond))
	if got := exchangeOf(t, clerk, c, "STILL-002"); got["HR-01"] != exchange.Found || got["UE-01"] != exchange.Found || got["RE-01"] != exchange.Found {
		t.Errorf("once it goes on: %v", got)
	}
}

func exchangeOf(t *testing.T, clerk *demo.Clerk, c demo.Case, number string) map[string]exchange.Code {
	t.Helper()
	tokens, err := clerk.Read(t.Context(), c, number)
	if err != nil {
		t.Fatal(err)
	}
	a, err := clerk.Begin(t.Context(), c, number, tokens)
	if err != nil {
		t.Fatal(err)
	}
	return follow(t, clerk, a.Exchange)
}

// follow waits for an exchange's end and returns what came out.
func follow(t *testing.T, clerk *demo.Clerk, number string) map[string]exchange.Code {
	t.Helper()
	if err := clerk.Follow(t.Context(), number, func(string, exchange.PartView) {}); err != nil {
		t.Fatal(err)
	}
	a, err := clerk.Fetch(t.Context(), number)
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]exchange.Code)
	for _, p := range a.Parts {
		got[p.Part] = p.Code
	}
	return got
}

// wire leads to a service, and can be cut.
type wire struct {
	to      string
	l       net.Listener
	mu      sync.Mutex
	whole   bool
	open    map[net.Conn]bool
	serving sync.WaitGroup
}

// lay lays a wire; it is taken up when the test ends.
func lay(t *testing.T, to string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{to: to, l: l, whole: true, open: make(map[net.Conn]bool)}
	w.serving.Go(w.serve)
	t.Cleanup(func() {
		_ = l.Close()
		w.cut()
		w.serving.Wait()
	})
	return w
}

func (w *wire) addr() string { return w.l.Addr().String() }

func (w *wire) end() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to
}

// lead has new connections end elsewhere.
func (w *wire) lead(to string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.to = to
}

func (w *wire) serve() {
	for {
		near, err := w.l.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", w.end())
		if err != nil || !w.join(near, far) {
			_ = near.Close()
			if err == nil {
				_ = far.Close()
			}
			continue
		}
		for from, to := range map[net.Conn]net.Conn{near: far, far: near} {
			w.serving.Go(func() {
				_, _ = io.Copy(to, from)
				w.drop(from, to)
			})
		}
	}
}

func (w *wire) join(ends ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range ends {
		if w.whole {
			w.open[c] = true
		}
	}
	return w.whole
}

func (w *wire) drop(ends ...net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range ends {
		_ = c.Close()
		delete(w.open, c)
	}
}

// cut breaks every connection; new ones are closed at once.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.whole = false
	for c := range w.open {
		_ = c.Close()
	}
}

func (w *wire) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.whole = true
}
