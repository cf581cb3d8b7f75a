package spool

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"yizheng/identity/jose"
)

var (
	keyA = mustKey()
	keyB = mustKey()
)

func mustKey() *jose.Key {
	k, err := jose.GenerateKey()
	if err != nil {
		panic(err)
	}
	return k
}

func only(k *jose.Key) KeyFunc {
	return func(kid string) *ecdsa.PublicKey {
		if kid == k.ID() {
			return k.Public()
		}
		return nil
	}
}

// sideA and sideB are two ends of a fast gap without fsync.
func sideA(dir string) Config {
	return Config{
		Dir: dir, Out: "CITY_POLICE", In: "POLICE_CITY", Key: keyA, PeerKey: only(keyB), Device: Device{Atomic: true},
		Scan: time.Millisecond, Linger: time.Millisecond, AckEvery: 5 * time.Millisecond, GapAfter: 30 * time.Millisecond,
		ResendAfter: 150 * time.Millisecond, BeatEvery: 50 * time.Millisecond,
	}
}

func sideB(dir string) Config {
	c := sideA(dir)
	c.Out, c.In, c.Key, c.PeerKey = c.In, c.Out, keyB, only(keyA)
	return c
}

func message(i int) Message {
	return Message{ID: fmt.Sprintf("x/%d", i), Headers: map[string]string{"exchange": fmt.Sprint(i)}, Body: fmt.Appendf(nil, "sealed %d", i)}
}

// start runs a link until the test ends or stop is called; stop returns Run's error.
func start(t testing.TB, c Config) (l *Link, stop func() error) {
	t.Helper()
	l, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() { stop() })
	return l, stop
}

// inbox collects what a link delivers.
type inbox struct {
	mu   sync.Mutex
	seen map[string]int
	all  []Message
}

func collect(t testing.TB, l *Link) *inbox {
	b := &inbox{seen: map[string]int{}}
	go l.Receive(context.Background(), b.add)
	return b
}

func (b *inbox) add(_ context.Context, messages []Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range messages {
		b.seen[m.ID]++
		b.all = append(b.all, m)
	}
	return nil
}

func (b *inbox) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.seen)
}

func (b *inbox) repeated() (ids []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, n := range b.seen {
		if n > 1 {
			ids = append(ids, id)
		}
	}
	return ids
}

// wait fails the test when a condition does not come true in time.
func wait(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if condition() {
			return
		}
	}
	t.Fatalf("waited in vain: %s", what)
}

// wire is the simplest device: it renames files from one side to the other
// unless pass says otherwise.
func wire(t testing.TB, a, b string, pass func(way, file string) bool) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, w := range []struct{ name, from, to string }{{"a-b", a, b}, {"b-a", b, a}} {
		running.Go(func() {
			for ctx.Err() == nil {
				entries, _ := os.ReadDir(filepath.Join(w.from, "out"))
				for _, e := range entries {
					from := filepath.Join(w.from, "out", e.Name())
					if pass != nil && !pass(w.name, e.Name()) {
						os.Remove(from)
						continue
					}
					os.Rename(from, filepath.Join(w.to, "in", e.Name()))
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	t.Cleanup(func() { cancel(); running.Wait() })
}

func TestMessagesCrossTheGapBothWays(t *testing.T) {
	dirA, dirB := t.TempDir(), t.TempDir()
	a, _ := start(t, sideA(dirA))
	b, _ := start(t, sideB(dirB))
	wire(t, dirA, dirB, nil)
	atA, atB := collect(t, a), collect(t, b)
	ctx := t.Context()
	for i := range 20 {
		if err := errors.Join(a.Put(ctx, message(i), message(100+i)), b.Put(ctx, message(1000+i))); err != nil {
			t.Fatal(err)
		}
	}
	wait(t, "all messages", func() bool { return atB.count() == 40 && atA.count() == 20 })
	wait(t, "all acknowledged", func() bool { return a.Metrics().Unacknowledged == 0 && b.Metrics().Unacknowledged == 0 })
	for _, m := range atB.all {
		if want := "sealed " + m.Headers["exchange"]; string(m.Body) != want {
			t.Errorf("message %s has body %q", m.ID, m.Body)
		}
	}
	for _, dir := range []string{dirA, dirB} {
		for _, part := range []string{"tmp", "done", "quarantine"} {
			if left, _ := os.ReadDir(filepath.Join(dir, part)); len(left) > 0 {
				t.Errorf("%s/ holds %d files after everything is acknowledged", part, len(left))
			}
		}
	}
}

func TestLostFilesAreNamedAskedForAndSentAgain(t *testing.T) {
	dirA, dirB := t.TempDir(), t.TempDir()
	var mu sync.Mutex
	dropped := map[string]bool{}
	lose := func(way, file string) bool {
		mu.Lock()
		defer mu.Unlock()
		n, ok := parseName(file, "dat")
		if !ok || n.kind != Data || n.seq%3 != 2 || dropped[file] {
			return true
		}
		dropped[file] = true
		return false
	}
	a, _ := start(t, sideA(dirA))
	events := &log{}
	cb := sideB(dirB)
	cb.Events = events.add
	b, _ := start(t, cb)
	wire(t, dirA, dirB, lose)
	atB := collect(t, b)
	for i := range 30 {
		if err := a.Put(t.Context(), message(i)); err != nil {
			t.Fatal(err)
		}
	}
	wait(t, "all messages", func() bool { return atB.count() == 30 })
	if again := atB.repeated(); len(again) > 0 {
		t.Errorf("delivered twice: %v", again)
	}
	wait(t, "gaps to be closed", func() bool { m := b.Metrics(); return m.GapsClosed == m.GapsNamed && m.Missing == 0 })
	if len(dropped) == 0 || b.Metrics().GapsNamed == 0 {
		t.Errorf("%d files dropped, %d gaps named", len(dropped), b.Metrics().GapsNamed)
	}
}

// log collects events.
type log struct {
	mu  sync.Mutex
	all []Event
}

func (l *log) add(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, e)
}

func (l *log) of(kind EventKind) (found []Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.all {
		if e.Kind == kind {
			found = append(found, e)
		}
	}
	return found
}
