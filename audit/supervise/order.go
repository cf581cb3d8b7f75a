package supervise

import (
	"container/heap"
	"strings"
	"time"

	"yizheng/audit"
	"yizheng/catalog/beijing"
)

// Step of a supervision order (督办单).
type Step string

// Steps. Whoever it is for must answer before the day it is due has passed; the
// supervisor then closes it, or returns it for another answer.
const (
	Issued   Step = "issued"
	Answered Step = "answered"
	Returned Step = "returned"
	Closed   Step = "closed"
)

// What an order demands, and what is answered: codes, since the log holds no
// free text. The text beside them is kept by Texts.
const (
	DemandExplain = "EXPLAIN" // 说明情况
	DemandCorrect = "CORRECT" // 限期整改
	DemandRepair  = "REPAIR"  // 修复系统或数据
	DemandStop    = "STOP"    // 立即停止

	AnswerDone      = "DONE"      // 已整改、已修复
	AnswerExplained = "EXPLAINED" // 说明，认为无误
	AnswerUnderWay  = "UNDER_WAY" // 正在办理
	AnswerDisputed  = "DISPUTED"  // 不属本单位
)

// Demands and Answers list the codes.
func Demands() []string { return []string{DemandExplain, DemandCorrect, DemandRepair, DemandStop} }

// Answers lists what an order can be answered with.
func Answers() []string {
	return []string{AnswerDone, AnswerExplained, AnswerUnderWay, AnswerDisputed}
}

// Order is a supervision order as the log tells it.
type Order struct {
	ID         string    `json:"id"`
	Card       string    `json:"card"`
	Department string    `json:"department"`       // that must answer
	Person     string    `json:"person,omitempty"` // account that must; empty: anybody of the department
	Demand     string    `json:"demand"`
	By         string    `json:"by"`  // supervisor
	Due        string    `json:"due"` // last day, 2006-01-02
	Issued     time.Time `json:"issued"`
	Step       Step      `json:"step"`
	Answer     string    `json:"answer,omitempty"`
	AnsweredBy string    `json:"answered_by,omitempty"`
	Overdue    bool      `json:"overdue,omitempty"`
	Steps      []Taken   `json:"steps"`
}

// Taken is one step that was taken.
type Taken struct {
	Step  Step      `json:"step"`
	By    string    `json:"by"`
	At    time.Time `json:"at"`
	Code  string    `json:"code,omitempty"`
	Text  string    `json:"text,omitempty"` // base64 HMAC of its text, which Texts finds by it
	Said  string    `json:"said,omitempty"` // the text itself, if it is kept here; not part of the state
	Entry Evidence  `json:"entry"`
}

// open tells whether an answer is due.
func (o *Order) open() bool { return o.Step == Issued || o.Step == Returned }

// due is the end of its last day, microseconds.
func (o *Order) due() int64 {
	day, err := time.ParseInLocation(time.DateOnly, o.Due, beijing.Zone())
	if err != nil {
		return 0 // takeOrder has refused that
	}
	return day.AddDate(0, 0, 1).UnixMicro()
}

// entry is the record of a step by somebody.
func (o *Order) entry(step Step, by, code, text string) audit.Entry {
	e := audit.Entry{
		Open: audit.Open{Op: audit.OpSuperviseOrder, Phase: audit.PhaseDone, Status: string(step), Department: o.Department, Number: o.ID,
			Disclose: audit.DiscloseNever},
		Closed: audit.Closed{Actor: by, Object: "card/" + o.Card, Reason: code, Authority: o.Person},
	}
	if step == Issued || step == Returned {
		e.Open.Valid = o.Due
	}
	if text != "" {
		e.Closed.Digests = map[string]string{"text": text}
	}
	return e
}

// takeOrder reads one step back.
func (f *fold) takeOrder(s *audit.Stored) {
	e := &s.Entry
	t := Taken{Step: Step(e.Open.Status), By: e.Closed.Actor, At: time.UnixMicro(e.Open.Time).UTC(), Code: e.Closed.Reason,
		Text: e.Closed.Digests["text"], Entry: Evidence{f.state.Origin, s.Index}}
	o := f.state.Orders[e.Open.Number]
	if t.Step == Issued && o == nil {
		o = &Order{ID: e.Open.Number, Card: strings.TrimPrefix(e.Closed.Object, "card/"), Department: e.Open.Department, Person: e.Closed.Authority,
			Demand: t.Code, By: t.By, Issued: t.At}
		f.state.Orders[o.ID] = o
	}
	if o == nil {
		return
	}
	o.Step, o.Steps = t.Step, append(o.Steps, t)
	switch t.Step {
	case Issued, Returned:
		o.Due, o.Overdue = e.Open.Valid, false
		if at := o.due(); at > 0 {
			heap.Push(&f.dues, due{at: at, order: o.ID})
		}
	case Answered:
		o.Answer, o.AnsweredBy = t.Code, t.By
	case Closed:
	}
}

// OrderOverdue is the built-in rule about orders that nobody has answered in time.
const OrderOverdue = "ORDER-OVERDUE"

// orderDue raises a red card about an order that is still to be answered.
func (f *fold) orderDue(d due) {
	o := f.state.Orders[d.order]
	if o == nil || !o.open() || o.due() != d.at {
		return
	}
	o.Overdue = true
	at := o.Steps[len(o.Steps)-1].Entry
	f.want(&Card{ID: cardID(OrderOverdue, 1, at, ""), Level: Red, Kind: Process, Rule: OrderOverdue, Version: 1, Time: time.UnixMicro(d.at).UTC(),
		Evidence: []Evidence{at}, To: ToDepartment, Operator: o.Person, Department: o.Department, Status: Raised})
}
