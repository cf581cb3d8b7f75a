package search

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"yizheng/audit"
	"yizheng/audit/index"
)

// PeerAsk is what one node asks another.
type PeerAsk struct {
	Filter Filter `json:"filter"`
	Limit  int    `json:"limit"`
	By     string `json:"by"` // the auditor's account, for the other's record
	// Known are the sizes at which the one who asks has seen the other's shards, by
	// origin: the answer proves that they have only grown since.
	Known map[string]uint64 `json:"known,omitempty"`
}

// PeerAnswer is what it says. Every row has its receipt.
type PeerAnswer struct {
	Rows   []Row       `json:"rows"`
	Shards []PeerShard `json:"shards"`
	More   bool        `json:"more"`
}

// PeerShard is a shard with what binds the answer to the log: its newest
// checkpoint, which for the quarter that is written covers the record of the very
// question, and the proof that it grew out of what the asking node has seen.
type PeerShard struct {
	Shard
	Checkpoint string       `json:"checkpoint,omitempty"` // of a shard that is not lost
	Growth     []audit.Hash `json:"growth,omitempty"`     // consistency proof (RFC 6962 §2.1.2) from Known
}

// maxKnown shards of one question: a quarter of a century.
const maxKnown = 100

// PeerPath is where a node answers others.
const PeerPath = "/v1/audit/peer/search"

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
	if len(in.Known) > maxKnown {
		return PeerAnswer{}, invalid("known", "所列日志过多", "names too many logs")
	}
	who.Actor = in.By
	rec, err := n.begin(ctx, who, searchEntry(in.Filter))
	if err != nil {
		return PeerAnswer{}, err
	}
	defer rec.abandoned(ctx)
	a, err := n.forPeer(ctx, ask.query(), in.Known)
	return a, rec.done(ctx, len(a.Rows), a.whole(), err)
}

func (a PeerAnswer) whole() bool {
	return !slices.ContainsFunc(a.Shards, func(s PeerShard) bool { return !s.whole() })
}

func (n Node) forPeer(ctx context.Context, q index.Query, known map[string]uint64) (PeerAnswer, error) {
	sizes, err := n.ready(ctx)
	if err != nil {
		return PeerAnswer{}, unavailable(err)
	}
	f, err := n.find(ctx, q, sizes)
	if err != nil {
		return PeerAnswer{}, err
	}
	a := PeerAnswer{More: f.next != nil}
	if a.Rows, err = n.rows(f.hits, true); err != nil {
		return PeerAnswer{}, err
	}
	a.Shards, err = n.boundAll(f.shards, known)
	return a, err
}

// boundAll are shards with their checkpoints, made after the rows, whose receipts
// these heads cover.
func (n Node) boundAll(shards []Shard, known map[string]uint64) ([]PeerShard, error) {
	list := make([]PeerShard, len(shards))
	for i, sh := range shards {
		var err error
		if list[i], err = n.bound(sh, known[sh.Origin]); err != nil {
			return nil, unavailable(err)
		}
	}
	return list, nil
}

// bound is a shard with its checkpoint.
func (n Node) bound(sh Shard, known uint64) (PeerShard, error) {
	p := PeerShard{Shard: sh}
	if sh.Lost {
		return p, nil
	}
	head, growth, err := n.Logs.Grown(sh.Origin, known)
	if err != nil {
		return p, err
	}
	note, err := head.MarshalText()
	p.Checkpoint, p.Growth = string(note), growth
	return p, err
}

// askAll asks logs, some at a time; each question has its own deadline.
func askAll[Said any](list []Listed, ask func(Listed) Said) []Said {
	answers := make([]Said, len(list))
	turns := make(chan struct{}, peersAtOnce)
	var asking sync.WaitGroup
	for i, l := range list {
		asking.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			answers[i] = ask(l)
		})
	}
	asking.Wait()
	return answers
}

const (
	peerWait    = 8 * time.Second
	peersAtOnce = 8
)

// askOne asks one log, and takes an answer only if it verifies.
func (s *Service) askOne(ctx context.Context, l Listed, c question) said {
	if l.Isolated {
		return said{log: l.answer(Isolated)}
	}
	ctx, cancel := context.WithTimeout(ctx, peerWait)
	defer cancel()
	c.of, c.at, c.known = l, s.Now(), s.Heads.of(l.Origin)
	a, heads, err := c.do(ctx, s.Peers)
	if err == nil {
		err = s.Heads.keep(heads)
	}
	switch {
	case c.about != nil && errors.Is(err, errAbsent):
		return said{log: l.answer(NotHeld)}
	case err != nil:
		return said{log: l.answer(stateOf(err))}
	}
	log := l.answered(a.Shards)
	log.More = a.More
	return said{log, a.Rows}
}

// answered is a log whose answer verifies.
func (l Listed) answered(shards []PeerShard) Log {
	log := l.answer(Answered)
	log.Told = true
	for _, sh := range shards {
		log.Shards = append(log.Shards, sh.Shard)
		if !sh.whole() {
			log.State = Behind
		}
	}
	return log.explained()
}
