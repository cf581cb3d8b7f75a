package ferry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Two replicas; one is stopped and started again while questions go on.
func replicaLeaves(t *testing.T, c *cluster) {
	k := c.ready(t)
	slow := func(ctx context.Context, m Message) (Answer, error) {
		pause(ctx, 20*time.Millisecond)
		return says(m.Body), nil
	}
	c.serve(t, k, slow, nil)
	_, stop := c.serve(t, c.open(t), slow, nil)
	a := c.asker(t, k, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	var answered atomic.Int64
	for w := range 4 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				var got Message
				if err := a.Ask(t.Context(), c.question(fmt.Sprint("B", w, "-", i), []byte("x"), patience, &got)); err != nil {
					t.Error(err)
					return
				}
				answered.Add(1)
			}
		})
	}
	eventually(t, "some are answered", func() bool { return answered.Load() > 50 })
	stop()
	n := answered.Load()
	eventually(t, "answers go on after one has left", func() bool { return answered.Load() > n+50 })
	c.serve(t, c.open(t), slow, nil)
	n = answered.Load()
	eventually(t, "answers go on after one has come", func() bool { return answered.Load() > n+50 })
	cancel()
	wg.Wait()
}

func slotEpoch(t *testing.T, c *cluster) {
	k := c.ready(t)
	c.serve(t, k, echo, nil)
	earlier, err := NewAsker(k, AskerConfig{Slot: c.slot, Epoch: 6, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	a := c.asker(t, k, func(a *AskerConfig) { a.Epoch = 7 })
	c.publish(t, k, Message{Topic: RequestTopic(c.front()), Headers: c.headers(earlier, "S", time.Now().Add(patience)), Body: []byte("x")})
	eventually(t, "the earlier tenant's answer is dropped", func() bool { return a.Counts().OldEpoch == 1 })
	c.publish(t, k, Message{Topic: RequestTopic(c.front()), Headers: c.headers(a, "S2", time.Now().Add(patience)), Body: []byte("x")})
	eventually(t, "an answer to nobody is dropped", func() bool { return a.Counts().Foreign == 1 })
}

func farewell(t *testing.T, c *cluster) {
	k := c.ready(t)
	_, stop := c.serve(t, k, echo, func(s *ServerConfig) {
		s.Describe = func(h *Heartbeat) { h.Keys, h.Release = []string{"k1"}, 7 }
	})
	a := c.asker(t, k, nil)
	eventually(t, "the front is heard", func() bool {
		f := a.state(c.front())
		return f.Up && len(f.Replicas) == 1 && f.Replicas[0].Release == 7 && f.Replicas[0].Keys[0] == "k1"
	})
	stop()
	eventually(t, "the front is down", func() bool { return !a.state(c.front()).Up })
	var got Message
	began := time.Now()
	err := a.Ask(t.Context(), c.question("D", nil, patience, &got))
	var down *FrontDownError
	if !errors.As(err, &down) || !errors.Is(err, ErrFrontDown) || time.Since(down.Since) > time.Minute {
		t.Errorf("ask ended with %v", err)
	}
	if time.Since(began) > time.Second {
		t.Errorf("that took %v", time.Since(began))
	}
}

func silentFront(t *testing.T, c *cluster) {
	k := c.ready(t)
	a := c.asker(t, k, func(a *AskerConfig) {
		a.Expect, a.HeartbeatEvery = []string{"never-" + c.id}, 100*time.Millisecond
	})
	h := Heartbeat{V: 1, Front: c.front(), Instance: "i", Every: 200, Credits: 5}
	body, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	c.publish(t, k, Message{Topic: TopicControl, Key: heartbeatKey(h.Front, h.Instance), Body: body})
	eventually(t, "the front is up", func() bool { return a.state(c.front()).Up && a.state(c.front()).Limit == 5 })
	eventually(t, "the front is down", func() bool { return !a.state(c.front()).Up })
	var got Message
	if err := a.Ask(t.Context(), c.question("D", nil, patience, &got)); !errors.Is(err, ErrFrontDown) {
		t.Errorf("ask ended with %v", err)
	}
	q := c.question("N", nil, patience, &got)
	q.Front = "never-" + c.id
	if err := a.Ask(t.Context(), q); !errors.Is(err, ErrFrontDown) {
		t.Errorf("a front that was expected and never heard of: %v", err)
	}
	// Another gateway that starts now learns it from the topic.
	later := newNames(&cluster{brokers: c.brokers, files: c.files})
	later.topics(t, k)
	b := later.asker(t, k, nil)
	if b.state(c.front()).Up {
		t.Error("an old heartbeat counts as a new one")
	}
}

func credits(t *testing.T, c *cluster) {
	k := c.ready(t)
	var now, most atomic.Int64
	s, _ := c.serve(t, k, func(ctx context.Context, m Message) (Answer, error) {
		n := now.Add(1)
		defer now.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		pause(ctx, 30*time.Millisecond)
		return says(m.Body), nil
	}, func(s *ServerConfig) { s.Parallel = 3 })
	a := c.asker(t, k, func(a *AskerConfig) { a.HedgeEvery = -1 })
	eventually(t, "the front's credits are heard", func() bool { return a.state(c.front()).Limit == 3 })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var watch, wg sync.WaitGroup
	watch.Go(func() {
		for ctx.Err() == nil {
			if f := a.state(c.front()); f.InFlight > f.Limit {
				t.Errorf("%d in flight of %d", f.InFlight, f.Limit)
			}
			pause(ctx, 5*time.Millisecond)
		}
	})
	for i := range 30 {
		wg.Go(func() {
			var got Message
			if err := a.Ask(t.Context(), c.question(fmt.Sprint("L", i), []byte("x"), patience, &got)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	// Past the asker: the front itself takes no more than it can.
	for i := range 30 {
		c.publish(t, k, Message{Topic: RequestTopic(c.front()), Partition: int32(i % 4),
			Headers: c.headers(a, fmt.Sprint("Q", i), time.Now().Add(patience)), Body: []byte("x")})
	}
	eventually(t, "all are answered", func() bool { return s.Counts().Answered >= 60 })
	cancel()
	watch.Wait()
	if most.Load() > 3 || most.Load() < 2 {
		t.Errorf("%d were in hand at once", most.Load())
	}
}
