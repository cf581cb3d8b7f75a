//go:build integration || long

package audit

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// onSmallDisk runs a shell script in namespaces of its own, where $DISK is an
// empty file system in memory of the given size that nobody else sees.
func onSmallDisk(t *testing.T, w *writer, size, script string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	keep := t.TempDir()
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	w.dir = filepath.Join(disk, "audit")
	cmd := w.command(ctx, 4000, 64<<10, "unshare", "--user", "--map-root-user", "--mount", "sh", "-c",
		`mount -t tmpfs -o size="$SIZE" none "$DISK" && { `+script+`; }; code=$?; cp -r "$DISK/audit" "$KEEP/" || exit 90; exit $code`)
	cmd.Args = append(cmd.Args[:len(cmd.Args)-2], "writer", os.Args[0], "-test.run=^TestWriterProcess$")
	cmd.Env = append(cmd.Env, "DISK="+disk, "KEEP="+keep, "SIZE="+size)
	var errOut strings.Builder
	cmd.Stderr = &errOut
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("unshare is needed for this test: %v", err)
	}
	if err := w.listen(pipe, nil); err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || cmd.ProcessState.ExitCode() == 90 || strings.Contains(errOut.String(), "mount:") || strings.Contains(errOut.String(), "unshare:") {
		t.Fatalf("a small disk of its own is needed for this test: %v\n%s", err, &errOut)
	}
	w.dir = filepath.Join(keep, "audit")
	return errOut.String()
}

// On a disk that fills up the log refuses business while there is still room
// for what it needs itself, or stops; it never acknowledges what it has not.
func TestFullDiskLosesNothingAcknowledged(t *testing.T) {
	for _, size := range []string{"160k", "256k", "600k"} {
		t.Run(size, func(t *testing.T) {
			w := newWriter(t)
			said := onSmallDisk(t, w, size, `"$@"`)
			if !strings.Contains(said, "no space left") && !strings.Contains(said, "low-water") && !strings.Contains(said, "no spare segment") {
				t.Errorf("4,000 entries on %s: %s", size, said)
			}
			if size != "160k" && len(w.acked) == 0 {
				t.Errorf("nothing was acknowledged: %s", said)
			}
			t.Logf("%d entries acknowledged; then: %s", len(w.acked), said)
			if err := w.check(t); err != nil {
				t.Error(err)
			}
		})
	}
}

// A writer that may not make files longer than it needs for its first segment
// has no room for the next, and says so.
func TestLimitOnFileSizeStopsTheLog(t *testing.T) {
	w := newWriter(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := w.command(ctx, 2000, 64<<10, "sh", "-c", `ulimit -f 100; exec "$@"`, "writer") // 100 blocks of 512 bytes: less than a segment
	out, err := cmd.CombinedOutput()
	if err == nil || len(out) == 0 {
		t.Fatalf("a log without room for its segments began: %v %s", err, out)
	}
	if err := w.check(t); err != nil {
		t.Error(err)
	}
}

func TestStoppedLogGoesOn(t *testing.T) {
	w := newWriter(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := w.command(ctx, 200, 16<<10)
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stops := 0
	if err := w.listen(pipe, func(acked int) bool {
		if acked > 0 && acked%50 == 0 && stops < acked/50 {
			stops++
			if err := syscall.Kill(cmd.Process.Pid, syscall.SIGSTOP); err != nil {
				t.Error(err)
			}
			time.Sleep(300 * time.Millisecond)
			if err := syscall.Kill(cmd.Process.Pid, syscall.SIGCONT); err != nil {
				t.Error(err)
			}
		}
		return false
	}); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || !w.closed || len(w.acked) != 200 || stops < 3 {
		t.Errorf("%v: closed %v, %d acknowledged, stopped %d times", err, w.closed, len(w.acked), stops)
	}
	if err := w.check(t); err != nil {
		t.Error(err)
	}
}

// While one process has the log, no other gets it, stopped or not.
func TestSecondProcessIsRefused(t *testing.T) {
	w := newWriter(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := w.command(ctx, 1_000_000, 1<<20)
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := w.listen(pipe, func(acked int) bool { return acked > 3 }); err != nil {
		t.Fatal(err)
	}
	refused := func(when string) {
		t.Helper()
		out, err := w.command(ctx, 1, 1<<20).CombinedOutput()
		if err == nil || !strings.Contains(string(out), ErrLocked.Error()) {
			t.Errorf("%s: %v %s", when, err, out)
		}
	}
	refused("running")
	if err := syscall.Kill(cmd.Process.Pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	refused("stopped")
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if err := w.check(t); err != nil {
		t.Error(err)
	}
}

// killCycles kills a writer at some moment of its work, over and over in one
// directory.
func killCycles(t *testing.T, cycles int) {
	w := newWriter(t)
	for n := range cycles {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		cmd := w.command(ctx, 1_000_000, 16<<10)
		pipe, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		before := len(w.acked)
		if n%5 == 4 { // in the middle of its recovery, perhaps
			time.Sleep(time.Duration(n%50) * time.Millisecond)
		} else if err := w.listen(pipe, func(acked int) bool { return acked > n%7 }); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := w.listen(pipe, nil); err != nil { // what was acknowledged before it died
			t.Fatal(err)
		}
		_ = cmd.Wait()
		cancel()
		if n%5 != 4 && len(w.acked) <= before {
			t.Fatalf("cycle %d: nothing was acknowledged", n)
		}
		if n%10 == 9 || n == cycles-1 {
			if err := w.check(t); err != nil {
				t.Fatalf("cycle %d: %v", n, err)
			}
		} else if err := w.noFalseOK(); err != nil {
			t.Fatalf("cycle %d: %v", n, err)
		}
	}
	t.Logf("%d entries acknowledged in %d cycles", len(w.acked), cycles)
}

func TestKilledProcessLosesNothingAcknowledged(t *testing.T) { killCycles(t, 50) }
