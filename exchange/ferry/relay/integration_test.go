//go:build integration

package relay

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"yizheng/exchange/ferry"
)

// device carries the files with the simulated boundary device, a program of its
// own, and counts what it does to them.
func (s *spools) device(t testing.TB, args ...string) (did func(event string) int) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "gapdevice")
	if out, err := exec.Command("go", "build", "-o", program, "yizheng/deploy/simulators/gapdevice").CombinedOutput(); err != nil {
		t.Fatalf("build gapdevice: %v\n%s", err, out)
	}
	cmd := exec.Command(program, append([]string{"-a", s.dirs[0], "-b", s.dirs[1], "-events"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	times := map[string]int{}
	var reading sync.WaitGroup
	reading.Go(func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var e struct{ Event string }
			if json.Unmarshal(lines.Bytes(), &e) == nil {
				mu.Lock()
				times[e.Event]++
				mu.Unlock()
			}
		}
	})
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		reading.Wait()
		if err := cmd.Wait(); err != nil {
			t.Errorf("gapdevice: %v", err)
		}
	})
	did = func(event string) int { mu.Lock(); defer mu.Unlock(); return times[event] }
	eventually(t, "the device is ready", func() bool { return did("ready") == 1 })
	return did
}

func TestTwoHundredQuestionsThroughABadDevice(t *testing.T) {
	const questions = 200
	s := newSpools(t)
	did := s.device(t, "-scan", "10ms", "-drop", "30", "-duplicate", "20", "-reorder", "10", "-seed", "9")
	c := newCloud(t, s.cloud)
	var mu sync.Mutex
	handled := map[string]int{}
	server, _ := serve(t, s.inner, func(_ context.Context, m ferry.Message) (ferry.Answer, error) {
		mu.Lock()
		defer mu.Unlock()
		handled[m.Headers[ferry.HeaderExchange]]++
		return says(append([]byte("answer to "), m.Body...)), nil
	})
	eventually(t, "a heartbeat crosses", c.up)
	began := time.Now()
	var wg sync.WaitGroup
	var took []time.Duration
	for i := range questions {
		wg.Go(func() {
			time.Sleep(time.Duration(i) * 10 * time.Millisecond) // so that there are many files
			asked := time.Now()
			got, err := c.ask(t.Context(), name(i), []byte(name(i)), 30*time.Second)
			if err != nil || string(got.Body) != "answer to "+name(i) {
				t.Errorf("question %d: %q, %v", i, got.Body, err)
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, time.Since(asked))
		})
	}
	wg.Wait()
	all := time.Since(began)
	mu.Lock()
	defer mu.Unlock()
	for i := range questions {
		if handled[name(i)] != 1 {
			t.Errorf("question %d was handled %d times", i, handled[name(i)])
		}
	}
	if n := c.asker.Counts(); n.Answered != questions || n.Late+n.Foreign+n.Unacceptable+n.Unanswered > 0 {
		t.Errorf("the asker counts %+v", n)
	}
	if n := server.Counts(); n.Received != questions || n.Answered != questions || c.refused() > 0 {
		t.Errorf("the front counts %+v; refused %v", n, c.lost)
	}
	if did("drop") < 20 || did("duplicate") < 10 {
		t.Errorf("the device was not bad enough: %d dropped, %d duplicated", did("drop"), did("duplicate"))
	}
	slices.Sort(took)
	m, inner := s.cloud.Metrics(), s.inner.Metrics()
	t.Logf("%d questions in %v: half within %v, 95 of 100 within %v, all within %v; files dropped %d, duplicated %d; data files sent %d+%d, sent again %d+%d",
		questions, all.Round(time.Millisecond), took[questions/2].Round(time.Millisecond), took[questions*95/100].Round(time.Millisecond),
		took[questions-1].Round(time.Millisecond), did("drop"), did("duplicate"), m.FilesSent, inner.FilesSent, m.FilesResent, inner.FilesResent)
}
