package ferry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func FuzzParseChunk(f *testing.F) {
	for _, s := range []string{"", "a 0 3 600000", "a 2 3 600000", "a 3 3 600000", "a 0 1 1", "a -1 3 600000", "a 0 3 99999999", "a 00 3 600000", "a b c d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := parseChunk(s)
		if err != nil {
			return
		}
		if c.String() != s || c.size() <= 0 || c.size() > ChunkSize || c.index >= c.count || c.total > MaxBody {
			t.Errorf("%q became %+v", s, c)
		}
	})
}

func FuzzDeadline(f *testing.F) {
	f.Add("1700000000000", "5000")
	f.Add("", "")
	f.Add("-1", "9223372036854775807")
	f.Fuzz(func(t *testing.T, at, left string) {
		now := time.UnixMilli(1_700_000_000_000)
		d, err := deadlineOf(map[string]string{HeaderDeadline: at, HeaderRemaining: left}, now, time.Second)
		if err == nil && left != "" && d.After(now.Add(366*24*time.Hour)) {
			t.Errorf("%q, %q: %v", at, left, d)
		}
	})
}

func TestDeadlineIsTheEarlierOfBothStatements(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	tests := []struct {
		name     string
		deadline time.Duration // as the sender's clock has it, from now
		left     string
		want     time.Duration
	}{
		{"clocks agree", 10 * time.Second, "10000", 10 * time.Second},
		{"only the absolute one", 10 * time.Second, "", 12 * time.Second},
		{"the sender is ahead by an hour", time.Hour, "10000", 10 * time.Second},
		{"the sender is behind by a second", 9 * time.Second, "10000", 10 * time.Second},
		{"it has waited in the topic for a minute", -50 * time.Second, "10000", -48 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := deadlineOf(map[string]string{HeaderDeadline: millis(now.Add(test.deadline)), HeaderRemaining: test.left}, now, 2*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if got.Sub(now) != test.want {
				t.Errorf("got %v, want %v", got.Sub(now), test.want)
			}
		})
	}
}

// Whatever the order in which pieces of several messages are mixed, lost and
// repeated: what comes out whole is one of the messages, and once all is
// expired every offset has been given back exactly once.
func TestAssemblerGivesBackMessagesAndOffsets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var queues [][]Message
		bodies := map[string]bool{}
		for i := range rapid.IntRange(1, 4).Draw(t, "messages") {
			body := bytes.Repeat([]byte{byte('a' + i)}, rapid.SampledFrom([]int{10, ChunkOver + 1, 3*ChunkSize + 7}).Draw(t, "size"))
			pieces, err := split(Message{Body: body})
			if err != nil {
				t.Fatal(err)
			}
			bodies[string(body)] = true
			queues = append(queues, pieces)
		}
		var a assembler
		given := map[int64]int{}
		offset := int64(0)
		for len(queues) > 0 {
			i := rapid.IntRange(0, len(queues)-1).Draw(t, "queue")
			m := queues[i][0]
			if queues[i] = queues[i][1:]; len(queues[i]) == 0 {
				queues = append(queues[:i], queues[i+1:]...)
			}
			for range rapid.SampledFrom([]int{1, 1, 1, 1, 0, 2}).Draw(t, "copies") {
				m.Offset = offset
				offset++
				whole, offsets, ok := a.add(m, time.Now())
				if ok && !bodies[string(whole.Body)] {
					t.Fatal("a message came out that never went in")
				}
				for _, o := range offsets {
					given[o]++
				}
			}
		}
		for _, o := range a.expire(time.Now().Add(time.Hour)) {
			given[o]++
		}
		for o := range offset {
			if given[o] != 1 {
				t.Fatalf("offset %d was given back %d times", o, given[o])
			}
		}
		if a.bytes != 0 || len(a.held) != 0 {
			t.Fatalf("%d bytes are still held", a.bytes)
		}
	})
}

func TestAssemblerIsBounded(t *testing.T) {
	var a assembler
	for i := range 20 {
		pieces, err := split(Message{Body: make([]byte, MaxBody)})
		if err != nil {
			t.Fatal(err)
		}
		pieces[0].Offset = int64(i)
		a.add(pieces[0], time.Now())
		if a.bytes > maxAssembling {
			t.Fatalf("%d bytes are held", a.bytes)
		}
	}
}

func TestTrackerPassesOnlyWhatIsDone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tr tracker
		var taken []int64
		offset := int64(0)
		for range rapid.IntRange(1, 30).Draw(t, "records") {
			offset += int64(rapid.IntRange(1, 3).Draw(t, "gap"))
			tr.take(offset)
			taken = append(taken, offset)
		}
		done := map[int64]bool{}
		for _, o := range rapid.Permutation(taken).Draw(t, "order") {
			done[o] = true
			next, moved := tr.finish(o)
			for _, before := range taken {
				if moved && before < next && !done[before] {
					t.Fatalf("passed %d, which is not done", before)
				}
			}
		}
		if len(tr.taken) != 0 || len(tr.done) != 0 {
			t.Fatalf("left over: %v %v", tr.taken, tr.done)
		}
	})
}

func TestAnswersAreComputedOnceAndFailuresNotKept(t *testing.T) {
	a := newAnswers(1 << 20)
	until := time.Now().Add(time.Minute)
	computed := 0
	get := func(err error) (bool, error) {
		_, repeated, err := a.get(t.Context(), leg{"E", "1"}, until, func() (Answer, error) { computed++; return says(nil), err })
		return repeated, err
	}
	if _, err := get(errors.New("no")); err == nil {
		t.Error("a failure was hidden")
	}
	if repeated, err := get(nil); err != nil || repeated {
		t.Errorf("after a failure: repeated %v, %v", repeated, err)
	}
	if repeated, err := get(nil); err != nil || !repeated || computed != 2 {
		t.Errorf("repeated %v, %v, computed %d times", repeated, err, computed)
	}
}

func TestWaiterComputesForItselfWhenTheFirstFails(t *testing.T) {
	a := newAnswers(1 << 20)
	until := time.Now().Add(time.Minute)
	started, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _, _ = a.get(t.Context(), leg{"E", "1"}, until, func() (Answer, error) {
			close(started)
			<-release
			return Answer{}, errors.New("forged")
		})
	})
	<-started
	wg.Go(func() {
		if _, repeated, err := a.get(t.Context(), leg{"E", "1"}, until, func() (Answer, error) { return says(nil), nil }); repeated || err != nil {
			t.Errorf("repeated %v, %v", repeated, err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, _, err := a.get(ctx, leg{"E", "1"}, until, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a waiter outlived its deadline: %v", err)
	}
	close(release)
	wg.Wait()
}

func TestAnswersAreBoundedAndExpire(t *testing.T) {
	a := newAnswers(10_000)
	keep := func(i int, until time.Time) {
		_, _, err := a.get(t.Context(), leg{fmt.Sprint(i), "1"}, until, func() (Answer, error) { return says(make([]byte, 1000)), nil })
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 100 {
		keep(i, time.Now().Add(time.Minute))
		if a.bytes > a.max {
			t.Fatalf("%d bytes are kept", a.bytes)
		}
	}
	b := newAnswers(1 << 20)
	a = b
	for i := range 10 {
		keep(i, time.Now().Add(-time.Second))
	}
	if len(b.entries) > 1 || b.order.Len() > 1 {
		t.Errorf("%d expired answers are kept", len(b.entries))
	}
}

func TestPlacesAreGivenInOrderAndGivenBack(t *testing.T) {
	f := newFronts(AskerConfig{MaxInFlight: 1, HeartbeatEvery: time.Second})
	leave, err := f.enter(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.enter(t.Context(), "b"); err != nil {
		t.Errorf("one front's places hold up another's: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := f.enter(ctx, "a"); !errors.Is(err, ErrBusy) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no place: %v", err)
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
			defer cancel()
			if leave, err := f.enter(ctx, "a"); err == nil {
				leave()
			}
		})
	}
	leave()
	leave() // twice is once
	wg.Wait()
	if fr := f.known["a"]; fr.inFlight != 0 || len(fr.waiting) != 0 {
		t.Errorf("%d in flight, %d wait", fr.inFlight, len(fr.waiting))
	}
}

func TestForgedHeartbeatsAreIgnored(t *testing.T) {
	a, err := NewAsker(nil, AskerConfig{Slot: "01", Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []Message{
		{Key: []byte("front/x/i"), Body: []byte(`{`)},
		{Key: []byte("front/x/i"), Body: []byte(`{"v":1,"front":"y","instance":"i","every":1000}`)},
		{Key: []byte("front/x/i"), Body: []byte(`{"v":1,"front":"x","instance":"i","every":0}`)},
		{Key: []byte("front/x/i"), Body: []byte(`{"v":2,"front":"x","instance":"i","every":1000}`)},
		{Key: []byte("front/../i"), Body: []byte(`{"v":1,"front":"..","instance":"i","every":1000}`)},
		{Key: []byte("front/x/i"), Body: bytes.Repeat([]byte(" "), maxHeartbeat+1)},
		{Key: nil, Body: []byte(`{}`)},
	} {
		if err := a.hear(t.Context(), m); err != nil {
			t.Errorf("%s: %v", m.Key, err)
		}
	}
	if len(a.Fronts()) != 0 {
		t.Errorf("known: %+v", a.Fronts())
	}
}

func TestAskerNeverStopsHedgingForLong(t *testing.T) {
	for value, want := range map[string]time.Duration{"": 0, "x": 0, "-5": 0, "600": 600 * time.Millisecond, "99999999999999": 2 * time.Second, "9223372036854775807": 2 * time.Second} {
		if got := signOf(Message{Headers: map[string]string{HeaderWorking: value}}); got != want {
			t.Errorf("%q: %v", value, got)
		}
	}
}

func TestRecentForgetsTheOldest(t *testing.T) {
	var r recent
	for i := range recentLegs + 10 {
		r.add(leg{strconv.Itoa(i), "1"})
	}
	if r.has(leg{"9", "1"}) || !r.has(leg{"10", "1"}) || len(r.set) != recentLegs {
		t.Errorf("%d are remembered", len(r.set))
	}
}

func TestNamesThatDoNotFitAreRefused(t *testing.T) {
	for _, name := range []string{"", "A", "a.b", "a_b", "-a", "a/b", strings.Repeat("a", 65)} {
		if _, err := NewServer(nil, ServerConfig{Front: name, Handle: echo}); err == nil {
			t.Errorf("front %q", name)
		}
		if _, err := Topics(Layout{Fronts: []FrontLayout{{Name: name}}}); err == nil {
			t.Errorf("topics of front %q", name)
		}
	}
	for _, slot := range []string{"", "1", "001", "aa", "٠١"} {
		if _, err := NewAsker(nil, AskerConfig{Slot: slot}); err == nil {
			t.Errorf("slot %q", slot)
		}
		if _, err := Topics(Layout{Slots: []string{slot}}); err == nil {
			t.Errorf("topics of slot %q", slot)
		}
	}
}

func TestTopicsThatHoldEnvelopesAreShortLived(t *testing.T) {
	topics, err := Topics(Layout{Slots: []string{"00"}, Fronts: []FrontLayout{{Name: "police", Replicas: 3, Deferred: 72 * time.Hour}}, Replication: 3})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"xg.req.police": "120000", "xg.rep.gw00": "120000", "xg.req.police.deferred": "345600000", "xg.rep.deferred": "345600000",
		"xg.ctl": "86400000", "xg.dlq": "1209600000"}
	for _, topic := range topics {
		if topic.Settings["retention.ms"] != want[topic.Name] || topic.Settings["min.insync.replicas"] != "2" || topic.Replication != 3 {
			t.Errorf("%s: %v", topic.Name, topic.Settings)
		}
		delete(want, topic.Name)
	}
	if len(want) != 0 {
		t.Errorf("missing: %v", want)
	}
}

func TestBrokerRefusesStrangers(t *testing.T) {
	t.Parallel()
	c := embedded(t)
	stranger := certificates(t) // of another CA
	for name, files := range map[string]Files{
		"a client of another CA":          {CA: c.files.CA, Certificate: stranger.Certificate, Key: stranger.Key},
		"a client that expects other CAs": stranger,
	} {
		k, err := OpenKafka(t.Context(), KafkaConfig{Brokers: c.brokers, ClientID: "stranger", TLS: files, Logger: quiet()})
		if err == nil {
			t.Errorf("%s got in", name)
			_ = k.Close()
		}
	}
}

func TestPublishAfterCloseIsRefused(t *testing.T) {
	t.Parallel()
	c := embedded(t)
	k, err := OpenKafka(t.Context(), KafkaConfig{Brokers: c.brokers, ClientID: "closed", TLS: c.files, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	c.topics(t, k)
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	if err := k.Publish(t.Context(), Message{Topic: TopicControl, Body: []byte("x")}); !errors.Is(err, ErrClosed) {
		t.Errorf("published: %v", err)
	}
}

func TestStartingDoesNotOutliveItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := OpenKafka(ctx, KafkaConfig{Brokers: []string{"127.0.0.1:1"}, ClientID: "x", TLS: certificates(t), Logger: quiet()})
	if err == nil || time.Since(began) > 5*time.Second {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
}
