package search

import (
	"context"
	"path"
	"slices"
	"strings"
	"time"
)

// Answering is what came of asking a log.
type Answering string

// States of a log in an answer.
const (
	Answered    Answering = "answered"
	Behind      Answering = "index_behind" // it answered, but not all of it was searched
	Unreachable Answering = "unreachable"
	Refused     Answering = "refused"
	Doubtful    Answering = "doubtful"   // what it sent does not verify, and is not shown
	Rewound     Answering = "rewound"    // the log is not what it was grown longer; not shown
	Isolated    Answering = "isolated"   // in a network that cannot be asked
	NotHeld     Answering = "not_held"   // a gateway that does not hold the application (any more)
	OtherKeys   Answering = "other_keys" // pseudonyms of its own: it has to be asked for itself
	Missing     Answering = "missing"    // nothing of it was carried here
	Destroyed   Answering = "destroyed"  // its pseudonyms of some quarter were destroyed in due course: nobody can be found in it any more
	Partial     Answering = "partial"    // what was carried does not reach over the time of the exchange
)

// Log is one log on the roster, in an answer.
type Log struct {
	Origin     string    `json:"origin"`
	Kind       Kind      `json:"kind"`
	Name       string    `json:"name,omitempty"`
	Department string    `json:"department,omitempty"`
	State      Answering `json:"state"`
	Chinese    string    `json:"note,omitempty"` // why the answer is incomplete, or what it rests on
	English    string    `json:"note_en,omitempty"`
	Shards     []Shard   `json:"shards,omitempty"`
	More       bool      `json:"more,omitempty"` // it has older entries that are not here
	// Told: that nothing is missing is what another node says of its log. Its
	// checkpoint and every row were verified; that there is no other row cannot be.
	Told bool `json:"told,omitempty"`
}

func (l Log) whole() bool { return l.State == Answered }

// explained says in words why an answer without this log is incomplete.
func (l Log) explained() Log {
	words := map[Answering][2]string{
		Behind:      {"结果不完整：索引尚未追上日志，或尚待与日志核对", "incomplete: the index is behind its log, or has to be held to it first"},
		Unreachable: {"结果不完整：该日志未在时限内应答", "incomplete: the log did not answer in time"},
		Refused:     {"结果不完整：该日志拒绝了本网关", "incomplete: the log refused this gateway"},
		Doubtful:    {"结果不完整：该日志的应答未通过验证，未采用", "incomplete: what the log sent does not verify and is not shown"},
		Rewound:     {"结果不完整：该日志比此前所见的短，或不是由其延长而来，请立即核查", "incomplete: the log is shorter than it was, or did not grow out of what it was; look into it at once"},
		Isolated:    {"结果不完整：隔离网络，以导出文件核对", "incomplete: an isolated network; compare its export"},
		NotHeld:     {"结果不完整：该网关没有这份申请（申请时未应答或未接受，或其后重启），须重新申请", "incomplete: the gateway does not hold the application (it did not answer or take it, or was restarted since); apply again"},
		OtherKeys:   {"结果不完整：该节点的假名密钥不同，须在该节点另行申请", "incomplete: the node's pseudonyms are its own; apply there"},
		Missing:     {"结果不完整：未带来该日志的目录或导出文件", "incomplete: neither the log's directory nor an export of it is here"},
		Partial:     {"结果不完整：带来的部分未覆盖该次办理的时间", "incomplete: what is here of the log does not reach over the time of the exchange"},
	}
	w := words[l.State]
	l.Chinese, l.English = w[0], w[1]
	if l.Told && l.State == Answered {
		l.Chinese, l.English = "检查点与各条已核验；没有遗漏为对方声明", "checkpoint and rows verified; that none is missing is the other side's statement"
	}
	var opening []string
	for _, sh := range l.Shards {
		if sh.Opening {
			opening = append(opening, path.Base(sh.Origin))
		}
	}
	if l.State == Behind && len(opening) > 0 {
		l.Chinese = "结果不完整：" + strings.Join(opening, "、") + " 季度的日志正在打开，请稍后再查"
		l.English = "incomplete: still being opened: " + strings.Join(opening, ", ") + "; search again later"
	}
	return l
}

// lacking says of which quarters no pseudonyms are left.
func (l Log) lacking(destroyed []string) Log {
	if len(destroyed) == 0 {
		return l
	}
	l.State = Destroyed
	l.Chinese = "结果不完整：这一季度的对照已按期销毁，无法再按人检索：" + strings.Join(destroyed, "、")
	l.English = "incomplete: the pseudonym keys of these quarters have been destroyed, nobody can be found in them: " + strings.Join(destroyed, ", ")
	return l
}

func (l Listed) answer(state Answering) Log {
	return Log{Origin: l.Origin, Kind: l.Kind, Name: l.Name, Department: l.Department, State: state}.explained()
}

// others are all logs on the roster but this gateway's, none of which was asked.
func (s *Service) others(why Answering) []Log {
	var list []Log
	for _, l := range s.listed() {
		list = append(list, l.answer(why))
	}
	return list
}

// listed are all logs on the roster but this gateway's.
func (s *Service) listed() []Listed {
	if s.Roster == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(s.Roster.Logs), func(l Listed) bool { return l.Origin == s.Origin })
}

// gateways are those that are on the roster besides this one.
func (s *Service) gateways() []Listed {
	return slices.DeleteFunc(s.listed(), func(l Listed) bool { return l.Kind != KindGateway })
}

// said is what one log has said.
type said struct {
	log  Log
	rows []Row
}

// everywhere asks this gateway's log and all others on the roster at once.
func (s *Service) everywhere(ctx context.Context, who Who, ask Ask) (Answer, error) {
	q := ask.query()
	own, err := s.here(ctx, q, ask.Proofs)
	if err != nil {
		return Answer{}, err
	}
	in := PeerAsk{Filter: ask.Filter, Limit: q.Limit, By: who.Actor}
	return own.with(askAll(s.listed(), func(l Listed) said { return s.askOne(ctx, l, question{ask: in}) }), q.Limit, ask.Proofs), nil
}

// with is the answer of this gateway's log together with what others have said:
// the newest rows of all.
func (own Answer) with(others []said, limit int, proofs bool) Answer {
	own.Logs[0].More = own.Next != nil
	all := append([]said{{own.Logs[0], own.Rows}}, others...)
	a := Answer{Complete: true, Rows: []Row{}}
	var older bool
	for _, one := range all {
		a.Logs, a.Rows = append(a.Logs, one.log), append(a.Rows, one.rows...)
		a.Complete, older = a.Complete && one.log.whole(), older || one.log.More
	}
	a.cut(limit, older)
	if !proofs {
		for i := range a.Rows {
			a.Rows[i].Receipt = ""
		}
	}
	return a
}

// cut keeps the newest rows of several logs, and says where the next page
// begins. Rows of one microsecond stay together.
func (a *Answer) cut(limit int, older bool) {
	newestFirst(a.Rows)
	n := min(limit, len(a.Rows))
	for n > 0 && n < len(a.Rows) && a.Rows[n].Entry.Open.Time == a.Rows[n-1].Entry.Open.Time {
		n++
	}
	if n > 0 && (n < len(a.Rows) || older) {
		a.NextTo = time.UnixMicro(a.Rows[n-1].Entry.Open.Time).UTC()
	}
	a.Rows = a.Rows[:n]
}
