package audit

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// follow reads all that is new and checks that nothing is skipped or repeated.
func follow(t *testing.T, r *Reader, from uint64) uint64 {
	t.Helper()
	next, err := r.Next(context.Background(), func(s Stored) error {
		if s.Index != from {
			t.Errorf("entry %d, want %d", s.Index, from)
		}
		from++
		return nil
	})
	if err != nil || next != from {
		t.Fatalf("read up to %d (%d): %v", next, from, err)
	}
	return next
}

func TestReaderFollowsARunningLogOverItsSegments(t *testing.T) {
	key := newKey(t)
	cfg := testConfig(t.TempDir(), key)
	cfg.PublishEvery = time.Millisecond // so that full tiles leave the memory
	l := openTest(t, cfg)
	r := l.NewReader(0)
	defer r.Close()
	at := follow(t, r, 0)
	for range 8 {
		appendTest(t, l, 37) // several segments, more than a full tile
		if at = follow(t, r, at); at != l.Head().Size {
			t.Fatalf("read %d entries, log has %d", at, l.Head().Size)
		}
	}
	late := l.NewReader(150)
	defer late.Close()
	follow(t, late, 150)
}

func TestReaderGoesOnWhereItsCallerStopped(t *testing.T) {
	l := openTest(t, testConfig(t.TempDir(), newKey(t)))
	appendTest(t, l, 5)
	r := l.NewReader(0)
	defer r.Close()
	stop := errors.New("stop")
	next, err := r.Next(context.Background(), func(s Stored) error {
		if s.Index == 3 {
			return stop
		}
		return nil
	})
	if next != 3 || !errors.Is(err, stop) {
		t.Fatalf("stopped at %d: %v", next, err)
	}
	follow(t, r, 3)
}

func TestReaderRefusesWhatWasNotSigned(t *testing.T) {
	key, dir := newKey(t), t.TempDir()
	l := openTest(t, testConfig(dir, key))
	appendTest(t, l, 5)
	name := filepath.Join(dir, nameWAL, segmentName(0))
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[600]++
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	r := l.NewReader(0)
	defer r.Close()
	if _, err := r.Next(context.Background(), func(Stored) error { return nil }); !errors.Is(err, ErrDamaged) {
		t.Fatalf("read a changed entry: %v", err)
	}
	if _, err := l.NewReader(99).Next(context.Background(), nil); !errors.Is(err, ErrRange) {
		t.Fatalf("read beyond the log: %v", err)
	}
}
