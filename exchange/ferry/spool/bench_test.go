package spool

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkGap measures envelopes of 1 KiB through a pair of links with the
// default settings and a device that scans every 10 ms.
func BenchmarkGap(b *testing.B) {
	for _, c := range []struct {
		name     string
		durable  bool
		inFlight int
	}{{"no-fsync/1", false, 1}, {"no-fsync/256", false, 256}, {"no-fsync/2048", false, 2048}, {"fsync/256", true, 256}, {"fsync/2048", true, 2048}} {
		b.Run(c.name, func(b *testing.B) { benchmarkGap(b, c.durable, c.inFlight) })
	}
}

// benchmarkGap keeps inFlight envelopes on the way: each is put when an earlier
// one has arrived on the other side.
func benchmarkGap(b *testing.B, durable bool, inFlight int) {
	dirA, dirB := b.TempDir(), b.TempDir()
	ca := Config{Dir: dirA, Out: "A_B", In: "B_A", Key: keyA, PeerKey: only(keyB), Device: Device{Atomic: true}, Durable: durable}
	cb := ca
	cb.Dir, cb.Out, cb.In, cb.Key, cb.PeerKey = dirB, "B_A", "A_B", keyB, only(keyA)
	sender, _ := start(b, ca)
	receiver, _ := start(b, cb)
	scanning(b, dirA, dirB, 10*time.Millisecond)
	places := make(chan struct{}, inFlight)
	var arrived atomic.Int64
	var spent atomic.Int64 // ns on the way
	var began sync.Map
	done := make(chan struct{})
	go receiver.Receive(context.Background(), func(_ context.Context, messages []Message) error {
		now := time.Now()
		for _, m := range messages {
			if at, known := began.LoadAndDelete(m.ID); known {
				spent.Add(int64(now.Sub(at.(time.Time))))
			}
			<-places
		}
		if arrived.Add(int64(len(messages))) == int64(b.N) {
			close(done)
		}
		return nil
	})
	body := make([]byte, 1024)
	b.SetBytes(int64(len(body)))
	b.ResetTimer()
	var putting sync.WaitGroup
	for i := range b.N {
		places <- struct{}{}
		putting.Go(func() {
			m := message(i)
			m.Body = body
			began.Store(m.ID, time.Now())
			if err := sender.Put(context.Background(), m); err != nil {
				b.Error(err)
			}
		})
	}
	<-done
	b.StopTimer()
	putting.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "envelopes/s")
	b.ReportMetric(float64(spent.Load())/float64(b.N)/1e6, "ms/envelope")
	b.ReportMetric(float64(b.N)/float64(sender.Metrics().FilesSent), "envelopes/file")
}

// scanning is a device that moves everything at each scan.
func scanning(b *testing.B, dirA, dirB string, every time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, w := range []struct{ from, to string }{{dirA, dirB}, {dirB, dirA}} {
		running.Go(func() {
			for sleep(ctx, every) {
				entries, _ := os.ReadDir(filepath.Join(w.from, "out"))
				for _, e := range entries {
					os.Rename(filepath.Join(w.from, "out", e.Name()), filepath.Join(w.to, "in", e.Name()))
				}
			}
		})
	}
	b.Cleanup(func() { cancel(); running.Wait() })
}
