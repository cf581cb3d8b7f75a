package supervise

import (
	"maps"
	"time"

	"yizheng/audit"
)

// fold reads entries one after the other. Its state depends on them, the rules,
// the facts and the lists of relatives that the entries name alone.
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

	lists func(digest, operator string) (kin, bool) // reads a list of relatives; nil: none can be read
	kin   map[string]kin                            // by account, those of state.Relatives that can be read
}

func newFold(rules *Rules, facts *Facts) *fold {
	f := &fold{rules: rules, facts: facts, own: map[string]string{}, vars: blank(), wanted: map[string]bool{}, kin: map[string]kin{}}
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
	case audit.OpSuperviseRelatives:
		f.declare(e)
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
