package search

import (
	"context"
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"yizheng/audit"
	"yizheng/identity"
)

// UsagePath is where a gateway tells another one of the fleet what its log has
// about a resident who asks there.
const UsagePath = "/v1/audit/peer/usages"

// PeerUsageAsk asks another gateway for a resident. It holds no number: the
// subject token is encrypted under the fleet's key, and each gateway computes
// pseudonyms with keys of its own.
type PeerUsageAsk struct {
	Subject string    `json:"subject_token"`
	Start   time.Time `json:"periodStart,omitzero"`
	End     time.Time `json:"periodEnd,omitzero"`
	Limit   int       `json:"limit"` // the newest so many
	// Known are the sizes at which the one who asks has seen the other's shards, by
	// origin (see PeerAsk).
	Known map[string]uint64 `json:"known,omitempty"`
}

// PeerUsages is what it says.
type PeerUsages struct {
	Total  int         `json:"total"`  // that the resident may see
	Usages []PeerUsage `json:"usages"` // newest first
	Shards []PeerShard `json:"shards"`
}

// PeerUsage is one entry's open half with its proof.
type PeerUsage struct {
	Origin string `json:"origin"` // of the shard
	Index  uint64 `json:"index"`
	Evidence
}

// AnswerUsages answers another gateway for a resident, who stands there, and
// records it here as that gateway records it there.
func (s *Service) AnswerUsages(ctx context.Context, who Who, person identity.Person, in PeerUsageAsk) (PeerUsages, error) {
	if in.Limit < 1 || in.Limit > maxUsages || !in.Start.IsZero() && !in.End.IsZero() && !in.Start.Before(in.End) {
		return PeerUsages{}, invalid("limit", "起止时间或条数不对", "period or limit is wrong")
	}
	if len(in.Known) > maxKnown {
		return PeerUsages{}, invalid("known", "所列日志过多", "names too many logs")
	}
	var a PeerUsages
	_, err := s.viewed(ctx, who, person, func(known audit.Known) (int, bool, error) {
		hits, shards, err := s.disclosedNow(ctx, known, in.Start, in.End)
		if err != nil {
			return 0, false, err
		}
		a = PeerUsages{Total: len(hits), Usages: []PeerUsage{}}
		for _, u := range s.usagesOf(hits[:min(in.Limit, len(hits))]) {
			if err := s.prove(&u, true); err != nil {
				return 0, false, err
			}
			a.Usages = append(a.Usages, PeerUsage{u.Origin, u.Index, *u.Evidence})
		}
		a.Shards, err = s.boundAll(shards, in.Known)
		return len(a.Usages), !slices.ContainsFunc(shards, func(sh Shard) bool { return !sh.whole() }), err
	})
	if err != nil {
		return PeerUsages{}, err
	}
	return a, nil
}

// used is what one other gateway has said.
type used struct {
	log    Log
	total  int
	usages []Usage
}

// askGateways asks all other gateways on the roster at once. A front's entries are
// about questions that a gateway has recorded.
func (s *Service) askGateways(ctx context.Context, in PeerUsageAsk) []used {
	return askAll(s.gateways(), func(l Listed) used { return s.askUsages(ctx, l, in) })
}

func (s *Service) askUsages(ctx context.Context, l Listed, in PeerUsageAsk) used {
	if l.Isolated {
		return used{log: l.answer(Isolated)}
	}
	ctx, cancel := context.WithTimeout(ctx, peerWait)
	defer cancel()
	c := question{ask: PeerAsk{Filter: Filter{From: in.Start, To: in.End}}, of: l, at: s.Now(), known: s.Heads.of(l.Origin)}
	err := c.prepare()
	if err != nil {
		return used{log: l.answer(stateOf(err))}
	}
	in.Known = c.ask.Known
	a, err := call[PeerUsages](ctx, s.Peers, l, UsagePath, in)
	var list []Usage
	if err == nil {
		list, err = s.believed(c, a, in.Limit)
	}
	if err != nil {
		return used{log: l.answer(stateOf(err))}
	}
	return used{l.answered(a.Shards), a.Total, list}
}

// believed holds another gateway's answer against the keys of its log, against the
// question and against what the log has shown before, and reads the entries
// themselves: what is shown is what was signed. Whose they are, and that there are
// no others, is that gateway's word, since its pseudonyms are its own.
func (s *Service) believed(c question, a PeerUsages, limit int) ([]Usage, error) {
	if a.Total < 0 || a.Total > maxUsages || len(a.Usages) != min(limit, a.Total) {
		return nil, fmt.Errorf("%w: %d of %d entries", errDoubtful, len(a.Usages), a.Total)
	}
	var list []Usage
	for _, p := range a.Usages {
		open, err := p.verified(c.base, c.keys)
		if err == nil {
			err = c.take(p.Origin, p.Index, p.Receipt, audit.Entry{Open: open})
		}
		if err == nil && (len(open.Subjects) == 0 || !s.openAt(open, c.at.Add(staleAfter))) {
			err = fmt.Errorf("entry %s:%d is nobody's, or withheld", p.Origin, p.Index)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errDoubtful, err)
		}
		one := s.usage(p.Origin, p.Index, open)
		one.Evidence = &p.Evidence
		list = append(list, one)
	}
	heads, err := c.bind(a.Shards, false)
	if err != nil {
		return nil, err
	}
	var size uint64
	for _, head := range heads {
		size += head.Size
	}
	if uint64(a.Total) > size {
		return nil, fmt.Errorf("%w: %d entries in a log of %d", errDoubtful, a.Total, size)
	}
	return list, s.Heads.keep(heads)
}

// verified reads an open half, once it is proven to be in the log named base.
func (p PeerUsage) verified(base string, keys []*ecdsa.PublicKey) (open audit.Open, err error) {
	closed, err := base64.StdEncoding.Strict().DecodeString(p.Closed)
	if err != nil || len(closed) != len(audit.Hash{}) {
		return open, fmt.Errorf("%w: the closed half's hash", errDoubtful)
	}
	if err := proven(base, p.Origin, p.Index, p.Receipt, audit.LeafHashWithheld([]byte(p.Open), audit.Hash(closed)), keys); err != nil {
		return open, err
	}
	if err := json.Unmarshal([]byte(p.Open), &open); err != nil {
		return open, fmt.Errorf("%w: %w", errDoubtful, err)
	}
	return open, nil
}
