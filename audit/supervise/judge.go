package supervise

import (
	"cmp"
	"slices"
	"time"

	"yizheng/audit"
)

// judge holds an entry against the rules that look at its operation.
func (f *fold) judge(s *audit.Stored) {
	e := &s.Entry
	begins, ends := f.rules.byOp[e.Open.Op], f.rules.byAwait[e.Open.Op]
	if len(begins)+len(ends) == 0 {
		return
	}
	fill(f.vars, e, f.facts)
	f.related(e)
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
