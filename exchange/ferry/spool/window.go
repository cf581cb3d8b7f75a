package spool

import (
	"slices"
	"time"
)

// received is what a receiver remembers of a file.
type received struct {
	digest, previous [32]byte
	root             [32]byte
	created          int64
	count            int
	void             Reason // not received: it will not come
}

// gap is a missing file.
type gap struct {
	since time.Time
	next  time.Time // when it is asked for again
	tries int       // 0: not named yet
}

// window is a receiver's cursor in one epoch.
type window struct {
	epoch      uint64
	contiguous uint64 // everything up to here has been received or voided
	highest    uint64 // exists, as far as we know
	files      map[uint64]*received
	gaps       map[uint64]*gap
}

func newWindow(epoch uint64) *window {
	return &window{epoch: epoch, files: map[uint64]*received{}, gaps: map[uint64]*gap{}}
}

// has reports whether seq needs nothing more.
func (w *window) has(seq uint64) bool { return seq <= w.contiguous || w.files[seq] != nil }

// mark notes a file and moves the cursor. It reports whether a named gap has
// been closed by it.
func (w *window) mark(seq uint64, f *received) (closed bool) {
	if old := w.files[seq]; old != nil && old.void == 0 && f.void != 0 {
		return false // received before it was voided
	}
	w.files[seq] = f
	w.highest = max(w.highest, seq)
	if g := w.gaps[seq]; g != nil {
		closed = g.tries > 0
		delete(w.gaps, seq)
	}
	w.advance()
	return closed
}

func (w *window) advance() {
	for w.files[w.contiguous+1] != nil {
		w.contiguous++
	}
}

// markVoid notes a range that will not come and returns the sequences that were
// still missing, and those of them that were named gaps. Behind the cursor a
// range may be as long as the sender likes.
func (w *window) markVoid(v voidBody) (missing int, closed []uint64) {
	limit := w.contiguous + Window
	for seq := max(v.From, w.contiguous+1); seq <= min(v.To, limit); seq++ {
		if w.has(seq) {
			continue
		}
		f := &received{void: v.reason}
		if seq == v.To {
			f.digest = v.digest
		}
		missing++
		if w.mark(seq, f) {
			closed = append(closed, seq)
		}
	}
	if v.From <= limit && v.To > limit && w.contiguous >= limit {
		missing += int(v.To - limit)
		w.contiguous = v.To
		w.highest = max(w.highest, v.To)
		w.files[v.To] = &received{void: v.reason, digest: v.digest}
		w.advance()
	}
	return missing, closed
}

// follows reports whether a file's digests agree with its neighbours'. A file
// that does not follow is refused: else its acknowledgement, which covers all
// before it, would speak of other files than the sender's.
func (w *window) follows(seq uint64, f *received) bool {
	zero := [32]byte{}
	if seq == 1 && f.previous != zero {
		return false
	}
	if before := w.files[seq-1]; before != nil && before.digest != zero && before.digest != f.previous {
		return false
	}
	after := w.files[seq+1]
	return after == nil || after.void != 0 || after.previous == f.digest
}

// ack is the window as an acknowledgement.
func (w *window) ack() ackEpoch {
	e := ackEpoch{epoch: w.epoch, contiguous: w.contiguous, mark: w.markOf(w.contiguous)}
	bitmap := make([]byte, maxBitmap)
	n := 0
	for i := range uint64(maxBitmap * 8) {
		if seq := w.contiguous + 2 + i; w.files[seq] != nil {
			bitmap[i/8] |= 1 << (i % 8)
			e.marks = append(e.marks, w.markOf(seq))
			n = int(i/8) + 1
		}
	}
	e.bitmap = bitmap[:n]
	return e
}

func (w *window) markOf(seq uint64) (m mark) {
	if f := w.files[seq]; f != nil && f.void == 0 {
		copy(m[:], f.digest[:])
	}
	return m
}

// due returns the missing files to be asked for now and how many of them have
// not been named before.
func (w *window) due(now time.Time, after time.Duration) (ask []uint64, fresh []uint64) {
	for seq := w.contiguous + 1; seq <= min(w.highest, w.contiguous+Window); seq++ {
		if w.has(seq) {
			continue
		}
		g := w.gaps[seq]
		switch {
		case g == nil:
			w.gaps[seq] = &gap{since: now, next: now.Add(after)}
		case !now.Before(g.next):
			if g.tries == 0 {
				fresh = append(fresh, seq)
			}
			ask = append(ask, seq)
		}
	}
	return ask, fresh
}

// asked schedules the next question, ever later.
func (w *window) asked(seqs []uint64, now time.Time, after time.Duration) {
	for _, seq := range seqs {
		if g := w.gaps[seq]; g != nil {
			g.tries++
			g.next = now.Add(after * time.Duration(min(g.tries, 4)))
		}
	}
}

// forget drops what neither repetitions nor reconciliation need any more.
func (w *window) forget(before int64) {
	for seq, f := range w.files {
		if seq+Window < w.contiguous && f.created < before {
			delete(w.files, seq)
		}
	}
}

// ranges joins ascending sequences, at most n ranges.
func ranges(seqs []uint64, n int) []Range {
	var rs []Range
	for _, seq := range seqs {
		if i := len(rs) - 1; i >= 0 && rs[i].To+1 == seq {
			rs[i].To = seq
			continue
		}
		if len(rs) == n {
			break
		}
		rs = append(rs, Range{seq, seq})
	}
	return rs
}

// ring remembers the newest ids.
type ring struct {
	known map[[16]byte]struct{}
	order [][16]byte
	next  int
}

func newRing(n int) *ring {
	return &ring{known: make(map[[16]byte]struct{}, n), order: make([][16]byte, 0, n)}
}

func (r *ring) has(h [16]byte) bool { _, known := r.known[h]; return known }

func (r *ring) add(h [16]byte) {
	if r.has(h) {
		return
	}
	r.known[h] = struct{}{}
	if len(r.order) < cap(r.order) {
		r.order = append(r.order, h)
		return
	}
	delete(r.known, r.order[r.next])
	r.order[r.next] = h
	r.next = (r.next + 1) % len(r.order)
}

func sortedEpochs(windows map[uint64]*window) []*window {
	ws := make([]*window, 0, len(windows))
	for _, w := range windows {
		ws = append(ws, w)
	}
	slices.SortFunc(ws, func(a, b *window) int { return -cmpUint(a.epoch, b.epoch) })
	return ws
}

func cmpUint(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
