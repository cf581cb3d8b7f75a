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
	log     *audit.Log
	earlier []*audit.Archive

	deciding sync.Mutex // held while somebody decides about a withdrawal

	mu          sync.RWMutex
	index       map[string]leaf
	withdrawals map[string]Withdrawal // by number, of those somebody has asked for
}

// leaf is an entry's place.
type leaf struct {
	shard int // in earlier; running for the running log
	index uint64
}

const running = -1

// load reads the issue leaves, and the withdrawals, of all shards.
func (d *documents) load(ctx context.Context, log *audit.Log, earlier []*audit.Archive) error {
	d.log, d.earlier, d.index = log, earlier, make(map[string]leaf)
	for i, shard := range earlier {
		err := shard.Find(ctx, audit.OpIssue, func(index uint64, e audit.Stored) error {
			d.index[e.Entry.Open.Number] = leaf{i, index}
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
			d.index[e.Entry.Open.Number] = leaf{running, index}
		case audit.OpWithdraw:
			d.decided(e.Entry)
		}
		return nil
	})
}

// add notes a document that the running log has recorded.
func (d *documents) add(number string, index uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.index[number] = leaf{running, index}
}

func (d *documents) find(number string) (leaf, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	l, ok := d.index[number]
	return l, ok
}

// read reads a leaf back from its shard, with its proof under that shard's
// present or final head.
func (d *documents) read(ctx context.Context, l leaf) (audit.Open, audit.Receipt, error) {
	if l.shard != running {
		s, receipt, err := d.earlier[l.shard].Entry(ctx, l.index)
		return s.Entry.Open, receipt, err
	}
	var open audit.Open
	err := d.log.Read(ctx, l.index, l.index+1, func(_ uint64, e audit.Stored) error {
		open = e.Entry.Open
		return nil
	})
	if err != nil {
		return open, audit.Receipt{}, err
	}
	receipt, err := d.log.Receipt(l.index)
	return open, receipt, err
}

// IssueRecord returns the public record of a certificate number, issued by
// this gateway in this quarter or an earlier one, and its inclusion proof. ok
// is false if there is none.
func (s *Service) IssueRecord(ctx context.Context, number string) (open audit.Open, receipt audit.Receipt, ok bool, err error) {
	l, ok := s.documents.find(number)
	if !ok {
		return open, receipt, false, nil
	}
	if open, receipt, err = s.documents.read(ctx, l); err != nil {
		return open, receipt, false, fmt.Errorf("read issue leaf: %w", err)
	}
	return open, receipt, true, nil
}
