package supervise

import "yizheng/audit"

// Replay holds a whole log against rules, as a trial: what would they have
// found? It needs no running log and records nothing. The rules hold from the
// first entry on, whatever was recorded. Nobody has relatives in it: their lists are
// with the gateway.
type Replay struct{ fold *fold }

// NewReplay begins with an empty log of a name; found gets each card as it is found.
func NewReplay(rules *Rules, facts Facts, origin string, found func(Card)) *Replay {
	f := newFold(rules, &facts)
	f.turn(origin)
	f.state.Listed = f.own
	f.sink = func(c *Card) { found(*c) }
	return &Replay{f}
}

// Read takes up the next entry.
func (r *Replay) Read(s audit.Stored) {
	switch s.Entry.Open.Op {
	case audit.OpSuperviseRules: // those of then; the trial is about these
	case audit.OpSuperviseRelatives: // what it names lies with the gateway
	default:
		r.fold.read(&s)
	}
}

// Statistics is the table of what was read.
func (r *Replay) Statistics(dim Dimension, from, to string, monthly bool) []Line {
	return r.fold.state.Stats.Table(dim, from, to, monthly)
}
