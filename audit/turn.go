package audit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// turn is the way from one shard to the next. While it is under way, entries
// wait: each is in one shard or the other, never in both, since a sealed
// shard refuses an entry before it is queued.
type turn struct {
	done chan struct{} // closed when next or err is set
	next *Log
	err  error

	mu      sync.Mutex
	waiting []Entry // of AppendAsync
}

// Turn ends the shard and goes on with another, which open makes: previous is
// the final checkpoint, for its Config.Previous. From then on what is appended
// to this log goes to the next one, while everything that names an index is
// still about this one. Writers wait meanwhile, no longer than ever. Close,
// Hold, Failed and Err are about both. If the turn fails, the log has failed;
// a restart that opens the next shard takes it up wherever it ended.
func (l *Log) Turn(open func(previous []byte) (*Log, error)) (*Log, error) {
	t := &turn{done: make(chan struct{})}
	l.mu.Lock()
	if err := l.refusal(); err != nil || l.turn != nil {
		l.mu.Unlock()
		return nil, errors.Join(err, errors.New("audit: a shard turns once"))
	}
	l.turn = t
	l.mu.Unlock()
	t.next, t.err = l.turnTo(open)
	if t.err != nil {
		l.poison(t.err)
		t.fail(l)
		return nil, t.err
	}
	t.pass(l)
	return t.next, nil
}

func (l *Log) turnTo(open func(previous []byte) (*Log, error)) (*Log, error) {
	head, err := l.Seal()
	if err != nil {
		return nil, fmt.Errorf("audit: sealing %s: %w", l.cfg.Origin, err)
	}
	note, err := head.MarshalText()
	if err != nil {
		return nil, err
	}
	next, err := open(note)
	if err != nil {
		return nil, fmt.Errorf("audit: opening the shard after %s: %w", l.cfg.Origin, err)
	}
	next.before.Store(l)
	if err := next.Err(); err != nil { // it failed before it knew whom to tell
		return nil, errors.Join(err, next.Close())
	}
	return next, nil
}

// pass lets the waiting entries into the next shard, and what holds the log; a
// replica is told of by each shard itself.
func (t *turn) pass(l *Log) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l.holding.Lock() // whoever comes now finds the next shard
	defer l.holding.Unlock()
	for holder, why := range l.holders {
		if holder != replicaHolder {
			t.next.Hold(holder, why)
		}
	}
	for _, e := range t.waiting {
		if err := t.next.AppendAsync(e); err != nil {
			l.cfg.Logger.Error("audit log lost an entry that nobody waits for, at the turn of its shard", "op", string(e.Open.Op), "err", err)
		}
	}
	close(t.done)
}

// fail says what the waiting entries were, which no shard will have.
func (t *turn) fail(l *Log) {
	t.mu.Lock()
	defer t.mu.Unlock()
	lost := make(map[Op]int)
	for _, e := range t.waiting {
		lost[e.Open.Op]++
	}
	if len(lost) > 0 {
		l.cfg.Logger.Error("audit log lost entries that nobody waits for, as its shard did not turn", "entries", len(t.waiting), "ops", lost)
	}
	t.waiting = nil
	close(t.done)
}

// appendNext appends to the shard after this one, as soon as there is one.
func (l *Log) appendNext(ctx context.Context, t *turn, within time.Duration, entries []Entry) ([]Receipt, error) {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-t.done:
	case <-timer.C:
		return nil, fmt.Errorf("%w: the next shard was not open after %v", ErrOverloaded, within)
	case <-ctx.Done():
		return nil, fmt.Errorf("audit: append: %w", ctx.Err())
	}
	if t.next == nil {
		return nil, l.Err()
	}
	return t.next.Append(ctx, entries...)
}

// appendNextAsync queues an entry for the shard after this one.
func (l *Log) appendNextAsync(t *turn, e Entry) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-t.done:
		if t.next == nil {
			return l.Err()
		}
		return t.next.AppendAsync(e)
	default:
	}
	if len(t.waiting) >= l.cfg.QueueLen {
		return fmt.Errorf("%w: %d entries wait for the next shard", ErrOverloaded, len(t.waiting))
	}
	t.waiting = append(t.waiting, e)
	return nil
}

// turning is the turn that has ended this shard, or nil.
func (l *Log) turning() *turn {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.turn
}

// Next is the shard after this one, once the log has turned to it, or nil.
func (l *Log) Next() *Log {
	t := l.turning()
	if t == nil {
		return nil
	}
	select {
	case <-t.done:
		return t.next
	default:
		return nil
	}
}

// Latest is the shard that takes entries now: this one, or one after it.
func (l *Log) Latest() *Log {
	for n := l.Next(); n != nil; n = l.Next() {
		l = n
	}
	return l
}

// Shard is the one of that origin among this and those after it, or nil. A
// receipt's origin tells where its index counts.
func (l *Log) Shard(origin string) *Log {
	for ; l != nil && l.cfg.Origin != origin; l = l.Next() {
	}
	return l
}
