package audit

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
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

// BenchmarkOpen opens a log of a million entries. "whole" is the yardstick:
// without a checkpoint to resume at.
func BenchmarkOpen(b *testing.B) {
	key := newKey(b)
	dir := fill(b, key, 1_000_000)
	for _, bench := range []struct {
		name string
		from uint64
	}{{"resumed", resumeFrom}, {"whole", 1 << 40}} {
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
}

func BenchmarkVerifyDir(b *testing.B) {
	dir, key := b.TempDir(), newKey(b)
	cfg := testConfig(dir, key)
	cfg.SegmentSize = 16 << 20
	l := openTest(b, cfg)
	entries := make([]Entry, 500)
	for i := range entries {
		entries[i] = testEntry(i)
	}
	for range 40 {
		if _, err := l.Append(context.Background(), entries...); err != nil {
			b.Fatal(err)
		}
	}
	closeTest(b, l)
	b.ResetTimer()
	for range b.N {
		verifyTest(b, dir, key, VerifyOptions{})
	}
	b.ReportMetric(20000*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}
