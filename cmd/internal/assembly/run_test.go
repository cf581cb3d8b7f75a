package assembly

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"
)

func TestWhatAnswersStopsWithWhatItNeeds(t *testing.T) {
	ended, broke := errors.New("ended by itself"), errors.New("the spool is gone")
	untilStopped := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	for name, c := range map[string]struct {
		f     func(context.Context) error
		spoil func(n *node, stop func(), broken chan<- error) error
		want  error
	}{
		"told to stop":         {untilStopped, func(_ *node, stop func(), _ chan<- error) error { stop(); return nil }, context.Canceled},
		"ends by itself":       {func(context.Context) error { return ended }, nil, ended},
		"the log is gone":      {untilStopped, func(n *node, _ func(), _ chan<- error) error { return os.RemoveAll(n.dir) }, ErrAudit},
		"something else fails": {untilStopped, func(_ *node, _ func(), broken chan<- error) error { broken <- broke; return nil }, broke},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			l, err := n.open(autumn)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = l.Close() }) // a failed log says so again
			ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
			defer stop()
			broken := make(chan error, 1)
			if c.spoil != nil {
				if err := c.spoil(n, stop, broken); err != nil {
					t.Fatal(err)
				}
			}
			if got := RunRecorded(ctx, l, broken, c.f); !errors.Is(got, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

func TestClosersCloseTheLastFirst(t *testing.T) {
	var c Closers
	var order []int
	for i := range 3 {
		c.OnClose(func() error {
			order = append(order, i)
			if i == 1 {
				return errors.New("one failed")
			}
			return nil
		})
	}
	var log bytes.Buffer
	c.Close(slog.New(slog.NewTextHandler(&log, nil)))
	c.Close(slog.New(slog.NewTextHandler(&log, nil)))
	if fmt.Sprint(order) != "[2 1 0]" || bytes.Count(log.Bytes(), []byte("one failed")) != 1 {
		t.Errorf("closed in the order %v, logged %q", order, &log)
	}
}
