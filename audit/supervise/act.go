package supervise

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"yizheng/audit"
	"yizheng/catalog/beijing"
)

// Refusals of an Engine. Their texts are for people.
var (
	// ErrBehind: the engine is still reading the log. Ask again later.
	ErrBehind = errors.New("监察仍在追读日志，请稍后再试 / supervision is still reading the log; try again later")
	// ErrUnknown: there is no such card, order or list that waits.
	ErrUnknown = errors.New("没有这张牌、这份督办单或这份待批名单 / no such card, order or list that waits")
	// ErrSettled: the step is not one that can follow.
	ErrSettled = errors.New("当前状态不能办这一步 / not possible in its present state")
	// ErrConcerned: nobody decides about a card or list that concerns them, answers
	// their own order, or approves what they entered.
	ErrConcerned = errors.New("涉及本人，须由他人办理 / it concerns you; somebody else must act")
	// ErrNotAddressed: the order is for another department or person.
	ErrNotAddressed = errors.New("督办单不是发给您的 / the order is not for you")
	// ErrCode: a code, date or text is not acceptable. It is wrapped with what is.
	ErrCode = errors.New("不可接受 / not acceptable")
)

// Filter chooses cards. Empty fields choose all.
type Filter struct {
	Status     Status `json:"status"`
	Level      Level  `json:"level"`
	Kind       Kind   `json:"kind"`
	Rule       string `json:"rule"`
	Department string `json:"department"` // asking or answering
	Operator   string `json:"operator"`
	From       string `json:"from"` // days, both included
	To         string `json:"to"`
	Limit      int    `json:"limit"` // default and at most 1,000
}

func (f Filter) fits(c *Card) bool {
	is := func(want, got string) bool { return want == "" || want == got }
	day := c.Time.In(beijing.Zone()).Format(time.DateOnly)
	return is(string(f.Status), string(c.Status)) && is(string(f.Level), string(c.Level)) && is(string(f.Kind), string(c.Kind)) &&
		is(f.Rule, c.Rule) && is(f.Operator, c.Operator) && (is(f.Department, c.Department) || is(f.Department, c.Provider)) &&
		(f.From == "" || day >= f.From) && (f.To == "" || day <= f.To)
}

// Cards lists cards, the newest first.
func (e *Engine) Cards(f Filter) []Card {
	e.mu.Lock()
	defer e.mu.Unlock()
	var list []Card
	for _, c := range e.fold.state.Cards {
		if f.fits(c) {
			list = append(list, *c)
		}
	}
	slices.SortFunc(list, func(a, b Card) int { return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(a.ID, b.ID)) })
	if f.Limit <= 0 || f.Limit > 1000 {
		f.Limit = 1000
	}
	return list[:min(len(list), f.Limit)]
}

// Card finds one.
func (e *Engine) Card(id string) (Card, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.fold.state.Cards[id]
	if c == nil {
		return Card{}, ErrUnknown
	}
	return *c, nil
}

// Orders lists orders, the newest first, with the texts that are kept here.
func (e *Engine) Orders() []Order {
	e.mu.Lock()
	defer e.mu.Unlock()
	var list []Order
	for _, o := range e.fold.state.Orders {
		list = append(list, e.spoken(o))
	}
	slices.SortFunc(list, func(a, b Order) int { return cmp.Or(b.Issued.Compare(a.Issued), cmp.Compare(a.ID, b.ID)) })
	return list
}

// Order finds one, with the texts that are kept here.
func (e *Engine) Order(id string) (Order, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	o := e.fold.state.Orders[id]
	if o == nil {
		return Order{}, ErrUnknown
	}
	return e.spoken(o), nil
}

// spoken is a copy of an order with the texts of its steps.
func (e *Engine) spoken(o *Order) Order {
	c := *o
	c.Steps = slices.Clone(o.Steps)
	for i := range c.Steps {
		if text, ok := e.texts.read(c.Steps[i].Text); ok {
			c.Steps[i].Said = text
		}
	}
	return c
}

// Rules are the indicators in force.
func (e *Engine) Rules() []Indicator { return e.cfg.Rules.Indicators }

// Settle confirms or dismisses a card: the decision of a supervisor whom it
// does not concern, recorded before it holds. reason is for a dismissal.
func (e *Engine) Settle(ctx context.Context, id, who string, to Status, reason string) (Card, error) {
	switch {
	case to == Dismissed && !slices.Contains(DismissReasons(), reason):
		return Card{}, fmt.Errorf("%w: reason 须为 %v 之一 / must be one of %v", ErrCode, DismissReasons(), DismissReasons())
	case to == Confirmed && reason != "" || to != Confirmed && to != Dismissed:
		return Card{}, fmt.Errorf("%w: 只能确认或撤销 / a card is confirmed or dismissed", ErrCode)
	}
	err := e.act(ctx, func() (audit.Entry, error) {
		c := e.fold.state.Cards[id]
		switch {
		case c == nil:
			return audit.Entry{}, ErrUnknown
		case c.Status != Raised:
			return audit.Entry{}, ErrSettled
		case c.Operator == who:
			return audit.Entry{}, ErrConcerned
		}
		step := c.entry(to)
		step.Closed.Actor, step.Closed.Role, step.Closed.Reason = who, supervisorRole, reason
		return step, nil
	})
	if err != nil {
		return Card{}, err
	}
	return e.Card(id)
}

const supervisorRole = "supervisor"

// Demand is what an order asks.
type Demand struct {
	Card       string `json:"card"`
	Department string `json:"department"` // default: that of the card's party
	Person     string `json:"person"`     // account; may be empty
	Demand     string `json:"demand"`
	Due        string `json:"due"` // last day for an answer, 2006-01-02
	Text       string `json:"text"`
}

// longestOrder is how far ahead an order may be due.
const longestOrder = 90 * 24 * time.Hour

// Issue makes an order out of a card, which is confirmed or still open.
func (e *Engine) Issue(ctx context.Context, who string, d Demand) (Order, error) {
	if !slices.Contains(Demands(), d.Demand) {
		return Order{}, fmt.Errorf("%w: demand 须为 %v 之一 / must be one of %v", ErrCode, Demands(), Demands())
	}
	id := "D" + rand.Text()[:16]
	err := e.act(ctx, func() (audit.Entry, error) {
		c := e.fold.state.Cards[d.Card]
		switch {
		case c == nil:
			return audit.Entry{}, ErrUnknown
		case c.Status == Dismissed:
			return audit.Entry{}, ErrSettled
		case c.Operator == who || d.Person == who:
			return audit.Entry{}, ErrConcerned
		}
		o := Order{ID: id, Card: c.ID, Department: d.Department, Person: d.Person, Due: d.Due}
		if o.Department == "" {
			o.Department = c.party()
		}
		if o.Department == "" {
			return audit.Entry{}, fmt.Errorf("%w: 牌上没有部门，请指明 / the card names none, give one", ErrCode)
		}
		return e.demand(&o, Issued, who, d.Demand, d.Text)
	})
	return e.after(id, err)
}

// party is the department that a card is for.
func (c *Card) party() string {
	if c.To == ToProvider && c.Provider != "" {
		return c.Provider
	}
	return c.Department
}

// demand checks and builds the entry of a step that asks for an answer.
func (e *Engine) demand(o *Order, step Step, who, code, text string) (audit.Entry, error) {
	now := time.Now()
	if at := o.due(); at <= now.UnixMicro() || at > now.Add(longestOrder).UnixMicro() {
		return audit.Entry{}, fmt.Errorf("%w: due 须为今天起 90 天内的日期，如 %s / due must be a day from today within 90 days", ErrCode, now.In(beijing.Zone()).AddDate(0, 0, 7).Format(time.DateOnly))
	}
	digest, err := e.texts.keep(text)
	if err != nil {
		return audit.Entry{}, err
	}
	entry := o.entry(step, who, code, digest)
	entry.Closed.Role = supervisorRole
	return entry, nil
}

// Answer is given by somebody of the order's department, or by its person.
func (e *Engine) Answer(ctx context.Context, id, who, department, code, text string) (Order, error) {
	if !slices.Contains(Answers(), code) {
		return Order{}, fmt.Errorf("%w: answer 须为 %v 之一 / must be one of %v", ErrCode, Answers(), Answers())
	}
	return e.orderStep(ctx, id, func(o *Order) (audit.Entry, error) {
		switch {
		case o.Department != department || o.Person != "" && o.Person != who:
			return audit.Entry{}, ErrNotAddressed
		case !o.open():
			return audit.Entry{}, ErrSettled
		case o.By == who:
			return audit.Entry{}, ErrConcerned
		}
		digest, err := e.texts.keep(text)
		return o.entry(Answered, who, code, digest), err
	})
}

// Return asks for another answer, by another day.
func (e *Engine) Return(ctx context.Context, id, who, due, text string) (Order, error) {
	return e.orderStep(ctx, id, func(o *Order) (audit.Entry, error) {
		if o.Step != Answered {
			return audit.Entry{}, ErrSettled
		}
		if o.AnsweredBy == who {
			return audit.Entry{}, ErrConcerned
		}
		again := *o
		again.Due = due
		return e.demand(&again, Returned, who, o.Demand, text)
	})
}

// Close ends an order that was answered.
func (e *Engine) Close(ctx context.Context, id, who string) (Order, error) {
	return e.orderStep(ctx, id, func(o *Order) (audit.Entry, error) {
		if o.Step != Answered {
			return audit.Entry{}, ErrSettled
		}
		if o.AnsweredBy == who {
			return audit.Entry{}, ErrConcerned
		}
		entry := o.entry(Closed, who, "", "")
		entry.Closed.Role = supervisorRole
		return entry, nil
	})
}

func (e *Engine) orderStep(ctx context.Context, id string, build func(*Order) (audit.Entry, error)) (Order, error) {
	err := e.act(ctx, func() (audit.Entry, error) {
		o := e.fold.state.Orders[id]
		if o == nil {
			return audit.Entry{}, ErrUnknown
		}
		return build(o)
	})
	return e.after(id, err)
}

func (e *Engine) after(id string, err error) (Order, error) {
	if err != nil {
		return Order{}, err
	}
	return e.Order(id)
}

// act reads the log to its end, lets build decide on that state, records the
// entry, and reads it back, all in one turn: two supervisors cannot both act on
// a state that one of them has changed.
func (e *Engine) act(ctx context.Context, build func() (audit.Entry, error)) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.reader == nil || e.behind {
		return ErrBehind
	}
	if more, err := e.read(ctx, 16*portion); err != nil {
		return err
	} else if more {
		return ErrBehind
	}
	entry, err := build()
	if err != nil {
		return err
	}
	return e.append(ctx, entry)
}

// Statistics is a table of one dimension from one day to another, both included.
func (e *Engine) Statistics(dim Dimension, from, to string, monthly bool) []Line {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.fold.state.Stats.Table(dim, from, to, monthly)
}

// Status tells how far an engine is.
type EngineStatus struct {
	Origin  string         `json:"origin"`
	Next    uint64         `json:"next"` // entry that will be read next
	Size    uint64         `json:"size"` // of the log
	Rules   int            `json:"rules"`
	Cards   map[string]int `json:"cards"` // by status
	Waiting int            `json:"orders_waiting"`
	Full    map[string]int `json:"full,omitempty"` // rules whose windows had no room
}

// Status is a summary.
func (e *Engine) Status() EngineStatus {
	e.mu.Lock()
	defer e.mu.Unlock()
	st := e.fold.state
	s := EngineStatus{Origin: st.Origin, Next: st.Next, Size: e.cfg.Log.Latest().Head().Size, Rules: len(e.fold.own), Cards: map[string]int{}, Full: maps.Clone(st.Full)}
	for _, c := range st.Cards {
		s.Cards[string(c.Status)]++
	}
	for _, o := range st.Orders {
		if o.open() {
			s.Waiting++
		}
	}
	return s
}
