package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"yizheng/exchange/ferry"
	"yizheng/exchange/ferry/spool"
)

// Config configures the cloud's side.
type Config struct {
	Bus    ferry.Bus // the relay's Kafka principal needs what a front's needs
	Fronts []string  // those behind the gap; at least one
	// Seat names this relay among those of the same fronts, a restarted one like
	// the one before it; see ferry.GroupConfig. Empty if there are several alike.
	Seat string
	// Deferred carries their deferred requests too; the topics must exist.
	Deferred bool
	// Parallel bounds the requests of one topic in hand at once, and with them
	// how many share a file; 0 means 256.
	Parallel int
	Logger   *slog.Logger // nil: slog.Default
}

const (
	liveBacklog   = 3 * time.Minute // older live requests have expired in any case
	maxHeartbeat  = 16 << 10        // bytes
	maxHeader     = 1024            // bytes of a value: what the ferry publishes
	maxHeaderName = 64
	publishAtOnce = 64
	refuseTime    = 5 * time.Second
)

// Relay is the Kafka end of a gap's pump. Make it with New; it is a
// spool.Endpoint and has no state of its own.
type Relay struct {
	c      Config
	counts struct{ requests, answers, heartbeats, deadLetters atomic.Uint64 }
}

var _ spool.Endpoint = (*Relay)(nil)

// Counts says what a relay has carried since its start.
type Counts struct {
	Requests    uint64 // from Kafka into the spool
	Answers     uint64 // from the spool into Kafka, refusals included
	Heartbeats  uint64
	DeadLetters uint64
}

// New makes the Kafka end.
func New(c Config) (*Relay, error) {
	if c.Bus == nil || len(c.Fronts) == 0 {
		return nil, errors.New("relay: a bus and a front are needed")
	}
	if c.Parallel <= 0 {
		c.Parallel = 256
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return &Relay{c: c}, nil
}

// Counts returns the counters as they are now.
func (r *Relay) Counts() Counts {
	return Counts{Requests: r.counts.requests.Load(), Answers: r.counts.answers.Load(),
		Heartbeats: r.counts.heartbeats.Load(), DeadLetters: r.counts.deadLetters.Load()}
}

// Receive implements spool.Endpoint: it hands over the fronts' requests.
func (r *Relay) Receive(ctx context.Context, handle func(context.Context, []spool.Message) error) error {
	take := func(ctx context.Context, m ferry.Message) error {
		if err := handle(ctx, []spool.Message{record(requestID(m), m, time.Now())}); err != nil {
			return err
		}
		r.counts.requests.Add(1)
		return nil
	}
	all, ctx := errgroup.WithContext(ctx)
	for _, front := range r.c.Fronts {
		all.Go(func() error {
			return r.c.Bus.ConsumeGroup(ctx, ferry.GroupConfig{Group: front, Topics: []string{ferry.RequestTopic(front)}, Seat: r.c.Seat,
				Parallel: r.c.Parallel, SkipOlder: liveBacklog, Erase: true}, take)
		})
		if r.c.Deferred {
			all.Go(func() error {
				return r.c.Bus.ConsumeGroup(ctx, ferry.GroupConfig{Group: front + deferredSuffix, Seat: r.c.Seat,
					Topics: []string{ferry.DeferredRequestTopic(front)}, Parallel: r.c.Parallel, Erase: true}, take)
			})
		}
	}
	if err := all.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// Send implements spool.Endpoint: it publishes what fronts say. Nothing is
// published if any of it may not be; the error then wraps spool.ErrMessage or
// spool.ErrTooLarge and names no contents.
func (r *Relay) Send(ctx context.Context, records []spool.Message) error {
	messages := make([]ferry.Message, len(records))
	for i, rec := range records {
		m, err := r.outgoing(rec)
		if err != nil {
			return err
		}
		messages[i] = m
	}
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(publishAtOnce)
	for _, m := range messages {
		all.Go(func() error {
			if err := r.c.Bus.Publish(ctx, m); err != nil {
				return err
			}
			r.count(m)
			return nil
		})
	}
	return all.Wait()
}

// Refuse tells who asked that a request is too large for a file of the gap.
// Without it they would wait in vain until their deadline.
func (r *Relay) Refuse(ctx context.Context, request spool.Message) error {
	m := message(request)
	if !ferry.IsReplyTopic(m.Headers[ferry.HeaderReplyTo], r.c.Deferred) {
		return nil // nobody who may be answered
	}
	answer, err := r.reachable(ferry.Refusal(m, ferry.ReasonTooLarge))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, refuseTime)
	defer cancel()
	return r.c.Bus.Publish(ctx, answer)
}

func (r *Relay) count(m ferry.Message) {
	switch {
	case m.Topic == ferry.TopicControl:
		r.counts.heartbeats.Add(1)
	case m.Topic == ferry.TopicDeadLetter:
		r.counts.deadLetters.Add(1)
	case m.Headers[ferry.HeaderWorking] == "":
		r.counts.answers.Add(1)
	}
}

// outgoing says what is to be published for a record, if a front may.
func (r *Relay) outgoing(rec spool.Message) (ferry.Message, error) {
	m := message(rec)
	if len(m.Body) > ferry.MaxBody {
		return m, fmt.Errorf("relay: body: %w", spool.ErrTooLarge)
	}
	for name, value := range m.Headers {
		if len(name) > maxHeaderName || len(value) > maxHeader {
			return m, fmt.Errorf("relay: header: %w", spool.ErrTooLarge)
		}
	}
	switch {
	case m.Topic == ferry.TopicControl:
		if !slices.Contains(r.c.Fronts, frontOf(string(m.Key))) || len(m.Body) > maxHeartbeat {
			return m, fmt.Errorf("relay: heartbeat of another front: %w", spool.ErrMessage)
		}
		if len(m.Body) == 0 {
			m.Body = nil // deletes the key
		}
		m.Partition = 0
		return m, nil
	case m.Topic == ferry.TopicDeadLetter:
		if len(m.Body) > 0 {
			return m, fmt.Errorf("relay: dead letter with a body: %w", spool.ErrMessage)
		}
		return m, nil
	case !ferry.IsReplyTopic(m.Topic, r.c.Deferred):
		return m, fmt.Errorf("relay: not a reply topic: %w", spool.ErrMessage)
	case m.Topic != ferry.TopicDeferredReply:
		m.Partition = 0
	}
	m.Key = []byte(m.Headers[ferry.HeaderExchange])
	return r.reachable(m)
}

// reachable refuses a slot that has no topic: writing there would fail for ever
// and hold up everybody's answers.
func (r *Relay) reachable(m ferry.Message) (ferry.Message, error) {
	if _, err := r.c.Bus.Partitions(m.Topic); errors.Is(err, ferry.ErrNoTopic) {
		return m, fmt.Errorf("relay: %w: %w", spool.ErrMessage, err)
	}
	return m, nil
}
