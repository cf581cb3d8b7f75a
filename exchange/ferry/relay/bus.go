package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"yizheng/exchange/ferry"
	"yizheng/exchange/ferry/spool"
)

// ErrNoDirect is returned by Bus.ConsumeDirect: only gateways read a topic
// alone, and no gateway stands behind a gap.
var ErrNoDirect = errors.New("a gap has no topics to read alone")

// errDeferred is returned for deferred topics where there is no inbox, or
// together with live ones: the two are handled apart.
var errDeferred = errors.New("deferred topics need an inbox and a consumer of their own")

// putTime bounds a Publish whose context has no deadline.
const putTime = 10 * time.Second

// Bus is a front's ferry.Bus over a spool. Every topic has one partition.
//
// A live request is acknowledged across the gap when its handler has begun: it
// is lost with the process, and its asker's deadline notices. GroupConfig.Parallel
// bounds the handlers at work; when all are, the files wait in the spool. A
// deferred one is acknowledged when it is safe in the [Inbox], from where
// handlers of their own take it: however long they need, nothing waits for them.
type Bus struct {
	link  *spool.Link
	inbox *Inbox // nil: deferred requests are not taken
	log   *slog.Logger

	mu     sync.Mutex
	topics map[string]*consumer // nil: consumed once, and will be at the next start
	began  time.Time            // when Run was called
	hands  sync.WaitGroup
}

var _ ferry.Bus = (*Bus)(nil)

// consumer is one run of ConsumeGroup.
type consumer struct {
	handle ferry.Handler
	free   chan struct{}   // one token for each message in hand
	work   context.Context // of handlers; outlives the caller's by Drain
	ended  <-chan struct{} // no new messages
	hands  sync.WaitGroup
}

// NewBus makes a bus over a link. Run must run for it to receive; who opened
// the link runs it. Without an inbox it has no deferred topics.
func NewBus(link *spool.Link, inbox *Inbox, log *slog.Logger) *Bus {
	if log == nil {
		log = slog.Default()
	}
	return &Bus{link: link, inbox: inbox, log: log, topics: map[string]*consumer{}}
}

// Run hands what arrives to those who consume it, until ctx ends (nil) or the
// link does (its error).
func (b *Bus) Run(ctx context.Context) error {
	b.mu.Lock()
	b.began = time.Now()
	b.mu.Unlock()
	err := b.link.Receive(ctx, b.deliver)
	b.hands.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// Publish implements ferry.Bus.
func (b *Bus) Publish(ctx context.Context, m ferry.Message) error {
	if _, has := ctx.Deadline(); !has {
		bounded, cancel := context.WithTimeout(ctx, putTime)
		defer cancel()
		ctx = bounded
	}
	err := b.link.Put(ctx, record(answerID(m), m, time.Now()))
	switch {
	case err == nil:
		return nil
	case errors.Is(err, spool.ErrTooLarge):
		return fmt.Errorf("publish to %s: %w: %w", m.Topic, ferry.ErrTooLarge, err)
	case errors.Is(err, spool.ErrClosed):
		return fmt.Errorf("publish to %s: %w: %w", m.Topic, ferry.ErrClosed, err)
	}
	return fmt.Errorf("publish to %s: %w", m.Topic, err)
}

// Partitions implements ferry.Bus.
func (b *Bus) Partitions(string) (int, error) { return 1, nil }

// ConsumeDirect returns ErrNoDirect.
func (b *Bus) ConsumeDirect(context.Context, ferry.DirectConfig, ferry.Handler) error {
	return ErrNoDirect
}

// ConsumeGroup implements ferry.Bus. The group's name, SkipOlder and Erase mean
// nothing here; one consumer has a topic at a time.
func (b *Bus) ConsumeGroup(ctx context.Context, c ferry.GroupConfig, handle ferry.Handler) error {
	if c.Parallel <= 0 {
		c.Parallel = 64
	}
	if c.Drain <= 0 {
		c.Drain = 5 * time.Second
	}
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	own := &consumer{handle: handle, free: make(chan struct{}, c.Parallel), work: work, ended: ctx.Done()}
	deferred := slices.ContainsFunc(c.Topics, isDeferred)
	if deferred && (b.inbox == nil || slices.ContainsFunc(c.Topics, isLive)) {
		return errDeferred
	}
	if err := b.enter(c.Topics, own); err != nil {
		return err
	}
	if deferred {
		defer b.leave(c.Topics)
		b.inbox.consume(ctx, c, handle)
		return nil
	}
	<-ctx.Done()
	b.leave(c.Topics)
	timer := time.AfterFunc(c.Drain, stop)
	defer timer.Stop()
	own.hands.Wait()
	return nil
}

func (b *Bus) enter(topics []string, c *consumer) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range topics {
		if b.topics[t] != nil {
			return fmt.Errorf("consume %s: it has a consumer", t)
		}
	}
	for _, t := range topics {
		b.topics[t] = c
	}
	return nil
}

func (b *Bus) leave(topics []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range topics {
		b.topics[t] = nil
	}
}

// consumerOf finds a topic's consumer and keeps it from ending before release.
// Without one, again says whether there may be one later.
func (b *Bus) consumerOf(topic string) (c *consumer, release func(), again bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c, known := b.topics[topic]
	if c == nil {
		return nil, nil, known || time.Since(b.began) < startTime
	}
	c.hands.Add(1) // before leave, so before Wait
	return c, c.hands.Done, false
}

// startTime is how long after the start of Run a topic may wait for its
// consumer. Later, what nobody wants must not hold up the rest.
const startTime = 10 * time.Second

// errNobody has a file handed over again, soon or at the next start.
var errNobody = errors.New("nobody consumes it at present")

// deliver takes one file's records: first what must be kept, then what must be
// handled now.
func (b *Bus) deliver(ctx context.Context, records []spool.Message) error {
	live := make([]ferry.Message, 0, len(records))
	for _, r := range records {
		if !isDeferred(r.Headers[HeaderTopic]) {
			live = append(live, message(r))
		} else if err := b.keep(ctx, r); err != nil {
			return err
		}
	}
	for _, m := range live {
		if err := b.start(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// keep puts a deferred request into the inbox. What it has no room for is
// refused; an error means that the disk does not take it at present.
func (b *Bus) keep(ctx context.Context, r spool.Message) error {
	if b.inbox == nil || !b.wanted(r.Headers[HeaderTopic]) {
		b.drop(r.Headers[HeaderTopic])
		return nil
	}
	err := b.inbox.put(r)
	if !errors.Is(err, ErrInboxFull) {
		return err
	}
	m := message(r)
	b.log.Error("a deferred request is refused", "exchange", m.Headers[ferry.HeaderExchange], "leg", m.Headers[ferry.HeaderLeg], "err", err)
	if m.Headers[ferry.HeaderReplyTo] != ferry.TopicDeferredReply {
		return nil
	}
	return b.Publish(ctx, ferry.Refusal(m, ferry.ReasonFull))
}

// wanted reports whether somebody takes a topic, has taken it or may yet.
func (b *Bus) wanted(topic string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, known := b.topics[topic]
	return known || time.Since(b.began) < startTime
}

func (b *Bus) drop(topic string) {
	b.log.Warn("request for a topic that nobody consumes is dropped", "topic", fmt.Sprintf("%.80s", topic))
}

// start gives a message to its handler as soon as there is a place.
func (b *Bus) start(ctx context.Context, m ferry.Message) error {
	c, release, again := b.consumerOf(m.Topic)
	switch {
	case again:
		return fmt.Errorf("topic %.80s: %w", m.Topic, errNobody)
	case c == nil:
		b.drop(m.Topic)
		return nil
	}
	select {
	case c.free <- struct{}{}:
	case <-c.ended:
		release()
		return errNobody
	case <-ctx.Done():
		release()
		return ctx.Err()
	}
	b.hands.Go(func() {
		defer release()
		defer func() { <-c.free }()
		if err := c.handle(c.work, m); err != nil {
			b.log.Warn("request is not done with", "topic", m.Topic, "err", err)
		}
	})
	return nil
}
