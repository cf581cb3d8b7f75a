package index

import (
	"context"
	"errors"
	"fmt"

	"yizheng/audit"
)

// Entry reads one entry of one shard, as Search reads what it finds.
func (s *Shards) Entry(ctx context.Context, origin string, index uint64) (stored audit.Stored, err error) {
	sh, err := s.of(origin)
	if err != nil {
		return stored, err
	}
	r := sh.NewReader(0)
	defer func() { err = errors.Join(err, r.Close()) }()
	return r.Entry(ctx, index)
}

// Receipt proves one entry of one shard under the shard's newest head.
func (s *Shards) Receipt(origin string, index uint64) (audit.Receipt, error) {
	sh, err := s.of(origin)
	if err != nil {
		return audit.Receipt{}, err
	}
	return sh.Receipt(index)
}

// Grown is one shard's newest head, with the proof that it grew out of the first
// from entries; none, if it never had so many.
func (s *Shards) Grown(origin string, from uint64) (audit.SignedHead, []audit.Hash, error) {
	sh, err := s.of(origin)
	if err != nil {
		return audit.SignedHead{}, nil, err
	}
	head := sh.Head()
	if from > head.Size {
		return head, nil, nil
	}
	path, err := sh.Consistency(from, head.Size)
	return head, path, err
}

func (s *Shards) of(origin string) (*shard, error) {
	for _, sh := range s.shards() {
		if sh.origin == origin && sh.isOpen() {
			return sh, nil
		}
	}
	return nil, fmt.Errorf("%w: no shard %s", audit.ErrRange, origin)
}
