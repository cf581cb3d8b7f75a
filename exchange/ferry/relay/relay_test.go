package relay

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"yizheng/exchange/ferry"
	"yizheng/exchange/ferry/spool"
)

func TestQuestionsCrossTheGapAndComeBack(t *testing.T) {
	s := newSpools(t)
	s.carry(t)
	c := newCloud(t, s.cloud)
	var seen sync.Map
	server, stop := serve(t, s.inner, func(ctx context.Context, m ferry.Message) (ferry.Answer, error) {
		seen.Store(m.Headers[ferry.HeaderExchange], m.Headers)
		return echo(ctx, m)
	})
	eventually(t, "the front's heartbeat crosses", c.up)
	for label, body := range map[string][]byte{"small": []byte("sealed"), "in chunks on Kafka": bytes.Repeat([]byte("0123456789abcdef"), 45_000)} {
		got, err := c.ask(t.Context(), label, body, 10*time.Second)
		if err != nil || !bytes.Equal(got.Body, body) || got.Headers["yz-kind"] != "answer" {
			t.Fatalf("%s: %d bytes, headers %v, %v", label, len(got.Body), got.Headers, err)
		}
		kept, _ := seen.Load(label)
		h, _ := kept.(map[string]string)
		if h["yz-kind"] != "request" || h[ferry.HeaderNonce] == "" || h[ferry.HeaderChunk] != "" || h[HeaderTopic] != "" {
			t.Errorf("%s: the front saw headers %v", label, h)
		}
	}
	if n := server.Counts(); n.Received != 2 || n.Answered != 2 {
		t.Errorf("the front counts %+v", n)
	}
	stop()
	eventually(t, "the front's farewell crosses", func() bool { return !c.up() })
	if _, err := c.ask(t.Context(), "after", []byte("x"), time.Second); !errors.Is(err, ferry.ErrFrontDown) {
		t.Errorf("asking a front that is gone: %v", err)
	}
	if n := c.relay.Counts(); n.Requests != 2 || n.Answers != 2 || n.Heartbeats < 2 || c.refused() > 0 {
		t.Errorf("the relay counts %+v, refused %v", n, c.lost)
	}
}

func TestDeadLettersCrossWithoutABody(t *testing.T) {
	s := newSpools(t)
	s.carry(t)
	c := newCloud(t, s.cloud)
	serve(t, s.inner, func(context.Context, ferry.Message) (ferry.Answer, error) {
		return ferry.Answer{}, ferry.ErrUndecodable
	})
	_, err := c.ask(t.Context(), "nonsense", []byte("x"), 10*time.Second)
	if why, refused := ferry.IsRefused(err); !refused || why != ferry.ReasonUndecodable {
		t.Errorf("ended with %v", err)
	}
	eventually(t, "a dead letter", func() bool { return c.relay.Counts().DeadLetters == 1 })
}

func TestDeferredRequestComesAgainUntilItIsHandled(t *testing.T) {
	s := newSpools(t)
	s.carry(t)
	c := newCloud(t, s.cloud)
	var tries, answers atomic.Int64
	inbox := openTestInbox(t, InboxConfig{Dir: t.TempDir()})
	bus := NewBus(s.inner, inbox, quiet())
	running(t, bus.Run)
	running(t, func(ctx context.Context) error {
		return bus.ConsumeGroup(ctx, ferry.GroupConfig{Topics: []string{ferry.DeferredRequestTopic(behind)}}, func(ctx context.Context, m ferry.Message) error {
			if tries.Add(1) < 2 {
				return errors.New("not yet")
			}
			return bus.Publish(ctx, ferry.Message{Topic: m.Headers[ferry.HeaderReplyTo], Headers: m.Headers, Body: []byte("at last")})
		})
	})
	running(t, func(ctx context.Context) error {
		return ferry.CollectDeferred(ctx, c.bus, func(_ context.Context, m ferry.Message) error {
			if string(m.Body) == "at last" && m.Headers[ferry.HeaderExchange] == "D" {
				answers.Add(1)
			}
			return nil
		})
	})
	err := c.asker.Post(t.Context(), ferry.Question{Front: behind, Exchange: "D", Leg: "1", Deadline: time.Now().Add(time.Hour),
		Seal: func(int) ([]byte, map[string]string, error) { return []byte("x"), nil, nil }})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the deferred answer", func() bool { return answers.Load() == 1 })
	if tries.Load() != 2 {
		t.Errorf("handled %d times", tries.Load())
	}
	eventually(t, "the inbox is empty", func() bool { return inbox.Len() == 0 })
}

func TestSlowRequestsDoNotHoldUpOthers(t *testing.T) {
	s := newSpools(t)
	s.carry(t)
	c := newCloud(t, s.cloud)
	release := make(chan struct{})
	serve(t, s.inner, func(ctx context.Context, m ferry.Message) (ferry.Answer, error) {
		if string(m.Body) == "slow" {
			select {
			case <-release:
			case <-ctx.Done():
			}
		}
		return echo(ctx, m)
	})
	slow := make(chan error, 1)
	go func() { _, err := c.ask(t.Context(), "slow", []byte("slow"), 15*time.Second); slow <- err }()
	eventually(t, "the slow one is taken", func() bool { return c.relay.Counts().Requests == 1 })
	if _, err := c.ask(t.Context(), "quick", []byte("quick"), 10*time.Second); err != nil {
		t.Errorf("quick: %v", err)
	}
	close(release)
	if err := <-slow; err != nil {
		t.Errorf("slow: %v", err)
	}
}

func TestRelayWritesOnlyWhereAFrontMay(t *testing.T) {
	s := newSpools(t)
	c := newCloud(t, s.cloud)
	long := strings.Repeat("x", maxHeader+1)
	for label, r := range map[string]spool.Message{
		"another front's requests":    {Headers: map[string]string{HeaderTopic: "xg.req.hr-front"}},
		"no topic":                    {},
		"a slot without a topic":      {Headers: map[string]string{HeaderTopic: "xg.rep.gw77"}},
		"almost a reply topic":        {Headers: map[string]string{HeaderTopic: "xg.rep.gw000"}},
		"another front's heartbeat":   {Headers: map[string]string{HeaderTopic: ferry.TopicControl, HeaderKey: "front/hr-front/A"}},
		"a heartbeat of nobody":       {Headers: map[string]string{HeaderTopic: ferry.TopicControl}},
		"a heartbeat without a name":  {Headers: map[string]string{HeaderTopic: ferry.TopicControl, HeaderKey: "front/" + behind + "/"}},
		"a huge heartbeat":            {Headers: map[string]string{HeaderTopic: ferry.TopicControl, HeaderKey: "front/" + behind + "/A"}, Body: make([]byte, maxHeartbeat+1)},
		"a dead letter with a body":   {Headers: map[string]string{HeaderTopic: ferry.TopicDeadLetter}, Body: []byte("x")},
		"an answer over the limit":    {Headers: map[string]string{HeaderTopic: "xg.rep.gw00"}, Body: make([]byte, ferry.MaxBody+1)},
		"a header over the limit":     {Headers: map[string]string{HeaderTopic: "xg.rep.gw00", "yz-kind": long}},
		"a header's name of any size": {Headers: map[string]string{HeaderTopic: "xg.rep.gw00", long: ""}},
	} {
		good := spool.Message{Headers: map[string]string{HeaderTopic: "xg.rep.gw00"}}
		err := c.relay.Send(t.Context(), []spool.Message{good, r})
		if !errors.Is(err, spool.ErrMessage) && !errors.Is(err, spool.ErrTooLarge) {
			t.Errorf("%s: %v", label, err)
		}
	}
	if n := c.relay.Counts(); n.Answers+n.Heartbeats+n.DeadLetters != 0 {
		t.Errorf("something was published beside what is refused: %+v", n)
	}
}

func TestRequestKeepsItsIDUnlessItIsAnother(t *testing.T) {
	m := ferry.Message{Topic: ferry.RequestTopic(strings.Repeat("f", 64)), Partition: 1<<31 - 1, Offset: 1<<63 - 1,
		Headers: map[string]string{ferry.HeaderExchange: "X", ferry.HeaderNonce: "n"}, Body: []byte("sealed")}
	id := requestID(m)
	if again := requestID(m); again != id || len(id) > 64 {
		t.Errorf("%s, then %s", id, again)
	}
	for label, change := range map[string]func(*ferry.Message){
		"another offset": func(m *ferry.Message) { m.Offset-- },
		"another front":  func(m *ferry.Message) { m.Topic = "xg.req.a" },
		"a topic made anew holds another question there": func(m *ferry.Message) { m.Headers[ferry.HeaderNonce] = "o" },
		"another body": func(m *ferry.Message) { m.Body = []byte("Sealed") },
	} {
		other := m
		other.Headers = maps.Clone(m.Headers)
		change(&other)
		if requestID(other) == id {
			t.Errorf("%s: same id", label)
		}
	}
}

func TestNothingOutlivesItsDeadlineInTheSpool(t *testing.T) {
	now := time.UnixMilli(1_790_000_000_000)
	for label, c := range map[string]struct {
		topic, deadline string
		want            time.Time
	}{
		"a request":                    {"xg.req.a", "1790000005000", now.Add(5 * time.Second)},
		"an answer":                    {"xg.rep.gw00", "1790000005000", now.Add(5 * time.Second)},
		"a refusal names no deadline":  {"xg.rep.gw00", "", now.Add(liveTime)},
		"nonsense as a deadline":       {"xg.rep.gw00", "-5", now.Add(liveTime)},
		"a heartbeat":                  {ferry.TopicControl, "", now.Add(controlTime)},
		"a dead letter outlives it":    {ferry.TopicDeadLetter, "1790000005000", time.Time{}},
		"a deferred refusal may wait":  {ferry.TopicDeferredReply, "", time.Time{}},
		"a deferred answer's deadline": {ferry.TopicDeferredReply, "1790000005000", now.Add(5 * time.Second)},
	} {
		r := record("1", ferry.Message{Topic: c.topic, Headers: map[string]string{ferry.HeaderDeadline: c.deadline}}, now)
		if !r.NotAfter.Equal(c.want) {
			t.Errorf("%s: not after %v, want %v", label, r.NotAfter, c.want)
		}
	}
}

func TestARecordIsItsMessage(t *testing.T) {
	in := ferry.Message{Topic: "xg.ctl", Key: []byte("front/a/B"), Headers: map[string]string{"x": "y", ferry.HeaderChunk: "a 0 3 600000"}, Body: []byte("b")}
	r := record("1", in, time.Now())
	out := message(r)
	if out.Topic != in.Topic || !bytes.Equal(out.Key, in.Key) || !bytes.Equal(out.Body, in.Body) || !maps.Equal(out.Headers, map[string]string{"x": "y"}) {
		t.Errorf("%+v became %+v", in, out)
	}
	if in.Headers[ferry.HeaderChunk] == "" || r.Headers[HeaderTopic] == "" {
		t.Error("one of the header maps was shared")
	}
}

func TestATopicWithoutAConsumer(t *testing.T) {
	bus := NewBus(newSpools(t).inner, nil, quiet())
	ctx, cancel := context.WithCancel(t.Context())
	records := []spool.Message{{Headers: map[string]string{HeaderTopic: "xg.req.a"}}}
	bus.began = time.Now()
	if err := bus.deliver(t.Context(), records); !errors.Is(err, errNobody) {
		t.Errorf("just started: %v", err)
	}
	bus.began = time.Now().Add(-time.Hour)
	if err := bus.deliver(t.Context(), records); err != nil {
		t.Errorf("never consumed, long after the start: %v", err)
	}
	cancel()
	if err := bus.ConsumeGroup(ctx, ferry.GroupConfig{Topics: []string{"xg.req.a"}}, func(context.Context, ferry.Message) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := bus.deliver(t.Context(), records); !errors.Is(err, errNobody) {
		t.Errorf("consumed until a moment ago: %v", err)
	}
	if err := bus.ConsumeDirect(t.Context(), ferry.DirectConfig{}, nil); !errors.Is(err, ErrNoDirect) {
		t.Errorf("direct: %v", err)
	}
}

func FuzzFrontOf(f *testing.F) {
	for _, s := range []string{"", "front/", "front/a/b", "front/a/", "front//b", "front/a/b/c", "slot/00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if front := frontOf(key); front != "" && (!strings.HasPrefix(key, "front/"+front+"/") || strings.Contains(front, "/")) {
			t.Errorf("%q is of %q", key, front)
		}
	})
}
