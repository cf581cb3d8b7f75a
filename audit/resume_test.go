package audit

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// longTest is the closed directory of a log that a start resumes: several
// segments, full tiles, checkpoints.
func longTest(t testing.TB, key testKey) (dir string, size uint64) {
	t.Helper()
	dir = t.TempDir()
	for range 2 {
		l := resumeTest(t, dir, key)
		entries := make([]Entry, 10)
		for i := range entries {
			entries[i] = testEntry(i)
		}
		for range 35 {
			if _, err := l.Append(context.Background(), entries...); err != nil {
				t.Fatal(err)
			}
		}
		closeTest(t, l)
		size = l.Head().Size
	}
	return dir, size
}

func resumeConfig(dir string, key testKey) Config {
	cfg := testConfig(dir, key)
	cfg.SegmentSize, cfg.resumeFrom = 64<<10, 300
	return cfg
}

func resumeTest(t testing.TB, dir string, key testKey) *Log {
	t.Helper()
	return openTest(t, resumeConfig(dir, key))
}

// last waits until the log's last entry is of the operation.
func last(t *testing.T, l *Log, op Op) Stored {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		var s Stored
		n := l.Head().Size
		if err := l.Read(context.Background(), n-1, n, func(_ uint64, e Stored) error { s = e; return nil }); err != nil {
			t.Fatal(err)
		}
		if s.Entry.Open.Op == op {
			return s
		}
		if time.Now().After(end) {
			t.Fatalf("log ends with %s, not %s", s.Entry.Open.Op, op)
		}
	}
}

func flip(t *testing.T, name string, at int) {
	t.Helper()
	b := readTest(t, name)
	b[at] ^= 1
	writeTest(t, name, b)
}

func TestLongLogIsResumedAndReadAgainBesideItsWork(t *testing.T) {
	key := newKey(t)
	dir, size := longTest(t, key)
	l := resumeTest(t, dir, key)
	if l.behind == nil || l.behind.first < 500 {
		t.Fatalf("log of %d entries was read from the beginning: %+v", size, l.behind)
	}
	if s := last(t, l, OpLogChecked); *s.Entry.Open.Rows != 0 {
		t.Errorf("%d tiles mended in a whole log", *s.Entry.Open.Rows)
	}
	appendTest(t, l, 30)
	for i := range l.Head().Size {
		if r, err := l.Receipt(i); err != nil || r.Verify(key.Public(), r.Leaf) != nil {
			t.Fatalf("receipt %d: %v", i, err)
		}
	}
	closeTest(t, l)
	verifyTest(t, dir, key, VerifyOptions{MinSize: size + 30})
}

// Whatever of the tiles is gone or wrong, the start finds a checkpoint whose
// tiles hold or reads everything; afterwards the directory is whole again.
func TestResumedStartMendsTiles(t *testing.T) {
	key := newKey(t)
	base, _ := longTest(t, key)
	partial := func(dir, level string) string {
		names, err := filepath.Glob(filepath.Join(dir, "tile", level, "*.p", "*"))
		if err != nil || len(names) != 1 {
			t.Fatalf("partial tiles %v: %v", names, err)
		}
		return names[0]
	}
	for name, harm := range map[string]func(dir string){
		"full tile changed":     func(dir string) { flip(t, filepath.Join(dir, "tile/0/001"), 40) },
		"full tile empty":       func(dir string) { writeTest(t, filepath.Join(dir, "tile/0/001"), nil) },
		"first tile gone":       func(dir string) { os.Remove(filepath.Join(dir, "tile/0/000")) },
		"newest full tile gone": func(dir string) { os.Remove(filepath.Join(dir, "tile/0/002")) },
		"edge changed":          func(dir string) { flip(t, partial(dir, "0"), 40) },
		"edge gone":             func(dir string) { os.RemoveAll(filepath.Dir(partial(dir, "0"))) },
		"upper edge changed":    func(dir string) { flip(t, partial(dir, "1"), 40) },
		"edge shortened":        func(dir string) { os.Truncate(partial(dir, "0"), 64) },
		"all tiles gone":        func(dir string) { os.RemoveAll(filepath.Join(dir, "tile")) },
		"checkpoints.log is all": func(dir string) {
			os.Remove(filepath.Join(dir, nameCheckpoint))
			os.Remove(filepath.Join(dir, nameLastHead))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyDir(t, base)
			harm(dir)
			l := resumeTest(t, dir, key)
			if l.behind != nil {
				last(t, l, OpLogChecked)
			}
			appendTest(t, l, 3)
			closeTest(t, l)
			verifyTest(t, dir, key, VerifyOptions{})
		})
	}
}

// A changed frame behind the checkpoint does not hinder the start, but ends the
// log soon; the next start refuses it and changes nothing, until it is put right.
func TestDamageBehindAResumedStartStopsTheLogForGood(t *testing.T) {
	key := newKey(t)
	base, _ := longTest(t, key)
	first := filepath.Join(nameWAL, segmentName(0))
	for name, test := range map[string]struct {
		harm func(dir string)
		says string
	}{
		"entry changed":    {func(dir string) { flip(t, filepath.Join(dir, first), 700) }, "from entry 1 on"},
		"checksum renewed": {func(dir string) { changeEntry(t, filepath.Join(dir, first)) }, "from entry 1 on"},
		"segment gone":     {func(dir string) { os.Remove(filepath.Join(dir, first)) }, "from entry 0 on"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyDir(t, base)
			whole := readTest(t, filepath.Join(dir, first))
			test.harm(dir)
			l := resumeTest(t, dir, key)
			select {
			case <-l.Failed():
			case <-time.After(20 * time.Second):
				t.Fatal("damage was not noticed")
			}
			if err := l.Err(); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("failed with %v", err)
			}
			if s := last(t, l, OpLogDamaged); s.Entry.Open.Phase != PhaseFailed {
				t.Errorf("recorded %+v", s.Entry.Open)
			}
			if err := l.Close(); !errors.Is(err, ErrPoisoned) {
				t.Errorf("closed: %v", err)
			}
			before := filesOf(t, dir)
			if _, err := OpenLog(context.Background(), resumeConfig(dir, key)); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), test.says) {
				t.Fatalf("opened again: %v", err)
			}
			for name, b := range filesOf(t, dir) {
				if !bytes.Equal(b, before[name]) {
					t.Errorf("%s was changed", name)
				}
			}
			if _, err := VerifyDir(context.Background(), dir, VerifyOptions{Keys: keysOf(key), Live: true}); !errors.Is(err, ErrDamaged) {
				t.Errorf("verifies: %v", err)
			}
			writeTest(t, filepath.Join(dir, first), whole)
			closeTest(t, resumeTest(t, dir, key))
			verifyTest(t, dir, key, VerifyOptions{})
		})
	}
}

// changeEntry changes a name in the second frame and makes its checksum anew.
func changeEntry(t *testing.T, segment string) {
	t.Helper()
	b := readTest(t, segment)
	at, to := frameAt(t, b, 1)
	copy(b[int(at)+bytes.Index(b[at:to], []byte("clerk-7")):], "clerk-9")
	reseal(b[at:to])
	writeTest(t, segment, b)
}

// A known head that is not among the frames is damage, wherever it lies.
func TestResumedStartHoldsEveryPublishedHeadAgainstTheFrames(t *testing.T) {
	key := newKey(t)
	dir, _ := longTest(t, key)
	s, err := ParseCheckpoint(readTest(t, filepath.Join(dir, nameCheckpoint)))
	if err != nil {
		t.Fatal(err)
	}
	s.Size, s.Root[0] = 90, s.Root[0]^1
	if s.Signature, err = key.SignMessage(s.Text()); err != nil {
		t.Fatal(err)
	}
	note, _ := s.MarshalText()
	writeTest(t, filepath.Join(dir, nameCheckpoint), note)
	l := resumeTest(t, dir, key)
	select {
	case <-l.Failed():
	case <-time.After(20 * time.Second):
		t.Fatal("another history was published, and nobody noticed")
	}
	if err := l.Err(); !errors.Is(err, ErrDamaged) {
		t.Errorf("failed with %v", err)
	}
}

func TestResumedStartKnowsWhatWasQuarantinedBefore(t *testing.T) {
	key := newKey(t)
	dir := crashed(t, key, 5, false)
	name := filepath.Join(dir, nameWAL, segmentName(0))
	b := readTest(t, name)
	from, _ := frameAt(t, b, -1)
	flip(t, name, int(from)+100)
	cfg := testConfig(dir, key)
	cfg.resumeFrom = 1
	l := openTest(t, cfg) // records it
	appendTest(t, l, 20)
	closeTest(t, l)
	l = openTest(t, cfg)
	if l.behind == nil {
		t.Fatal("log was read from the beginning")
	}
	recovered := 0
	if err := l.Read(context.Background(), 0, l.Head().Size, func(_ uint64, e Stored) error {
		recovered += len(e.Entry.Open.Quarantine)
		return nil
	}); err != nil || recovered != 1 {
		t.Errorf("recorded %d times: %v", recovered, err)
	}
	closeTest(t, l)
	verifyTest(t, dir, key, VerifyOptions{})
}
