package assembly

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"yizheng/audit"
)

// Closers is what a program has opened.
type Closers struct{ list []func() error }

// OnClose has f called by Close.
func (c *Closers) OnClose(f func() error) { c.list = append(c.list, f) }

// Close closes everything, last opened first. Errors are logged: the program ends anyway.
func (c *Closers) Close(log *slog.Logger) {
	for i := len(c.list) - 1; i >= 0; i-- {
		if err := c.list[i](); err != nil {
			log.Error("close", "err", err)
		}
	}
	c.list = nil
}

// ErrAudit is returned by RunRecorded when the log has failed.
var ErrAudit = errors.New("审计日志失效，已停止服务 / the audit log failed, the service has stopped")

// RunRecorded runs f, which answers people, until ctx ends, and stops it at
// once when the audit log fails: no log, no answer. The same goes for anything
// else that has to work: broken, which may be nil, delivers what it failed with.
// The error is that of f, or why it was stopped.
func RunRecorded(ctx context.Context, log *audit.Log, broken <-chan error, f func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	why := make(chan error, 1)
	go func() {
		select {
		case <-ctx.Done():
			why <- nil
		case <-log.Failed():
			why <- fmt.Errorf("%w: %w", ErrAudit, log.Err())
		case err := <-broken:
			why <- err
		}
		cancel()
	}()
	err := f(ctx)
	cancel()
	if stopped := <-why; stopped != nil {
		return stopped
	}
	return err
}
