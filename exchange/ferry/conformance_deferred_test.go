package ferry

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func deferredRequests(t *testing.T, c *cluster) {
	k := c.ready(t)
	a := c.asker(t, k, nil)
	for i := range 5 {
		q := c.question(fmt.Sprint("D", i), fmt.Append(nil, "body ", i), time.Hour, nil)
		q.Leg = c.id
		if err := a.Post(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	s, _ := c.serve(t, k, echo, func(s *ServerConfig) { s.Deferred = true })
	var mu sync.Mutex
	got := map[string]string{}
	running(t, func(ctx context.Context) error {
		return CollectDeferred(ctx, k, func(_ context.Context, m Message) error {
			mu.Lock()
			defer mu.Unlock()
			if m.Headers[HeaderLeg] == c.id {
				got[m.Headers[HeaderExchange]] = string(m.Body)
			}
			return nil
		})
	})
	eventually(t, "the front has counted", func() bool { n := s.Counts(); return n.Answered == 5 && n.Misplaced == 0 })
	eventually(t, "five answers", func() bool { mu.Lock(); defer mu.Unlock(); return len(got) == 5 })
	mu.Lock()
	defer mu.Unlock()
	for i := range 5 {
		if got[fmt.Sprint("D", i)] != fmt.Sprint("body ", i) {
			t.Errorf("answers %v", got)
		}
	}
}

func slowDeferredRequests(t *testing.T, c *cluster) {
	k := c.ready(t)
	a := c.asker(t, k, nil)
	var slow atomic.Int64
	c.serve(t, k, func(ctx context.Context, m Message) (Answer, error) {
		if isDeferred(m) {
			slow.Add(1)
			<-ctx.Done()
			return Answer{}, ctx.Err()
		}
		return echo(ctx, m)
	}, func(s *ServerConfig) {
		s.Deferred, s.Parallel, s.ParallelDeferred, s.Drain = true, 2, 2, 10*time.Millisecond
	})
	for i := range 5 {
		if err := a.Post(t.Context(), c.question(fmt.Sprint("D", i), []byte("slow"), time.Hour, nil)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "every worker for deferred requests is taken", func() bool { return slow.Load() == 2 })
	for i := range 4 {
		var got Message
		if err := a.Ask(t.Context(), c.question(fmt.Sprint("L", i), []byte("live"), patience, &got)); err != nil || string(got.Body) != "live" {
			t.Errorf("live question: %q, %v", got.Body, err)
		}
	}
	if slow.Load() != 2 {
		t.Errorf("%d deferred requests were in hand, want 2", slow.Load())
	}
}

// A relay whose spool is full gives an error; nothing may be lost by it.
func deferredAgain(t *testing.T, c *cluster) {
	k := c.ready(t)
	const n = 20
	for i := range n {
		c.publish(t, k, Message{Topic: DeferredRequestTopic(c.front()), Partition: int32(i % 4), Headers: map[string]string{"n": fmt.Sprint(i)}, Body: []byte("x")})
	}
	var mu sync.Mutex
	seen, refused := map[string]int{}, 0
	running(t, func(ctx context.Context) error {
		return k.ConsumeGroup(ctx, GroupConfig{Group: "relay-" + c.id, Topics: []string{DeferredRequestTopic(c.front())}, Erase: true},
			func(_ context.Context, m Message) error {
				mu.Lock()
				defer mu.Unlock()
				if refused < 3 && m.Headers["n"] == "9" {
					refused++
					return errors.New("disk is full")
				}
				seen[m.Headers["n"]]++
				return nil
			})
	})
	eventually(t, "all have been handled", func() bool { mu.Lock(); defer mu.Unlock(); return len(seen) == n })
	mu.Lock()
	defer mu.Unlock()
	if refused != 3 {
		t.Errorf("refused %d times", refused)
	}
}
