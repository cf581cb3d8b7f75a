//go:build integration

package audit

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// What a log asks of the kernel that can fail or be the last thing it does.
const traced = "openat,pwrite64,fdatasync,fsync,renameat,mkdirat,unlinkat"

// trace runs a writer under strace and returns what was traced. strace counts
// calls by thread, and Go moves goroutines between threads: when=N is the N-th
// call of whichever thread comes to it first.
func (w *writer) trace(t *testing.T, inject string) (lines []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out := filepath.Join(t.TempDir(), "trace")
	args := []string{"strace", "-f", "-y", "-q", "-o", out, "-e", "trace=" + traced, "-e", "signal=none"}
	if inject != "" {
		args = append(args, "-e", "inject="+inject)
	}
	cmd := w.command(ctx, 8, 4<<10, args...)
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("strace is needed for this test: %v", err)
	}
	if err := w.listen(pipe, nil); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()                                                    // a process that failed or was killed is what is wanted
	w.killed = cmd.ProcessState.Sys().(syscall.WaitStatus).Signaled() // strace ends as its process did
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

var (
	callOf = regexp.MustCompile(`^(\d+) +(\w+)\(`)
	fileOf = regexp.MustCompile(`^\d+ +(?:fdatasync|pwrite64|fsync)\(\d+<([^>]*)>`)
)

// Whatever call of the log fails, or is the last: what was acknowledged is
// there afterwards, what is there verifies, nothing is taken for whole that is
// not, and a failed sync or write is not tried again.
func TestAnySystemCallMayFailOrBeTheLast(t *testing.T) {
	most := make(map[string]int) // calls by name, of the thread with the most
	byThread := make(map[string]int)
	w := newWriter(t)
	for run := range 2 { // the first creates, the second reopens: different calls
		for _, line := range w.trace(t, "") {
			if m := callOf.FindStringSubmatch(line); m != nil {
				byThread[m[1]+m[2]]++
				most[m[2]] = max(most[m[2]], byThread[m[1]+m[2]])
			}
		}
		if len(w.acked) != 8*(run+1) || !w.closed {
			t.Fatalf("without a fault only %d entries were acknowledged", len(w.acked))
		}
	}
	t.Logf("calls of one thread at most: %v", most)
	for _, name := range strings.Split(traced, ",") {
		if name != "unlinkat" && name != "mkdirat" && most[name] == 0 {
			t.Fatalf("no %s was traced: %v", name, most)
		}
	}
	type fault struct{ name, how string }
	faults := make(chan string, 8)
	var wg sync.WaitGroup
	var mu sync.Mutex
	hit := make(map[fault]int)
	for range 2 {
		wg.Go(func() {
			for inject := range faults {
				injected, err := faultAt(t, inject)
				if err != nil {
					t.Errorf("%s: %v", inject, err)
				}
				name, rest, _ := strings.Cut(inject, ":")
				how, _, _ := strings.Cut(rest, ":")
				mu.Lock()
				if injected {
					hit[fault{name, how}]++
				}
				mu.Unlock()
			}
		})
	}
	for name, n := range most {
		for _, how := range []string{"error=EIO", "error=ENOSPC", "signal=KILL"} {
			for when := 1; when <= n; when++ {
				faults <- fmt.Sprintf("%s:%s:when=%d", name, how, when)
			}
		}
	}
	close(faults)
	wg.Wait()
	t.Logf("faults that came to be: %v", hit)
	for _, name := range []string{"openat", "pwrite64", "fdatasync", "renameat"} {
		for _, how := range []string{"error=EIO", "error=ENOSPC", "signal=KILL"} {
			if hit[fault{name, how}] == 0 {
				t.Errorf("no %s of %s came to be", how, name)
			}
		}
	}
}

// faultAt lets one fault happen to a new log, and then to one that is reopened.
func faultAt(t *testing.T, inject string) (injected bool, err error) {
	w := newWriter(t)
	for _, reopened := range []string{"new", "reopened"} {
		lines := w.trace(t, inject)
		again := make(map[string]bool)
		for _, line := range lines {
			m := fileOf.FindStringSubmatch(line)
			if m != nil && again[m[1]] {
				return true, fmt.Errorf("%s log: %s was written or synced again after it failed: %s", reopened, filepath.Base(m[1]), line)
			}
			if strings.Contains(line, "(INJECTED)") {
				injected = true
				if m != nil && strings.HasSuffix(m[1], ".seg") {
					again[m[1]] = true
				}
			}
		}
		injected = injected || w.killed
		if err := w.check(t); err != nil {
			return injected, fmt.Errorf("%s log: %w", reopened, err)
		}
	}
	return injected, nil
}

// A disk that says it has written and has not is found out, whichever write it was.
func TestWritesThatNeverHappenedAreFound(t *testing.T) {
	found := 0
	for when := 1; when <= 40; when++ {
		w := newWriter(t)
		lines := w.trace(t, "pwrite64:retval=512:when="+strconv.Itoa(when))
		lied := false
		for _, line := range lines {
			lied = lied || strings.Contains(line, "(INJECTED)") && strings.Contains(line, ".seg>")
		}
		if !lied {
			continue
		}
		found++
		if w.closed {
			if _, err := VerifyDir(context.Background(), w.dir, VerifyOptions{Keys: keysOf(w.key)}); err == nil {
				t.Errorf("write %d never happened, and the log verifies", when)
			}
		}
	}
	if found == 0 {
		t.Error("no write was lied about")
	}
}
