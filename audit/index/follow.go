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
// often, and merges full files beside it, until ctx ends. An index that is
// ahead of the log belongs to another one: ErrAhead.
func (x *Index) Follow(ctx context.Context, l *audit.Log, every time.Duration) error {
	if x.Next() > l.Head().Size {
		return ErrAhead
	}
	ctx, cancel := context.WithCancel(ctx)
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
	return errors.Join(err, mergeErr)
}

// ErrAhead: the index holds entries that the log does not have. Rebuild it.
var ErrAhead = errors.New("audit index: ahead of its log; rebuild it")

func (x *Index) follow(ctx context.Context, l *audit.Log, every time.Duration) (err error) {
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
