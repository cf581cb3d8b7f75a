package ferry

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkRoundTrip measures a question of 1 KiB and its answer of 1 KiB with
// 1, 64 and 256 in flight: over the embedded broker, over Apache Kafka where
// deploy/dev/kafka has started one, and beside it by HTTPS without any broker.
// The front only echoes; nothing is sealed.
func BenchmarkRoundTrip(b *testing.B) {
	b.Run("embedded", func(b *testing.B) { benchmarkFerry(b, embedded) })
	if brokers, dir := os.Getenv("YIZHENG_TEST_KAFKA_BROKERS"), os.Getenv("YIZHENG_TEST_KAFKA_TLS"); brokers != "" {
		b.Run("kafka", func(b *testing.B) {
			benchmarkFerry(b, func(testing.TB) *cluster {
				return newNames(&cluster{brokers: strings.Split(brokers, ","), files: Files{CA: filepath.Join(dir, "ca.pem"),
					Certificate: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}})
			})
		})
	}
	b.Run("https", benchmarkHTTPS)
}

func benchmarkFerry(b *testing.B, start func(testing.TB) *cluster) {
	c := start(b)
	k := c.ready(b)
	c.serve(b, c.open(b), echo, func(s *ServerConfig) { s.Parallel = 256 })
	a := c.asker(b, k, nil)
	asked := 0
	eventually(b, "the front answers", func() bool { return c.answers(b, a, &asked) })
	body := bytes.Repeat([]byte("x"), 1<<10)
	var n atomic.Int64
	inFlight(b, func(ctx context.Context) error {
		var got Message
		return a.Ask(ctx, c.question(fmt.Sprint("E", n.Add(1)), body, patience, &got))
	})
}

func benchmarkHTTPS(b *testing.B) {
	files := certificates(b)
	conf, err := files.server()
	if err != nil {
		b.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: 30 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	})}
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(tls.NewListener(l, conf)) })
	b.Cleanup(func() { _ = server.Close(); wg.Wait() })
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256, TLSClientConfig: clientConf(b, files)}}
	b.Cleanup(client.CloseIdleConnections)
	body := bytes.Repeat([]byte("x"), 1<<10)
	inFlight(b, func(ctx context.Context) error {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+l.Addr().String(), bytes.NewReader(body))
		if err != nil {
			return err
		}
		answer, err := client.Do(r)
		if err != nil {
			return err
		}
		defer func() { _ = answer.Body.Close() }()
		_, err = io.Copy(io.Discard, answer.Body)
		return err
	})
}

func clientConf(b *testing.B, files Files) *tls.Config {
	b.Helper()
	pair, pool, err := files.load()
	if err != nil {
		b.Fatal(err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, Certificates: []tls.Certificate{pair}}
}

// inFlight runs ask with so many at once, and reports the rate and the times of
// single calls.
func inFlight(b *testing.B, ask func(context.Context) error) {
	for _, width := range []int{1, 64, 256} {
		b.Run(fmt.Sprint(width), func(b *testing.B) {
			var wg sync.WaitGroup
			for range width { // connections and goroutines are there before the clock runs
				wg.Go(func() {
					if err := ask(b.Context()); err != nil {
						b.Error(err)
					}
				})
			}
			wg.Wait()
			took := make([]time.Duration, b.N)
			var next atomic.Int64
			b.ResetTimer()
			for range min(width, b.N) {
				wg.Go(func() {
					for i := next.Add(1) - 1; i < int64(b.N); i = next.Add(1) - 1 {
						began := time.Now()
						if err := ask(b.Context()); err != nil {
							b.Error(err)
							return
						}
						took[i] = time.Since(began)
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			slices.Sort(took)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "trips/s")
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
		})
	}
}
