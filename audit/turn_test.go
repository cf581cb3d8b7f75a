package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// nextShard opens the shard after testConfig's beside it.
func nextShard(dir string, key testKey) func(previous []byte) (*Log, error) {
	return func(previous []byte) (*Log, error) {
		cfg := testConfig(filepath.Join(dir, "2027q1"), key)
		cfg.Origin, cfg.Previous = "gw1.example.gov.cn/audit/2027q1", previous
		return OpenLog(context.Background(), cfg)
	}
}

func TestTurnPutsEveryEntryIntoOneOfBothShards(t *testing.T) {
	dir, key := t.TempDir(), newKey(t)
	cfg := testConfig(filepath.Join(dir, "2026q4"), key)
	cfg.SegmentSize, cfg.AppendTimeout = 256<<10, 20*time.Second
	l := openTest(t, cfg)
	var wg sync.WaitGroup
	var mu sync.Mutex
	got := map[Pointer]bool{}
	async := 0
	turned := make(chan struct{})
	for w := range 16 {
		wg.Go(func() {
			for i, after := 0, 0; after < 5; i++ {
				select {
				case <-turned:
					after++
				default:
				}
				if w%4 == 0 {
					if err := l.AppendAsync(testEntry(i)); err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					async++
					mu.Unlock()
				}
				r, err := l.Append(context.Background(), testEntry(i))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				got[r[0].Pointer()] = true
				mu.Unlock()
			}
		})
	}
	time.Sleep(20 * time.Millisecond)
	next, err := l.Turn(nextShard(dir, key))
	if err != nil {
		t.Fatal(err)
	}
	close(turned)
	wg.Wait()
	if l.Latest() != next || l.Next() != next || l.Shard(next.Origin()) != next || l.Shard(l.Origin()) != l || l.Shard("other") != nil {
		t.Error("shards are not found")
	}
	if _, err := l.Turn(nextShard(dir, key)); !errors.Is(err, ErrSealed) {
		t.Errorf("a shard turned twice: %v", err)
	}
	perShard := map[string]int{}
	for p := range got {
		perShard[p.Origin]++
		s, r, err := l.Shard(p.Origin).Entry(context.Background(), p.Index)
		if err != nil || s.Leaf != p.Leaf || r.Verify(key.Public(), p.Leaf) != nil {
			t.Fatalf("%s: %v", p, err)
		}
	}
	if perShard[l.Origin()] == 0 || perShard[next.Origin()] == 0 {
		t.Errorf("entries by shard: %v", perShard)
	}
	if err := l.Close(); err != nil { // closes the next one
		t.Fatal(err)
	}
	old := verifyTest(t, l.cfg.Dir, key, VerifyOptions{})
	new := verifyTest(t, next.cfg.Dir, key, VerifyOptions{})
	if n := old.Entries + new.Entries - 4; n != uint64(len(got)+async) { // log.open, log.close; log.open, log.stop
		t.Errorf("%d entries for %d appends", n, len(got)+async)
	}
	if final, _ := old.Head.MarshalText(); new.Previous != string(final) {
		t.Error("the new shard does not continue the old one")
	}
}

func TestTurnDropsAPrevOfTheOldShard(t *testing.T) {
	dir, key := t.TempDir(), newKey(t)
	l := openTest(t, testConfig(filepath.Join(dir, "2026q4"), key))
	index := appendTest(t, l, 9)[8].Index
	next, err := l.Turn(nextShard(dir, key))
	if err != nil {
		t.Fatal(err)
	}
	for _, prev := range []uint64{index, 0} { // of the old shard; of the new one
		e := testEntry(1)
		e.Open.Prev = &prev
		r, err := l.Append(context.Background(), e)
		if err != nil {
			t.Fatal(err)
		}
		s, _, err := next.Entry(context.Background(), r[0].Index)
		if kept := s.Entry.Open.Prev != nil; err != nil || kept != (prev == 0) {
			t.Errorf("prev %d kept: %v, %v", prev, kept, err)
		}
	}
}

func TestFailureOfTheNextShardIsOneOfTheLog(t *testing.T) {
	dir, key := t.TempDir(), newKey(t)
	l := openTest(t, testConfig(filepath.Join(dir, "2026q4"), key))
	next, err := l.Turn(nextShard(dir, key))
	if err != nil {
		t.Fatal(err)
	}
	next.poison(errInjected)
	select {
	case <-l.Failed():
	default:
		t.Fatal("not told")
	}
	if err := l.Err(); !errors.Is(err, ErrPoisoned) || !errors.Is(err, errInjected) {
		t.Error(err)
	}
	if _, err := l.Append(context.Background(), testEntry(1)); !errors.Is(err, ErrPoisoned) {
		t.Errorf("append: %v", err)
	}
}

func TestTurnThatFailsEndsTheLog(t *testing.T) {
	key := newKey(t)
	var said bytes.Buffer
	cfg := testConfig(t.TempDir(), key)
	cfg.Logger = slog.New(slog.NewTextHandler(&said, nil))
	l := openTest(t, cfg)
	waited := make(chan error, 1)
	_, err := l.Turn(func([]byte) (*Log, error) {
		go func() {
			_, err := l.Append(context.Background(), testEntry(1))
			waited <- err
		}()
		if err := l.AppendAsync(testEntry(2)); err != nil {
			t.Errorf("queue for the next shard: %v", err)
		}
		return nil, errInjected
	})
	if !errors.Is(err, errInjected) || l.Latest() != l {
		t.Fatalf("turned: %v", err)
	}
	if text := said.String(); !strings.Contains(text, "lost entries") || !strings.Contains(text, "release:1") {
		t.Errorf("the entry that nobody waits for is lost without a word: %s", text)
	}
	if err := <-waited; !errors.Is(err, ErrPoisoned) {
		t.Errorf("waiting append: %v", err)
	}
	if err := l.AppendAsync(testEntry(1)); !errors.Is(err, ErrPoisoned) {
		t.Errorf("append: %v", err)
	}
	verifyTest(t, l.cfg.Dir, key, VerifyOptions{}) // sealed, and whole
}

// A turn takes what time it takes; an append does not.
func TestAppendWaitsForATurnNoLongerThanEver(t *testing.T) {
	dir, key := t.TempDir(), newKey(t)
	cfg := testConfig(filepath.Join(dir, "2026q4"), key)
	cfg.AppendTimeout = 100 * time.Millisecond
	l := openTest(t, cfg)
	if _, err := l.Turn(func(previous []byte) (*Log, error) {
		if _, err := l.Append(context.Background(), testEntry(1)); !errors.Is(err, ErrOverloaded) {
			t.Errorf("append: %v", err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := l.Append(ctx, testEntry(1)); !errors.Is(err, context.Canceled) {
			t.Errorf("append: %v", err)
		}
		return nextShard(dir, key)(previous)
	}); err != nil {
		t.Fatal(err)
	}
}

// Wherever in a turn the power goes, the next start seals the old shard, if it
// was not, opens the next one behind it, and both hold what was acknowledged.
func TestPowerCutsInATurnLoseNothingAcknowledged(t *testing.T) { surviveTurns(t, 16) }

func surviveTurns(t *testing.T, seeds uint64) {
	key := newKey(t)
	for seed := range seeds {
		if err := surviveTurn(t, key, seed); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

func surviveTurn(t *testing.T, key testKey, seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, 2))
	disk := newCrashFiles(filepath.Dir(crashRoot))
	second := func(disk *crashFiles) func(previous []byte) (*Log, error) {
		return func(previous []byte) (*Log, error) {
			cfg := crashConfig(disk, key, 1<<20)
			cfg.Dir, cfg.Origin, cfg.Previous = crashRoot+"-next", "gw1.example.gov.cn/audit/2027q1", previous
			return OpenLog(context.Background(), cfg)
		}
	}
	var mu sync.Mutex
	acked := map[Pointer]bool{}
	l, err := OpenLog(context.Background(), crashConfig(disk, key, 1<<20))
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for i := range 12 {
				r, err := l.Append(context.Background(), testEntry(i))
				if err != nil {
					return
				}
				mu.Lock()
				acked[r[0].Pointer()] = true
				mu.Unlock()
			}
		})
	}
	var after *crashFiles
	var before map[Pointer]bool
	disk.mu.Lock()
	disk.cutAt = disk.steps + 1 + rng.IntN(90)
	disk.cut = func() {
		mu.Lock()
		defer mu.Unlock()
		before, after = maps.Clone(acked), disk.crash(rng)
	}
	disk.mu.Unlock()
	_, err = l.Turn(second(disk))
	wg.Wait()
	if err = errors.Join(err, l.Close()); err != nil || after == nil {
		return err // it ended first
	}

	l, err = OpenLog(context.Background(), crashConfig(after, key, 1<<20))
	if err == nil {
		l, err = l.Turn(second(after))
	} else if errors.Is(err, ErrSealed) {
		var note []byte
		if note, err = after.ReadFile(filepath.Join(crashRoot, nameCheckpoint)); err == nil {
			l, err = second(after)(note)
		}
	}
	if err == nil {
		err = l.Close()
	}
	if err != nil {
		return fmt.Errorf("after the cut: %w", err)
	}
	for origin, root := range map[string]string{testOrigin: crashRoot, "gw1.example.gov.cn/audit/2027q1": crashRoot + "-next"} {
		in := t.TempDir()
		if err := after.save(root, in); err != nil {
			return err
		}
		if _, err := VerifyDir(context.Background(), in, VerifyOptions{Keys: keysOf(key), Origin: origin}); err != nil {
			return err
		}
		if err := Each(in, func(s Stored) error {
			delete(before, Pointer{origin, s.Index, s.Leaf})
			return nil
		}, key.Public()); err != nil {
			return err
		}
	}
	if len(before) > 0 {
		return fmt.Errorf("%d acknowledged entries are gone", len(before))
	}
	return nil
}

// TestNothingThatHoldsALogIsLostAtItsTurn: whoever holds it at any moment of the
// turn holds the next shard.
func TestNothingThatHoldsALogIsLostAtItsTurn(t *testing.T) {
	dir, key := t.TempDir(), newKey(t)
	l := openTest(t, testConfig(filepath.Join(dir, "2026q4"), key))
	why := errors.New("for a test")
	open := nextShard(dir, key)
	var holding sync.WaitGroup
	const early, holders = 2000, 4000
	for i := range early { // so that passing them on takes its time
		l.Hold(fmt.Sprint("holder ", i), why)
	}
	next, err := l.Turn(func(previous []byte) (*Log, error) {
		n, err := open(previous)
		holding.Go(func() {
			for i := early; i < holders; i++ {
				l.Hold(fmt.Sprint("holder ", i), why)
			}
		})
		return n, err
	})
	if err != nil {
		t.Fatal(err)
	}
	holding.Wait()
	next.holding.Lock()
	n := len(next.holders)
	next.holding.Unlock()
	if n != holders {
		t.Errorf("%d of %d hold the next shard", n, holders)
	}
	for i := range holders {
		l.Hold(fmt.Sprint("holder ", i), nil)
	}
	if _, err := l.Append(t.Context(), testEntry(1)); err != nil {
		t.Errorf("held by nobody: %v", err)
	}
}

// TestAReplicaThatLacksTheLastQuarterDoesNotHoldTheNext, if it follows that one.
func TestAReplicaThatLacksTheLastQuarterDoesNotHoldTheNext(t *testing.T) {
	dir, key := t.TempDir(), newKey(t)
	to := openReplica(t, t.TempDir(), key)
	cfg := replicatedConfig(filepath.Join(dir, "2026q4"), key, to)
	cfg.AppendTimeout = 5 * time.Second
	l := openTest(t, cfg)
	appendTest(t, l, 3)
	to.set(errors.New("cut"))
	within(t, "the log is not held", func() bool {
		_, err := l.Append(t.Context(), testEntry(1))
		return errors.Is(err, ErrHeld)
	})
	_, err := l.Turn(func(previous []byte) (*Log, error) {
		to.set(nil)
		cfg := cfg
		cfg.Dir, cfg.Origin, cfg.Previous = filepath.Join(dir, "2027q1"), replicaOrigin+"/2027q1", previous
		return OpenLog(context.Background(), cfg)
	})
	if err != nil {
		t.Fatal(err)
	}
	appendTest(t, l, 1)
}
