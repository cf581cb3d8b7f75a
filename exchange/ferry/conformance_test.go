package ferry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
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
