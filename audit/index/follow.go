package index

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"yizheng/audit"
)

// batch is how many entries go into one transaction.
const batch = 4096

// Follow indexes what is in the log and then what comes, looking every so
// often, and merges full files beside it, until ctx ends or the log's last
// entry, log.close, is indexed. An index that does not fit the log is not gone
// on with: ErrAhead or ErrForeign.
func (x *Index) Follow(ctx context.Context, l Shard, every time.Duration) error {
	if err := x.fits(ctx, l); err != nil {
		return err
	}
	return x.goOn(ctx, l, every)
}

// goOn is Follow of a log that the index is known to fit.
func (x *Index) goOn(ctx context.Context, l Shard, every time.Duration) error {
	parent := ctx
	ctx, cancel := context.WithCancel(parent)
	var merging sync.WaitGroup
	var mergeErr error
	merging.Go(func() {
		if mergeErr = x.merges(ctx); mergeErr != nil {
			cancel()
		}
	})
	err := x.follow(ctx, l, every)
	cancel()
	merging.Wait()
	for again := err == nil && mergeErr == nil && x.closed; again && mergeErr == nil; { // what cancel cut short
		again, mergeErr = x.merge(parent)
	}
	if parent.Err() != nil {
		mergeErr = nil
	}
	return errors.Join(err, mergeErr)
}

// Why an index is not of its log. Rebuild it.
var (
	ErrAhead   = errors.New("audit index: ahead of its log; rebuild it")
	ErrForeign = errors.New("audit index: of another log, or of what this one was before; rebuild it")
)

// fits holds the first and the last entry of every file to the log's own. Two
// entries of one place have the same microsecond only if they are the same: a
// log that was brought back from a copy and grew again is found out.
func (x *Index) fits(ctx context.Context, l Shard) (err error) {
	if x.Next() > l.Head().Size {
		return ErrAhead
	}
	r := l.NewReader(0)
	defer func() { err = errors.Join(err, r.Close()) }()
	for _, p := range x.parts {
		if p.next == p.first {
			continue
		}
		for index, at := range map[uint64]int64{p.first: p.from, p.next - 1: p.to} {
			s, err := r.Entry(ctx, index)
			if err != nil {
				return fmt.Errorf("audit index: %w", err)
			}
			if s.Entry.Open.Time != at {
				return ErrForeign
			}
			x.closed = x.closed || s.Entry.Open.Op == audit.OpLogClose
		}
	}
	return nil
}

func (x *Index) follow(ctx context.Context, l Shard, every time.Duration) (err error) {
	r := l.NewReader(x.Next())
	defer func() { err = errors.Join(err, r.Close()) }()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := x.catchUp(ctx, r); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		if x.closed {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// catchUp indexes all that is durable now.
func (x *Index) catchUp(ctx context.Context, r *audit.Reader) error {
	var pending []audit.Stored
	flush := func() error {
		if len(pending) == 0 {
			return nil
		}
		err := x.Add(ctx, pending)
		pending = pending[:0]
		return err
	}
	_, err := r.Next(ctx, func(s audit.Stored) error {
		s.OpenJSON, s.ClosedJSON = nil, nil
		x.closed = s.Entry.Open.Op == audit.OpLogClose
		if pending = append(pending, s); len(pending) < batch {
			return nil
		}
		return flush()
	})
	if err != nil {
		return fmt.Errorf("audit index: %w", err)
	}
	return flush()
}

// merges merges whenever enough files are full, until ctx ends.
func (x *Index) merges(ctx context.Context) error {
	for {
		again, err := x.merge(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		if again {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-x.turn:
		}
	}
}
