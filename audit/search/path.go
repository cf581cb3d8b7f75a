package search

import (
	"context"
	"slices"

	"yizheng/audit"
)

// Path gathers what all logs hold of one exchange, oldest first, and holds the
// gateway's records against those of the fronts.
func (s *Service) Path(ctx context.Context, who Who, exchange string) (Answer, error) {
	ask := Ask{Filter: Filter{Exchange: exchange}, Everywhere: true, Limit: maxRows, Proofs: true}
	a, err := s.Search(ctx, who, ask)
	if err != nil {
		return Answer{}, err
	}
	slices.Reverse(a.Rows)
	var known Roster
	if s.Roster != nil {
		known = *s.Roster
	}
	m := known.Reconciled(a, s.Front)
	a.Reading = &m
	return a, nil
}

// Leg is one question to a source, in a two-sided comparison.
type Leg struct {
	Leg    string `json:"leg"`
	Source string `json:"source,omitempty"`
	// Outcome is as the first side recorded it: a leg that never reached its front
	// has none of its own there.
	Outcome string `json:"outcome,omitempty"`
	Front   string `json:"front"`
	Origin  string `json:"origin,omitempty"` // of the front's log; empty: it is not on the roster
}

// Match is what the two sides' logs say of each other.
type Match struct {
	Both       []Leg `json:"both"`         // recorded on both sides
	Unanswered []Leg `json:"gateway_only"` // the gateway has a record, the front's log has none
	Unasked    []Leg `json:"front_only"`   // the reverse
	Unchecked  []Leg `json:"unchecked"`    // the front's log did not answer, or is not on the roster
}

// Balanced: nothing stands on one side alone.
func (m Match) Balanced() bool { return len(m.Unanswered) == 0 && len(m.Unasked) == 0 }

// Reconcile compares the records of source calls at gateways with those at
// fronts. front tells through which front a source is asked; origins are the
// fronts' logs. A log that is not whole in the answer is not held against anybody.
func Reconcile(a Answer, front func(source string) string, origins map[string]string) Match {
	m := Match{Both: []Leg{}, Unanswered: []Leg{}, Unasked: []Leg{}, Unchecked: []Leg{}}
	asked, answered := a.legs(front, origins)
	whole := func(origin string) bool {
		return slices.ContainsFunc(a.Logs, func(l Log) bool { return l.Origin == origin && l.whole() && !l.More })
	}
	for _, l := range asked {
		switch {
		case slices.ContainsFunc(answered, l.same):
			m.Both = append(m.Both, l)
		case l.Origin == "" || !whole(l.Origin):
			m.Unchecked = append(m.Unchecked, l)
		default:
			m.Unanswered = append(m.Unanswered, l)
		}
	}
	gateways := !slices.ContainsFunc(a.Logs, func(l Log) bool { return l.Kind == KindGateway && (!l.whole() || l.More) })
	for _, l := range answered {
		switch {
		case slices.ContainsFunc(asked, l.same):
		case gateways:
			m.Unasked = append(m.Unasked, l)
		default:
			m.Unchecked = append(m.Unchecked, l)
		}
	}
	return m
}

func (l Leg) same(o Leg) bool { return l.Leg == o.Leg && l.Front == o.Front }

// legs are the source calls in the answer, each once: those that gateways
// recorded and go through a front, and those that fronts recorded.
func (a Answer) legs(front func(string) string, origins map[string]string) (asked, answered []Leg) {
	at := make(map[string]string) // a log's front
	for id, origin := range origins {
		at[origin] = id
	}
	add := func(list []Leg, l Leg) []Leg {
		if slices.ContainsFunc(list, l.same) {
			return list
		}
		return append(list, l)
	}
	for _, r := range a.Rows {
		o := r.Entry.Open
		if o.Op != audit.OpSourceCall {
			continue
		}
		if id := at[baseOf(r.Origin)]; id != "" {
			answered = add(answered, Leg{o.Leg, o.Source, o.Outcome, id, origins[id]})
		} else if id := front(o.Source); id != "" {
			asked = add(asked, Leg{o.Leg, o.Source, o.Outcome, id, origins[id]})
		}
	}
	return asked, answered
}
