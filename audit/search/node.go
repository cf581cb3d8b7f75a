package search

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"yizheng/audit"
	"yizheng/audit/index"
)

// Node is one node's log: where questions are asked, and where they are recorded.
type Node struct {
	Log  *audit.Log    // searches are recorded here
	Logs *index.Shards // this shard and those before it, indexed
}

// Who asks, for the record.
type Who struct {
	Actor       string // staff account, or the name of the node that asks for one
	Role        string
	System      string
	Certificate string // digest
	Session     string
	Address     string
	Trace       string
	Node        string // which node asks on somebody's behalf
}

// Shard tells how much of one quarter was searched.
type Shard struct {
	Origin     string `json:"origin"`
	Size       uint64 `json:"size"`              // entries when the question came
	CompleteTo uint64 `json:"complete_to_index"` // entries before this one were searched
	Lost       bool   `json:"lost,omitempty"`    // it cannot be searched now
	Opening    bool   `json:"opening,omitempty"` // because it is still being opened
}

// whole: everything that was there when the question came was searched.
func (s Shard) whole() bool { return !s.Lost && s.CompleteTo >= s.Size }

// catchUp is how long a search waits for the index to reach the entries that
// were there when it came. An index follows its log within a second or two.
const catchUp = 3 * time.Second

// ready waits until the index has what the log has now, and was held to it since
// it was opened, at most catchUp, and
// returns the sizes that the search is held against.
func (n Node) ready(ctx context.Context) (map[string]uint64, error) {
	sizes := make(map[string]uint64)
	for _, st := range n.Logs.State() {
		sizes[st.Origin] = st.Size
	}
	wait, cancel := context.WithTimeout(ctx, catchUp)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !n.caughtUp(sizes) {
		select {
		case <-wait.Done():
			return sizes, ctx.Err()
		case <-tick.C:
		}
	}
	return sizes, nil
}

func (n Node) caughtUp(sizes map[string]uint64) bool {
	for _, st := range n.Logs.State() {
		if st.Err == nil && (st.Indexed < sizes[st.Origin] || errors.Is(st.Doubt, index.ErrUnchecked)) {
			return false
		}
	}
	return true
}

// found is what a search of this node yields.
type found struct {
	hits   []index.Hit
	shards []Shard
	next   *Position
}

// find searches all shards; every hit was read from its log and hashed.
func (n Node) find(ctx context.Context, q index.Query, sizes map[string]uint64) (found, error) {
	res, err := n.Logs.Search(ctx, q)
	if err != nil {
		return found{}, unavailable(err)
	}
	f := found{hits: res.Hits}
	for _, st := range res.Searched {
		sh := Shard{Origin: st.Origin, Size: sizes[st.Origin], CompleteTo: min(st.Indexed, sizes[st.Origin])}
		if st.Err != nil {
			sh.CompleteTo, sh.Lost, sh.Opening = 0, true, errors.Is(st.Err, index.ErrOpening)
		}
		f.shards = append(f.shards, sh)
	}
	if res.Next != nil {
		f.next = &Position{Quarter: res.Next.Shard, Index: res.Next.Index}
	}
	return f, nil
}

// record is a question whose intent is in the log. Nothing is shown before done.
type record struct {
	log    *audit.Log
	entry  audit.Entry
	intent audit.Receipt
	ended  bool // its outcome was written, or tried to be
}

// begin makes the intent of a question durable before anything is looked at.
// Defer abandoned, then call done.
func (n Node) begin(ctx context.Context, who Who, e audit.Entry) (*record, error) {
	e = who.mark(e)
	e.Open.Phase = audit.PhaseIntent
	receipts, err := n.Log.Append(context.WithoutCancel(ctx), e)
	if err != nil {
		return nil, unavailable(err)
	}
	return &record{log: n.Log, entry: e, intent: receipts[0]}, nil
}

// note makes one entry durable.
func (n Node) note(ctx context.Context, who Who, e audit.Entry) error {
	if _, err := n.Log.Append(context.WithoutCancel(ctx), who.mark(e)); err != nil {
		return unavailable(err)
	}
	return nil
}

// denied records that a question was turned away, and passes the refusal on.
func (n Node) denied(ctx context.Context, who Who, id string, cause error) error {
	var r *Refusal
	if !errors.As(cause, &r) || r.Status >= http.StatusInternalServerError || r.Status == http.StatusTooManyRequests {
		return cause
	}
	e := audit.Entry{Open: audit.Open{Op: audit.OpAuditSearch, Phase: audit.PhaseDenied, Outcome: r.Code, Disclose: audit.DiscloseNever},
		Closed: audit.Closed{Reason: r.Where}}
	if plainID.MatchString(id) {
		e.Closed.Object = "application/" + id
	}
	if err := n.note(ctx, who, e); err != nil {
		return err
	}
	return cause
}

var plainID = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`) // an application's

// mark adds who asks to an entry. What is searched for is not told to residents.
func (w Who) mark(e audit.Entry) audit.Entry {
	e.Open.System = w.System
	e.Closed.Actor, e.Closed.Role, e.Closed.Auth = w.Actor, w.Role, "certificate"
	e.Closed.CertSN, e.Closed.Session, e.Closed.IP, e.Closed.Trace, e.Closed.Node = w.Certificate, w.Session, w.Address, w.Trace, w.Node
	return e
}

// outcome of a search in its record.
func outcome(whole bool) string {
	if whole {
		return "COMPLETE"
	}
	return "INCOMPLETE"
}

// done makes the outcome durable: how many entries are about to be shown. The
// error is that of the question, or that of the log; either way nothing may leave.
func (r *record) done(ctx context.Context, hits int, whole bool, cause error) error {
	r.ended = true
	e := r.entry
	e.Open.Phase, e.Open.Outcome = audit.PhaseDone, outcome(whole)
	if r.intent.Origin == r.log.Latest().Origin() { // an index means nothing in another quarter
		e.Open.Prev = &r.intent.Index
	} else {
		e.Open.Since = r.intent.Pointer().String()
	}
	e.Closed.Rows = &hits
	if cause != nil {
		e.Open.Phase, e.Open.Outcome, e.Closed.Rows = audit.PhaseFailed, codeOf(cause), nil
	}
	if _, err := r.log.Append(context.WithoutCancel(ctx), e); err != nil {
		return errors.Join(unavailable(err), cause)
	}
	return cause
}

// abandoned is the outcome of a question whose handling ended before its own: it
// panicked, and nothing is shown.
func (r *record) abandoned(ctx context.Context) {
	if !r.ended {
		_ = r.done(ctx, 0, false, errAbandoned) // nothing more can be done: the panic goes on
	}
}

var errAbandoned = errors.New("audit search: handling broke off")

// rows turns hits into rows, with receipts if proofs are wanted.
func (n Node) rows(hits []index.Hit, proofs bool) ([]Row, error) {
	rows := make([]Row, len(hits))
	for i, h := range hits {
		rows[i] = rowOf(h)
		if !proofs {
			continue
		}
		receipt, err := n.Logs.Receipt(h.Origin, h.Index)
		if err != nil {
			return nil, unavailable(err)
		}
		text, err := receipt.MarshalText()
		if err != nil {
			return nil, fmt.Errorf("audit search: %w", err)
		}
		rows[i].Receipt = string(text)
	}
	return rows, nil
}
