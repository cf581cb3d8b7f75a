package supervise

import (
	"container/heap"
	"maps"
	"time"
)

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
	// Relatives are the lists in force, by account, without whom they name.
	Relatives map[string]*Declaration `json:"relatives,omitempty"`
	Full      map[string]int          `json:"full"` // rules with a window that had no room, and how often
}

// stateFormat of the snapshot; another one is not read but made again.
const stateFormat = 2

// ruleState is what one rule remembers.
type ruleState struct {
	Digest  string             `json:"digest"`
	Windows map[string]*window `json:"windows"`
	Awaited map[string][]*wait `json:"awaited"` // by the values of match
	About   map[string]*about  `json:"about"`
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

func newState() *state {
	return &state{Format: stateFormat, Listed: map[string]string{}, Rules: map[string]*ruleState{}, Cards: map[string]*Card{},
		Orders: map[string]*Order{}, Stats: Days{}, Full: map[string]int{}}
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
	for _, d := range st.Relatives {
		f.recall(d)
	}
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
