package process

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// Signalled returns a context that ends with the first interrupt or request to
// terminate. From then on the signals have their usual effect again: a second one ends
// a program at once that does not heed the first. stop gives the signals back.
func Signalled(parent context.Context) (ctx context.Context, stop context.CancelFunc) {
	ctx, stop = signal.NotifyContext(parent, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}
