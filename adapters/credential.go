package adapters

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	backoffFirst = 500 * time.Millisecond
	backoffMost  = 30 * time.Second
)

var errClosed = errors.New("adapter closed")

// sign is Base64(HMAC-SHA256(key, parts in this order)). For a request the
// parts are sid, rid and rtime (milliseconds, decimal).
func sign(key string, parts ...string) string {
	h := hmac.New(sha256.New, []byte(key))
	for _, p := range parts {
		h.Write([]byte(p))
	}
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// secret is what business requests of one service are signed with.
type secret struct {
	value string
	ends  time.Time
}

// credential keeps the secret of one (rid, sid, app key). However many
// questions are waiting, one renewal is under way at most; it runs ahead of
// the end while the old secret still serves, and after a failure it pauses for
// a growing while.
type credential struct {
	fetch  func(ctx context.Context) (secret, error)
	now    func() time.Time
	ahead  time.Duration // renew this long before the end
	limit  time.Duration // of one renewal
	root   context.Context
	renews *sync.WaitGroup // the platform waits for these

	mu       sync.Mutex
	current  secret
	flight   chan struct{} // closed when the renewal under way ends; nil if none
	failure  error         // of the last renewal
	failures int
	notUntil time.Time // no renewal before this
	lastTime int64     // the last rtime handed out
}

// get returns a secret that is valid now. It waits for a renewal only if there
// is none.
func (c *credential) get(ctx context.Context) (string, error) {
	for {
		c.mu.Lock()
		now := c.now()
		valid := now.Before(c.current.ends)
		if !valid || !now.Before(c.current.ends.Add(-c.ahead)) {
			c.renew(now)
		}
		value, flight, failure := c.current.value, c.flight, c.failure
		c.mu.Unlock()
		switch {
		case valid:
			return value, nil
		case flight == nil:
			return "", fmt.Errorf("renew secret (paused after failure): %w", failure)
		}
		select {
		case <-flight:
		case <-ctx.Done():
			return "", fmt.Errorf("renew secret: %w", ctx.Err())
		}
		if failure := c.failed(); failure != nil {
			return "", fmt.Errorf("renew secret: %w", failure)
		}
	}
}

func (c *credential) failed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failure
}

// renew starts a renewal unless one is under way or paused. c.mu is held.
func (c *credential) renew(now time.Time) {
	if c.flight != nil || now.Before(c.notUntil) {
		return
	}
	if c.root.Err() != nil {
		c.failure = errClosed
		return
	}
	flight := make(chan struct{})
	c.flight = flight
	c.renews.Go(func() {
		ctx, cancel := context.WithTimeout(c.root, c.limit)
		defer cancel()
		s, err := c.fetch(ctx)
		c.settle(s, err)
		close(flight)
	})
}

// close is called with root done: it waits until no renewal can start any more.
func (c *credential) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current, c.failure = secret{}, errClosed
}

func (c *credential) settle(s secret, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	c.flight = nil
	if err == nil && !now.Before(s.ends) {
		err = fmt.Errorf("%w: secret has ended before it arrived; compare the clocks", ErrAnswer)
	}
	c.failure = err
	if err != nil {
		pause := min(backoffFirst<<min(c.failures, 10), backoffMost)
		c.failures++
		c.notUntil = now.Add(pause/2 + rand.N(pause/2+1))
		return
	}
	c.failures, c.notUntil = 0, time.Time{}
	c.current = s
	// A secret that lives shorter than the margin would be renewed on every call.
	if life := s.ends.Sub(now); c.ahead >= life {
		c.notUntil = now.Add(life / 2)
	}
}

// drop forgets a secret that the platform refused as expired, if it is still
// the current one.
func (c *credential) drop(value string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current.value == value {
		c.current = secret{}
		c.notUntil = time.Time{}
	}
}

// stamp returns the rtime of the next request: now in milliseconds, but never
// the same twice, since the platform takes an equal signature for a replay.
func (c *credential) stamp() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lastTime = max(c.now().UnixMilli(), c.lastTime+1)
	return c.lastTime
}
