package exchange

import (
	"context"
	"fmt"
	"sync"

	"yizheng/audit"
)

// documents finds the issue leaf of a certificate number, in this quarter's
// shard and the earlier ones. It is derived from the logs and holds nothing
// that the leaves do not say.
type documents struct {
	deciding sync.Mutex // held while somebody decides about a withdrawal

	mu          sync.RWMutex
	index       map[string]leaf
	withdrawals map[string]Withdrawal // by number, of those somebody has asked for
}

// leaf is an entry's place.
type leaf struct {
	quarter
	index uint64
}

// quarter is a quarter's log: the running one, one this process has turned
// from, or one from before.
type quarter interface {
	Entry(ctx context.Context, index uint64) (audit.Stored, audit.Receipt, error)
}

// load reads the issue leaves, and the withdrawals, of all shards.
func (d *documents) load(ctx context.Context, log *audit.Log, earlier []*audit.Archive) error {
	d.index = make(map[string]leaf)
	for _, shard := range earlier {
		err := shard.Find(ctx, audit.OpIssue, func(index uint64, e audit.Stored) error {
			d.index[e.Entry.Open.Number] = leaf{shard, index}
			return nil
		})
		if err == nil {
			err = shard.Find(ctx, audit.OpWithdraw, func(_ uint64, e audit.Stored) error {
				d.decided(e.Entry)
				return nil
			})
		}
		if err != nil {
			return fmt.Errorf("%s: %w", shard.Origin(), err)
		}
	}
	return log.Read(ctx, 0, log.Head().Size, func(index uint64, e audit.Stored) error {
		switch e.Entry.Open.Op {
		case audit.OpIssue:
			d.index[e.Entry.Open.Number] = leaf{log, index}
		case audit.OpWithdraw:
			d.decided(e.Entry)
		}
		return nil
	})
}

// add notes a document that the log, or one it has turned to, has just recorded.
func (d *documents) add(number string, log *audit.Log, r audit.Receipt) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.index[number] = leaf{log.Shard(r.Origin), r.Index}
}

func (d *documents) find(number string) (leaf, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	l, ok := d.index[number]
	return l, ok
}

// IssueRecord returns the public record of a certificate number, issued by
// this gateway in this quarter or an earlier one, and its inclusion proof. ok
// is false if there is none.
func (s *Service) IssueRecord(ctx context.Context, number string) (stored audit.Stored, receipt audit.Receipt, ok bool, err error) {
	l, ok := s.documents.find(number)
	if !ok {
		return stored, receipt, false, nil
	}
	stored, receipt, err = l.Entry(ctx, l.index)
	if err != nil {
		return stored, receipt, false, fmt.Errorf("read issue leaf: %w", err)
	}
	return stored, receipt, true, nil
}
