package audit

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// BenchmarkAppend measures durable appends, each writer waiting for its own.
// "raw" is the yardstick: the same bytes with one fdatasync per entry.
func BenchmarkAppend(b *testing.B) {
	for _, writers := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			cfg := testConfig(b.TempDir(), newKey(b))
			cfg.SegmentSize, cfg.PublishEvery = 64<<20, time.Second
			l := openTest(b, cfg)
			took := make([]time.Duration, b.N)
			var next atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			for range writers {
				wg.Go(func() {
					for {
						i := int(next.Add(1)) - 1
						if i >= b.N {
							return
						}
						start := time.Now()
						if _, err := l.Append(context.Background(), testEntry(i)); err != nil {
							b.Error(err)
							return
						}
						took[i] = time.Since(start)
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			slices.Sort(took)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entries/s")
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			b.ReportMetric(float64(m.HeapAlloc)/(1<<20), "heap-MB") // however many entries there were
		})
	}
	b.Run("raw", func(b *testing.B) {
		w := newWAL(osFiles{}, b.TempDir(), 64<<20)
		if err := w.create(segmentName(0)); err != nil {
			b.Fatal(err)
		}
		if err := w.open(segmentName(0), 0); err != nil {
			b.Fatal(err)
		}
		defer w.close()
		buf := make([]byte, 1024)
		b.ResetTimer()
		for range b.N {
			if w.off+int64(len(buf)) > w.size {
				w.off = 0
			}
			if err := w.write(buf); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entries/s")
	})
}

// fill makes a closed log of so many entries, in batches of 500.
func fill(b *testing.B, key testKey, entries int) (dir string) {
	b.Helper()
	cfg := testConfig(b.TempDir(), key)
	cfg.SegmentSize, cfg.PublishEvery = 64<<20, time.Second
	l := openTest(b, cfg)
	batch := make([]Entry, 500)
	for i := range batch {
		batch[i] = testEntry(i)
	}
	for range entries / len(batch) {
		if _, err := l.Append(context.Background(), batch...); err != nil {
			b.Fatal(err)
		}
	}
	closeTest(b, l)
	return cfg.Dir
}

// BenchmarkMillion is about a log of a million entries: to open it, resumed at
// a checkpoint and, the yardstick, whole; to prove an entry; and to verify it,
// in processor time, so in entries per second of one core.
func BenchmarkMillion(b *testing.B) {
	const size = 1_000_000
	key := newKey(b)
	dir := fill(b, key, size)
	for _, bench := range []struct {
		name string
		from uint64
	}{{"open=resumed", resumeFrom}, {"open=whole", 1 << 40}} {
		b.Run(bench.name, func(b *testing.B) {
			cfg := testConfig(dir, key)
			cfg.resumeFrom = bench.from
			for range b.N {
				l := openTest(b, cfg)
				b.StopTimer()
				closeTest(b, l)
				b.StartTimer()
			}
		})
	}
	b.Run("inclusion", func(b *testing.B) {
		l := openTest(b, testConfig(dir, key))
		b.ResetTimer()
		for i := range b.N {
			if _, err := l.Receipt(uint64(i) * 7919 % size); err != nil {
				b.Fatal(err)
			}
		}
		b.StopTimer()
		closeTest(b, l)
	})
	b.Run("verify=hashes", func(b *testing.B) {
		perCore(b, size, func() {
			d, err := openDir(dir, keysOf(key))
			if err == nil {
				err = d.frames(func(f *frame, _ string, _ int64) error { return d.chain.follow(f, nil, nil) })
			}
			if err != nil || d.chain.last.Size < size {
				b.Fatal(err)
			}
		})
	})
	b.Run("verify=full", func(b *testing.B) {
		perCore(b, size, func() { verifyTest(b, dir, key, VerifyOptions{}) })
	})
}

// perCore reports how many entries a second of processor time is good for. On a
// busy machine that is what an idle core would do; the elapsed time is not.
func perCore(b *testing.B, entries int, f func()) {
	b.Helper()
	from := processorTime(b)
	for range b.N {
		f()
	}
	b.ReportMetric(float64(entries*b.N)/(processorTime(b)-from).Seconds(), "entries/core-s")
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
