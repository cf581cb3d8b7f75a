package exchange

import (
	"context"
	"sync"

	"yizheng/audit"
)

// documents finds the issue leaf of a certificate number. It is derived from
// the log and holds nothing that the leaves do not say.
type documents struct {
	mu    sync.RWMutex
	index map[string]uint64
}

func (d *documents) load(ctx context.Context, log *audit.Log) error {
	d.index = make(map[string]uint64)
	return log.Read(ctx, 0, log.Head().Size, func(index uint64, e audit.Stored) error {
		if e.Entry.Open.Op == audit.OpIssue {
			d.index[e.Entry.Open.Number] = index
		}
		return nil
	})
}

func (d *documents) add(number string, index uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.index[number] = index
}

func (d *documents) find(number string) (uint64, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	i, ok := d.index[number]
	return i, ok
}

// Issued returns the log index of the issue leaf of a certificate number.
func (s *Service) Issued(number string) (index uint64, ok bool) { return s.documents.find(number) }
