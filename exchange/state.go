package exchange

import (
	"slices"
	"strings"
	"sync"
	"time"

	"yizheng/audit"
	"yizheng/catalog"
	"yizheng/exchange/certificate"
	"yizheng/identity"
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
	repeated    bool   // begun at another gateway, or before a restart, and taken over
	found       bool   // in the store: nothing of it runs here
	holder      string // of the lease under which a deferred part is finished
	left        int    // deferred parts that wait still, once this one is finished

	mu        sync.Mutex
	running   int  // fan-outs in progress: the first, and retries
	ended     bool // none is in progress
	forgotten bool // the caller deleted it, or its time is over
	events    []Event
	changed   chan struct{} // closed and replaced at every event
}

// Event is one step of progress. It says that a leg ended, never how: how is
// only told with a released result.
type Event struct {
	Seq    int    `json:"seq"`
	Kind   string `json:"kind"` // leg.asked, leg.ended, part.released, part.deferred, part.withheld, exchange.deferred, exchange.ended
	Part   string `json:"part,omitempty"`
	Leg    string `json:"leg,omitempty"`
	Millis int64  `json:"ms,omitempty"`
}

func (x *Exchange) event(e Event) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.add(e)
}

// add appends an event; the caller holds mu.
func (x *Exchange) add(e Event) {
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
	defer x.mu.Unlock()
	pt.result, pt.seen = r, nil
	x.add(Event{Kind: "part.released", Part: pt.id, Millis: r.millis})
}

// withhold ends a part whose record could not be made durable: nothing of it leaves.
func (x *Exchange) withhold(pt *part) {
	x.mu.Lock()
	defer x.mu.Unlock()
	pt.result = &result{withheld: true}
	x.add(Event{Kind: "part.withheld", Part: pt.id})
}

// retry is a leg that is asked again, and what its part was before.
type retry struct {
	part   *part
	leg    *leg
	former *result
}

// claimRetry picks a failed leg, or one whose part was withheld, to be asked
// again; only one attempt of a part runs at a time.
func (x *Exchange) claimRetry(legID string, now time.Time) (retry, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, pt := range x.plan.parts {
		for _, l := range pt.legs {
			if l.id != legID {
				continue
			}
			if x.forgotten || pt.result == nil || !l.ended || !now.Before(pt.grant.NotAfter) || !pt.retryable(l) {
				return retry{}, refuse(ReasonNotRetryable, "leg", "此项不能重试：仍在查询或已有结论", "this leg cannot be retried: it is still running or has its answer")
			}
			r := retry{part: pt, leg: l, former: pt.result}
			pt.result, l.ended = nil, false
			x.running++
			x.ended = false
			return r, nil
		}
	}
	return retry{}, refuse(ReasonNotRetryable, "leg", "没有这一项", "no such leg")
}

// undo takes back a claim whose leg was not asked.
func (x *Exchange) undo(r retry) {
	x.mu.Lock()
	r.part.result, r.leg.ended = r.former, true
	x.mu.Unlock()
	x.finish()
}

func (pt *part) retryable(l *leg) bool {
	if pt.gone {
		return false
	}
	if l.answer.code.Retryable() {
		return true
	}
	// the answer was good, but this side could not make a document of it or not hand it over
	return pt.result != nil && (pt.result.withheld || pt.result.code == SourceError && l.answer.code == Found)
}

// finish ends the exchange, and reports so, if the last running part has just
// ended and none waits. Persons and answers that no retry can need any more are
// forgotten.
func (x *Exchange) finish() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.running--; x.running > 0 {
		return false
	}
	x.wipe(x.forgotten)
	if x.end() {
		return true
	}
	x.add(Event{Kind: "exchange.deferred"})
	return false
}

// end ends the exchange if nothing runs or waits. The caller holds mu.
func (x *Exchange) end() bool {
	if x.ended || x.running > 0 || slices.ContainsFunc(x.plan.parts, (*part).waits) {
		return false
	}
	x.ended = true
	x.add(Event{Kind: "exchange.ended"})
	return true
}

// waits reports whether the part is deferred and has no result yet.
func (pt *part) waits() bool { return !pt.until.IsZero() && pt.result == nil }

// waitsFor gives legs the time that their departments may take, and returns the last moment.
func (x *Exchange) waitsFor(legs []*leg, now time.Time) (last time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, l := range legs {
		l.until, l.ended = now.Add(time.Duration(l.source.Deferred)).Truncate(time.Millisecond), false
		if l.until.After(last) {
			last = l.until
		}
	}
	return last
}

// defers notes that a part waits. Whoever finishes it has the person from the
// store, so that no retry needs them here.
func (x *Exchange) defers(pt *part, until time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	pt.until, pt.gone = until, true
	x.add(Event{Kind: "part.deferred", Part: pt.id})
}

// keepUntil lets the exchange live longer, for a part that waits.
func (x *Exchange) keepUntil(expires time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if expires.After(x.Expires) {
		x.Expires = expires
	}
}

// undefers takes that back: nobody was asked.
func (x *Exchange) undefers(pt *part) {
	x.mu.Lock()
	defer x.mu.Unlock()
	pt.until, pt.gone = time.Time{}, false
	for _, l := range pt.legs {
		l.until, l.ended = time.Time{}, true
	}
}

// arrived takes over the result of a part that was finished elsewhere, and
// reports whether that ended the exchange.
func (x *Exchange) arrived(partID string, r *result, legs []*leg) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, pt := range x.plan.parts {
		if pt.id != partID || pt.result != nil && !pt.result.withheld {
			continue
		}
		for _, l := range pt.legs {
			l.until, l.ended = time.Time{}, true
			if i := slices.IndexFunc(legs, func(o *leg) bool { return o.id == l.id }); i >= 0 {
				l.answer.code, l.millis = legs[i].answer.code, legs[i].millis
			}
		}
		pt.result, pt.seen, pt.gone = r, nil, true
		x.add(Event{Kind: "part.released", Part: pt.id, Millis: r.millis})
	}
	return x.end()
}

// Quiet reports whether nothing of the exchange runs: it has ended, or all that
// is left waits for departments that have been given more time.
func (x *Exchange) Quiet() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.running == 0
}

// Found reports whether the exchange was found in the store: it was begun at
// another gateway, or before a restart, and its events begin with that.
func (x *Exchange) Found() bool { return x.found }

func (x *Exchange) expires() time.Time {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.Expires
}

// forget lets go of all persons, at once or when the last part has ended.
func (x *Exchange) forget() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.forgotten = true
	if x.running == 0 {
		x.wipe(true)
	}
}

func (x *Exchange) isForgotten() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.forgotten
}

// wipe clears what is known of the persons, of all or of those whose proofs
// have their answer. The caller holds mu, and no part runs.
func (x *Exchange) wipe(all bool) {
	needed := make(map[*subject]bool)
	for _, pt := range x.plan.parts {
		if !all && slices.ContainsFunc(pt.legs, pt.retryable) {
			needed[pt.subject] = true
			continue
		}
		pt.order = nil
		for _, l := range pt.legs {
			l.answer.records, l.answer.name, l.answer.document = nil, "", nil
		}
	}
	for _, pt := range x.plan.parts {
		if !needed[pt.subject] {
			pt.subject.claims = identity.SubjectClaims{}
		}
	}
}

// View is an exchange as its caller may see it at any time.
type View struct {
	Exchange  string                `json:"exchange"`
	Item      catalog.ItemCode      `json:"item"`
	Situation catalog.SituationCode `json:"situation"`
	Case      string                `json:"case"`
	State     string                `json:"state"` // running; deferred: nothing runs, some parts wait for their departments; ended
	// Sufficient: every required proof and one of each any-of group has been
	// found; only said once the exchange has ended.
	Sufficient *bool      `json:"sufficient,omitempty"`
	Expires    time.Time  `json:"expires"`
	Parts      []PartView `json:"parts"`
}

// unseen are the sensitive parts whose outcome v tells and who has not seen.
func (x *Exchange) unseen(who Principal, v View) []*part {
	x.mu.Lock()
	defer x.mu.Unlock()
	var list []*part
	for _, pt := range x.plan.parts {
		told := slices.ContainsFunc(v.Parts, func(p PartView) bool { return p.Part == pt.id && p.State == "released" })
		if told && pt.proof.Sensitive && !pt.seen[who.Operator] {
			list = append(list, pt)
		}
	}
	return list
}

func (x *Exchange) saw(who Principal, parts []*part) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, pt := range parts {
		if pt.seen == nil {
			pt.seen = make(map[catalog.OperatorID]bool)
		}
		pt.seen[who.Operator] = true
	}
}

// PartView is one proof's progress.
type PartView struct {
	Part     string            `json:"part"`
	Proof    catalog.ProofCode `json:"proof"`
	Name     string            `json:"name"`
	Role     catalog.Role      `json:"role"`
	State    string            `json:"state"`           // running, deferred, released, withheld
	Until    *time.Time        `json:"until,omitempty"` // of a deferred part: it has its result by then
	Code     Code              `json:"code,omitempty"`
	Sentence string            `json:"sentence,omitempty"`
	Number   string            `json:"number,omitempty"`
	Manual   string            `json:"manual_number,omitempty"` // 受理号
	Millis   int64             `json:"ms,omitempty"`
	Legs     []LegView         `json:"legs"`
}

// Title is the proof's name, and whose it is if not the applicant's.
func (p PartView) Title() string {
	if p.Role == catalog.RoleApplicant || p.Role == "" {
		return p.Name
	}
	return p.Name + "（" + p.Role.Chinese() + "）"
}

// LegView is one leg's progress; its code is told once the part is released.
type LegView struct {
	Leg        string             `json:"leg"`
	Source     catalog.SourceID   `json:"source"`
	Department string             `json:"department"`
	Route      catalog.RouteClass `json:"route"`
	State      string             `json:"state"` // running, deferred, ended
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
		v.Parts = append(v.Parts, s.partView(x.Number, pt))
	}
	switch {
	case x.ended:
		v.State = "ended"
		ok := sufficient(x.plan)
		v.Sufficient = &ok
	case x.running == 0:
		v.State = "deferred"
	}
	return v
}

func (s *Service) partView(number string, pt *part) PartView {
	p := PartView{Part: pt.id, Proof: pt.proof.Code, Name: pt.proof.Name, Role: pt.subject.role, State: "running", Legs: []LegView{}}
	switch r := pt.result; {
	case pt.waits():
		p.State, p.Sentence, p.Until = "deferred", s.deferredSentence(number, pt), &pt.until
	case r == nil:
	case r.withheld:
		p.State, p.Sentence = "withheld", withheldSentence
		if r.sentence != "" {
			p.Sentence = r.sentence
		}
	default:
		p.State, p.Code, p.Sentence, p.Number, p.Manual, p.Millis = "released", r.code, r.sentence, r.number, r.manual, r.millis
	}
	for _, l := range pt.legs {
		lv := LegView{Leg: l.id, Source: l.source.ID, Department: s.department(l.source.Department).Name, Route: l.source.Route, State: "running"}
		switch {
		case !l.until.IsZero():
			lv.State = "deferred"
		case l.ended:
			lv.State, lv.Millis = "ended", l.millis
		}
		if p.State == "released" {
			lv.Code = l.answer.code.Shown()
		}
		lv.Retryable = pt.result != nil && pt.retryable(l)
		p.Legs = append(p.Legs, lv)
	}
	return p
}

// deferredSentence tells the clerk when a part comes and how to get it. It says
// nothing of what may be found.
func (s *Service) deferredSentence(number string, pt *part) string {
	var who []string
	for _, l := range pt.legs {
		if name := s.party(pt, l); !l.until.IsZero() && !slices.Contains(who, name) {
			who = append(who, name)
		}
	}
	return "已转为延时办理，" + strings.Join(who, "、") + "最迟于" + certificate.Time(pt.until) + "前答复，凭本次办理号 " + number + " 取件。"
}

const withheldSentence = "审计日志或状态库暂不可写，本项未放行任何结果；请稍后重试。"

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
	p := &PublicView{Exchange: v.Exchange, Item: last.plan.item.Name, Began: certificate.Time(last.Began), State: v.State}
	for i, part := range v.Parts {
		sensitive := last.plan.parts[i].proof.Sensitive
		public := func(c Code) string {
			switch part.State {
			case "running", "deferred":
				return "…"
			case "withheld":
				return "WITHHELD"
			}
			return c.Public(sensitive)
		}
		for _, l := range part.Legs {
			row := PublicRow{Proof: part.Name, Department: l.Department, Route: string(l.Route), Code: public(l.Code), Millis: l.Millis}
			if sensitive {
				row.Millis = 0 // how long it took may differ with what was found
			}
			p.Rows = append(p.Rows, row)
		}
		if len(part.Legs) == 0 {
			p.Rows = append(p.Rows, PublicRow{Proof: part.Name, Code: public(part.Code)})
		}
	}
	return p
}
