package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"
)

// Replica keeps a second copy of a log's frames: *ReplicaDir in another
// directory, or the client of package replica on another machine.
type Replica interface {
	// Begin makes the shard of this log.json, if it is missing, and returns how
	// many entries it holds.
	Begin(ctx context.Context, meta []byte) (size uint64, err error)
	// Write makes frames durable at their place and returns how many entries the
	// shard holds then.
	Write(ctx context.Context, s Stretch) (size uint64, err error)
	// Keep stores a file of quarantine/, before the frame that names it.
	Keep(ctx context.Context, origin, name string, content []byte) error
}

// Stretch is a piece of a segment: whole frames, one behind the other.
type Stretch struct {
	Origin  string
	Segment string // its file name
	Offset  int64  // bytes
	Frames  []byte
}

// maxStretch is the least length at which a stretch is not made longer. It then
// ends with a frame, so that it is at most twice as long.
const maxStretch = 1 << 20

// ErrReplica: what is appended does not reach the replica now.
var ErrReplica = errors.New("audit: replica does not follow")

// replicator brings a log's frames to its replica, out of the segments, so that
// catching up is no different from keeping up.
type replicator struct {
	l    *Log
	wake chan struct{} // there is a new head

	mu      sync.Mutex
	size    uint64        // entries that the replica has
	down    error         // why it does not follow now
	changed chan struct{} // closed when one of these changes
}

// replicaHolder is the name that a log without its replica is held under.
const replicaHolder = "replica"

var errNotReached = errors.New("not reached yet")

func newReplicator(l *Log) *replicator {
	return &replicator{l: l, wake: make(chan struct{}, 1), changed: make(chan struct{}), down: errNotReached}
}

func (r *replicator) woken() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// progress notes the replica's size.
func (r *replicator) progress(size uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.size = max(r.size, size)
	close(r.changed)
	r.changed = make(chan struct{})
}

// set notes whether the replica follows.
func (r *replicator) set(size uint64, down error) {
	r.mu.Lock()
	r.down = down
	r.mu.Unlock()
	r.progress(size)
	if r.l.cfg.ReplicaOptional {
		down = nil
	}
	if down != nil {
		down = fmt.Errorf("%w: %w", ErrReplica, down)
	}
	if r.l.Hold(replicaHolder, down) {
		r.l.cfg.Logger.Warn("audit replica", "origin", r.l.cfg.Origin, "follows", down == nil, "size", size, "cause", down)
	}
}

// wait returns when the replica has the entries before size. Where it does not
// follow, only entries that are taken from a held log are acknowledged without
// it, or all if it is optional.
func (r *replicator) wait(ctx context.Context, size uint64, essential bool, timeout <-chan time.Time) error {
	for {
		r.mu.Lock()
		has, down, changed := r.size, r.down, r.changed
		r.mu.Unlock()
		switch {
		case has >= size, down != nil && (essential || r.l.cfg.ReplicaOptional):
			return nil
		case down != nil:
			return fmt.Errorf("%w: %w", ErrReplica, down)
		}
		select {
		case <-changed:
		case <-timeout:
			if r.l.cfg.ReplicaOptional {
				return nil
			}
			return fmt.Errorf("%w: not there after %v", ErrReplica, r.l.cfg.AppendTimeout)
		case <-ctx.Done():
			return fmt.Errorf("audit: append: %w", ctx.Err())
		case <-r.l.failed:
			return r.l.Err()
		}
	}
}

// again is how long the replicator waits once the replica counts as down: after
// the second failure in a row, or the first that took the whole time of a request.
const again = 500 * time.Millisecond

// replicates runs until the log ends.
func (r *replicator) replicates() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-r.l.quit:
		case <-ctx.Done():
		}
		cancel()
	}()
	failures := 0 // in a row
	for ctx.Err() == nil {
		followed, err := r.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		if followed {
			failures = 0
		}
		failures++
		if failures == 1 && !errors.Is(err, context.DeadlineExceeded) { // a connection that had grown old, perhaps
			continue
		}
		r.set(0, err)
		select {
		case <-ctx.Done():
		case <-time.After(again):
		}
	}
}

// follow sends what the replica has not, and then what comes, until something
// fails. It reports whether the replica had caught up before that.
func (r *replicator) follow(ctx context.Context) (followed bool, err error) {
	s, err := r.l.beginReplica(ctx, r.l.cfg.Replica)
	if err != nil {
		return false, err
	}
	defer s.reader.Close()
	for {
		if err := s.catchUp(ctx, r.progress); err != nil {
			return followed, err
		}
		followed = true
		r.set(s.reader.next, nil)
		select {
		case <-r.wake:
		case <-ctx.Done():
			return followed, ctx.Err()
		}
	}
}

// sender is at a place in a log that the replica has reached.
type sender struct {
	l      *Log
	to     Replica
	reader *Reader
}

func (l *Log) beginReplica(ctx context.Context, to Replica) (*sender, error) {
	meta, err := l.cfg.files.ReadFile(filepath.Join(l.cfg.Dir, nameMeta))
	if err != nil {
		return nil, fmt.Errorf("audit: reading log.json: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, l.replicaTimeout())
	defer cancel()
	size, err := to.Begin(ctx, meta)
	if err != nil {
		return nil, err
	}
	if n := l.Head().Size; size > n {
		return nil, fmt.Errorf("%w: the replica has %d entries, the log only %d", ErrDamaged, size, n)
	}
	return &sender{l, to, l.NewReader(size)}, nil
}

// replicaTimeout is for one request: a stretch of a megabyte over a slow line.
func (l *Log) replicaTimeout() time.Duration { return max(l.cfg.AppendTimeout, 5*time.Second) }

// catchUp sends until the replica has all; progress is told after every stretch.
func (s *sender) catchUp(ctx context.Context, progress func(size uint64)) error {
	for {
		head := s.l.Head().Size
		if s.reader.next >= head {
			return nil
		}
		if err := s.send(ctx, head); err != nil {
			return err
		}
		progress(s.reader.next)
	}
}

func (s *sender) send(ctx context.Context, head uint64) error {
	ctx, cancel := context.WithTimeout(ctx, s.l.replicaTimeout())
	defer cancel()
	stretch, moved, err := s.reader.stretch(head)
	if err != nil {
		return err
	}
	for _, q := range moved {
		b, err := s.l.cfg.files.ReadFile(filepath.Join(s.l.cfg.Dir, nameQuarantine, q.Name))
		if err == nil {
			err = s.to.Keep(ctx, s.l.cfg.Origin, q.Name, b)
		}
		if err != nil {
			return err
		}
	}
	size, err := s.to.Write(ctx, stretch)
	if err == nil && size != s.reader.next {
		err = fmt.Errorf("audit: replica has %d entries after %d were sent", size, s.reader.next)
	}
	return err
}

// stretch reads frames from the next one on, of one segment and below the
// head, and the quarantined files that they name.
func (r *Reader) stretch(head uint64) (s Stretch, moved []Quarantined, err error) {
	f, err := r.frame()
	if err != nil {
		return s, nil, err
	}
	if f.first != r.next {
		return s, nil, fmt.Errorf("%w: the replica's entries end within a frame, at %d", ErrDamaged, r.next)
	}
	s = Stretch{Origin: r.l.cfg.Origin, Segment: r.name, Offset: r.off}
	for {
		raw := make([]byte, f.length)
		if _, err := r.seg.ReadAt(raw, r.off); err != nil {
			return s, nil, fmt.Errorf("audit: reading segment: %w", err)
		}
		s.Frames = append(s.Frames, raw...)
		r.next, r.off = f.head.Size, r.off+f.length
		more, err := quarantinedIn(f)
		if err != nil {
			return s, nil, err
		}
		moved = append(moved, more...)
		if r.next >= head || len(s.Frames) >= maxStretch {
			return s, moved, nil
		}
		if f, err = r.at(r.off); errors.Is(err, errNoFrame) {
			return s, moved, nil
		} else if err != nil {
			return s, nil, fmt.Errorf("%w: from entry %d on: %w", ErrDamaged, r.next, err)
		}
	}
}

func quarantinedIn(f *frame) (moved []Quarantined, err error) {
	for _, raw := range f.entries {
		if !bytes.Contains(raw, []byte(`"op":"log.recovered"`)) {
			continue
		}
		s, err := new(hasher).parseStored(raw)
		if err == nil {
			err = s.decode()
		}
		if err != nil {
			return nil, err
		}
		moved = append(moved, s.Entry.Open.Quarantine...)
	}
	return moved, nil
}

// begins runs the replicator, and waits for a moment until it follows or is known
// not to, lest the first writers be refused for nothing.
func (r *replicator) begins() {
	r.l.wg.Go(r.replicates)
	timer := time.NewTimer(r.l.cfg.AppendTimeout)
	defer timer.Stop()
	for {
		r.mu.Lock()
		known, changed := !errors.Is(r.down, errNotReached), r.changed
		r.mu.Unlock()
		if known {
			return
		}
		select {
		case <-changed:
		case <-timer.C:
			return
		}
	}
}

// drain waits until the replica has everything, or does not follow.
func (r *replicator) drain(size uint64) {
	timer := time.NewTimer(r.l.cfg.AppendTimeout)
	defer timer.Stop()
	if err := r.wait(context.Background(), size, true, timer.C); err != nil {
		r.l.cfg.Logger.Warn("audit replica has not the end of the log yet", "origin", r.l.cfg.Origin, "err", err)
	}
}

// Replicate brings what a replica lacks of a sealed shard there.
func (a *Archive) Replicate(ctx context.Context, to Replica) error {
	s, err := a.log.beginReplica(ctx, to)
	if err != nil {
		return err
	}
	return errors.Join(s.catchUp(ctx, func(uint64) {}), s.reader.Close())
}
