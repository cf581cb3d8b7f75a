package revocation

import (
	"context"
	"sync"
)

// calls lets all who need the same answer wait for one call. No lock is held over it.
type calls struct {
	mu    sync.Mutex
	under map[string]chan struct{} // closed when the call has ended
}

// do makes the call about id, or waits until who makes it already has done so, or ctx
// ends.
func (c *calls) do(ctx context.Context, id string, call func()) {
	c.mu.Lock()
	if done, ok := c.under[id]; ok {
		c.mu.Unlock()
		select {
		case <-done:
		case <-ctx.Done():
		}
		return
	}
	if c.under == nil {
		c.under = map[string]chan struct{}{}
	}
	done := make(chan struct{})
	c.under[id] = done
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.under, id)
		c.mu.Unlock()
		close(done)
	}()
	call()
}
