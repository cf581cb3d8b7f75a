package ferry

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// AskerConfig configures the gateway's side.
type AskerConfig struct {
	// Slot is this gateway's, "00" to "99": nobody else may use it at the time.
	Slot string
	// Epoch counts the tenancies of the slot; answers to an earlier one are
	// dropped. It must rise with each start: a lease's number, or the Unix time
	// in milliseconds, which is what 0 stands for.
	Epoch uint64
	// HedgeEvery is after how long without an answer the next partition is
	// tried as well, until all have been; 0 means 300 ms, < 0 never.
	HedgeEvery time.Duration
	// MaxInFlight bounds the questions in hand for one front; its own credits,
	// as far as it has announced any, bound them further. 0 means 256.
	MaxInFlight int
	// Expect names fronts that count as down when they have not been heard of
	// within three intervals. Others that were never heard of are tried.
	Expect []string
	// HeartbeatEvery is the fronts' interval until they say otherwise; 0 means 5 s.
	HeartbeatEvery time.Duration
	Logger         *slog.Logger // nil: slog.Default
}

// Question is one leg to be asked of one front.
type Question struct {
	Front    string
	Exchange string
	Leg      string
	Deadline time.Time
	Trace    string // traceparent, may be empty
	// HedgeEvery overrides the asker's, if not 0. A front behind a gap should
	// have < 0: every attempt would cross it.
	HedgeEvery time.Duration
	// Seal makes the envelope of an attempt, 1 for the first, and the headers
	// that repeat its attributes. It is called once for each attempt, one at a
	// time. Attributes' reply address is Asker.ReplyTopic, epoch Asker.Epoch.
	Seal func(attempt int) (body []byte, headers map[string]string, err error)
	// Accept opens and checks an answer. done ends the question, with err.
	// Not done means the message was no acceptable answer: it is counted and
	// dropped, err says why in the log, and waiting goes on.
	Accept func(Message) (done bool, err error)
}

// RefusedError is returned when a front could not answer and says so.
type RefusedError struct{ Reason Reason }

// Error names the reason only.
func (e *RefusedError) Error() string { return "front refused: " + string(e.Reason) }

// Asker asks fronts and waits for their answers. Safe for many goroutines.
type Asker struct {
	bus    Bus
	config AskerConfig
	log    *slog.Logger
	epoch  string
	counts askCounters
	fronts *fronts
	ready  chan struct{} // closed once answers are being read

	mu    sync.Mutex
	calls map[leg]*call
	ended recent
}

// call is one question that waits.
type call struct {
	nonce   string
	answers chan Message
}

// NewAsker returns an asker; Run must run for Ask to work.
func NewAsker(bus Bus, c AskerConfig) (*Asker, error) {
	if !slotName.MatchString(c.Slot) {
		return nil, fmt.Errorf("slot %q is not two digits", c.Slot)
	}
	if c.Epoch == 0 {
		c.Epoch = uint64(time.Now().UnixMilli())
	}
	if c.HedgeEvery == 0 {
		c.HedgeEvery = 300 * time.Millisecond
	}
	if c.MaxInFlight <= 0 {
		c.MaxInFlight = 256
	}
	if c.HeartbeatEvery <= 0 {
		c.HeartbeatEvery = 5 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return &Asker{bus: bus, config: c, log: c.Logger, epoch: strconv.FormatUint(c.Epoch, 10),
		fronts: newFronts(c), ready: make(chan struct{}), calls: map[leg]*call{}}, nil
}

// ReplyTopic is the reply address for envelopes.
func (a *Asker) ReplyTopic() string { return ReplyTopic(a.config.Slot) }

// Epoch is the epoch for envelopes.
func (a *Asker) Epoch() uint64 { return a.config.Epoch }

// Ready is closed when answers and heartbeats are being read.
func (a *Asker) Ready() <-chan struct{} { return a.ready }

// Run reads answers and heartbeats until ctx ends, and then returns nil. Lost
// brokers are waited for.
func (a *Asker) Run(ctx context.Context) error {
	var starting sync.WaitGroup
	starting.Add(2)
	reads, ctl := sync.OnceFunc(starting.Done), sync.OnceFunc(starting.Done)
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error {
		return a.keepReading(ctx, DirectConfig{Topic: a.ReplyTopic(), Erase: true, Ready: reads}, a.deliver)
	})
	all.Go(func() error {
		heard := func() { a.fronts.caughtUp(time.Now()); ctl() }
		return a.keepReading(ctx, DirectConfig{Topic: TopicControl, Oldest: true, Ready: heard}, a.hear)
	})
	all.Go(func() error {
		defer func() { reads(); ctl() }() // nobody may wait for ever
		<-ctx.Done()
		return nil
	})
	starting.Wait()
	if ctx.Err() == nil {
		close(a.ready)
	}
	return all.Wait()
}

func (a *Asker) keepReading(ctx context.Context, c DirectConfig, handle Handler) error {
	for ctx.Err() == nil {
		if err := a.bus.ConsumeDirect(ctx, c, handle); err != nil && ctx.Err() == nil {
			a.log.Warn("reading is interrupted", "topic", c.Topic, "err", err)
			pause(ctx, time.Second)
		}
	}
	return nil
}

// Ask asks and waits: until an answer is accepted (nil, or what Accept
// returned), a front refuses (*RefusedError), or ctx or the deadline ends (its
// error). It returns *FrontDownError at once when the front is known to be
// down, ErrBusy when its places stay taken, ErrAsking when this leg is in hand
// already, and ErrNotSent when no attempt could be published.
func (a *Asker) Ask(ctx context.Context, q Question) error {
	ctx, cancel := context.WithDeadline(ctx, q.Deadline)
	defer cancel()
	select {
	case <-a.ready:
	case <-ctx.Done():
		return fmt.Errorf("ask %s: the ferry is not ready: %w", q.Front, ctx.Err())
	}
	if err := a.fronts.down(q.Front, time.Now()); err != nil {
		a.counts.Down.Add(1)
		return err
	}
	leave, err := a.fronts.enter(ctx, q.Front)
	if err != nil {
		a.counts.Busy.Add(1)
		return err
	}
	defer leave()
	c, forget, err := a.expect(q)
	if err != nil {
		return err
	}
	defer forget()
	a.counts.Asked.Add(1)
	return a.converse(ctx, q, c)
}

// expect enters the question among those that wait.
func (a *Asker) expect(q Question) (*call, func(), error) {
	key := leg{q.Exchange, q.Leg}
	c := &call{nonce: rand.Text(), answers: make(chan Message, 8)}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.calls[key] != nil {
		return nil, nil, fmt.Errorf("ask %s: %w", q.Front, ErrAsking)
	}
	a.calls[key] = c
	return c, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.calls, key)
		a.ended.add(key)
	}, nil
}

// converse sends attempts until one is answered.
func (a *Asker) converse(ctx context.Context, q Question, c *call) error {
	partitions, err := a.bus.Partitions(RequestTopic(q.Front))
	if err != nil {
		return fmt.Errorf("ask %s: %w: %w", q.Front, ErrNotSent, err)
	}
	sending, stop := context.WithCancel(ctx)
	s := &sender{Asker: a, q: q, call: c, first: partitionOf(nil, partitions), partitions: partitions, failed: make(chan error, partitions)}
	defer s.wg.Wait()
	defer stop()
	if err := s.send(sending); err != nil {
		return err
	}
	hedge := time.NewTimer(a.hedgeAfter(q))
	defer hedge.Stop()
	for {
		select {
		case m := <-c.answers:
			if sign := signOf(m); sign > 0 {
				hedge.Reset(max(sign*missedSigns, a.hedgeAfter(q)))
				continue
			}
			done, err := a.judge(q, m)
			if done {
				return err
			}
		case <-hedge.C:
			if s.sent == partitions {
				continue
			}
			hedge.Reset(a.hedgeAfter(q))
			a.counts.Hedged.Add(1)
			if err := s.send(sending); err != nil {
				a.log.Warn("hedge", "front", q.Front, "err", err)
			}
		case err := <-s.failed:
			if s.unsent++; s.unsent == partitions || (s.unsent == s.sent && a.hedgeAfter(q) == never) {
				return fmt.Errorf("ask %s: %w: %w", q.Front, ErrNotSent, err)
			}
		case <-ctx.Done():
			a.counts.Unanswered.Add(1)
			return fmt.Errorf("ask %s: %w", q.Front, ctx.Err())
		}
	}
}

// missedSigns is how many signs of life may be missing before others are asked.
const missedSigns = 3

const never = 366 * 24 * time.Hour

func (a *Asker) hedgeAfter(q Question) time.Duration {
	every := a.config.HedgeEvery
	if q.HedgeEvery != 0 {
		every = q.HedgeEvery
	}
	if every < 0 {
		return never
	}
	return every
}

// signOf returns after what time a front at work will give another sign of
// life; 0 if m is no such sign. Bounded, so that none can stop the hedging.
func signOf(m Message) time.Duration {
	ms, err := strconv.ParseInt(m.Headers[HeaderWorking], 10, 64)
	if err != nil || ms <= 0 || len(m.Body) > 0 {
		return 0
	}
	return min(time.Duration(min(ms, 10_000))*time.Millisecond, 2*time.Second)
}

// sender publishes the attempts of one question, each to the next partition.
type sender struct {
	*Asker
	q            Question
	call         *call
	first        int32
	partitions   int
	sent, unsent int
	failed       chan error
	wg           sync.WaitGroup
}

// send publishes the next attempt without waiting for the broker.
func (s *sender) send(ctx context.Context) error {
	s.sent++
	body, headers, err := s.q.Seal(s.sent)
	if err != nil {
		return fmt.Errorf("ask %s: seal attempt %d: %w", s.q.Front, s.sent, err)
	}
	m := Message{Topic: RequestTopic(s.q.Front), Key: []byte(s.q.Exchange), Body: body,
		Partition: (s.first + int32(s.sent-1)) % int32(s.partitions),
		Headers:   s.headers(headers, s.sent)}
	s.wg.Go(func() {
		if err := s.bus.Publish(ctx, m); err != nil && ctx.Err() == nil {
			s.log.Warn("attempt is not sent", "front", s.q.Front, "partition", m.Partition, "err", err)
			s.failed <- err // has room for one of each partition
		}
	})
	return nil
}

// headers completes what Seal gave: an envelope's own headers win.
func (s *sender) headers(sealed map[string]string, attempt int) map[string]string {
	h := map[string]string{
		HeaderExchange: s.q.Exchange, HeaderLeg: s.q.Leg, HeaderAttempt: strconv.Itoa(attempt),
		HeaderDeadline: millis(s.q.Deadline), HeaderReplyTo: s.ReplyTopic(), HeaderEpoch: s.epoch,
	}
	for k, v := range sealed {
		h[k] = v
	}
	h[HeaderNonce] = s.call.nonce
	h[HeaderRemaining] = strconv.FormatInt(max(0, time.Until(s.q.Deadline).Milliseconds()), 10)
	if s.q.Trace != "" {
		h[HeaderTrace] = s.q.Trace
	}
	return h
}

// judge decides about one answer.
func (a *Asker) judge(q Question, m Message) (done bool, err error) {
	if reason := m.Headers[HeaderRefused]; reason != "" {
		a.counts.Refused.Add(1)
		return true, &RefusedError{Reason: knownReason(reason)}
	}
	done, err = q.Accept(m)
	if done {
		a.counts.Answered.Add(1)
		return true, err
	}
	a.counts.Unacceptable.Add(1)
	a.log.Warn("unacceptable answer", "front", q.Front, "exchange", q.Exchange, "leg", q.Leg, "err", err)
	return false, nil
}

// deliver hands an answer to the question that waits for it. Everything else
// is dropped and counted.
func (a *Asker) deliver(_ context.Context, m Message) error {
	if m.Headers[HeaderEpoch] != a.epoch {
		a.counts.OldEpoch.Add(1)
		return nil
	}
	key := legOf(m.Headers)
	a.mu.Lock()
	c, late := a.calls[key], a.ended.has(key)
	a.mu.Unlock()
	switch {
	case c == nil && m.Headers[HeaderWorking] != "": // crossed with the answer
	case c == nil && late:
		a.counts.Late.Add(1)
	case c == nil || m.Headers[HeaderNonce] != c.nonce:
		a.counts.Foreign.Add(1)
	default:
		select {
		case c.answers <- m:
		default: // its question is flooded
			a.counts.Late.Add(1)
		}
	}
	return nil
}

// Post sends a deferred request and returns when it is durable. The answer
// comes to the group that consumes TopicDeferredReply (CollectDeferred), at
// this gateway or another. The envelope's reply address is TopicDeferredReply.
// Accept is not used.
func (a *Asker) Post(ctx context.Context, q Question) error {
	body, headers, err := q.Seal(1)
	if err != nil {
		return fmt.Errorf("post to %s: seal: %w", q.Front, err)
	}
	s := &sender{Asker: a, q: q, call: &call{nonce: rand.Text()}}
	h := s.headers(withHeaders(map[string]string{HeaderReplyTo: TopicDeferredReply}), 1)
	delete(h, HeaderEpoch) // the fleet's address has no tenancy
	for k, v := range headers {
		h[k] = v
	}
	a.counts.Posted.Add(1)
	return a.bus.Publish(ctx, Message{Topic: DeferredRequestTopic(q.Front), Partition: AnyPartition,
		Key: []byte(q.Exchange), Headers: h, Body: body})
}

// CollectDeferred hands the answers to deferred requests to handle until ctx
// ends. All gateways share them: each is handled at one of them, at least once.
func CollectDeferred(ctx context.Context, bus Bus, handle Handler) error {
	return bus.ConsumeGroup(ctx, GroupConfig{Group: deferredGroup, Topics: []string{TopicDeferredReply}, Erase: true}, handle)
}

// deferredGroup is the consumer group that all gateways form.
const deferredGroup = "gateways"

// recent remembers the last few thousand legs that have ended, to tell a late
// answer from a foreign one.
type recent struct {
	set  map[leg]bool
	ring []leg
	next int
}

const recentLegs = 8192

func (r *recent) add(l leg) {
	if r.set == nil {
		r.set, r.ring = make(map[leg]bool), make([]leg, recentLegs)
	}
	delete(r.set, r.ring[r.next])
	r.ring[r.next], r.set[l] = l, true
	r.next = (r.next + 1) % recentLegs
}

func (r *recent) has(l leg) bool { return r.set[l] }

// IsRefused reports whether err says that a front refused, and why.
func IsRefused(err error) (Reason, bool) {
	var refused *RefusedError
	if errors.As(err, &refused) {
		return refused.Reason, true
	}
	return "", false
}
