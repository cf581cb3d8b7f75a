package audit

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A promise is what a benchmark may cost: at least so many a second, or at most
// so many milliseconds.
type promise struct {
	unit            string // one with "/" is a rate
	measured, limit float64
}

// promised reports what was measured, each figure with its limit beside it, and
// as x-limit the worst of them in multiples of its limit: up to 1 they are kept.
func promised(b *testing.B, all ...promise) {
	b.Helper()
	worst := 0.0
	for _, p := range all {
		b.ReportMetric(p.measured, p.unit)
		b.ReportMetric(p.limit, "limit-"+p.unit)
		if strings.Contains(p.unit, "/") {
			worst = max(worst, p.limit/p.measured)
		} else {
			worst = max(worst, p.measured/p.limit)
		}
	}
	b.ReportMetric(worst, "x-limit")
}

// benchEntry is one of a proof handed over, as a gateway writes it: with all
// around it some 660 bytes of the log.
func benchEntry(n int) Entry {
	e := testEntry(n)
	e.Open.System, e.Open.Provider, e.Open.Source = "690100-HALL", "690100000012", "social-insurance-registry"
	e.Open.Exchange, e.Open.Number = fmt.Sprintf("20261001-690100-%012d", n), fmt.Sprintf("690100-2026-%010d", n)
	e.Open.Subjects = []SubjectRef{{Type: "idno", Epoch: "2026q4", P: "7Jd5yD3oQk2b0mVtq1xw9A==", Role: "applicant"}}
	e.Open.Fields = []string{"months", "status", "since", "unit"}
	e.Closed.Node, e.Closed.IP = "gw1", "10.69.1.12"
	return e
}

// BenchmarkAppend measures durable appends, each writer waiting for its own.
// "raw" is the yardstick: the same bytes with one fdatasync per entry. The peer
// is in deploy/dev/tesserabench.
func BenchmarkAppend(b *testing.B) {
	for _, writers := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			cfg := testConfig(b.TempDir(), newKey(b))
			cfg.SegmentSize, cfg.PublishEvery = 64<<20, time.Second
			l := openTest(b, cfg)
			took := make([]time.Duration, b.N)
			var next atomic.Int64
			var wg sync.WaitGroup
			worked := processorTime(b)
			b.ResetTimer()
			for range writers {
				wg.Go(func() {
					for {
						i := int(next.Add(1)) - 1
						if i >= b.N {
							return
						}
						start := time.Now()
						if _, err := l.Append(context.Background(), benchEntry(i)); err != nil {
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
			rate := float64(b.N) / b.Elapsed().Seconds()
			p50, p99 := milliseconds(took[len(took)/2]), milliseconds(took[len(took)*99/100])
			b.ReportMetric(rate, "entries/s")
			b.ReportMetric(float64((processorTime(b)-worked).Microseconds())/float64(b.N), "cpu-µs/entry") // does not depend on who else works
			b.ReportMetric(p50, "p50-ms")
			b.ReportMetric(p99, "p99-ms")
			switch writers {
			case 1:
				promised(b, promise{"p50-ms", p50, 0.5})
			case 256:
				promised(b, promise{"entries/s", rate, 50_000}, promise{"p99-ms", p99, 15})
			}
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

func milliseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }

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
			b.StopTimer()
			promised(b, promise{"open-ms", milliseconds(b.Elapsed()) / float64(b.N), 5000})
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
		promised(b, promise{"proof-ms", milliseconds(b.Elapsed()) / float64(b.N), 2})
		closeTest(b, l)
	})
	b.Run("verify=hashes", func(b *testing.B) {
		perCore(b, size, 200_000, func() {
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
		perCore(b, size, 30_000, func() { verifyTest(b, dir, key, VerifyOptions{}) })
	})
}

// perCore reports how many entries a second of processor time is good for. On a
// busy machine that is what an idle core would do; the elapsed time is not.
func perCore(b *testing.B, entries int, limit float64, f func()) {
	b.Helper()
	from := processorTime(b)
	for range b.N {
		f()
	}
	promised(b, promise{"entries/core-s", float64(entries*b.N) / (processorTime(b) - from).Seconds(), limit})
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
