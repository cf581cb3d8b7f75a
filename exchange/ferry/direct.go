package ferry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

// errFetch means that a partition can no longer be read from where we were.
var errFetch = errors.New("reading was ended by the broker")

// catchUpTime is how long Ready waits at most for a backlog: offsets that
// compaction has removed never arrive.
const catchUpTime = 3 * time.Second

// ConsumeDirect implements Bus. It returns nil when ctx ends.
func (k *Kafka) ConsumeDirect(ctx context.Context, c DirectConfig, handle Handler) (err error) {
	client, err := k.newClient("")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeClient(client)) }()
	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		return fmt.Errorf("read %s: %w", c.Topic, err)
	}
	defer func() { err = errors.Join(err, consumer.Close()) }()
	partitions, err := consumer.Partitions(c.Topic)
	if err != nil {
		return fmt.Errorf("partitions of %s: %w", c.Topic, err)
	}
	d := &direct{config: c, handle: handle, log: k.log}
	if c.Erase {
		d.erase = k.newEraser()
		defer d.erase.stop()
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var readers sync.WaitGroup
	defer readers.Wait()
	for _, p := range partitions {
		if err := d.start(ctx, stop, client, consumer, p, &readers); err != nil {
			stop(err)
			return err
		}
	}
	d.announce(ctx)
	<-ctx.Done()
	readers.Wait()
	if cause := context.Cause(ctx); cause != context.Canceled && cause != context.DeadlineExceeded {
		return cause
	}
	return nil
}

// direct is one run of ConsumeDirect.
type direct struct {
	config  DirectConfig
	handle  Handler
	erase   *eraser
	log     *slog.Logger
	backlog sync.WaitGroup // partitions that have not yet reached where they ended at the start
}

// start resolves where to start and begins to read there: when it returns, the
// offset is fixed, and nothing published later can be missed.
func (d *direct) start(ctx context.Context, stop context.CancelCauseFunc, client sarama.Client, consumer sarama.Consumer, partition int32, readers *sync.WaitGroup) error {
	newest, err := client.GetOffset(d.config.Topic, partition, sarama.OffsetNewest)
	if err != nil {
		return fmt.Errorf("find the end of %s/%d: %w", d.config.Topic, partition, err)
	}
	from := newest
	if d.config.Oldest {
		if from, err = client.GetOffset(d.config.Topic, partition, sarama.OffsetOldest); err != nil {
			return fmt.Errorf("find the beginning of %s/%d: %w", d.config.Topic, partition, err)
		}
	}
	pc, err := consumer.ConsumePartition(d.config.Topic, partition, from)
	if err != nil {
		return fmt.Errorf("read %s/%d: %w", d.config.Topic, partition, err)
	}
	reached := sync.OnceFunc(func() {})
	if from < newest {
		d.backlog.Add(1)
		reached = sync.OnceFunc(d.backlog.Done)
	}
	readers.Go(func() {
		defer reached()
		defer func() { _ = pc.Close() }()
		if err := d.read(ctx, pc, newest, reached); err != nil {
			stop(err)
		}
	})
	return nil
}

func (d *direct) read(ctx context.Context, pc sarama.PartitionConsumer, newest int64, reached func()) error {
	var pieces assembler
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-pc.Errors():
			if ok && errors.Is(e, sarama.ErrTopicAuthorizationFailed) {
				return fmt.Errorf("read %s: %w", d.config.Topic, e.Err)
			}
			if ok {
				d.log.Warn("reading is interrupted", "topic", d.config.Topic, "err", e.Err) // the client tries again
			}
		case raw, ok := <-pc.Messages():
			if !ok {
				return fmt.Errorf("%s: %w", d.config.Topic, errFetch)
			}
			pieces.expire(time.Now().Add(-assemblyTime))
			if m, _, whole := pieces.add(message(raw), time.Now()); whole {
				if err := d.handle(ctx, m); err != nil {
					return err
				}
			}
			d.erase.upTo(raw.Topic, raw.Partition, raw.Offset+1)
			if raw.Offset+1 >= newest {
				reached()
			}
		}
	}
}

// announce calls Ready once the backlog has been handled.
func (d *direct) announce(ctx context.Context) {
	if d.config.Ready == nil {
		return
	}
	caught := make(chan struct{})
	go func() { d.backlog.Wait(); close(caught) }() // ends with the readers at the latest
	timer := time.NewTimer(catchUpTime)
	defer timer.Stop()
	select {
	case <-caught:
	case <-timer.C:
	case <-ctx.Done():
		return
	}
	d.config.Ready()
}
