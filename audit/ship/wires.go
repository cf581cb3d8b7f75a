package ship

import (
	"context"
	"net"
	"sync"
	"time"
)

// wires are the connections of a library that knows no contexts. While a context
// is set for them, its end closes them all and lets none be made, so that whatever
// the library tries again fails at once.
type wires struct {
	dialer net.Dialer

	mu   sync.Mutex
	ctx  context.Context // of the call under way
	open map[*wire]bool
}

type wire struct {
	net.Conn
	of *wires
}

func newWires(dial time.Duration) *wires {
	return &wires{dialer: net.Dialer{Timeout: dial}, ctx: context.Background(), open: map[*wire]bool{}}
}

// during binds the connections to ctx until end is called.
func (w *wires) during(ctx context.Context) (end func()) {
	w.set(ctx)
	stop := context.AfterFunc(ctx, w.cut)
	return func() {
		stop()
		w.set(context.Background())
	}
}

func (w *wires) set(ctx context.Context) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ctx = ctx
}

func (w *wires) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.open {
		_ = c.Conn.Close() // whoever uses it finds out
	}
}

// Dial connects, for as long as the context lives.
func (w *wires) Dial(network, address string) (net.Conn, error) {
	w.mu.Lock()
	ctx := w.ctx
	w.mu.Unlock()
	conn, err := w.dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c := &wire{conn, w}
	w.mu.Lock()
	w.open[c] = true
	w.mu.Unlock()
	if err := ctx.Err(); err != nil { // cut may have come before it was in the list
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// Close ends one connection.
func (c *wire) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}
