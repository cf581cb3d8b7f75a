package ferry

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// answers keeps what has been answered until the deadline, so that a hedged or
// repeated attempt costs the department nothing. It also makes attempts that
// arrive at the same time wait for the first. Memory only; bounded.
type answers struct {
	mu      sync.Mutex
	max     int // bytes
	bytes   int
	entries map[leg]*answered
	order   list.List // of *answered that are finished, oldest first
}

type answered struct {
	key     leg
	done    chan struct{} // closed when answer is there, or has failed
	ok      bool
	answer  Answer
	until   time.Time
	element *list.Element
}

// entryOverhead is about what an entry costs besides Answer.Size, in bytes.
const entryOverhead = 512

func newAnswers(max int) *answers { return &answers{max: max, entries: map[leg]*answered{}} }

// get returns the answer of a leg: the one kept (repeated), or the one that
// compute gives. Failures are not kept: the headers that make the key have not
// been checked against any signature, so one bad request must not stand in for
// a good one; whoever waited for it computes for itself.
func (a *answers) get(ctx context.Context, key leg, until time.Time, compute func() (Answer, error)) (answer Answer, repeated bool, err error) {
	for {
		e, mine := a.entry(key, time.Now())
		if mine {
			answer, err = compute()
			a.finish(e, answer, until, err)
			return answer, false, err
		}
		select {
		case <-e.done:
		case <-ctx.Done():
			return Answer{}, false, ctx.Err()
		}
		if e.ok {
			return e.answer, true, nil
		}
	}
}

// entry returns the entry of a key, and whether the caller has to compute it.
func (a *answers) entry(key leg, now time.Time) (*answered, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.expire(now)
	if e := a.entries[key]; e != nil {
		return e, false
	}
	e := &answered{key: key, done: make(chan struct{})}
	a.entries[key] = e
	return e, true
}

func (a *answers) finish(e *answered, answer Answer, until time.Time, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	defer close(e.done)
	if err != nil {
		delete(a.entries, e.key)
		return
	}
	e.ok, e.answer, e.until = true, answer, until
	e.element = a.order.PushBack(e)
	a.bytes += e.size()
	for a.bytes > a.max && a.order.Len() > 0 {
		a.remove(a.order.Front().Value.(*answered))
	}
}

func (e *answered) size() int { return max(0, e.answer.Size) + entryOverhead }

// expire drops what is past its deadline among the oldest. Deadlines mostly
// rise with age; one that does not is dropped when it is met.
func (a *answers) expire(now time.Time) {
	for front := a.order.Front(); front != nil; front = a.order.Front() {
		e := front.Value.(*answered)
		if now.Before(e.until) {
			return
		}
		a.remove(e)
	}
}

func (a *answers) remove(e *answered) {
	a.order.Remove(e.element)
	delete(a.entries, e.key)
	a.bytes -= e.size()
}
