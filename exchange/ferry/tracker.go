package ferry

import "sync"

// tracker finds out up to where a partition is done with, while its messages
// are handled in parallel and end in any order.
type tracker struct {
	mu    sync.Mutex
	taken []int64 // offsets not yet passed, ascending
	done  map[int64]bool
}

// take notes that a record has been received. Offsets ascend, with gaps.
func (t *tracker) take(offset int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.taken = append(t.taken, offset)
}

// finish notes that records are done with. It returns the offset of the next
// record that is not (moved is false if that has not changed).
func (t *tracker) finish(offsets ...int64) (next int64, moved bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done == nil {
		t.done = map[int64]bool{}
	}
	for _, o := range offsets {
		t.done[o] = true
	}
	passed := 0
	for passed < len(t.taken) && t.done[t.taken[passed]] {
		next = t.taken[passed] + 1
		delete(t.done, t.taken[passed])
		passed++
	}
	t.taken = t.taken[passed:]
	return next, passed > 0
}
