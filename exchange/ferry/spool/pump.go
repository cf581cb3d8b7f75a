package spool

import (
	"context"
	"errors"
)

// Endpoint is a place where messages come from and go to. A Link is one; a
// Kafka bus is another.
type Endpoint interface {
	// Receive calls handle with messages until ctx ends, and then returns its
	// error. Messages are acknowledged where they came from only after handle
	// has returned nil; otherwise they are handed over again, under the same
	// ids.
	Receive(ctx context.Context, handle func(context.Context, []Message) error) error
	// Send returns nil once the messages are safe where they go to.
	Send(ctx context.Context, messages []Message) error
}

var _ Endpoint = (*Link)(nil)

// Pump carries messages from one endpoint to another until ctx ends or one of
// them fails. Nothing is acknowledged before it is safe on the other side, so
// a process that dies at any point loses nothing; what it was carrying comes
// again under the same ids. A message that cannot be carried at all (too
// large, not well-formed, expired) is handed to refuse with its error, and
// counts as carried, so that it does not hold up the others for ever.
func Pump(ctx context.Context, from, to Endpoint, refuse func(Message, error)) error {
	return from.Receive(ctx, func(ctx context.Context, messages []Message) error {
		err := to.Send(ctx, messages)
		if !refused(err) {
			return err
		}
		// One of them spoils the batch: find out which.
		for _, m := range messages {
			err := to.Send(ctx, []Message{m})
			if refused(err) {
				refuse(m, err)
			} else if err != nil {
				return err
			}
		}
		return nil
	})
}

func refused(err error) bool {
	return errors.Is(err, ErrTooLarge) || errors.Is(err, ErrMessage) || errors.Is(err, ErrExpired)
}
