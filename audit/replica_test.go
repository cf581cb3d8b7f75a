package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

const replicaOrigin = "gw1.example.gov.cn/audit"

// line is the way to a replica, which a test can cut.
type line struct {
	*ReplicaDir
	mu    sync.Mutex
	cut   error
	after time.Duration // until it is told
}

func (c *line) set(err error) { c.hang(0, err) }

func (c *line) hang(after time.Duration, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut, c.after = err, after
}

func (c *line) up(ctx context.Context) error {
	c.mu.Lock()
	cut, after := c.cut, c.after
	c.mu.Unlock()
	select {
	case <-time.After(after):
		return cut
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *line) Begin(ctx context.Context, meta []byte) (uint64, error) {
	if err := c.up(ctx); err != nil {
		return 0, err
	}
	return c.ReplicaDir.Begin(ctx, meta)
}

func (c *line) Write(ctx context.Context, s Stretch) (uint64, error) {
	if err := c.up(ctx); err != nil {
		return 0, err
	}
	return c.ReplicaDir.Write(ctx, s)
}

func openReplica(t *testing.T, dir string, key testKey) *line {
	t.Helper()
	r, err := OpenReplicaDir(ReplicaConfig{Dir: dir, Origin: replicaOrigin, Keys: keysOf(key)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return &line{ReplicaDir: r}
}

func replicatedConfig(dir string, key testKey, to Replica) Config {
	cfg := testConfig(dir, key)
	cfg.Replica, cfg.AppendTimeout = to, 10*time.Second
	return cfg
}

// sameSegments compares the segments of a log and its replica.
func sameSegments(t *testing.T, log, replica string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(log, nameWAL, "*.seg"))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		if !bytes.Equal(readTest(t, name), readTest(t, filepath.Join(replica, nameWAL, filepath.Base(name)))) {
			t.Errorf("%s differs", filepath.Base(name))
		}
	}
}

func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

func TestAcknowledgedEntriesAreInTheReplicaWhichVerifies(t *testing.T) {
	key, root := newKey(t), t.TempDir()
	to := openReplica(t, root, key)
	l := openTest(t, replicatedConfig(t.TempDir(), key, to))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 12 {
				r, err := l.Append(context.Background(), testEntry(i))
				if err != nil {
					t.Error(err)
					return
				}
				if n, err := to.Begin(context.Background(), readTest(t, filepath.Join(l.cfg.Dir, nameMeta))); err != nil || n <= r[0].Index {
					t.Errorf("entry %d acknowledged, the replica has %d: %v", r[0].Index, n, err)
				}
			}
		})
	}
	wg.Wait()
	copied := filepath.Join(root, "2026q4")
	verifyTest(t, copied, key, VerifyOptions{Live: true})
	closeTest(t, l)
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	r := verifyTest(t, copied, key, VerifyOptions{Origin: testOrigin})
	if r.Head.Head != l.Head().Head || r.Segments < 2 {
		t.Errorf("replica ends at %d in %d segments, the log at %d", r.Head.Size, r.Segments, l.Head().Size)
	}
	sameSegments(t, l.cfg.Dir, copied)
}

func TestWithoutItsReplicaALogTakesNoBusinessUntilItHasCaughtUp(t *testing.T) {
	key, root := newKey(t), t.TempDir()
	to := openReplica(t, root, key)
	l := openTest(t, replicatedConfig(t.TempDir(), key, to))
	appendTest(t, l, 3)
	to.set(errInjected)
	within(t, "appends go on without the replica", func() bool {
		_, err := l.Append(context.Background(), testEntry(1))
		return errors.Is(err, ErrReplica) && errors.Is(err, errInjected)
	})
	within(t, "the log is not held", func() bool {
		_, err := l.Append(context.Background(), testEntry(1))
		return errors.Is(err, ErrHeld) && errors.Is(err, ErrReplica)
	})
	if s := l.Status(); !slices.Equal(s.Held, []string{"replica"}) || s.Replica.Follows || s.Replica.Behind == 0 || s.Size != l.Head().Size {
		t.Errorf("status %+v, replica %+v", s, s.Replica)
	}
	for range 20 { // more than a segment
		if _, err := l.Append(context.Background(), Entry{Open: Open{Op: OpLogin, Phase: PhaseDone}}); err != nil {
			t.Fatalf("a login without the replica: %v", err)
		}
	}
	to.set(nil)
	within(t, "business does not go on", func() bool { _, err := l.Append(context.Background(), testEntry(1)); return err == nil })
	if s := l.Status(); len(s.Held) > 0 || !s.Replica.Follows || s.Failed || s.Free <= 0 {
		t.Errorf("status %+v, replica %+v", s, s.Replica)
	}
	closeTest(t, l)
	to.Close()
	sameSegments(t, l.cfg.Dir, filepath.Join(root, "2026q4"))
	verifyTest(t, filepath.Join(root, "2026q4"), key, VerifyOptions{})
}

func TestAnOptionalReplicaHoldsNothing(t *testing.T) {
	key, root := newKey(t), t.TempDir()
	to := openReplica(t, root, key)
	to.set(errInjected)
	cfg := replicatedConfig(t.TempDir(), key, to)
	cfg.ReplicaOptional = true
	l := openTest(t, cfg)
	appendTest(t, l, 30)
	to.set(nil)
	within(t, "the replica does not catch up", func() bool {
		n, _ := to.Begin(context.Background(), readTest(t, filepath.Join(l.cfg.Dir, nameMeta)))
		return n == l.Head().Size
	})
}

// Where packets are dropped, no attempt fails fast.
func TestAReplicaThatHangsCountsAsDown(t *testing.T) {
	for name, why := range map[string]error{
		"time is over":      fmt.Errorf("asking: %w", context.DeadlineExceeded),
		"it is told slowly": errInjected,
	} {
		hung := func(t *testing.T, optional bool) *Log {
			t.Parallel()
			key := newKey(t)
			to := openReplica(t, t.TempDir(), key)
			cfg := replicatedConfig(t.TempDir(), key, to)
			cfg.ReplicaOptional = optional
			l := openTest(t, cfg)
			appendTest(t, l, 3)
			to.hang(again+100*time.Millisecond, why)
			return l
		}
		t.Run(name+", optional", func(t *testing.T) {
			l := hung(t, true)
			appendTest(t, l, 1) // finds out
			began := time.Now()
			appendTest(t, l, 20)
			if took := time.Since(began); took >= l.cfg.AppendTimeout {
				t.Errorf("20 entries took %v", took)
			}
		})
		t.Run(name+", required", func(t *testing.T) {
			l := hung(t, false)
			if _, err := l.Append(t.Context(), testEntry(1)); !errors.Is(err, ErrReplica) || !errors.Is(err, why) {
				t.Errorf("the entry that finds out: %v", err)
			}
			within(t, "the log is not held", func() bool {
				_, err := l.Append(t.Context(), testEntry(1))
				return errors.Is(err, ErrHeld) && errors.Is(err, ErrReplica) && errors.Is(err, why)
			})
			began := time.Now()
			for range 20 {
				if _, err := l.Append(t.Context(), Entry{Open: Open{Op: OpLogin, Phase: PhaseDone}}); err != nil {
					t.Fatalf("a login: %v", err)
				}
			}
			if took := time.Since(began); took >= l.cfg.AppendTimeout {
				t.Errorf("20 logins took %v", took)
			}
		})
	}
}

// The replica's process may end anywhere, with a torn write; it goes on from
// what is whole and gets the rest again.
func TestReplicaGoesOnAfterACrash(t *testing.T) {
	key := newKey(t)
	root, dir := t.TempDir(), t.TempDir()
	to := openReplica(t, root, key)
	l := openTest(t, replicatedConfig(dir, key, to))
	appendTest(t, l, 5)
	closeTest(t, l)
	again := t.TempDir()
	copied := copyDir(t, filepath.Join(root, "2026q4")) // as a crash leaves it
	if err := os.Rename(copied, filepath.Join(again, "2026q4")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{nameCheckpoint, nameCheckpoints, nameLastHead} {
		os.Remove(filepath.Join(again, "2026q4", name))
	}
	seg := filepath.Join(again, "2026q4", nameWAL, segmentName(0))
	b := readTest(t, seg)
	at, to2 := frameAt(t, b, -1)
	clear(b[at+300 : to2])
	b[at+100] ^= 1
	writeTest(t, seg, b)

	to = openReplica(t, again, key)
	l = openTest(t, replicatedConfig(dir, key, to))
	appendTest(t, l, 5)
	closeTest(t, l)
	to.Close()
	sameSegments(t, dir, filepath.Join(again, "2026q4"))
	verifyTest(t, filepath.Join(again, "2026q4"), key, VerifyOptions{})
}

func TestQuarantinedFilesComeToTheReplica(t *testing.T) {
	key, root := newKey(t), t.TempDir()
	dir := crashed(t, key, 5, false)
	b := readTest(t, filepath.Join(dir, nameWAL, segmentName(0)))
	at, _ := frameAt(t, b, -1)
	flip(t, filepath.Join(dir, nameWAL, segmentName(0)), int(at)+100)
	to := openReplica(t, root, key)
	l := openTest(t, replicatedConfig(dir, key, to))
	closeTest(t, l)
	to.Close()
	verifyTest(t, filepath.Join(root, "2026q4"), key, VerifyOptions{})
	if names, err := os.ReadDir(filepath.Join(root, "2026q4", nameQuarantine)); err != nil || len(names) != 1 {
		t.Errorf("quarantine %v: %v", names, err)
	}
}

func TestReplicaFollowsATurnAndTakesASealedShardLater(t *testing.T) {
	key, root, dir := newKey(t), t.TempDir(), t.TempDir()
	to := openReplica(t, root, key)
	l := openTest(t, replicatedConfig(filepath.Join(dir, "2026q4"), key, to))
	appendTest(t, l, 3)
	next, err := l.Turn(func(previous []byte) (*Log, error) {
		cfg := replicatedConfig(filepath.Join(dir, "2027q1"), key, to)
		cfg.Origin, cfg.Previous = replicaOrigin+"/2027q1", previous
		return OpenLog(context.Background(), cfg)
	})
	if err != nil {
		t.Fatal(err)
	}
	appendTest(t, l, 3)
	closeTest(t, l)
	to.Close()
	for _, q := range []string{"2026q4", "2027q1"} {
		sameSegments(t, filepath.Join(dir, q), filepath.Join(root, q))
		verifyTest(t, filepath.Join(root, q), key, VerifyOptions{})
	}
	_ = next
	late := t.TempDir()
	a, err := OpenArchive(context.Background(), filepath.Join(dir, "2026q4"), key.Public())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is nothing to do
		to = openReplica(t, late, key)
		if err := a.Replicate(context.Background(), to); err != nil {
			t.Fatal(err)
		}
		to.Close()
		verifyTest(t, filepath.Join(late, "2026q4"), key, VerifyOptions{})
	}
}

// A log that was set back is held: its replica has seen more.
func TestReplicaShowsThatALogWasSetBack(t *testing.T) {
	key, root, dir := newKey(t), t.TempDir(), t.TempDir()
	to := openReplica(t, root, key)
	l := openTest(t, replicatedConfig(dir, key, to))
	appendTest(t, l, 2)
	back := copyDir(t, dir)
	appendTest(t, l, 8)
	closeTest(t, l)
	l = openTest(t, replicatedConfig(back, key, to))
	if _, err := l.Append(context.Background(), testEntry(1)); !errors.Is(err, ErrReplica) || !errors.Is(err, ErrDamaged) {
		t.Errorf("append to a log that was set back: %v", err)
	}
	for range 9 { // longer than before, and otherwise
		if _, err := l.Append(context.Background(), Entry{Open: Open{Op: OpLogin}}); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(again)
	within(t, "the log was let go on", func() bool {
		_, err := l.Append(context.Background(), testEntry(1))
		return errors.Is(err, ErrReplica)
	})
}

func TestReplicaRefusesWhatIsNotTheLog(t *testing.T) {
	key := newKey(t)
	dir := t.TempDir()
	l := openTest(t, testConfig(dir, key))
	appendTest(t, l, 4)
	closeTest(t, l)
	meta := readTest(t, filepath.Join(dir, nameMeta))
	r := l.NewReader(0)
	whole, _, err := r.stretch(l.Head().Size)
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	second, _ := frameAt(t, whole.Frames, 1)
	third, _ := frameAt(t, whole.Frames, 2)
	rogue := newKey(t)
	for name, test := range map[string]struct {
		change func(s *Stretch)
		want   error
	}{
		"changed entry":            {func(s *Stretch) { s.Frames[300] ^= 1 }, ErrDamaged},
		"changed, checksums right": {func(s *Stretch) { s.Frames[120] ^= 1; reseal(s.Frames[:second]) }, ErrDamaged},
		"cut":                      {func(s *Stretch) { s.Frames = s.Frames[:len(s.Frames)-100] }, ErrDamaged},
		"first frame left out":     {func(s *Stretch) { s.Frames, s.Offset = s.Frames[second:], second }, ErrPlace},
		"a frame left out":         {func(s *Stretch) { s.Frames = append(s.Frames[:second:second], s.Frames[third:]...) }, ErrPlace},
		"twice":                    {func(s *Stretch) { s.Frames = append(s.Frames[:second:second], s.Frames...) }, ErrPlace},
		"elsewhere":                {func(s *Stretch) { s.Offset = 512 }, ErrPlace},
		"another segment":          {func(s *Stretch) { s.Segment = segmentName(7) }, ErrPlace},
		"no such segment":          {func(s *Stretch) { s.Segment = "../../x" }, ErrPlace},
		"another log":              {func(s *Stretch) { s.Origin = replicaOrigin + "/2027q1" }, ErrForeign},
		"signed by another key":    {func(s *Stretch) { resign(t, s.Frames[:second], rogue) }, ErrSignature},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			to := openReplica(t, root, key)
			if _, err := to.Begin(context.Background(), meta); err != nil {
				t.Fatal(err)
			}
			s := whole
			s.Frames = bytes.Clone(whole.Frames)
			test.change(&s)
			if _, err := to.Write(context.Background(), s); !errors.Is(err, test.want) {
				t.Fatalf("%v, want %v", err, test.want)
			}
			if !allZero(readTest(t, filepath.Join(root, "2026q4", nameWAL, segmentName(0)))) {
				t.Error("something was written")
			}
			if n, err := to.Write(context.Background(), whole); err != nil || n != l.Head().Size {
				t.Errorf("the right frames afterwards: %d, %v", n, err)
			}
		})
	}
	to := openReplica(t, t.TempDir(), rogue)
	if _, err := to.Begin(context.Background(), meta); !errors.Is(err, ErrSignature) {
		t.Errorf("log.json of another key: %v", err)
	}
	for _, name := range []string{"", ".", "..", "../x", "a/b", ".hidden"} {
		to := openReplica(t, t.TempDir(), key)
		if _, err := to.Begin(context.Background(), meta); err != nil {
			t.Fatal(err)
		}
		if err := to.Keep(context.Background(), testOrigin, name, nil); err == nil {
			t.Errorf("file %q was taken", name)
		}
	}
}

// resign replaces the signature of a frame.
func resign(t *testing.T, frame []byte, key testKey) {
	t.Helper()
	f, err := parseFrame(testOrigin, frame)
	if err != nil {
		t.Fatal(err)
	}
	for {
		sig, err := key.SignMessage(f.head.Text())
		if err != nil {
			t.Fatal(err)
		}
		if len(sig) == len(f.sig) {
			copy(f.sig, sig)
			reseal(frame)
			return
		}
	}
}
