package exchange

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/time/rate"
)

// unlimited lifts the caller's quota, and makes the requests of a benchmark beforehand.
func (c *city) unlimited(n int) []Request {
	c.limits[c.who.Caller] = rate.NewLimiter(rate.Inf, 1)
	list := make([]Request, n)
	for i := range list {
		list[i] = c.request("ONE")
	}
	return list
}

// timed is one exchange from request to stored result; the source answers at
// once, so that all of the time is the gateway's own.
func (c *city) timed(b *testing.B, req Request) time.Duration {
	began := time.Now()
	x, err := c.Exchange(context.Background(), c.who, req, "")
	if err != nil {
		b.Error(err)
		return 0
	}
	for {
		_, changed, ended := x.Events(0)
		if ended {
			break
		}
		<-changed
	}
	took := time.Since(began)
	if p := c.View(x).Parts[0]; p.Code != Found || p.Number == "" {
		b.Errorf("%+v", p)
	}
	return took
}

// BenchmarkExchange is one leg, one exchange in flight: authorise, two durable
// records, render, seal, encrypt, store.
func BenchmarkExchange(b *testing.B) {
	c := newCity(b)
	requests := c.unlimited(b.N)
	times := make([]time.Duration, b.N)
	b.ResetTimer()
	for i := range b.N {
		times[i] = c.timed(b, requests[i])
	}
	b.StopTimer()
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(times[len(times)*99/100].Microseconds())/1000, "p99-ms")
}

// BenchmarkIssuance is the same with 64 in flight: how many documents a second.
func BenchmarkIssuance(b *testing.B) {
	c := newCity(b)
	requests := c.unlimited(b.N)
	var next atomic.Int64
	b.SetParallelism(32)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c.timed(b, requests[next.Add(1)-1])
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "issued/s")
}
