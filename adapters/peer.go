package adapters

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sony/gobreaker/v2"

	"yizheng/exchange"
)

// newBreaker answers ErrUnreachable at once while a peer is known to be down.
// Only failing to connect counts: a slow or confused peer is there. After
// pause one question is let through to find out.
func newBreaker(name string, failures uint32, pause time.Duration) *gobreaker.CircuitBreaker[[]byte] {
	return gobreaker.NewCircuitBreaker[[]byte](gobreaker.Settings{
		Name:         name,
		MaxRequests:  1,
		Timeout:      pause,
		ReadyToTrip:  func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= failures },
		IsSuccessful: func(err error) bool { return !errors.Is(err, exchange.ErrUnreachable) },
		// The caller's own deadline or hang-up tells nothing about the peer.
		IsExcluded: func(err error) bool {
			return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
		},
	})
}

// broken turns the breaker's own refusals into ErrUnreachable.
func broken(err error) error {
	if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
		return fmt.Errorf("%w: known to be down", exchange.ErrUnreachable)
	}
	return err
}

// orDefault is v, or otherwise if v is zero.
func orDefault[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}
