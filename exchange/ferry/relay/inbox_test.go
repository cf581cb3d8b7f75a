package relay

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"yizheng/exchange/ferry"
	"yizheng/exchange/ferry/spool"
)

func openTestInbox(t testing.TB, c InboxConfig) *Inbox {
	t.Helper()
	if c.Logger == nil {
		c.Logger = quiet()
	}
	x := must[*Inbox](t)(OpenInbox(c))
	t.Cleanup(func() { _ = x.Close() }) // a test may have closed it
	return x
}

// request is a deferred request as it comes out of a spool.
func request(id string) spool.Message {
	return spool.Message{ID: id, NotAfter: time.Now().Add(time.Hour).Truncate(time.Millisecond), Body: []byte("sealed " + id), Headers: map[string]string{
		HeaderTopic: ferry.DeferredRequestTopic(behind), ferry.HeaderReplyTo: ferry.TopicDeferredReply, ferry.HeaderExchange: id, ferry.HeaderLeg: "1"}}
}

// works has handle take what is in the inbox until stop.
func works(t testing.TB, x *Inbox, workers int, handle ferry.Handler) (stop func()) {
	return running(t, func(ctx context.Context) error {
		x.consume(ctx, ferry.GroupConfig{Topics: []string{ferry.DeferredRequestTopic(behind)}, Parallel: workers, Drain: time.Millisecond}, handle)
		return nil
	})
}

func TestASlowDeferredQuestionDelaysNobody(t *testing.T) {
	s := newSpools(t)
	s.carry(t)
	c := newCloud(t, s.cloud)
	release, begun := make(chan struct{}), make(chan struct{})
	server, _ := serve(t, s.inner, func(ctx context.Context, m ferry.Message) (ferry.Answer, error) {
		if string(m.Body) == "slow" {
			close(begun)
			select {
			case <-release:
			case <-ctx.Done():
			}
		}
		return echo(ctx, m)
	})
	answers := make(chan string, 10)
	running(t, func(ctx context.Context) error {
		return ferry.CollectDeferred(ctx, c.bus, func(_ context.Context, m ferry.Message) error {
			answers <- string(m.Body)
			return nil
		})
	})
	post := func(body string) {
		t.Helper()
		err := c.asker.Post(t.Context(), ferry.Question{Front: behind, Exchange: body, Leg: "1", Deadline: time.Now().Add(time.Hour),
			Seal: func(int) ([]byte, map[string]string, error) { return []byte(body), nil, nil }})
		if err != nil {
			t.Fatal(err)
		}
	}
	post("slow")
	<-begun
	for range 3 {
		start := time.Now()
		if _, err := c.ask(t.Context(), "live", []byte("live"), 5*time.Second); err != nil || time.Since(start) > time.Second {
			t.Errorf("a live question behind a slow deferred one took %v: %v", time.Since(start), err)
		}
	}
	post("quick")
	if got := <-answers; got != "quick" {
		t.Errorf("the first deferred answer is %q", got)
	}
	close(release)
	if got := <-answers; got != "slow" {
		t.Errorf("the second deferred answer is %q", got)
	}
	if n := server.Counts(); n.Received != 5 {
		t.Errorf("the front received %d requests, want 5: one was sent again", n.Received)
	}
}

func TestARestartLosesNoDeferredQuestionAndAnswersOnce(t *testing.T) {
	s := newSpools(t)
	s.carry(t)
	c := newCloud(t, s.cloud)
	dir := t.TempDir()
	// A front handles and answers, but dies before its request is done with.
	die := errors.New("killed")
	life := func(handle func(ctx context.Context, bus *Bus, m ferry.Message) error) (stop func(), x *Inbox) {
		x = openTestInbox(t, InboxConfig{Dir: dir})
		bus := NewBus(s.inner, x, quiet())
		stopBus := running(t, bus.Run)
		stopGroup := running(t, func(ctx context.Context) error {
			return bus.ConsumeGroup(ctx, ferry.GroupConfig{Topics: []string{ferry.DeferredRequestTopic(behind)}, Drain: time.Millisecond}, func(ctx context.Context, m ferry.Message) error {
				return handle(ctx, bus, m)
			})
		})
		return sync.OnceFunc(func() {
			stopGroup()
			stopBus()
			if err := x.Close(); err != nil {
				t.Error(err)
			}
		}), x
	}
	answer := func(ctx context.Context, bus *Bus, m ferry.Message) error {
		return bus.Publish(ctx, ferry.Refusal(m, ferry.ReasonFailed))
	}
	var answered atomic.Int64
	running(t, func(ctx context.Context) error {
		return ferry.CollectDeferred(ctx, c.bus, func(context.Context, ferry.Message) error {
			answered.Add(1)
			return nil
		})
	})
	stop, _ := life(func(ctx context.Context, bus *Bus, m ferry.Message) error {
		if m.Headers[ferry.HeaderExchange] == "answered" {
			return errors.Join(answer(ctx, bus, m), die)
		}
		<-ctx.Done()
		return ctx.Err()
	})
	for _, name := range []string{"answered", "at work"} {
		err := c.asker.Post(t.Context(), ferry.Question{Front: behind, Exchange: name, Leg: "1", Deadline: time.Now().Add(time.Hour),
			Seal: func(int) ([]byte, map[string]string, error) { return []byte(name), nil, nil }})
		if err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "both are kept and one is answered", func() bool {
		entries, err := filepath.Glob(filepath.Join(dir, "*.req"))
		return err == nil && len(entries) == 2 && answered.Load() == 1
	})
	stop()
	stop, x := life(answer)
	eventually(t, "the inbox is empty", func() bool { return x.Len() == 0 })
	eventually(t, "the second answer", func() bool { return answered.Load() >= 2 })
	eventually(t, "the repeated answer is dropped", func() bool { return s.cloud.Metrics().DuplicateRecords >= 1 })
	stop()
	if n := answered.Load(); n != 2 {
		t.Errorf("%d answers arrived, want one for each of two questions", n)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*.req")); err != nil || len(left) > 0 {
		t.Errorf("left in the inbox: %v, %v", left, err)
	}
}

func TestWorkersAreBounded(t *testing.T) {
	x := openTestInbox(t, InboxConfig{Dir: t.TempDir()})
	for i := range 5 {
		if err := x.put(request(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	var inHand, most, total atomic.Int64
	release := make(chan struct{})
	works(t, x, 2, func(context.Context, ferry.Message) error {
		most.Store(max(most.Load(), inHand.Add(1)))
		<-release
		inHand.Add(-1)
		total.Add(1)
		return nil
	})
	eventually(t, "two are in hand", func() bool { return inHand.Load() == 2 })
	time.Sleep(20 * time.Millisecond)
	close(release)
	eventually(t, "all are handled", func() bool { return total.Load() == 5 && x.Len() == 0 })
	if most.Load() != 2 {
		t.Errorf("%d were in hand at once, want 2", most.Load())
	}
}

func TestAnEntryIsTheRecordThatCame(t *testing.T) {
	dir := t.TempDir()
	want := request("a")
	x := openTestInbox(t, InboxConfig{Dir: dir})
	for range 2 { // the gap may bring it twice
		if err := x.put(want); err != nil {
			t.Fatal(err)
		}
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	x = openTestInbox(t, InboxConfig{Dir: dir})
	got := make(chan ferry.Message, 2)
	works(t, x, 1, func(_ context.Context, m ferry.Message) error { got <- m; return nil })
	m := <-got
	if string(m.Body) != string(want.Body) || m.Topic != want.Headers[HeaderTopic] || m.Headers[ferry.HeaderExchange] != "a" || m.Headers[HeaderTopic] != "" {
		t.Errorf("came back as %+v", m)
	}
	eventually(t, "the inbox is empty", func() bool { return x.Len() == 0 })
	if len(got) > 0 {
		t.Error("it was handled twice")
	}
}

func TestWhatIsNoEntryIsSetAsideOrLeftAlone(t *testing.T) {
	good := must[[]byte](t)(encodeEntry(request("a")))
	flipped := bytes.Clone(good)
	flipped[len(flipped)/2] ^= 1
	for label, c := range map[string]struct {
		file string
		data []byte
		want string // its name afterwards; "" when it is gone
	}{
		"torn":                  {fileOf("a"), good[:len(good)-40], fileOf("a") + badSuffix},
		"empty":                 {fileOf("a"), nil, fileOf("a") + badSuffix},
		"one bit wrong":         {fileOf("a"), flipped, fileOf("a") + badSuffix},
		"another entry's name":  {fileOf("b"), good, fileOf("b") + badSuffix},
		"half-written":          {fileOf("a") + tmpSuffix, good[:20], ""},
		"foreign":               {"notes.txt", []byte("x"), "notes.txt"},
		"foreign, half-written": {"notes.tmp", []byte("x"), "notes.tmp"},
	} {
		t.Run(label, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, c.file), c.data, 0o600); err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			x := openTestInbox(t, InboxConfig{Dir: dir, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			if x.Len() != 0 {
				t.Errorf("%d entries", x.Len())
			}
			if _, err := os.Stat(filepath.Join(dir, cmp.Or(c.want, c.file))); (err == nil) != (c.want != "") {
				t.Errorf("afterwards: %v", err)
			}
			if logged := strings.Contains(log.String(), c.want); c.want != "" && !logged {
				t.Errorf("the log does not name it: %s", &log)
			}
			if err := x.put(request("new")); err != nil {
				t.Errorf("beside it: %v", err)
			}
		})
	}
}

func TestAFullInboxRefuses(t *testing.T) {
	size := int64(len(must[[]byte](t)(encodeEntry(request("1")))))
	for label, c := range map[string]InboxConfig{"in number": {MaxEntries: 2}, "in bytes": {MaxBytes: 2*size + 1}} {
		t.Run(label, func(t *testing.T) {
			c.Dir = t.TempDir()
			x := openTestInbox(t, c)
			for i, want := range []error{nil, nil, ErrInboxFull} {
				if err := x.put(request(fmt.Sprint(i))); !errors.Is(err, want) {
					t.Errorf("request %d: %v, want %v", i, err, want)
				}
			}
			if err := x.put(request("1")); err != nil {
				t.Errorf("one that is there already: %v", err)
			}
			if err := x.Close(); err != nil {
				t.Fatal(err)
			}
			if x = openTestInbox(t, c); !errors.Is(x.put(request("4")), ErrInboxFull) {
				t.Error("after a restart there is room")
			}
		})
	}
}

func TestAFullInboxTellsWhoAsked(t *testing.T) {
	s := newSpools(t)
	s.carry(t)
	bus := NewBus(s.inner, openTestInbox(t, InboxConfig{Dir: t.TempDir(), MaxEntries: 1}), quiet())
	bus.began = time.Now()
	if err := bus.deliver(t.Context(), []spool.Message{request("a"), request("b")}); err != nil {
		t.Fatal(err)
	}
	got := make(chan spool.Message, 4)
	running(t, func(ctx context.Context) error {
		return s.cloud.Receive(ctx, func(_ context.Context, ms []spool.Message) error {
			for _, m := range ms {
				got <- m
			}
			return nil
		})
	})
	h := (<-got).Headers
	if h[HeaderTopic] != ferry.TopicDeferredReply || h[ferry.HeaderRefused] != string(ferry.ReasonFull) || h[ferry.HeaderExchange] != "b" {
		t.Errorf("answered with %v", h)
	}
}

func TestExpiredEntriesAreDropped(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		x := openTestInbox(t, InboxConfig{Dir: dir, MaxEntries: 2})
		for _, id := range []string{"a", "b"} {
			if err := x.put(request(id)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Hour + clockSkew + time.Second)
		if err := x.put(request("c")); err != nil || x.Len() != 1 { // they make room
			t.Errorf("%d entries, %v", x.Len(), err)
		}
		stop := works(t, x, 1, func(_ context.Context, m ferry.Message) error {
			return errors.New("not yet")
		})
		time.Sleep(time.Hour + clockSkew + 2*sweepEvery)
		stop()
		if x.Len() != 0 {
			t.Errorf("%d entries after the deadline", x.Len())
		}
	})
	if left, err := filepath.Glob(filepath.Join(dir, "*.req")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestTwoProcessesDoNotShareAnInbox(t *testing.T) {
	dir := t.TempDir()
	openTestInbox(t, InboxConfig{Dir: dir})
	if x, err := OpenInbox(InboxConfig{Dir: dir, Logger: quiet()}); err == nil {
		t.Error(errors.Join(errors.New("opened twice"), x.Close()))
	}
}

func TestDeferredTopicsNeedAnInboxOfTheirOwn(t *testing.T) {
	live, deferred := ferry.RequestTopic(behind), ferry.DeferredRequestTopic(behind)
	for label, c := range map[string]struct {
		inbox  *Inbox
		topics []string
	}{
		"no inbox":            {nil, []string{deferred}},
		"together with live":  {openTestInbox(t, InboxConfig{Dir: t.TempDir()}), []string{live, deferred}},
		"together, no inbox ": {nil, []string{deferred, live}},
	} {
		if err := NewBus(nil, c.inbox, quiet()).ConsumeGroup(t.Context(), ferry.GroupConfig{Topics: c.topics}, nil); !errors.Is(err, errDeferred) {
			t.Errorf("%s: %v", label, err)
		}
	}
}

func FuzzDecodeEntry(f *testing.F) {
	good, err := encodeEntry(request("a"))
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][]byte{nil, []byte(entryHead), good, good[:len(good)-1]} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decodeEntry(data)
		if err != nil {
			if !errors.Is(err, errDamaged) {
				t.Errorf("%v", err)
			}
			return
		}
		if again, err := encodeEntry(r); err != nil || !bytes.Equal(again, data) {
			t.Errorf("reads as %+v, which writes otherwise (%v)", r, err)
		}
	})
}
