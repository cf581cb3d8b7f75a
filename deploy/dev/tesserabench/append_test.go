// Package tesserabench measures the peer of the audit log: durable appends to
// Tessera's log of files (storage/posix), as BenchmarkAppend of package audit
// measures its own. It is a module of its own, so that Yizheng does not depend
// on Tessera; deploy/dev/bench runs both and puts them into one table.
package tesserabench

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
	"k8s.io/klog/v2"
)

const (
	entrySize  = 660                  // as an entry of package audit's BenchmarkAppend takes in its log
	batchAge   = 5 * time.Millisecond // Tessera's default is 250 ms
	checkpoint = time.Second          // how often BenchmarkAppend publishes, too
)

// BenchmarkTesseraAppend measures appends, each writer waiting for its own. It
// waits for what Add itself promises, the weaker of Tessera's two: the entry is
// on disk, has its index and is in the tree. That a signed checkpoint covers
// it, which our Append waits for, would take up to a checkpoint interval more.
func BenchmarkTesseraAppend(b *testing.B) {
	for _, writers := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			add := open(b)
			took := make([]time.Duration, b.N)
			var next atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			for range writers {
				wg.Go(func() {
					for i := int(next.Add(1)) - 1; i < b.N; i = int(next.Add(1)) - 1 {
						start := time.Now()
						if _, err := add(b.Context(), tessera.NewEntry(entry(i)))(); err != nil {
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
}

// TestMain keeps Tessera's log lines out of the lines of the benchmark. What
// goes wrong with an entry is an error of Add.
func TestMain(m *testing.M) {
	klog.SetLogger(logr.Discard())
	m.Run()
}

// open makes an empty log without deduplication of entries, and closes it at
// the end of the benchmark.
func open(b *testing.B) tessera.AddFn {
	b.Helper()
	secret, _, err := note.GenerateKey(rand.Reader, "gw1.example.gov.cn/audit/2026q4")
	if err != nil {
		b.Fatal(err)
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir() // first of all, to be removed last of all
	ctx, cancel := context.WithCancel(context.Background())
	b.Cleanup(cancel)
	driver, err := posix.New(ctx, posix.Config{Path: dir})
	if err != nil {
		b.Fatal(err)
	}
	options := tessera.NewAppendOptions().WithCheckpointSigner(signer).
		WithBatching(tessera.DefaultBatchMaxSize, batchAge).WithCheckpointInterval(checkpoint)
	appender, shutdown, _, err := tessera.NewAppender(ctx, driver, options)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { // before cancel: it waits until a checkpoint covers all entries
		if err := shutdown(ctx); err != nil {
			b.Error(err)
		}
	})
	return appender.Add
}

// entry differs from every other.
func entry(n int) []byte {
	return binary.BigEndian.AppendUint64(bytes.Repeat([]byte{'x'}, entrySize-8), uint64(n))
}
