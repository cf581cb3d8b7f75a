package localdb

import (
	"context"
	"database/sql/driver"
	"errors"
	"time"
)

// connector opens connections on which questions about some persons take a
// while, as where somebody has to look at files.
type connector struct {
	driver driver.Driver
	dsn    string
	slow   map[string]time.Duration // by number
	anchor driver.Conn              // keeps the database alive
}

// Close is called when the pool is closed.
func (c connector) Close() error { return c.anchor.Close() }

func (c connector) Driver() driver.Driver { return c.driver }

func (c connector) Connect(context.Context) (driver.Conn, error) {
	inner, err := c.driver.Open(c.dsn)
	if err != nil {
		return nil, err
	}
	asked, ok := inner.(asked)
	if !ok {
		return nil, errors.Join(errors.New("localdb: the driver is another than SQLite's"), inner.Close())
	}
	return conn{asked, c.slow}, nil
}

// asked is what a reading connection has to be able to do.
type asked interface {
	driver.Conn
	driver.ConnBeginTx
	driver.QueryerContext
}

type conn struct {
	asked
	slow map[string]time.Duration
}

// QueryContext waits as long as the slowest number among the arguments says.
func (c conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	var wait time.Duration
	for _, a := range args {
		if s, ok := a.Value.(string); ok {
			wait = max(wait, c.slow[s])
		}
	}
	if wait > 0 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return c.asked.QueryContext(ctx, query, args)
}
