package spool

import (
	"context"
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// whims is a device that does what a generator has decided.
type whims struct{ drop, duplicate, truncate, hold int } // percent

// carry moves what is in out/ to in/ once, with whims.
func (w whims) carry(random *rand.Rand, from, to string) {
	entries, _ := os.ReadDir(filepath.Join(from, "out"))
	random.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
	hits := func(percent int) bool { return random.IntN(100) < percent }
	for _, e := range entries {
		source, target := filepath.Join(from, "out", e.Name()), filepath.Join(to, "in", e.Name())
		if hits(w.hold) {
			continue
		}
		data, err := os.ReadFile(source)
		if err != nil {
			continue
		}
		if !hits(w.duplicate) { // a duplicate: the original stays for another time
			os.Remove(source)
		}
		if hits(w.drop) {
			continue
		}
		if hits(w.truncate) {
			data = data[:random.IntN(len(data)+1)]
		}
		os.WriteFile(target+".part", data, 0o600)
		os.Rename(target+".part", target)
	}
}

// TestWhateverTheDeviceDoesEachMessageArrivesOnce draws a device, a load and
// restarts of either side.
func TestWhateverTheDeviceDoesEachMessageArrivesOnce(t *testing.T) {
	if checks := flag.Lookup("rapid.checks"); checks.Value.String() == checks.DefValue {
		checks.Value.Set("30") // a tenth of a second each
	}
	rapid.Check(t, func(t *rapid.T) {
		w := whims{
			drop: rapid.IntRange(0, 50).Draw(t, "drop"), duplicate: rapid.IntRange(0, 40).Draw(t, "duplicate"),
			truncate: rapid.IntRange(0, 20).Draw(t, "truncate"), hold: rapid.IntRange(0, 50).Draw(t, "hold"),
		}
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		batches := rapid.SliceOfN(rapid.IntRange(1, 5), 1, 12).Draw(t, "batches")
		restart := rapid.IntRange(0, len(batches)).Draw(t, "restart after")
		restartA := rapid.Bool().Draw(t, "restart the sender")
		onePass(t, w, random, batches, restart, restartA)
	})
}

func onePass(t *rapid.T, w whims, random *rand.Rand, batches []int, restart int, restartA bool) {
	root, err := os.MkdirTemp("", "spool")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(root)
	ca, cb := sideA(filepath.Join(root, "a")), sideB(filepath.Join(root, "b"))
	for _, c := range []*Config{&ca, &cb} {
		c.GapAfter, c.ResendAfter, c.BeatEvery = 5*time.Millisecond, 20*time.Millisecond, 10*time.Millisecond
	}
	atB := &inbox{seen: map[string]int{}}
	a, stopA := pass(t, ca, nil)
	b, stopB := pass(t, cb, atB)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	sent := 0
	for i, n := range batches {
		if i == restart && restartA {
			stopA()
			a, stopA = pass(t, ca, nil)
		} else if i == restart {
			stopB()
			b, stopB = pass(t, cb, atB)
		}
		var batch []Message
		for range n {
			batch = append(batch, message(sent))
			sent++
		}
		if err := a.Put(ctx, batch...); err != nil {
			t.Fatal(err)
		}
		w.carry(random, ca.Dir, cb.Dir)
		w.carry(random, cb.Dir, ca.Dir)
	}
	for (atB.count() < sent || a.Metrics().Unacknowledged > 0) && ctx.Err() == nil {
		w.carry(random, ca.Dir, cb.Dir)
		w.carry(random, cb.Dir, ca.Dir)
		time.Sleep(time.Millisecond)
	}
	if err := errors.Join(stopA(), stopB()); err != nil {
		t.Fatal(err)
	}
	if atB.count() != sent || a.Metrics().Unacknowledged > 0 {
		t.Fatalf("%d of %d delivered, %d files not acknowledged", atB.count(), sent, a.Metrics().Unacknowledged)
	}
	if again := atB.repeated(); len(again) > 0 {
		t.Fatalf("delivered twice: %v", again)
	}
	if m := b.Metrics(); m.VoidedFiles > 0 {
		t.Fatalf("%d files voided", m.VoidedFiles)
	}
}

// pass runs a link until stop.
func pass(t *rapid.T, c Config, into *inbox) (*Link, func() error) {
	l, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	var ended error
	running.Go(func() { ended = l.Run(ctx) })
	if into != nil {
		running.Go(func() { l.Receive(ctx, into.add) })
	}
	return l, sync.OnceValue(func() error { cancel(); running.Wait(); return ended })
}
