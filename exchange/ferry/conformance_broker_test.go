package ferry

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
)

func poison(t *testing.T, c *cluster) {
	k := c.ready(t)
	var tried atomic.Int64
	s, _ := c.serve(t, k, func(_ context.Context, m Message) (Answer, error) {
		switch string(m.Body) {
		case "unreadable":
			return Answer{}, fmt.Errorf("open: %w", ErrUndecodable)
		case "failing":
			tried.Add(1)
			return Answer{}, errors.New("no")
		case "panicking":
			panic(m.Body)
		case "unsealable":
			return Answer{Seal: func(Message) ([]byte, map[string]string, error) { panic("no") }}, nil
		}
		return says(m.Body), nil
	}, func(s *ServerConfig) { s.Parallel = 1 })
	a := c.asker(t, k, func(a *AskerConfig) { a.HedgeEvery = -1 })
	var got Message
	want := map[string]Reason{"unreadable": ReasonUndecodable, "failing": ReasonFailed, "panicking": ReasonFailed, "unsealable": ReasonFailed}
	for body, reason := range want {
		err := a.Ask(t.Context(), c.question("P"+body, []byte(body), patience, &got))
		if why, refused := IsRefused(err); !refused || why != reason {
			t.Errorf("%s: %v", body, err)
		}
		if err := a.Ask(t.Context(), c.question("after"+body, []byte("fine"), patience, &got)); err != nil {
			t.Errorf("after %s: %v", body, err)
		}
	}
	if tried.Load() != 3 || s.Counts().Failed != 3 || s.Counts().Unreadable != 1 {
		t.Errorf("tried %d times, %+v", tried.Load(), s.Counts())
	}
	bare := Message{Topic: RequestTopic(c.front()), Headers: map[string]string{HeaderReplyTo: a.ReplyTopic(), HeaderExchange: c.id + "bare"}, Body: []byte("x")}
	c.publish(t, k, bare)
	for _, m := range c.deadLetters(t, k, len(want)+1) {
		if len(m.Body) != 0 || m.Headers[HeaderDigest] == "" || m.Headers[HeaderSource] != RequestTopic(c.front()) {
			t.Errorf("dead letter %v", m.Headers)
		}
	}
}

func chunks(t *testing.T, c *cluster) {
	k := c.ready(t)
	c.serve(t, k, echo, nil)
	a := c.asker(t, k, func(a *AskerConfig) { a.HedgeEvery = -1 })
	sizes := []int{ChunkOver, ChunkOver + 1, 3 << 20, MaxBody}
	var wg sync.WaitGroup
	for _, size := range sizes { // at once, so that their pieces mix
		wg.Go(func() {
			body := make([]byte, size)
			_, _ = rand.Read(body)
			var got Message
			if err := a.Ask(t.Context(), c.question(fmt.Sprint("C", size), body, 2*patience, &got)); err != nil {
				t.Errorf("%d bytes: %v", size, err)
			} else if !bytes.Equal(got.Body, body) || got.Headers[HeaderChunk] != "" {
				t.Errorf("%d bytes came back as %d others", size, len(got.Body))
			}
		})
	}
	wg.Wait()
	var got Message
	if err := a.Ask(t.Context(), c.question("big", make([]byte, MaxBody+1), patience, &got)); !errors.Is(err, ErrTooLarge) && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a body over the limit: %v", err)
	}
}

func erasure(t *testing.T, c *cluster) {
	k := c.ready(t)
	c.serve(t, k, echo, nil)
	a := c.asker(t, k, nil)
	for i := range 20 {
		var got Message
		if err := a.Ask(t.Context(), c.question(fmt.Sprint("X", i), bytes.Repeat([]byte("x"), 700<<10), patience, &got)); err != nil {
			t.Fatal(err)
		}
	}
	for _, topic := range []string{RequestTopic(c.front()), a.ReplyTopic()} {
		n, err := k.Partitions(topic)
		if err != nil {
			t.Fatal(err)
		}
		moved := int64(0)
		for p := range int32(n) {
			eventually(t, fmt.Sprintf("%s/%d is empty", topic, p), func() bool {
				oldest, err := k.client.GetOffset(topic, p, sarama.OffsetOldest)
				newest, err2 := k.client.GetOffset(topic, p, sarama.OffsetNewest)
				if err != nil || err2 != nil {
					t.Fatal(err, err2)
				}
				if oldest == newest {
					moved += oldest
				}
				return oldest == newest
			})
		}
		if moved < 20 {
			t.Errorf("%s: only %d records were deleted", topic, moved)
		}
	}
}

func topicsApplied(t *testing.T, c *cluster) {
	k := c.open(t)
	l := Layout{Slots: []string{c.slot}, Fronts: []FrontLayout{{Name: c.front(), Deferred: time.Hour}}}
	if err := k.EnsureTopics(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	plan := func(l Layout) []Change {
		wanted, err := Topics(l)
		if err != nil {
			t.Fatal(err)
		}
		changes, err := k.PlanTopics(t.Context(), wanted)
		if err != nil {
			t.Fatal(err)
		}
		// The topic of all deferred answers belongs to every test of one cluster.
		return slices.DeleteFunc(changes, func(c Change) bool { return strings.Contains(c.String(), " "+TopicDeferredReply+" ") })
	}
	if changes := plan(l); len(changes) != 0 {
		t.Errorf("applied, yet wanted: %v", changes)
	}
	l.Fronts[0].Replicas, l.Fronts[0].Deferred = 4, 2*time.Hour
	var lines []string
	changes := plan(l)
	for _, c := range changes {
		lines = append(lines, c.String())
	}
	wantPartitions := "~ " + RequestTopic(c.front()) + " partitions: 4 -> 8"
	wantSetting := "~ " + DeferredRequestTopic(c.front()) + " retention.ms: 90000000 -> 93600000"
	for _, want := range []string{wantPartitions, wantSetting} {
		if !bytes.Contains(fmt.Append(nil, lines), []byte(want)) {
			t.Errorf("no %q in %q", want, lines)
		}
	}
	if err := k.ApplyTopics(t.Context(), changes); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nothing is left to change", func() bool { return len(plan(l)) == 0 })
	l.Fronts[0].Replicas = 1
	if changes := plan(l); len(changes) != 0 {
		t.Errorf("fewer partitions are wanted: %v", changes)
	}
}

func deadBacklog(t *testing.T, c *cluster) {
	k := c.ready(t)
	c.publish(t, k, Message{Topic: DeferredRequestTopic(c.front()), Headers: map[string]string{"n": "old"}, Body: []byte("x")})
	time.Sleep(1200 * time.Millisecond)
	c.publish(t, k, Message{Topic: DeferredRequestTopic(c.front()), Headers: map[string]string{"n": "new"}, Body: []byte("x")})
	var mu sync.Mutex
	var seen []string
	running(t, func(ctx context.Context) error {
		return k.ConsumeGroup(ctx, GroupConfig{Group: "skip-" + c.id, Topics: []string{DeferredRequestTopic(c.front())}, SkipOlder: time.Second, Parallel: 1},
			func(_ context.Context, m Message) error {
				mu.Lock()
				defer mu.Unlock()
				seen = append(seen, m.Headers["n"])
				return nil
			})
	})
	eventually(t, "a young one is seen", func() bool {
		c.publish(t, k, Message{Topic: DeferredRequestTopic(c.front()), Headers: map[string]string{"n": "last"}, Body: []byte("x")})
		mu.Lock()
		defer mu.Unlock()
		return len(seen) > 0 && seen[len(seen)-1] == "last"
	})
	mu.Lock()
	defer mu.Unlock()
	if seen[0] == "old" {
		t.Errorf("seen %v", seen)
	}
}
