package ferry

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

const (
	pauseAfter   = 250 * time.Millisecond // without a free place
	handOverTime = time.Second            // for work in hand when a partition goes to another member
	assemblyTime = 30 * time.Second       // for the next piece of a message to arrive
	rejoinPause  = 500 * time.Millisecond
)

// group is one run of ConsumeGroup; it is sarama's handler of claims.
type group struct {
	k       *Kafka
	config  GroupConfig
	handle  Handler
	member  sarama.ConsumerGroup
	client  sarama.Client
	erase   *eraser
	free    chan struct{}   // one token for each message that may be in hand
	work    context.Context // of handlers; outlives the caller's by Drain
	hands   sync.WaitGroup
	leaving <-chan struct{}
}

// ConsumeGroup implements Bus. It returns nil when ctx ends, and an error only
// when it cannot start; a lost broker is waited for.
func (k *Kafka) ConsumeGroup(ctx context.Context, c GroupConfig, handle Handler) error {
	if c.Parallel <= 0 {
		c.Parallel = 64
	}
	if c.Drain <= 0 {
		c.Drain = 5 * time.Second
	}
	client, err := k.newClient(c.Seat)
	if err != nil {
		return err
	}
	member, err := sarama.NewConsumerGroupFromClient(c.Group, client)
	if err != nil {
		return errors.Join(fmt.Errorf("join group %s: %w", c.Group, err), client.Close())
	}
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	g := &group{k: k, config: c, handle: handle, member: member, client: client, work: work,
		free: make(chan struct{}, c.Parallel), leaving: ctx.Done()}
	if c.Erase {
		g.erase = k.newEraser()
		defer g.erase.stop()
	}
	var logging sync.WaitGroup
	logging.Go(func() { // ends with Close
		for err := range member.Errors() {
			k.log.Warn("consume", "group", c.Group, "err", err)
		}
	})
	defer logging.Wait()
	g.run(ctx)
	g.drain(stop)
	if err := errors.Join(member.Close(), closeClient(client)); err != nil {
		k.log.Warn("leave group", "group", c.Group, "err", err)
	}
	return nil
}

// closeClient closes a client that its consumer may have closed already.
func closeClient(c sarama.Client) error {
	if err := c.Close(); err != nil && !errors.Is(err, sarama.ErrClosedClient) {
		return err
	}
	return nil
}

func (g *group) run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := g.member.Consume(ctx, g.config.Topics, g); err != nil && ctx.Err() == nil {
			g.k.log.Warn("consume", "group", g.config.Group, "err", err)
			pause(ctx, rejoinPause)
		}
	}
}

// drain waits for the handlers still at work, and cancels them after Drain.
func (g *group) drain(stop func()) {
	timer := time.AfterFunc(g.config.Drain, stop)
	defer timer.Stop()
	g.hands.Wait()
}

// Setup skips what is too old to be of use, before the claims are read, so that
// a backlog need not be fetched.
func (g *group) Setup(s sarama.ConsumerGroupSession) error {
	if g.config.SkipOlder <= 0 {
		return nil
	}
	since := time.Now().Add(-g.config.SkipOlder).UnixMilli()
	for topic, partitions := range s.Claims() {
		for _, p := range partitions {
			// A broker looks for a time in the first segment that reaches so far. Where
			// all of that has been erased, but is still there as a file, it finds nothing
			// and says -1, whatever lies behind. So -1 skips nothing; take does.
			offset, err := g.client.GetOffset(topic, p, since)
			if err != nil {
				return fmt.Errorf("find where to start in %s/%d: %w", topic, p, err)
			}
			if offset > 0 {
				s.MarkOffset(topic, p, offset, "") // only ever moves forward
			}
		}
	}
	return nil
}

// Cleanup has nothing to do: each claim has cleaned up after itself.
func (g *group) Cleanup(sarama.ConsumerGroupSession) error { return nil }

// ConsumeClaim reads one partition until it is taken away, ctx ends or a
// handler wants its message again.
func (g *group) ConsumeClaim(s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	c := &claimed{group: g, session: s, topic: claim.Topic(), partition: claim.Partition(),
		backlog: claim.HighWaterMarkOffset(), again: make(chan struct{})}
	tick := time.NewTicker(assemblyTime / 4)
	defer tick.Stop()
	defer c.handOver()
	for {
		select {
		case m, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			if !c.take(message(m)) {
				return nil
			}
		case <-tick.C:
			c.finish(c.pieces.expire(time.Now().Add(-assemblyTime))...)
		case <-c.again:
			pause(s.Context(), rejoinPause)
			return nil
		case <-s.Context().Done():
			return nil
		}
	}
}

// claimed is one partition while it is ours.
type claimed struct {
	*group
	session   sarama.ConsumerGroupSession
	topic     string
	partition int32
	backlog   int64 // up to here records were there when the partition became ours
	offsets   tracker
	pieces    assembler
	inHand    sync.WaitGroup
	again     chan struct{} // closed when a handler wants its message again
	once      sync.Once
}

// take hands a record's message to a handler of its own as soon as there is a
// place. It returns false when the partition is to be given up.
func (c *claimed) take(m Message) bool {
	c.offsets.take(m.Offset)
	if m.Offset < c.backlog && c.config.SkipOlder > 0 && time.Since(m.Time) > c.config.SkipOlder {
		c.finish(m.Offset)
		return true
	}
	m, offsets, whole := c.pieces.add(m, time.Now())
	if !whole {
		c.finish(offsets...)
		return true
	}
	if !c.place() {
		return false
	}
	c.hands.Add(1)
	c.inHand.Add(1)
	go func() {
		defer c.hands.Done()
		defer c.inHand.Done()
		defer func() { <-c.free }()
		if err := c.handle(c.work, m); err != nil {
			c.k.log.Warn("message comes again", "topic", c.topic, "partition", c.partition, "offset", m.Offset, "err", err)
			c.once.Do(func() { close(c.again) })
			return
		}
		c.finish(offsets...)
	}()
	return true
}

// place waits for a free place. When there is none for a while it stops
// fetching, so that the backlog stays on the broker.
func (c *claimed) place() bool {
	select {
	case c.free <- struct{}{}:
		return true
	default:
	}
	timer := time.NewTimer(pauseAfter)
	defer timer.Stop()
	paused := map[string][]int32{c.topic: {c.partition}}
	for {
		select {
		case c.free <- struct{}{}:
			c.member.Resume(paused)
			return true
		case <-timer.C:
			c.member.Pause(paused)
		case <-c.again:
			c.member.Resume(paused)
			return false
		case <-c.session.Context().Done():
			c.member.Resume(paused)
			return false
		}
	}
}

func (c *claimed) finish(offsets ...int64) {
	if next, moved := c.offsets.finish(offsets...); moved {
		c.session.MarkOffset(c.topic, c.partition, next, "")
		c.erase.upTo(c.topic, c.partition, next)
	}
}

// handOver gives work in hand a moment to end, so that it is marked and does
// not come again elsewhere.
func (c *claimed) handOver() {
	wait := handOverTime
	select {
	case <-c.leaving:
		wait = c.config.Drain
	default:
	}
	done := make(chan struct{})
	go func() { c.inHand.Wait(); close(done) }() // ends with the handlers, which ConsumeGroup waits for
	select {
	case <-done:
	case <-time.After(wait):
	}
}

// message converts a record. Of a header given twice the last counts.
func message(m *sarama.ConsumerMessage) Message {
	headers := make(map[string]string, len(m.Headers))
	for _, h := range m.Headers {
		if len(h.Key) <= 64 && len(h.Value) <= maxHeader {
			headers[string(h.Key)] = string(h.Value)
		}
	}
	return Message{Topic: m.Topic, Partition: m.Partition, Offset: m.Offset, Key: m.Key, Headers: headers,
		Body: m.Value, Time: m.Timestamp}
}

// pause waits, but not longer than ctx.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
