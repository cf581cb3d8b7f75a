package exchange

import (
	"slices"
	"sync"
	"time"

	"yizheng/audit"
	"yizheng/catalog"
)

// Exchange is one running or ended exchange. What it keeps of the persons is
// in memory and forgotten at Expires.
type Exchange struct {
	Number  string
	Request Request // without its tokens
	Began   time.Time
	Expires time.Time

	key         string // of Service.keys
	who         Principal
	plan        *plan
	intent      audit.Pointer
	intentIndex uint64

	mu      sync.Mutex
	running int  // parts being served
	ended   bool // all parts ended since the last start
	events  []Event
	changed chan struct{} // closed and replaced at every event
}

// Event is one step of progress. It says that a leg ended, never how: how is
// only told with a released result.
type Event struct {
	Seq    int    `json:"seq"`
	Kind   string `json:"kind"` // leg.asked, leg.ended, part.released, part.withheld, exchange.ended
	Part   string `json:"part,omitempty"`
	Leg    string `json:"leg,omitempty"`
	Millis int64  `json:"ms,omitempty"`
}

func (x *Exchange) event(e Event) {
	x.mu.Lock()
	defer x.mu.Unlock()
	e.Seq = len(x.events)
	x.events = append(x.events, e)
	close(x.changed)
	x.changed = make(chan struct{})
}

// Events returns the events from seq on, and a channel that is closed when there are more.
func (x *Exchange) Events(seq int) ([]Event, <-chan struct{}, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	seq = min(max(seq, 0), len(x.events))
	return slices.Clone(x.events[seq:]), x.changed, x.ended
}

func (x *Exchange) subjects() []*subject {
	var list []*subject
	for _, pt := range x.plan.parts {
		if !slices.Contains(list, pt.subject) {
			list = append(list, pt.subject)
		}
	}
	return list
}

func (x *Exchange) answered(l *leg, a checked, took time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	l.answer, l.ended, l.millis = a, true, took.Milliseconds()
}

func (x *Exchange) released(pt *part, r *result) {
	x.mu.Lock()
	pt.result = r
	x.mu.Unlock()
	x.event(Event{Kind: "part.released", Part: pt.id, Millis: r.millis})
}

// withhold ends a part whose record could not be made durable: nothing of it leaves.
func (x *Exchange) withhold(pt *part) {
	x.mu.Lock()
	pt.result = &result{withheld: true}
	x.mu.Unlock()
	x.event(Event{Kind: "part.withheld", Part: pt.id})
}

// claimRetry picks a failed leg to be asked again; only one attempt of a part runs at a time.
func (x *Exchange) claimRetry(legID string) (*part, *leg, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, pt := range x.plan.parts {
		for _, l := range pt.legs {
			if l.id != legID {
				continue
			}
			if pt.result == nil || !l.ended || !l.answer.code.Retryable() {
				return nil, nil, refuse(ReasonNotRetryable, "leg", "此项不能重试：仍在查询或已有结论", "this leg cannot be retried: it is still running or has its answer")
			}
			pt.result, l.ended = nil, false
			x.running++
			x.ended = false
			return pt, l, nil
		}
	}
	return nil, nil, refuse(ReasonNotRetryable, "leg", "没有这一项", "no such leg")
}

// finish reports whether the last running part has just ended.
func (x *Exchange) finish() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.running--; x.running > 0 {
		return false
	}
	x.ended = true
	return true
}

// View is an exchange as its caller may see it at any time.
type View struct {
	Exchange  string                `json:"exchange"`
	Item      catalog.ItemCode      `json:"item"`
	Situation catalog.SituationCode `json:"situation"`
	Case      string                `json:"case"`
	State     string                `json:"state"` // running, ended
	// Sufficient: every required proof and one of each any-of group has been
	// found; only said once the exchange has ended.
	Sufficient *bool      `json:"sufficient,omitempty"`
	Expires    time.Time  `json:"expires"`
	Parts      []PartView `json:"parts"`
}

// PartView is one proof's progress.
type PartView struct {
	Part     string            `json:"part"`
	Proof    catalog.ProofCode `json:"proof"`
	Name     string            `json:"name"`
	Role     catalog.Role      `json:"role"`
	State    string            `json:"state"` // running, released, withheld
	Code     Code              `json:"code,omitempty"`
	Sentence string            `json:"sentence,omitempty"`
	Number   string            `json:"number,omitempty"`
	Millis   int64             `json:"ms,omitempty"`
	Legs     []LegView         `json:"legs"`
}

// LegView is one leg's progress; its code is told once the part is released.
type LegView struct {
	Leg        string             `json:"leg"`
	Source     catalog.SourceID   `json:"source"`
	Department string             `json:"department"`
	Route      catalog.RouteClass `json:"route"`
	State      string             `json:"state"` // running, ended
	Code       Code               `json:"code,omitempty"`
	Millis     int64              `json:"ms,omitempty"`
	Retryable  bool               `json:"retryable,omitempty"`
}

// View of the exchange now.
func (s *Service) View(x *Exchange) View {
	x.mu.Lock()
	defer x.mu.Unlock()
	v := View{Exchange: x.Number, Item: x.plan.item.Code, Situation: x.plan.situation.Code, Case: x.Request.Case,
		State: "running", Expires: x.Expires}
	for _, pt := range x.plan.parts {
		v.Parts = append(v.Parts, s.partView(pt))
	}
	if x.ended {
		v.State = "ended"
		ok := sufficient(x.plan)
		v.Sufficient = &ok
	}
	return v
}

func (s *Service) partView(pt *part) PartView {
	p := PartView{Part: pt.id, Proof: pt.proof.Code, Name: pt.proof.Name, Role: pt.subject.role, State: "running", Legs: []LegView{}}
	if r := pt.result; r != nil && r.withheld {
		p.State = "withheld"
	} else if r != nil {
		p.State, p.Code, p.Sentence, p.Number, p.Millis = "released", r.code, r.sentence, r.number, r.millis
	}
	for _, l := range pt.legs {
		lv := LegView{Leg: l.id, Source: l.source.ID, Department: s.department(l.source.Department).Name, Route: l.source.Route, State: "running"}
		if l.ended {
			lv.State, lv.Millis = "ended", l.millis
		}
		if p.State == "released" {
			lv.Code, lv.Retryable = l.answer.code.Shown(), l.answer.code.Retryable()
		}
		p.Legs = append(p.Legs, lv)
	}
	return p
}

// sufficient reports whether the situation's list is fulfilled.
func sufficient(p *plan) bool {
	found := func(code catalog.ProofCode) bool {
		any := false
		for _, pt := range p.parts {
			if pt.proof.Code != code {
				continue
			}
			if pt.result == nil || pt.result.code != Found {
				return false
			}
			any = true
		}
		return any
	}
	for _, code := range p.situation.Required {
		if !found(code) {
			return false
		}
	}
	for _, group := range p.situation.AnyOf {
		if !slices.ContainsFunc(group, found) {
			return false
		}
	}
	return true
}

// PublicView is an exchange as anybody may see it: no person, no case, and no
// outcome of a sensitive proof.
type PublicView struct {
	Exchange string
	Item     string
	Began    string
	State    string
	Rows     []PublicRow
}

// PublicRow is one leg, or one part without legs.
type PublicRow struct {
	Proof, Department, Route, Code string
	Millis                         int64
}

// Last is the exchange begun last and not yet forgotten, or nil.
func (s *Service) Last() *PublicView {
	s.mu.Lock()
	var last *Exchange
	for _, x := range s.exchanges {
		if last == nil || x.Began.After(last.Began) {
			last = x
		}
	}
	s.mu.Unlock()
	if last == nil {
		return nil
	}
	v := s.View(last)
	p := &PublicView{Exchange: v.Exchange, Item: last.plan.item.Name, Began: chineseTime(last.Began), State: v.State}
	for i, part := range v.Parts {
		sensitive := last.plan.parts[i].proof.Sensitive
		public := func(c Code) string {
			if part.State != "released" {
				return "…"
			}
			return c.Public(sensitive)
		}
		for _, l := range part.Legs {
			p.Rows = append(p.Rows, PublicRow{Proof: part.Name, Department: l.Department, Route: string(l.Route), Code: public(l.Code), Millis: l.Millis})
		}
		if len(part.Legs) == 0 {
			p.Rows = append(p.Rows, PublicRow{Proof: part.Name, Code: public(part.Code)})
		}
	}
	return p
}
