package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Link is one side of a gap: it sends on one channel and receives on another.
// One process uses a spool at a time. Its methods may be called from several
// goroutines.
type Link struct {
	cfg     Config
	dir     directory
	lock    *os.File
	count   counters
	send    *sender
	receive *receiver
	control controller

	runOnce sync.Once
	stopped chan struct{} // closed when Run has ended
}

// Open takes the spool, replays the journals and leaves the link ready to Run.
// Close it if Run is not called.
func Open(cfg Config) (*Link, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	held, err := lock(filepath.Join(cfg.StateDir, "lock"))
	if err != nil {
		return nil, err
	}
	l := &Link{cfg: cfg, lock: held, stopped: make(chan struct{})}
	l.dir = directory{root: cfg.Dir, mode: cfg.Device.mode(), sync: cfg.Durable, step: cfg.step}
	l.control = controller{link: l, patience: newPatience(l), epoch: uint64(cfg.Now().UnixMilli()), last: map[Kind]string{}}
	if err := l.open(); err != nil {
		l.closeFiles()
		return nil, err
	}
	return l, nil
}

func (l *Link) open() error {
	if err := l.dir.open(); err != nil {
		return err
	}
	var err error
	if l.cfg.Out != "" {
		if l.send, err = openSender(l); err != nil {
			return err
		}
	}
	if l.cfg.In != "" {
		if l.receive, err = openReceiver(l); err != nil {
			return err
		}
	}
	return nil
}

// Run moves files until ctx ends, and then returns nil; or until the spool's
// state cannot be kept any more, and then returns ErrState. It is called once.
func (l *Link) Run(ctx context.Context) error {
	err := error(ErrClosed)
	l.runOnce.Do(func() { err = l.run(ctx) })
	return err
}

func (l *Link) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var tasks []func(context.Context) error
	if l.send != nil {
		tasks = append(tasks, l.send.run)
	}
	if l.receive != nil {
		tasks = append(tasks, l.receive.run)
	}
	tasks = append(tasks, l.control.run)
	ended := make(chan error, len(tasks))
	for _, task := range tasks {
		go func() { ended <- task(ctx) }()
	}
	var first error
	for range tasks {
		if err := <-ended; err != nil && first == nil {
			first = err
		}
		cancel()
	}
	close(l.stopped)
	l.closeFiles()
	return first
}

// Close releases a link that was not run. It does nothing to one that was.
func (l *Link) Close() {
	l.runOnce.Do(func() { close(l.stopped); l.closeFiles() })
}

func (l *Link) closeFiles() {
	if l.send != nil {
		l.send.journal.close()
	}
	if l.receive != nil {
		l.receive.journal.close()
	}
	l.lock.Close()
}

// Put sends messages, in their order where they fit into one file. It returns
// nil when all of them are in done/ (see Config.Durable): from then on they
// survive the process. It waits while too much is unacknowledged. On any other
// return some may have been taken: put them again under the same ids. Errors:
// ErrMessage, ErrTooLarge and ErrExpired before anything was taken, ErrClosed,
// the context's error, or the disk's.
func (l *Link) Put(ctx context.Context, messages ...Message) error {
	if l.send == nil {
		return fmt.Errorf("put: %w: link only receives", ErrClosed)
	}
	return l.send.put(ctx, messages)
}

// Receive hands every received file's messages to handle, one file at a time,
// until ctx ends or the link stops. When handle returns nil the file is
// counted as received; on an error it is handed over again after a while. See
// the package comment for when handle may see an id twice. Until Receive is
// called, data files stay in in/.
func (l *Link) Receive(ctx context.Context, handle func(context.Context, []Message) error) error {
	if l.receive == nil {
		return fmt.Errorf("receive: %w: link only sends", ErrClosed)
	}
	for {
		select {
		case job := <-l.receive.jobs:
			job.result <- handle(ctx, job.messages)
		case <-ctx.Done():
			return ctx.Err()
		case <-l.stopped:
			return ErrClosed
		}
	}
}

// Send is Put for a slice: with Receive it makes a Link an Endpoint.
func (l *Link) Send(ctx context.Context, messages []Message) error { return l.Put(ctx, messages...) }

// Metrics returns the counters and the present state.
func (l *Link) Metrics() Metrics {
	m := l.count.snapshot()
	if l.send != nil {
		l.send.metrics(&m)
	}
	if l.receive != nil {
		l.receive.metrics(&m)
	}
	l.control.metrics(&m)
	return m
}

func (l *Link) event(e Event) {
	e.Time = l.cfg.Now()
	l.cfg.Events(e)
}

// trouble reports a disk error that is worth another try.
func (l *Link) trouble(what string, err error) {
	l.cfg.Logger.Error("spool: disk", "what", what, "error", err)
	l.event(Event{Kind: EventDisk, Reason: what})
}

// fatal reports whether an error must end the link.
func fatal(err error) bool { return errors.Is(err, ErrState) || errors.Is(err, errKilled) }

// errKilled is what a test's step hook returns to end the link's life at once.
var errKilled = errors.New("killed by a test")

// sleep waits and reports whether ctx is still alive.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
