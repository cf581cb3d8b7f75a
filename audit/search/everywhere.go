package search

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
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
	Isolated    Answering = "isolated"   // in a network that cannot be asked
	OtherKeys   Answering = "other_keys" // pseudonyms of its own: it has to be asked for itself
	Missing     Answering = "missing"    // nothing of it was carried here
	Partial     Answering = "partial"    // what was carried does not reach over the time of the exchange
)

// Log is one log on the roster, in an answer.
type Log struct {
	Origin     string    `json:"origin"`
	Kind       Kind      `json:"kind"`
	Name       string    `json:"name,omitempty"`
	Department string    `json:"department,omitempty"`
	State      Answering `json:"state"`
	Chinese    string    `json:"note,omitempty"` // why the answer is incomplete
	English    string    `json:"note_en,omitempty"`
	Shards     []Shard   `json:"shards,omitempty"`
	More       bool      `json:"more,omitempty"` // it has older entries that are not here
}

func (l Log) whole() bool { return l.State == Answered }

// explained says in words why an answer without this log is incomplete.
func (l Log) explained() Log {
	words := map[Answering][2]string{
		Behind:      {"结果不完整：索引尚未追上日志", "incomplete: the index is behind its log"},
		Unreachable: {"结果不完整：该日志未在时限内应答", "incomplete: the log did not answer in time"},
		Refused:     {"结果不完整：该日志拒绝了本网关", "incomplete: the log refused this gateway"},
		Doubtful:    {"结果不完整：该日志的应答未通过验证，未采用", "incomplete: what the log sent does not verify and is not shown"},
		Isolated:    {"结果不完整：隔离网络，以导出文件核对", "incomplete: an isolated network; compare its export"},
		OtherKeys:   {"结果不完整：该节点的假名密钥不同，须在该节点另行申请", "incomplete: the node's pseudonyms are its own; apply there"},
		Missing:     {"结果不完整：未带来该日志的目录或导出文件", "incomplete: neither the log's directory nor an export of it is here"},
		Partial:     {"结果不完整：带来的部分未覆盖该次办理的时间", "incomplete: what is here of the log does not reach over the time of the exchange"},
	}
	w := words[l.State]
	l.Chinese, l.English = w[0], w[1]
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

// PeerAsk is what one node asks another.
type PeerAsk struct {
	Filter Filter `json:"filter"`
	Limit  int    `json:"limit"`
	By     string `json:"by"` // the auditor's account, for the other's record
}

// PeerAnswer is what it says. Every row has its receipt.
type PeerAnswer struct {
	Rows   []Row   `json:"rows"`
	Shards []Shard `json:"shards"`
	More   bool    `json:"more"`
}

// AnswerPeer answers another node, and records it here as that node records it there.
func (n Node) AnswerPeer(ctx context.Context, who Who, in PeerAsk) (PeerAnswer, error) {
	a, err := n.answerPeer(ctx, who, in)
	return a, n.denied(ctx, who, "", err)
}

func (n Node) answerPeer(ctx context.Context, who Who, in PeerAsk) (PeerAnswer, error) {
	ask := Ask{Filter: in.Filter, Limit: in.Limit}
	if err := ask.check(); err != nil {
		return PeerAnswer{}, err
	}
	if !plainName.MatchString(in.By) {
		return PeerAnswer{}, invalid("by", "须写明询问的审计员账号", "name the account of the auditor who asks")
	}
	who.Actor = in.By
	rec, err := n.begin(ctx, who, searchEntry(in.Filter))
	if err != nil {
		return PeerAnswer{}, err
	}
	a, err := n.forPeer(ctx, ask)
	whole := !slices.ContainsFunc(a.Shards, func(s Shard) bool { return !s.whole() })
	return a, rec.done(ctx, len(a.Rows), whole, err)
}

func (n Node) forPeer(ctx context.Context, ask Ask) (PeerAnswer, error) {
	sizes, err := n.ready(ctx)
	if err != nil {
		return PeerAnswer{}, unavailable(err)
	}
	f, err := n.find(ctx, ask.query(), sizes)
	if err != nil {
		return PeerAnswer{}, err
	}
	a := PeerAnswer{Shards: f.shards, More: f.next != nil}
	a.Rows, err = n.rows(f.hits, true)
	return a, err
}

const (
	peerWait = 8 * time.Second
	peerMost = 64 << 20 // bytes of an answer
	// PeerPath is where a node answers others.
	PeerPath = "/v1/audit/peer/search"
)

// said is what one log has said.
type said struct {
	log  Log
	rows []Row
}

// everywhere asks this gateway's log and all others on the roster at once.
func (s *Service) everywhere(ctx context.Context, who Who, ask Ask) (Answer, error) {
	own, err := s.here(ctx, Ask{Filter: ask.Filter, Limit: ask.Limit, Proofs: ask.Proofs})
	if err != nil {
		return Answer{}, err
	}
	own.Logs[0].More = own.Next != nil
	all := append([]said{{own.Logs[0], own.Rows}}, s.askOthers(ctx, who, PeerAsk{Filter: ask.Filter, Limit: ask.query().Limit, By: who.Actor})...)
	a := Answer{Complete: true, Rows: []Row{}}
	var older bool
	for _, one := range all {
		a.Logs, a.Rows = append(a.Logs, one.log), append(a.Rows, one.rows...)
		a.Complete, older = a.Complete && one.log.whole(), older || one.log.More
	}
	a.cut(ask.query().Limit, older)
	if !ask.Proofs {
		for i := range a.Rows {
			a.Rows[i].Receipt = ""
		}
	}
	return a, nil
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

// askOthers asks all other logs at once. Each has its deadline, and an answer.
func (s *Service) askOthers(ctx context.Context, who Who, in PeerAsk) []said {
	list := s.listed()
	answers := make([]said, len(list))
	var asking sync.WaitGroup
	for i, l := range list {
		asking.Go(func() {
			rows, log := s.askOne(ctx, l, in)
			answers[i] = said{log, rows}
		})
	}
	asking.Wait()
	return answers
}

func (s *Service) askOne(ctx context.Context, l Listed, in PeerAsk) ([]Row, Log) {
	if l.Isolated {
		return nil, l.answer(Isolated)
	}
	ctx, cancel := context.WithTimeout(ctx, peerWait)
	defer cancel()
	a, err := call[PeerAnswer](ctx, s.Peers, l, PeerPath, in)
	if err == nil {
		err = l.verify(a, in)
	}
	if err != nil {
		return nil, l.answer(stateOf(err))
	}
	log := l.answered(a.Shards)
	log.More = a.More
	return a.Rows, log
}

// stateOf is what an error of asking a log means in an answer.
func stateOf(err error) Answering {
	switch {
	case errors.Is(err, errRefused):
		return Refused
	case errors.Is(err, errUnanswered):
		return Unreachable
	}
	return Doubtful
}

// answered is a log whose answer verifies.
func (l Listed) answered(shards []Shard) Log {
	log := l.answer(Answered)
	log.Shards = shards
	if slices.ContainsFunc(shards, func(s Shard) bool { return !s.whole() }) {
		log.State = Behind
		log = log.explained()
	}
	return log
}

var (
	errRefused    = errors.New("audit search: refused")
	errUnanswered = errors.New("audit search: no answer")
	errDoubtful   = errors.New("audit search: not an answer")
)

// call asks one log. It fails with errRefused, errUnanswered or errDoubtful.
func call[Out any](ctx context.Context, peers *http.Client, l Listed, path string, in any) (out Out, err error) {
	body, err := json.Marshal(in)
	if err != nil {
		return out, fmt.Errorf("%w: %w", errUnanswered, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(l.URL, "/")+path, bytes.NewReader(body))
	if err != nil {
		return out, fmt.Errorf("%w: %w", errUnanswered, err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := peers.Do(req)
	if err != nil {
		return out, fmt.Errorf("%w: %s: %w", errUnanswered, l.Origin, err)
	}
	defer resp.Body.Close() // only read
	text, err := io.ReadAll(io.LimitReader(resp.Body, peerMost))
	if err != nil {
		return out, fmt.Errorf("%w: %s: %w", errUnanswered, l.Origin, err)
	}
	if resp.StatusCode >= 400 && resp.StatusCode < 500 {
		return out, errRefused
	}
	if resp.StatusCode != http.StatusOK {
		return out, fmt.Errorf("%w: %s: HTTP %d", errUnanswered, l.Origin, resp.StatusCode)
	}
	if err := json.Unmarshal(text, &out); err != nil {
		return out, fmt.Errorf("%w: %w", errDoubtful, err)
	}
	return out, nil
}

// verify holds another log's answer against its keys and against the question:
// every row is proven under a head that the log signed, is one of those asked
// for, and stands once.
func (l Listed) verify(a PeerAnswer, in PeerAsk) error {
	keys, err := l.PublicKeys()
	if err != nil {
		return err
	}
	if len(a.Rows) > in.Limit || len(a.Shards) == 0 {
		return errDoubtful
	}
	q := Ask{Filter: in.Filter}.query()
	type place struct {
		origin string
		index  uint64
	}
	seen := make(map[place]bool)
	for _, r := range a.Rows {
		if err := r.Verify(l.Origin, keys...); err != nil {
			return err
		}
		if at := (place{r.Origin, r.Index}); seen[at] || !q.Matches(r.Entry) {
			return errDoubtful
		}
		seen[place{r.Origin, r.Index}] = true
	}
	return nil
}
