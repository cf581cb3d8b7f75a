//go:build integration || long

package audit

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"
)

// A log in a process of its own, which can be killed, stopped, starved and
// lied to. It is this test program again: TestWriterProcess, when the
// environment says so. It prints a line for each acknowledged entry.

const (
	envWriter  = "YIZHENG_AUDIT_WRITER" // the directory
	envKey     = "YIZHENG_AUDIT_KEY"    // hex
	envEntries = "YIZHENG_AUDIT_ENTRIES"
	envSegment = "YIZHENG_AUDIT_SEGMENT"
)

func TestWriterProcess(t *testing.T) {
	dir := os.Getenv(envWriter)
	if dir == "" {
		t.SkipNow() // not a test: what other tests start
	}
	os.Exit(write(dir))
}

// write appends one entry after the other, and returns 0 if the log was closed
// in good order.
func write(dir string) int {
	cfg, err := writerConfig(dir, os.Getenv(envKey))
	entries, err2 := strconv.Atoi(os.Getenv(envEntries))
	segment, err3 := strconv.ParseInt(os.Getenv(envSegment), 10, 64)
	if err := errors.Join(err, err2, err3); err != nil {
		return failed(err)
	}
	cfg.SegmentSize = segment
	l, err := OpenLog(context.Background(), cfg)
	if err != nil {
		return failed(err)
	}
	fmt.Println("open")
	for i := range entries {
		r, err := l.Append(context.Background(), testEntry(i))
		if err != nil {
			return failed(errors.Join(err, l.Close()))
		}
		fmt.Printf("%d %x\n", r[0].Index, r[0].Leaf[:])
	}
	if err := l.Close(); err != nil {
		return failed(err)
	}
	fmt.Println("closed")
	return 0
}

func failed(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}

func writerConfig(dir, secret string) (Config, error) {
	d, ok := new(big.Int).SetString(secret, 16)
	if !ok {
		return Config{}, errors.New("no key")
	}
	key, err := sm2.NewPrivateKeyFromInt(d)
	if err != nil {
		return Config{}, err
	}
	cfg := testConfig(dir, testKey{key})
	cfg.SegmentSize, cfg.PublishEvery, cfg.AppendTimeout = 4<<10, 5*time.Millisecond, 20*time.Second
	return cfg, nil
}

// writer is such a process.
type writer struct {
	dir    string
	secret string
	key    testKey
	acked  map[uint64]Hash
	closed bool // it said that it closed the log in good order
	killed bool
}

func newWriter(t *testing.T) *writer {
	t.Helper()
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &writer{dir: filepath.Join(t.TempDir(), "audit"), secret: key.D.Text(16), key: testKey{key}, acked: make(map[uint64]Hash)}
}

// command is the process behind the given words (strace, unshare), not started.
func (w *writer) command(ctx context.Context, entries, segment int, before ...string) *exec.Cmd {
	args := append(before, os.Args[0], "-test.run=^TestWriterProcess$")
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), envWriter+"="+w.dir, envKey+"="+w.secret, envEntries+"="+strconv.Itoa(entries), envSegment+"="+strconv.Itoa(segment), "GOMAXPROCS=2")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // the words before it, too
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// listen takes down what is acknowledged until the pipe ends, or stop says so.
func (w *writer) listen(r io.Reader, stop func(acked int) bool) error {
	lines := bufio.NewScanner(r)
	n := 0
	for lines.Scan() {
		text := lines.Text()
		switch index, leaf, ok := strings.Cut(text, " "); {
		case text == "closed":
			w.closed = true
		case ok:
			i, err := strconv.ParseUint(index, 10, 64)
			b, err2 := hex.DecodeString(leaf)
			if err != nil || err2 != nil || len(b) != len(Hash{}) {
				return nil // the last line, cut short
			}
			w.acked[i] = Hash(b)
			n++
		}
		if stop != nil && stop(n) {
			return nil
		}
	}
	return lines.Err()
}

// check: a verifier that says OK has seen everything acknowledged; recovery
// succeeds, finds it, and what it leaves verifies to the byte.
func (w *writer) check(t *testing.T) error {
	t.Helper()
	if _, err := os.Stat(w.dir); errors.Is(err, os.ErrNotExist) {
		if len(w.acked) > 0 {
			return errors.New("the directory is gone")
		}
		return nil
	}
	if err := w.noFalseOK(); err != nil {
		return err
	}
	cfg, err := writerConfig(w.dir, w.secret)
	if err != nil {
		return err
	}
	l, err := OpenLog(context.Background(), cfg)
	if err != nil {
		return fmt.Errorf("recovery: %w", err)
	}
	for index, leaf := range w.acked {
		if r, err := l.Receipt(index); err != nil || r.Leaf != leaf {
			return errors.Join(fmt.Errorf("acknowledged entry %d is gone: %w", index, err), l.Close())
		}
	}
	if err := l.Close(); err != nil {
		return fmt.Errorf("after recovery: %w", err)
	}
	w.closed = false // by the process
	_, err = VerifyDir(context.Background(), w.dir, VerifyOptions{Keys: keysOf(w.key)})
	return err
}

func (w *writer) noFalseOK() error {
	leaves := make(map[uint64]Hash)
	o := VerifyOptions{Keys: keysOf(w.key), Live: !w.closed, Entry: func(s *Stored) { leaves[s.Index] = s.Leaf }}
	_, err := VerifyDir(context.Background(), w.dir, o)
	if err != nil {
		if w.closed {
			return fmt.Errorf("closed in good order: %w", err)
		}
		return nil
	}
	for index, leaf := range w.acked {
		if leaves[index] != leaf {
			return fmt.Errorf("verified without acknowledged entry %d", index)
		}
	}
	return nil
}
