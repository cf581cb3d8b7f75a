package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// Config says where a log lives and how it behaves.
type Config struct {
	// Dir is the shard's directory. It belongs to the log alone: the verifier
	// objects to any other file in it.
	Dir string
	// Origin names the shard for ever, e.g. "gw1.data.example.gov.cn/audit/2026q4"
	// (see ShardOrigin): lower-case letters, digits and "./-_", at most 128.
	Origin string
	// Signer holds the log's SM2 key. A shard has one key.
	Signer Signer
	// SegmentSize in bytes, a multiple of 512 between 4 KiB and 1 GiB. Default
	// 64 MiB. It is fixed when the shard is created.
	SegmentSize int64
	// QueueLen bounds the number of waiting Appends. Default 4096.
	QueueLen int
	// AppendTimeout is how long an Append waits to become durable. Default 2 s.
	AppendTimeout time.Duration
	// PublishEvery is the shortest time between two checkpoints. Default 1 s.
	// checkpoints.log gets one of them every 60 of these, and the last.
	PublishEvery time.Duration
	// MinFree is the low-water mark of the file system in bytes. Default two segments.
	MinFree int64
	// Previous is the final checkpoint of the shard before this one, if any.
	// It is used when the shard is created.
	Previous []byte
	// Compromised are epochs whose pseudonym keys somebody else may have, which is why
	// this shard was begun. log.json names them. It is used when the shard is created.
	Compromised []string
	// Replica, if set, has to have an entry before Append returns. While it does
	// not follow, the log is held (see Hold), and what is still taken is
	// acknowledged without it. What it missed is brought to it from the segments.
	Replica Replica
	// ReplicaOptional lets everything go on without the replica while it does not follow.
	ReplicaOptional bool
	// Appended, if set, is told how long each Append took that succeeded.
	Appended func(time.Duration)
	// Now replaces the clock in tests.
	Now func() time.Time
	// Logger gets failures and recoveries; never an entry. Default: discarded.
	Logger *slog.Logger

	files      files  // tests
	resumeFrom uint64 // tests
}

func (c Config) withDefaults() (Config, error) {
	if c.Dir == "" || c.Signer == nil {
		return c, fmt.Errorf("audit: a log needs a directory and a signer")
	}
	if !validOrigin(c.Origin) {
		return c, fmt.Errorf("audit: bad origin %q", c.Origin)
	}
	if c.SegmentSize == 0 {
		c.SegmentSize = 64 << 20
	}
	if !validSegment(c.SegmentSize) {
		return c, fmt.Errorf("audit: segment size %d: want a multiple of 512 between 4 KiB and 1 GiB", c.SegmentSize)
	}
	if len(c.Previous) > 0 {
		if _, err := ParseCheckpoint(c.Previous); err != nil {
			return c, fmt.Errorf("audit: checkpoint of the previous shard: %w", err)
		}
	}
	if c.QueueLen <= 0 {
		c.QueueLen = 4096
	}
	if c.AppendTimeout <= 0 {
		c.AppendTimeout = 2 * time.Second
	}
	if c.PublishEvery <= 0 {
		c.PublishEvery = time.Second
	}
	if c.MinFree <= 0 {
		c.MinFree = 2 * c.SegmentSize
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.files == nil {
		c.files = osFiles{}
	}
	if c.resumeFrom == 0 {
		c.resumeFrom = resumeFrom
	}
	return c, nil
}

// Log is an open log. Its methods may be called from many goroutines.
type Log struct {
	cfg     Config
	keyHash uint32
	lock    file
	wal     *wal
	tiles   *tileStore
	queue   chan *request
	head    atomic.Pointer[SignedHead]

	requests sync.Pool // of *request

	// The committer's own state: the tree, the last head and the last time.
	tree     frontier
	prev     Hash
	lastTime int64
	carry    *request
	frame    []byte // room for the next one
	hasher   hasher

	published  published
	checkpoint atomic.Pointer[Published] // what it has published last, for Status
	replica    *replicator               // nil: none
	copied     bool                      // it is a replica itself, whose frames come from elsewhere
	behind     *behind                   // what is still to be read again; nil if everything was read

	mu     sync.RWMutex // writers hold it for reading while they enqueue
	ending error        // ErrClosed or ErrSealed: nothing is taken any more
	turn   *turn        // to the next shard, if there is one

	before atomic.Pointer[Log] // the shard that turned to this one

	failOnce sync.Once
	failed   chan struct{}
	cause    error
	low      atomic.Bool           // disk space is low
	held     atomic.Pointer[error] // one of holders
	holding  sync.Mutex
	holders  map[string]error // guarded by holding

	quit     chan struct{} // publisher and watch end
	ended    chan struct{} // committer has ended
	wg       sync.WaitGroup
	closing  sync.Once
	closeErr error
}

// Append records entries, next to each other in one batch, and returns when
// they are durable and under a signed head. On any error the caller must
// release nothing: ErrPoisoned, ErrOverloaded, ErrDiskLow, ErrClosed, ErrSealed,
// ErrHeld, ErrReplica, ErrEntry, ErrPersonal, or the context's error. After a
// timeout the entries may still become durable, which is harmless: a record
// without an answer.
//
// A Prev that the log does not reach is of the shard before, and left out.
//
// A caller that must not lose the record when its own client hangs up passes
// context.WithoutCancel; Append bounds itself by Config.AppendTimeout.
func (l *Log) Append(ctx context.Context, entries ...Entry) ([]Receipt, error) {
	return l.append(ctx, l.cfg.AppendTimeout, entries)
}

func (l *Log) append(ctx context.Context, within time.Duration, entries []Entry) ([]Receipt, error) {
	if t := l.turning(); t != nil {
		return l.appendNext(ctx, t, within, entries)
	}
	began := time.Now()
	receipts, err := l.appendHere(ctx, within, entries)
	if t := l.turning(); t != nil && errors.Is(err, ErrSealed) { // it was not queued
		return l.appendNext(ctx, t, within-time.Since(began), entries)
	}
	if err == nil && l.cfg.Appended != nil {
		l.cfg.Appended(time.Since(began))
	}
	return receipts, err
}

func (l *Log) appendHere(ctx context.Context, within time.Duration, entries []Entry) ([]Receipt, error) {
	r, err := l.newRequest(entries)
	if err != nil {
		return nil, err
	}
	timeout := r.expectResult(within)
	if err := l.enqueue(ctx, r, timeout); err != nil {
		return nil, err
	}
	select {
	case res := <-r.done:
		if res.err != nil {
			return nil, res.err
		}
		if l.replica != nil {
			if err := l.replica.wait(ctx, res.batch.head.Size, essential(entries), timeout); err != nil {
				return nil, err
			}
		}
		l.free(r)
		return res.batch.receipts(res.first, len(entries))
	case <-timeout:
		r.state.CompareAndSwap(waiting, givenUp)
		return nil, fmt.Errorf("%w: not durable after %v", ErrOverloaded, within)
	case <-ctx.Done():
		r.state.CompareAndSwap(waiting, givenUp)
		return nil, fmt.Errorf("audit: append: %w", ctx.Err())
	}
}

// AppendAsync queues an entry that nobody waits for, and never blocks. A later
// head covers it; whoever waits for that head knows the entry to be durable.
func (l *Log) AppendAsync(e Entry) error {
	if t := l.turning(); t != nil {
		return l.appendNextAsync(t, e)
	}
	err := l.queueHere(e)
	if t := l.turning(); t != nil && errors.Is(err, ErrSealed) {
		return l.appendNextAsync(t, e)
	}
	return err
}

func (l *Log) queueHere(e Entry) error {
	r, err := l.newRequest([]Entry{e})
	if err != nil {
		return err
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	if err := l.refusal(); err != nil {
		return err
	}
	select {
	case l.queue <- r:
		return nil
	default:
		return fmt.Errorf("%w: queue of %d is full", ErrOverloaded, l.cfg.QueueLen)
	}
}

func (l *Log) newRequest(entries []Entry) (*request, error) {
	if len(entries) == 0 || len(entries) > maxBatch {
		return nil, fmt.Errorf("%w: %d entries in one call", ErrEntry, len(entries))
	}
	r := l.emptyRequest()
	now, size := l.now(), uint64(0)
	if head := l.head.Load(); head != nil {
		size = head.Size
	}
	for i := range entries {
		e := &entries[i]
		if err := l.reserved(e.Open.Op); err != nil {
			return nil, err
		}
		prev := e.Open.Prev
		if prev != nil && *prev >= size {
			prev = nil
		}
		if err := r.add(e, prev, now); err != nil {
			return nil, err
		}
	}
	if len(r.body) > maxBody || frameSize(len(r.body)) > l.cfg.SegmentSize {
		return nil, fmt.Errorf("%w: %d bytes in one call", ErrEntry, len(r.body))
	}
	return r, nil
}

// reserved says why only the log's own entries, logins, administration and
// alarms are taken now.
func (l *Log) reserved(op Op) error {
	switch why := l.held.Load(); {
	case op.essential():
		return nil
	case l.low.Load():
		return ErrDiskLow
	case why != nil:
		return fmt.Errorf("%w: %w", ErrHeld, *why)
	}
	return nil
}

// Hold makes the log take no business any more, for the reason given, until it
// is called with nil by all who hold it. It reports whether that is a change for
// this holder. The first entries after a start cannot be held.
func (l *Log) Hold(holder string, why error) (changed bool) {
	l.holding.Lock()
	defer l.holding.Unlock()
	if n := l.Next(); n != nil {
		return n.Hold(holder, why)
	}
	_, was := l.holders[holder]
	if why == nil {
		delete(l.holders, holder)
	} else {
		if l.holders == nil {
			l.holders = map[string]error{}
		}
		l.holders[holder] = why
	}
	l.held.Store(nil)
	for _, why := range l.holders {
		l.held.Store(&why)
		break
	}
	return was != (why != nil)
}

// enqueue holds the read lock while it waits for room, which is safe: the
// committer empties the queue whatever happens.
func (l *Log) enqueue(ctx context.Context, r *request, deadline <-chan time.Time) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if err := l.refusal(); err != nil {
		return err
	}
	select {
	case l.queue <- r:
		return nil
	default:
	}
	select {
	case l.queue <- r:
		return nil
	case <-l.failed:
		return l.refusal()
	case <-deadline:
		return fmt.Errorf("%w: queue of %d is full", ErrOverloaded, l.cfg.QueueLen)
	case <-ctx.Done():
		return fmt.Errorf("audit: append: %w", ctx.Err())
	}
}

// refusal says why nothing can be taken, if so. Called with mu held.
func (l *Log) refusal() error {
	select {
	case <-l.failed:
		return fmt.Errorf("%w: %w", ErrPoisoned, l.cause)
	default:
		return l.ending
	}
}

// poison stops the log for ever.
func (l *Log) poison(cause error) {
	l.failOnce.Do(func() {
		l.cause = cause
		close(l.failed)
		l.cfg.Logger.Error("audit log stopped; nothing may leave the gateway", "origin", l.cfg.Origin, "cause", cause)
		if before := l.before.Load(); before != nil {
			before.poison(cause)
		}
	})
}

// Failed is closed when the log is poisoned. The process should then end.
func (l *Log) Failed() <-chan struct{} { return l.failed }

// Err is nil, or wraps ErrPoisoned and its cause once Failed is closed.
func (l *Log) Err() error {
	select {
	case <-l.failed:
		return fmt.Errorf("%w: %w", ErrPoisoned, l.cause)
	default:
		return nil
	}
}

// Head is the last durable head.
func (l *Log) Head() SignedHead { return *l.head.Load() }

// Origin is the log's name.
func (l *Log) Origin() string { return l.cfg.Origin }

// Inclusion is the path of an entry in the tree of the given size, which is
// any size from index+1 to the head's.
func (l *Log) Inclusion(index, size uint64) ([]Hash, error) {
	if n := l.Head().Size; size > n {
		return nil, fmt.Errorf("%w: size %d, log has %d", ErrRange, size, n)
	}
	return inclusionPath(index, size, l.tiles.forProof())
}

// Consistency is the proof that the tree of size to begins with that of size from.
func (l *Log) Consistency(from, to uint64) ([]Hash, error) {
	if n := l.Head().Size; to > n {
		return nil, fmt.Errorf("%w: size %d, log has %d", ErrRange, to, n)
	}
	return consistencyPath(from, to, l.tiles.forProof())
}

// Receipt proves an entry under the present head.
func (l *Log) Receipt(index uint64) (Receipt, error) {
	head := l.Head()
	path, err := l.Inclusion(index, head.Size)
	if err != nil {
		return Receipt{}, err
	}
	leaf, err := l.tiles.node(0, index)
	if err != nil {
		return Receipt{}, err
	}
	return Receipt{Origin: l.cfg.Origin, Index: index, Leaf: leaf, Head: head, Proof: path}, nil
}

// Close records log.stop, publishes the last checkpoint and lets the
// directory go. It returns the cause if the log was poisoned.
func (l *Log) Close() error {
	if t := l.turning(); t != nil {
		<-t.done
		if t.next != nil {
			return t.next.Close()
		}
	}
	l.finish(ErrClosed, Entry{Open: Open{Op: OpLogStop}})
	return l.closeErr
}

// Seal ends the shard: log.close becomes its last entry, and nothing can be
// added any more, now or by reopening it. The returned checkpoint is
// Config.Previous of the shard that follows.
func (l *Log) Seal() (SignedHead, error) {
	l.finish(ErrSealed, Entry{Open: Open{Op: OpLogClose}})
	return l.Head(), l.closeErr
}

func (l *Log) finish(why error, last Entry) {
	l.closing.Do(func() {
		l.mu.Lock()
		l.ending = why
		l.mu.Unlock()
		r, err := l.newRequest([]Entry{last})
		if err != nil { // cannot be: the entry is ours
			l.poison(err)
			r = l.emptyRequest()
		}
		r.last = true
		l.queue <- r
		<-l.ended
		if l.replica != nil && l.Err() == nil {
			l.replica.drain(l.Head().Size)
		}
		l.closeErr = errors.Join(l.stop(), l.Err())
		if l.closeErr == nil && why == ErrSealed { // nobody will write its derived files again
			l.closeErr = l.cfg.files.SyncAll(l.cfg.Dir)
		}
	})
}

// stop ends the other goroutines once the committer has ended.
func (l *Log) stop() error {
	close(l.wal.want)
	close(l.quit)
	l.wg.Wait()
	err := errors.Join(l.wal.unmade, l.wal.close(), l.lock.Close())
	if err != nil {
		return fmt.Errorf("audit: closing %s: %w", filepath.Base(l.cfg.Dir), err)
	}
	return nil
}

func (l *Log) now() time.Time {
	if l.cfg.Now != nil {
		return l.cfg.Now()
	}
	return time.Now()
}
