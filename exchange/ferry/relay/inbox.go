package relay

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/emmansun/gmsm/sm3"

	"yizheng/exchange/ferry"
	"yizheng/exchange/ferry/spool"
)

// ErrInboxFull refuses a deferred request that there is no room for.
var ErrInboxFull = errors.New("inbox for deferred requests is full")

// InboxConfig configures an Inbox.
type InboxConfig struct {
	Dir        string // made if missing; one process at a time has it
	MaxEntries int    // 0: 10,000
	MaxBytes   int64  // of all entries together; 0: 256 MiB
	Logger     *slog.Logger
}

// Inbox keeps the deferred requests that have come through a gap until they
// are answered, so that a department may take days over one without holding up
// what comes behind it. A request is kept as it came, sealed: nothing that was
// opened lands. An entry is removed when its handler has returned nil, which is
// after its answer is safe in the spool, or when its deadline is over; until
// then it is handled again, after every restart too.
type Inbox struct {
	files   *inboxFiles
	config  InboxConfig
	log     *slog.Logger
	mu      sync.Mutex
	known   map[string]*entry // by file name
	waiting []*entry          // not in hand, in the order they came
	bytes   int64
	changed chan struct{} // closed and replaced when waiting has grown
}

// entry is one request that is kept. Only its file has its body.
type entry struct {
	file  string
	topic string
	until time.Time
	size  int64
	next  time.Time     // not to be handled before
	pause time.Duration // after the last failure
}

const (
	againFirst = time.Second // until a request whose handler failed is handled again
	againLast  = time.Minute
	sweepEvery = time.Minute
	clockSkew  = time.Minute // an entry is kept so long after its deadline: clocks differ
)

// OpenInbox opens an inbox with what an earlier process left in it.
func OpenInbox(c InboxConfig) (*Inbox, error) {
	if c.MaxEntries <= 0 {
		c.MaxEntries = 10_000
	}
	if c.MaxBytes <= 0 {
		c.MaxBytes = 256 << 20
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	files, err := openInboxFiles(c.Dir, c.Logger)
	if err != nil {
		return nil, fmt.Errorf("inbox: %w", err)
	}
	x := &Inbox{files: files, config: c, log: c.Logger, known: map[string]*entry{}, changed: make(chan struct{})}
	if err := files.each(func(file string, r spool.Message, size int64) { x.add(newEntry(file, r, size)) }); err != nil {
		return nil, errors.Join(fmt.Errorf("inbox: %w", err), files.close())
	}
	if len(x.known) > 0 {
		x.log.Info("deferred requests of an earlier run are in the inbox", "count", len(x.known))
	}
	return x, nil
}

// Close lets another process have the inbox. Nobody may be consuming from it.
func (x *Inbox) Close() error { return x.files.close() }

// Len is how many requests are kept.
func (x *Inbox) Len() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.known)
}

func newEntry(file string, r spool.Message, size int64) *entry {
	return &entry{file: file, topic: r.Headers[HeaderTopic], until: r.NotAfter, size: size}
}

// fileOf names a request's file after its id: the same request is kept once.
func fileOf(id string) string {
	digest := sm3.Sum([]byte("yizheng-inbox-v1\n" + id))
	return hex.EncodeToString(digest[:16]) + entrySuffix
}

// put keeps a request; nil means that it is on the disk. One that is there
// already is not kept twice.
func (x *Inbox) put(r spool.Message) error {
	file := fileOf(r.ID)
	data, err := encodeEntry(r)
	if err != nil {
		return err
	}
	size := int64(len(data))
	if there, err := x.reserve(file, size); there || err != nil {
		return err
	}
	if err := x.files.write(file, data); err != nil {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.forget(file, size)
		return fmt.Errorf("inbox: %w", err)
	}
	x.add(newEntry(file, r, size))
	return nil
}

// reserve takes room for an entry, and reports whether there is one already.
func (x *Inbox) reserve(file string, size int64) (there bool, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if _, there = x.known[file]; there {
		return true, nil
	}
	if !x.fits(size) {
		x.sweep(time.Now())
	}
	if !x.fits(size) {
		return false, ErrInboxFull
	}
	x.known[file] = nil
	x.bytes += size
	return false, nil
}

func (x *Inbox) fits(size int64) bool {
	return len(x.known) < x.config.MaxEntries && x.bytes+size <= x.config.MaxBytes
}

// add offers an entry to those who consume. Its room may have been reserved.
func (x *Inbox) add(e *entry) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if _, reserved := x.known[e.file]; !reserved {
		x.bytes += e.size
	}
	x.known[e.file] = e
	x.offer(e)
}

func (x *Inbox) offer(e *entry) {
	x.waiting = append(x.waiting, e)
	close(x.changed)
	x.changed = make(chan struct{})
}

func (x *Inbox) forget(file string, size int64) {
	delete(x.known, file)
	x.bytes -= size
}

// sweep removes what is over and not in hand. The caller holds mu.
func (x *Inbox) sweep(now time.Time) {
	over := 0
	x.waiting = slices.DeleteFunc(x.waiting, func(e *entry) bool {
		if !now.After(e.until.Add(clockSkew)) {
			return false
		}
		if err := x.files.remove(e.file); err != nil {
			x.log.Error("an expired deferred request cannot be removed", "file", e.file, "err", err)
			return false
		}
		x.forget(e.file, e.size)
		over++
		return true
	})
	if over > 0 {
		x.log.Warn("deferred requests were not answered before their deadline and are dropped", "count", over)
	}
}

// consume has up to c.Parallel entries of the topics handled at once until ctx
// ends, and gives what is in hand then c.Drain to end.
func (x *Inbox) consume(ctx context.Context, c ferry.GroupConfig, handle ferry.Handler) {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	free := make(chan struct{}, c.Parallel) // one token for each worker
	var hands sync.WaitGroup
	for e := x.next(ctx, c.Topics, free); e != nil; e = x.next(ctx, c.Topics, free) {
		hands.Go(func() {
			defer func() { <-free }()
			x.handle(work, e, handle)
		})
	}
	timer := time.AfterFunc(c.Drain, stop)
	defer timer.Stop()
	hands.Wait()
}

// next waits for a free worker, then for an entry to handle; nil when ctx has ended.
func (x *Inbox) next(ctx context.Context, topics []string, free chan<- struct{}) *entry {
	select {
	case free <- struct{}{}:
	case <-ctx.Done():
	}
	for ctx.Err() == nil {
		e, wait, changed := x.take(topics, time.Now())
		if e != nil {
			return e
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-changed:
		case <-ctx.Done():
		}
		timer.Stop()
	}
	return nil
}

// take takes the first entry that is due, or says when to look again.
func (x *Inbox) take(topics []string, now time.Time) (e *entry, wait time.Duration, changed <-chan struct{}) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.sweep(now)
	wait = sweepEvery
	for i, e := range x.waiting {
		switch {
		case !slices.Contains(topics, e.topic):
		case e.next.After(now):
			wait = min(wait, e.next.Sub(now))
		default:
			x.waiting = slices.Delete(x.waiting, i, i+1)
			return e, 0, nil
		}
	}
	return nil, wait, x.changed
}

// handle takes one entry from its file to its end, or back to those that wait.
func (x *Inbox) handle(ctx context.Context, e *entry, handle ferry.Handler) {
	r, err := x.files.read(e.file)
	switch {
	case errors.Is(err, errDamaged): // since it was kept: the disk's fault
		x.files.quarantine(e.file, err)
	case err == nil:
		if err = handle(ctx, message(r)); err == nil {
			err = x.files.remove(e.file)
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if err == nil || errors.Is(err, errDamaged) {
		x.forget(e.file, e.size)
		return
	}
	if ctx.Err() == nil {
		x.log.Warn("deferred request is handled again", "topic", e.topic, "err", err)
	}
	e.pause = min(max(2*e.pause, againFirst), againLast)
	e.next = time.Now().Add(e.pause)
	x.offer(e)
}
