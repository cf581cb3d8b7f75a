package spool

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"
)

// Once a period the sender tells what it has sent in it, by the files' created
// times; the receiver answers with what it has of that and what it lacks.

// reckoning is the body of a Reconcile and of its answer, an Account:
//
//	u64 epoch ‖ i64 start ms ‖ i64 end ms ‖ u64 first sequence ‖ u64 last ‖ u32
//	files ‖ u64 records ‖ root (32) ‖ ranges missing (none in a Reconcile)
//
// The root is over fileLeaf of the files in ascending sequence.
type reckoning struct {
	epoch       uint64
	start, end  int64
	first, last uint64
	files       int
	records     uint64
	root        [32]byte
	missing     []Range
}

func (k reckoning) marshal() []byte {
	b := binary.BigEndian.AppendUint64(nil, k.epoch)
	b = binary.BigEndian.AppendUint64(b, uint64(k.start))
	b = binary.BigEndian.AppendUint64(b, uint64(k.end))
	b = binary.BigEndian.AppendUint64(b, k.first)
	b = binary.BigEndian.AppendUint64(b, k.last)
	b = binary.BigEndian.AppendUint32(b, uint32(k.files))
	b = binary.BigEndian.AppendUint64(b, k.records)
	b = append(b, k.root[:]...)
	return appendRanges(b, k.missing)
}

func parseReckoning(b []byte) (reckoning, error) {
	d := decoder{b: b}
	k := reckoning{epoch: d.u64(), start: d.i64(), end: d.i64(), first: d.u64(), last: d.u64(), files: d.u32(), records: d.u64(), root: d.digest()}
	var err error
	if k.missing, err = parseRanges(&d); err != nil {
		return k, err
	}
	if k.epoch == 0 || k.epoch > maxMillis || k.start < 0 || k.end <= k.start || k.end > maxMillis || k.first == 0 || k.last < k.first || k.last > maxSeq {
		return k, fmt.Errorf("%w: reconciliation", ErrFormat)
	}
	return k, d.end("reconciliation")
}

// agrees reports whether two sides have the same of a period.
func (k reckoning) agrees(o reckoning) bool {
	return k.epoch == o.epoch && k.start == o.start && k.end == o.end && k.files == o.files && k.records == o.records && k.root == o.root
}

// sum fills in what the files of a period amount to.
func (k *reckoning) sum(seqs []uint64, file func(uint64) (count int, root [32]byte)) {
	leaves := make([][32]byte, len(seqs))
	for i, seq := range seqs {
		count, root := file(seq)
		k.records += uint64(count)
		leaves[i] = fileLeaf(seq, root)
	}
	k.files, k.root = len(seqs), treeRoot(leaves)
}

// reckon sums up a period; false if nothing was sent in it.
func (s *sender) reckon(epoch uint64, start, end int64) (reckoning, bool) {
	k := reckoning{epoch: epoch, start: start, end: end}
	var seqs []uint64
	for p, f := range s.files {
		if p.epoch == epoch && f.created >= start && f.created < end {
			seqs = append(seqs, p.seq)
		}
	}
	if len(seqs) == 0 {
		return k, false
	}
	slices.Sort(seqs)
	k.first, k.last = seqs[0], seqs[len(seqs)-1]
	k.sum(seqs, func(seq uint64) (int, [32]byte) {
		f := s.files[pos{epoch, seq}]
		return f.count, f.root
	})
	return k, true
}

// reconcile reports the last whole period, a quarter of one after its end, and
// again as long as there is no answer.
func (s *sender) reconcile() {
	cfg := &s.link.cfg
	if cfg.OneWay {
		return
	}
	period := cfg.Reconcile.Milliseconds()
	now := cfg.Now().UnixMilli() - period/4
	end := now - now%period
	var due []reckoning
	s.mu.Lock()
	for epoch := range s.last {
		if s.settled[epoch] == end {
			continue
		}
		if k, some := s.reckon(epoch, end-period, end); some {
			due = append(due, k)
		} else {
			s.settled[epoch] = end
		}
	}
	s.mu.Unlock()
	for _, k := range due { // what cannot be posted now is due again next time
		s.link.control.post(Reconcile, k.marshal())
	}
}

// onReconcile answers with what has been received of a period.
func (r *receiver) onReconcile(k reckoning) error {
	r.mu.Lock()
	mine := reckoning{epoch: k.epoch, start: k.start, end: k.end, first: k.first, last: k.last}
	var have, lack []uint64
	if w := r.window(k.epoch); w != nil {
		// Beyond what can be listed only the first are named.
		for seq := k.first; seq <= min(k.last, k.first+1<<20); seq++ {
			f := w.files[seq]
			switch {
			case f == nil || f.void != 0:
				lack = append(lack, seq)
			case f.created >= k.start && f.created < k.end:
				have = append(have, seq)
			}
		}
		mine.sum(have, func(seq uint64) (int, [32]byte) { return w.files[seq].count, w.files[seq].root })
	}
	r.mu.Unlock()
	mine.missing = ranges(lack, maxRanges)
	r.link.control.post(Account, mine.marshal())
	return nil
}

// onAccount compares. What is missing and retained is on its way anyway; the
// rest is named with the ids of its records.
func (s *sender) onAccount(theirs reckoning) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.settled[theirs.epoch] == theirs.end {
		return nil // a repetition
	}
	mine, some := s.reckon(theirs.epoch, theirs.start, theirs.end)
	if !some {
		return nil
	}
	s.settled[theirs.epoch] = theirs.end
	if mine.agrees(theirs) {
		s.link.count.reconciled.Add(1)
		s.link.event(Event{Kind: EventReconciled, Channel: s.link.cfg.Out, Epoch: mine.epoch, Range: Range{mine.first, mine.last},
			Reason: fmt.Sprintf("%d records in %d files, %s", mine.records, mine.files, time.UnixMilli(mine.start).UTC().Format(time.RFC3339))})
		return nil
	}
	s.link.count.mismatched.Add(1)
	missing := theirs.missing
	if len(missing) == 0 { // the same files with other contents
		missing = []Range{{mine.first, mine.last}}
	}
	for _, run := range missing {
		ids, err := s.ids(mine.epoch, run)
		if err != nil {
			return err
		}
		s.link.event(Event{Kind: EventMissing, Channel: s.link.cfg.Out, Epoch: mine.epoch, Range: run, IDs: ids})
	}
	return nil
}

// ids reads the ids of the records in a range of files, at most 10,000.
func (s *sender) ids(epoch uint64, run Range) ([]string, error) {
	const most = 10_000
	var ids []string
	err := s.journal.each(func(e entry) {
		if e.Op == opSent && e.Epoch == epoch && e.Seq >= run.From && e.Seq <= run.To && len(ids) < most {
			ids = append(ids, e.IDs...)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("%w: sender's journal: %w", ErrState, err)
	}
	return ids, nil
}
