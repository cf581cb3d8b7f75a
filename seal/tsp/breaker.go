package tsp

import (
	"errors"
	"sync"
	"time"
)

// errDown is why nobody is asked: the authority could not be reached just now.
var errDown = errors.New("it could not be reached a moment ago, and is tried again soon (稍后自动重试)")

// errUnreachable marks failures of the way to the authority, not of what it says.
var errUnreachable = errors.New("not reachable")

// breaker keeps callers from waiting, one after the other, for an authority that is
// down. After a failure nobody asks until a time; then one caller does, and the
// others go without until it has found out.
type breaker struct {
	pause   time.Duration
	mu      sync.Mutex
	until   time.Time // zero while the authority is up
	probing bool
}

// enter returns errDown, or nil to a caller who then must leave.
func (b *breaker) enter(now time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.until.IsZero() {
		return nil
	}
	if b.probing || now.Before(b.until) {
		return errDown
	}
	b.probing = true
	return nil
}

// down reports whether the authority could not be reached when it was asked last.
func (b *breaker) down() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.until.IsZero()
}

// leave notes how it went. A caller who gave up learnt nothing.
func (b *breaker) leave(err error, gaveUp bool, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
	switch {
	case gaveUp:
	case errors.Is(err, errUnreachable):
		b.until = now.Add(b.pause)
	default:
		b.until = time.Time{}
	}
}
