package supervise

import (
	"cmp"
	"container/heap"
	"maps"
	"slices"
	"time"

	"yizheng/audit"
)

// fold reads entries one after the other. Its state depends on them, the rules
// and the facts alone.
type fold struct {
	rules  *Rules
	facts  *Facts
	own    map[string]string // rule id -> digest of the rule and the facts as they are now
	m      machine
	vars   map[string]any
	state  *state
	wanted map[string]bool // ids of state.Wanted that are not read back yet
	dues   queue
	sink   func(*Card) // tests and dry runs see each card as it is found
}

// state is what a fold has read so far: the snapshot.
type state struct {
	Format int               `json:"format"`
	Origin string            `json:"origin"` // of the log being read
	Next   uint64            `json:"next"`
	Time   int64             `json:"time"`   // log time, microseconds
	Listed map[string]string `json:"listed"` // rules that hold, as last recorded: id -> digest

	Rules  map[string]*ruleState `json:"rules"`
	Wanted []*Card               `json:"wanted,omitempty"` // found, and not yet read back from the log
	Cards  map[string]*Card      `json:"cards"`
	Orders map[string]*Order     `json:"orders"`
	Stats  Days                  `json:"stats"`
	Full   map[string]int        `json:"full"` // rules with a window that had no room, and how often
}

// stateFormat of the snapshot; another one is not read but made again.
const stateFormat = 1

// ruleState is what one rule remembers.
type ruleState struct {
	Digest  string             `json:"digest"`
	Windows map[string]*window `json:"windows"`
	Awaited map[string][]*wait `json:"awaited"` // by the values of match
	About   map[string]*about  `json:"about"`
}

// wait is an entry after which another must come.
type wait struct {
	Due   int64  `json:"due"`
	Card  *Card  `json:"card"` // if it does not
	About string `json:"about"`
}

// about is what was raised lately about one value of about.
type about struct {
	Until   int64         `json:"until"`           // quiet, microseconds
	Level   Level         `json:"level,omitempty"` // of the card that made it quiet
	Yellows []yellowSince `json:"yellows,omitempty"`
}

type yellowSince struct {
	At   int64  `json:"at"`
	Card string `json:"card"`
}

func newFold(rules *Rules, facts *Facts) *fold {
	f := &fold{rules: rules, facts: facts, own: map[string]string{}, vars: blank(), wanted: map[string]bool{}}
	for _, r := range rules.rules {
		if r.State == "on" {
			f.own[r.ID] = digestOf(Rule{ID: r.digest, Name: facts.Version})
		}
		for _, w := range r.windows {
			f.vars[w.name] = 0
		}
	}
	f.state = newState()
	return f
}

func newState() *state {
	return &state{Format: stateFormat, Listed: map[string]string{}, Rules: map[string]*ruleState{}, Cards: map[string]*Card{},
		Orders: map[string]*Order{}, Stats: Days{}, Full: map[string]int{}}
}

// read takes up one entry of the log named in state.Origin.
func (f *fold) read(s *audit.Stored) {
	e := &s.Entry
	f.pass(e.Open.Time)
	switch e.Open.Op {
	case audit.OpSuperviseRules:
		f.activate(e)
	case audit.OpSuperviseCard:
		f.card(e)
	case audit.OpSuperviseOrder:
		f.takeOrder(s)
	default:
		f.state.Stats.count(e, f.facts)
		f.judge(s)
	}
	f.state.Next = s.Index + 1
}

// card reads one step of a card back.
func (f *fold) card(e *audit.Entry) {
	id := e.Open.Number
	if Status(e.Open.Status) == Raised {
		delete(f.wanted, id)
		if c, ok := readCard(e); ok && f.state.Cards[id] == nil {
			f.state.Cards[id] = c
			f.state.Stats.carded(c)
		}
		return
	}
	if c := f.state.Cards[id]; c != nil && c.Status == Raised {
		c.Status, c.By, c.Reason = Status(e.Open.Status), e.Closed.Actor, e.Closed.Reason
		c.At = time.UnixMicro(e.Open.Time).UTC()
	}
}

// activate lets the rules hold that the entry lists, if they are ours; what
// the others remember is of no use any more.
func (f *fold) activate(e *audit.Entry) {
	f.state.Listed = maps.Clone(e.Closed.Digests)
	for id, rs := range f.state.Rules {
		if f.own[id] != f.state.Listed[id] || f.own[id] != rs.Digest {
			delete(f.state.Rules, id)
		}
	}
}

// current tells whether the rules recorded last are those given now.
func (f *fold) current() bool { return maps.Equal(f.state.Listed, f.own) }

// of is what a rule remembers, or nil if it does not hold.
func (f *fold) of(r *rule) *ruleState {
	digest, on := f.own[r.ID]
	if !on || f.state.Listed[r.ID] != digest {
		return nil
	}
	rs := f.state.Rules[r.ID]
	if rs == nil || rs.Digest != digest {
		rs = &ruleState{Digest: digest, Windows: map[string]*window{}, Awaited: map[string][]*wait{}, About: map[string]*about{}}
		f.state.Rules[r.ID] = rs
	}
	return rs
}

// judge holds an entry against the rules that look at its operation.
func (f *fold) judge(s *audit.Stored) {
	e := &s.Entry
	begins, ends := f.rules.byOp[e.Open.Op], f.rules.byAwait[e.Open.Op]
	if len(begins)+len(ends) == 0 {
		return
	}
	fill(f.vars, e, f.facts)
	for _, r := range ends {
		if rs := f.of(r); rs != nil && len(rs.Awaited) > 0 {
			f.arrived(r, rs, e)
		}
	}
	for _, r := range begins {
		rs := f.of(r)
		if rs == nil {
			continue
		}
		if r.Each != "leg" {
			f.apply(r, rs, s)
			continue
		}
		for _, listed := range e.Closed.Legs {
			if fillLeg(f.vars, listed, e.Open.Time, f.facts) {
				f.apply(r, rs, s)
			}
		}
		fill(f.vars, e, f.facts)
	}
}

// apply holds one entry, or one leg of it, against one rule.
func (f *fold) apply(r *rule, rs *ruleState, s *audit.Stored) {
	looked, err := f.m.is(r.where, f.vars)
	if err != nil {
		f.fault(r, rs, s)
		return
	}
	if !looked {
		return
	}
	seen, ok := f.tally(r, rs, s)
	if !ok {
		f.fault(r, rs, s)
		return
	}
	if r.Await != nil {
		f.await(r, rs, s)
		return
	}
	found, err := f.m.is(r.when, f.vars)
	red := false
	if err == nil && r.redWhen != nil {
		red, err = f.m.is(r.redWhen, f.vars)
	}
	if err != nil {
		f.fault(r, rs, s)
		return
	}
	if !found && !red {
		return
	}
	c := f.draft(r, s)
	if red {
		c.Level = Red
	}
	for _, index := range seen {
		if index != s.Index {
			c.Evidence = append(c.Evidence, Evidence{f.state.Origin, index})
		}
	}
	slices.SortFunc(c.Evidence, func(a, b Evidence) int { return cmp.Compare(a.Index, b.Index) })
	f.raise(r, rs, c, key(f.vars, r.About))
}

// tally counts the entry in the rule's windows and sets their variables. It
// returns the entries counted, and false if a window could not be computed.
func (f *fold) tally(r *rule, rs *ruleState, s *audit.Stored) (seen []uint64, ok bool) {
	for i := range r.windows {
		w := &r.windows[i]
		state := rs.Windows[w.name]
		if state == nil {
			state = &window{}
			rs.Windows[w.name] = state
		}
		counts, err := f.m.is(w.where, f.vars)
		if err != nil {
			return nil, false
		}
		per := key(f.vars, w.Per)
		g := state.Groups[per]
		if counts {
			n, distinct := int64(1), ""
			switch {
			case w.Sum != "":
				n = int64(f.vars[w.Sum].(int))
			case w.Count != "entries":
				distinct = f.vars[w.Count].(string)
			}
			if w.Count == "entries" || w.Sum != "" || distinct != "" {
				if g = state.add(per, s.Entry.Open.Time, w.width, n, distinct, s.Index); g == nil {
					f.state.Full[r.ID]++
				}
			}
		}
		f.vars[w.name] = 0
		if g != nil {
			g.expire(s.Entry.Open.Time / w.width)
			f.vars[w.name] = int(g.total())
			if len(g.Last) > len(seen) {
				seen = g.Last
			}
		}
	}
	return seen, true
}

// draft is a card of the rule about the entry in f.vars.
func (f *fold) draft(r *rule, s *audit.Stored) *Card {
	text := func(name string) string { return f.vars[name].(string) }
	at := Evidence{f.state.Origin, s.Index}
	return &Card{ID: cardID(r.ID, r.Version, at, text("leg")), Level: r.Card, Kind: r.kind, Rule: r.ID, Version: r.Version,
		Time: time.UnixMicro(s.Entry.Open.Time).UTC(), Evidence: []Evidence{at}, To: r.To, Operator: text("actor"), Department: text("dept"),
		Provider: text("provider"), System: text("system"), Item: text("item"), Proof: text("proof"), Source: text("source"),
		Exchange: text("exchange"), Leg: text("leg"), Status: Raised}
}

// raise wants a card, unless there was one about the same just now.
func (f *fold) raise(r *rule, rs *ruleState, c *Card, whom string) {
	ts := c.Time.UnixMicro()
	a := rs.About[whom]
	if a == nil {
		a = &about{}
		rs.About[whom] = a
	}
	if c.Level == Yellow && r.RedAfter != nil && f.yellows(r, a, ts) >= r.RedAfter.Yellows {
		c.Level = Red
	}
	if ts < a.Until && (a.Level == Red || c.Level == Yellow) {
		return
	}
	a.Until, a.Level = ts+r.Quiet.micros(), c.Level
	if c.Level == Yellow && r.RedAfter != nil {
		a.Yellows = append(a.Yellows, yellowSince{ts, c.ID})
	}
	f.want(c)
}

// yellows counts the yellow cards before, but those that were dismissed.
func (f *fold) yellows(r *rule, a *about, ts int64) int {
	a.Yellows = slices.DeleteFunc(a.Yellows, func(y yellowSince) bool {
		c := f.state.Cards[y.Card]
		return y.At <= ts-r.RedAfter.Within.micros() || c != nil && c.Status == Dismissed
	})
	return len(a.Yellows)
}

func (f *fold) want(c *Card) {
	if f.sink != nil {
		f.sink(c)
	}
	if f.state.Cards[c.ID] == nil && !f.wanted[c.ID] {
		f.wanted[c.ID] = true
		f.state.Wanted = append(f.state.Wanted, c)
	}
}

// open drops from state.Wanted what has been read back, and returns the rest.
func (f *fold) open() []*Card {
	f.state.Wanted = slices.DeleteFunc(f.state.Wanted, func(c *Card) bool { return !f.wanted[c.ID] })
	return f.state.Wanted
}

// faultQuiet is how long a rule that fails stays silent after it has said so.
const faultQuiet = 24 * time.Hour

// fault says that a rule could not be computed: it must not look as if it had found nothing.
func (f *fold) fault(r *rule, rs *ruleState, s *audit.Stored) {
	c := f.draft(r, s)
	c.Fault, c.To = true, ToSecurity
	c.ID = cardID(r.ID+"!", r.Version, c.Evidence[0], c.Leg)
	a := rs.About["!"]
	if a == nil {
		a = &about{}
		rs.About["!"] = a
	}
	if s.Entry.Open.Time >= a.Until {
		a.Until = s.Entry.Open.Time + faultQuiet.Microseconds()
		f.want(c)
	}
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

func (q queue) Len() int      { return len(q) }
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

// resume goes on from a snapshot.
func (f *fold) resume(st *state) {
	f.state, f.dues = st, nil
	for _, c := range st.Wanted {
		f.wanted[c.ID] = true
	}
	for _, r := range f.rules.rules {
		rs := st.Rules[r.ID]
		if rs == nil {
			continue
		}
		for match, waits := range rs.Awaited {
			for _, w := range waits {
				f.dues = append(f.dues, due{at: w.Due, rule: r, match: match, card: w.Card.ID})
			}
		}
	}
	for _, o := range st.Orders {
		if o.open() {
			f.dues = append(f.dues, due{at: o.due(), order: o.ID})
		}
	}
	heap.Init(&f.dues)
}

// turn goes on with another log: indexes of the one before are no evidence in it.
func (f *fold) turn(origin string) {
	for _, rs := range f.state.Rules {
		for _, w := range rs.Windows {
			for _, g := range w.Groups {
				g.Last = nil
			}
		}
	}
	f.state.Origin, f.state.Next = origin, 0
}

// keepCards is how long the state keeps what is settled.
const keepCards = 400 * 24 * time.Hour

// tidy forgets what can have no effect any more.
func (f *fold) tidy() {
	now := f.state.Time
	for _, r := range f.rules.rules {
		rs := f.state.Rules[r.ID]
		if rs == nil {
			continue
		}
		for _, w := range r.windows {
			if state := rs.Windows[w.name]; state != nil {
				state.sweep(now / w.width)
			}
		}
		for whom, a := range rs.About {
			if a.Until <= now && (r.RedAfter == nil || f.yellows(r, a, now) == 0) {
				delete(rs.About, whom)
			}
		}
	}
	old := time.UnixMicro(now).Add(-keepCards)
	maps.DeleteFunc(f.state.Cards, func(_ string, c *Card) bool { return c.Time.Before(old) })
	maps.DeleteFunc(f.state.Orders, func(_ string, o *Order) bool { return o.Issued.Before(old) })
	f.state.Stats.forget(old)
}
