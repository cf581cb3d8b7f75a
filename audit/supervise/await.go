package supervise

import (
	"cmp"
	"container/heap"
	"slices"
	"time"

	"yizheng/audit"
)

// wait is an entry after which another must come.
type wait struct {
	Due   int64  `json:"due"`
	Card  *Card  `json:"card"` // if it does not
	About string `json:"about"`
}

// await notes that another entry must follow.
func (f *fold) await(r *rule, rs *ruleState, s *audit.Stored) {
	within, err := f.m.number(r.within, f.vars)
	if err != nil || within <= 0 {
		f.fault(r, rs, s)
		return
	}
	match := key(f.vars, r.Await.Match)
	at := s.Entry.Open.Time + int64(within)*1000
	if scan := r.Scan.micros(); scan > 0 {
		at = (at + scan - 1) / scan * scan
	}
	c := f.draft(r, s)
	c.Time = time.UnixMicro(at).UTC()
	w := &wait{Due: at, Card: c, About: key(f.vars, r.About)}
	rs.Awaited[match] = append(rs.Awaited[match], w)
	heap.Push(&f.dues, due{at: at, rule: r, match: match, card: c.ID})
}

// arrived ends what waits for this entry.
func (f *fold) arrived(r *rule, rs *ruleState, e *audit.Entry) {
	fits, err := f.m.is(r.awaitWhere, f.vars)
	if err != nil || !fits { // what it would have ended will be a card: nothing is lost
		return
	}
	delete(rs.Awaited, key(f.vars, r.Await.Match))
	if len(e.Open.Subjects) > 1 && slices.Contains(r.Await.Match, "subject") {
		for _, s := range e.Open.Subjects {
			f.vars["subject"] = subjectKey(s)
			delete(rs.Awaited, key(f.vars, r.Await.Match))
		}
		fill(f.vars, e, f.facts)
	}
	if e.Open.Leg == "" && slices.Contains(r.Await.Match, "leg") {
		for _, listed := range e.Closed.Legs {
			if fillLeg(f.vars, listed, e.Open.Time, f.facts) {
				delete(rs.Awaited, key(f.vars, r.Await.Match))
			}
		}
		fill(f.vars, e, f.facts)
	}
}

// pass lets log time go on: what is overdue by then becomes cards, the oldest first.
func (f *fold) pass(ts int64) {
	if ts <= f.state.Time {
		return
	}
	f.state.Time = ts
	for len(f.dues) > 0 && f.dues[0].at <= ts {
		d := heap.Pop(&f.dues).(due)
		if d.order != "" {
			f.orderDue(d)
			continue
		}
		f.waitDue(d)
	}
}

// waitDue raises the card of a wait that nothing has ended.
func (f *fold) waitDue(d due) {
	rs := f.state.Rules[d.rule.ID]
	if rs == nil {
		return
	}
	waits := rs.Awaited[d.match]
	i := slices.IndexFunc(waits, func(w *wait) bool { return w.Card.ID == d.card })
	if i < 0 {
		return
	}
	w := waits[i]
	if waits = slices.Delete(waits, i, i+1); len(waits) == 0 {
		delete(rs.Awaited, d.match)
	} else {
		rs.Awaited[d.match] = waits
	}
	f.raise(d.rule, rs, w.Card, w.About)
}

// due is when to look whether something has happened. What ended in time stays in the queue until then.
type due struct {
	at          int64
	rule        *rule // with match and card: a wait
	match, card string
	order       string // an order that must be answered
}

// queue is a heap, the earliest first; ties by what they are about, so that every fold has one order.
type queue []due

func (q queue) Len() int { return len(q) }

func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

func (q queue) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(q[i].at, q[j].at), cmp.Compare(q[i].card, q[j].card), cmp.Compare(q[i].order, q[j].order)) < 0
}

func (q *queue) Push(x any) { *q = append(*q, x.(due)) }

func (q *queue) Pop() any {
	old := *q
	d := old[len(old)-1]
	*q = old[:len(old)-1]
	return d
}
