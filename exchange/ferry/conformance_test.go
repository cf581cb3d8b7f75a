package ferry

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
)

// conform holds a kind of broker to what the ferry promises. Each test gets
// names of its own, so that one real cluster serves them all.
func conform(t *testing.T, start func(testing.TB) *cluster) {
	tests := []struct {
		name string
		run  func(*testing.T, *cluster)
	}{
		{"a question is answered", questionIsAnswered},
		{"questions in parallel get their own answers", parallelQuestions},
		{"a front that hangs is hedged around", hangingFrontIsHedgedAround},
		{"a front at work is not hedged around", workingFrontIsNotHedgedAround},
		{"a repeated request is answered from memory", repeatedRequest},
		{"a late answer is dropped", lateAnswer},
		{"an unacceptable answer is waited out", unacceptableAnswer},
		{"a front answers at reply topics only", foreignReplyTopic},
		{"an expired request is dropped on arrival", expiredOnArrival},
		{"poison does not hold up the others", poison},
		{"large bodies travel in chunks", chunks},
		{"a front replica may leave at any time", replicaLeaves},
		{"answers to an earlier tenant of the slot are dropped", slotEpoch},
		{"a front that says farewell is down at once", farewell},
		{"a silent front is known to be down", silentFront},
		{"consumed records are deleted", erasure},
		{"a front's credits bound what is in flight", credits},
		{"deferred requests wait for their front", deferredRequests},
		{"slow deferred requests take no live one's place", slowDeferredRequests},
		{"a deferred message comes again until it is handled", deferredAgain},
		{"topics are planned and applied", topicsApplied},
		{"a dead backlog is skipped", deadBacklog},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel() // they mostly wait
			test.run(t, start(t))
		})
	}
}

const patience = 15 * time.Second

func questionIsAnswered(t *testing.T, c *cluster) {
	k := c.ready(t)
	s, _ := c.serve(t, k, echo, nil)
	a := c.asker(t, k, nil)
	var got Message
	if err := a.Ask(t.Context(), c.question("E", []byte("sealed"), patience, &got)); err != nil {
		t.Fatal(err)
	}
	if string(got.Body) != "sealed" {
		t.Errorf("answer is %q", got.Body)
	}
	if got.Topic != a.ReplyTopic() || got.Headers[HeaderEpoch] != strconv.FormatUint(a.Epoch(), 10) {
		t.Errorf("answered at %s with %v", got.Topic, got.Headers)
	}
	eventually(t, "the front has counted", func() bool { n := s.Counts(); return n.Received == n.Answered && n.Answered > 0 })
	if n := a.Counts(); n.Asked != 1 || n.Answered != 1 || n.Foreign != 0 {
		t.Errorf("counts %+v", n)
	}
}

func parallelQuestions(t *testing.T, c *cluster) {
	k := c.ready(t)
	c.serve(t, k, echo, nil)
	a := c.asker(t, k, nil)
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			var got Message
			body := fmt.Appendf(nil, "body %d", i)
			if err := a.Ask(t.Context(), c.question(fmt.Sprint("E", i), body, patience, &got)); err != nil {
				t.Error(err)
			} else if !bytes.Equal(got.Body, body) {
				t.Errorf("question %d was answered %q", i, got.Body)
			}
		})
	}
	wg.Wait()
	var got Message
	q := c.question("same", []byte("x"), time.Second, &got)
	q.Accept = func(Message) (bool, error) {
		return true, a.Ask(t.Context(), c.question("same", nil, time.Second, &got))
	}
	if err := a.Ask(t.Context(), q); !errors.Is(err, ErrAsking) {
		t.Errorf("a leg in hand was asked again: %v", err)
	}
}

// One replica takes requests and hangs, as one whose machine is lost does
// until the group finds out. Neighbouring partitions belong to different
// replicas, so the next attempt is answered.
func hangingFrontIsHedgedAround(t *testing.T, c *cluster) {
	k := c.ready(t)
	var hung atomic.Int64
	c.serve(t, k, func(ctx context.Context, _ Message) (Answer, error) {
		hung.Add(1)
		<-ctx.Done()
		return Answer{}, ctx.Err()
	}, func(s *ServerConfig) { s.Drain, s.SignEvery = 100*time.Millisecond, -1 })
	a := c.asker(t, k, func(a *AskerConfig) { a.HedgeEvery = 100 * time.Millisecond })
	eventually(t, "the hanging replica has partitions", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		var got Message
		_ = a.Ask(ctx, c.question("warm", nil, patience, &got))
		return hung.Load() > 0
	})
	c.serve(t, c.open(t), echo, nil)
	asked := 0
	eventually(t, "both replicas have partitions", func() bool { return c.answers(t, a, &asked) })
	before := hung.Load()
	for i := range 8 {
		began := time.Now()
		var got Message
		if err := a.Ask(t.Context(), c.question(fmt.Sprint("H", i), []byte("x"), patience, &got)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("took %v", took)
		}
	}
	if hung.Load() == before || a.Counts().Hedged == 0 {
		t.Errorf("the hanging replica was never asked: %+v", a.Counts())
	}
}

// A department that takes its time is asked once, not once for each replica.
func workingFrontIsNotHedgedAround(t *testing.T, c *cluster) {
	k := c.ready(t)
	var handled [2]atomic.Int64
	for i := range handled {
		c.serve(t, c.open(t), func(ctx context.Context, m Message) (Answer, error) {
			handled[i].Add(1)
			if string(m.Body) == "slow" {
				pause(ctx, 2500*time.Millisecond)
			}
			return says(m.Body), nil
		}, func(s *ServerConfig) { s.SignEvery = 100 * time.Millisecond })
	}
	a := c.asker(t, k, func(a *AskerConfig) { a.HedgeEvery = 1500 * time.Millisecond })
	asked := 0
	eventually(t, "both replicas have partitions", func() bool {
		return c.answers(t, a, &asked) && handled[0].Load() > 0 && handled[1].Load() > 0
	})
	before := handled[0].Load() + handled[1].Load()
	var got Message
	if err := a.Ask(t.Context(), c.question("W", []byte("slow"), patience, &got)); err != nil {
		t.Fatal(err)
	}
	if n := handled[0].Load() + handled[1].Load() - before; n != 1 {
		t.Errorf("the department was asked %d times; %+v", n, a.Counts())
	}
}

// answers reports whether a question is answered within a second.
func (c *cluster) answers(t testing.TB, a *Asker, asked *int) bool {
	*asked++
	var got Message
	return a.Ask(t.Context(), c.question(fmt.Sprint("warm", *asked), nil, time.Second, &got)) == nil
}

func repeatedRequest(t *testing.T, c *cluster) {
	k := c.ready(t)
	var handled, sealed atomic.Int64
	s, _ := c.serve(t, k, func(context.Context, Message) (Answer, error) {
		handled.Add(1)
		time.Sleep(50 * time.Millisecond)
		return Answer{Seal: func(m Message) ([]byte, map[string]string, error) {
			sealed.Add(1)
			return []byte("answer to attempt " + m.Headers[HeaderAttempt]), nil, nil
		}}, nil
	}, nil)
	a := c.asker(t, k, nil)
	headers := c.headers(a, "R", time.Now().Add(patience))
	for attempt := range 3 {
		headers = withHeaders(headers, HeaderAttempt, strconv.Itoa(attempt+1))
		c.publish(t, k, Message{Topic: RequestTopic(c.front()), Partition: 0, Headers: headers, Body: []byte("x")})
	}
	eventually(t, "three answers", func() bool { return a.Counts().Foreign == 3 })
	eventually(t, "the front has counted", func() bool { return s.Counts().Repeated == 2 })
	if handled.Load() != 1 || sealed.Load() != 3 {
		t.Errorf("handled %d, sealed %d, %+v", handled.Load(), sealed.Load(), s.Counts())
	}
}

func lateAnswer(t *testing.T, c *cluster) {
	k := c.ready(t)
	release := make(chan struct{})
	c.serve(t, k, func(context.Context, Message) (Answer, error) {
		<-release
		return says([]byte("too late")), nil
	}, nil)
	a := c.asker(t, k, nil)
	var got Message
	q := c.question("L", []byte("x"), 2*time.Second, &got)
	q.HedgeEvery = -1
	err := a.Ask(t.Context(), q)
	close(release)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ask ended with %v", err)
	}
	eventually(t, "the late answer is counted", func() bool { return a.Counts().Late == 1 })
	if got.Body != nil {
		t.Error("a late answer was accepted")
	}
}

func unacceptableAnswer(t *testing.T, c *cluster) {
	k := c.ready(t)
	c.serve(t, k, func(_ context.Context, m Message) (Answer, error) {
		return Answer{Seal: func(m Message) ([]byte, map[string]string, error) { return []byte(m.Headers[HeaderAttempt]), nil, nil }}, nil
	}, nil)
	a := c.asker(t, k, nil)
	asked := 0
	eventually(t, "the front answers", func() bool { return c.answers(t, a, &asked) })
	before := a.Counts().Unacceptable
	var got Message
	q := c.question("U", []byte("x"), patience, &got)
	q.Accept = func(m Message) (bool, error) {
		if string(m.Body) == "1" {
			return false, errors.New("not signed")
		}
		got = m
		return true, nil
	}
	if err := a.Ask(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	if string(got.Body) == "1" || a.Counts().Unacceptable != before+1 {
		t.Errorf("answer %q, %+v", got.Body, a.Counts())
	}
}

func foreignReplyTopic(t *testing.T, c *cluster) {
	k := c.ready(t)
	var handled atomic.Int64
	s, _ := c.serve(t, k, func(_ context.Context, m Message) (Answer, error) {
		handled.Add(1)
		return says(m.Body), nil
	}, nil)
	a := c.asker(t, k, nil)
	topics := []string{"", TopicControl, "xg.rep.gw1", "xg.rep.gw001", "xg.rep.gw00.x", RequestTopic(c.front()), TopicDeferredReply}
	for i, topic := range topics {
		headers := c.headers(a, fmt.Sprint("F", i), time.Now().Add(patience))
		c.publish(t, k, Message{Topic: RequestTopic(c.front()), Headers: withHeaders(headers, HeaderReplyTo, topic), Body: []byte("secret")})
	}
	eventually(t, "all are refused", func() bool { return s.Counts().Misplaced == uint64(len(topics)) })
	if handled.Load() != 0 || s.Counts().Answered != 0 {
		t.Errorf("handled %d, %+v", handled.Load(), s.Counts())
	}
	for _, m := range c.deadLetters(t, k, len(topics)) {
		if m.Headers[HeaderReason] != string(ReasonReplyTopic) || len(m.Body) != 0 || len(m.Headers[HeaderDigest]) != 64 {
			t.Errorf("dead letter %v %q", m.Headers, m.Body)
		}
	}
}

func expiredOnArrival(t *testing.T, c *cluster) {
	k := c.ready(t)
	a := c.asker(t, k, nil)
	old := c.headers(a, "old", time.Now().Add(-time.Minute))
	spent := withHeaders(c.headers(a, "spent", time.Now().Add(time.Hour)), HeaderRemaining, "0")
	for _, headers := range []map[string]string{old, spent} {
		c.publish(t, k, Message{Topic: RequestTopic(c.front()), Headers: headers, Body: []byte("x")})
	}
	var handled atomic.Int64
	s, _ := c.serve(t, k, func(_ context.Context, m Message) (Answer, error) {
		handled.Add(1)
		return says(m.Body), nil
	}, nil)
	eventually(t, "both are dropped", func() bool { return s.Counts().Expired == 2 })
	if handled.Load() != 0 || s.Counts().Answered != 0 {
		t.Errorf("handled %d, %+v", handled.Load(), s.Counts())
	}
}

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
		return changes
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
