package supervise

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"yizheng/audit"
	"yizheng/identity"
)

// Relatives of operators (查本人亲属, 廉政风险点): whom an account may not look up. A
// supervisor enters an operator's list, somebody who guards searches for persons
// approves it, and from its record on rules know of it (relative, relatives).
//
// The numbers become pseudonyms before anything is kept, and nobody reads them
// back. The pseudonyms lie in a file of the texts, named by its keyed digest, and
// the log has that digest: so each version of a list stays what it was, and
// reading the log again finds the same. Pseudonyms are those of one quarter, or of
// what is left of it after an emergency rotation. In the next one nobody could
// compute them without the numbers, so the list has to be entered again, and is
// STALE until it is. One that cannot be read is, too.

// Whether an account's list can say anything about an entry.
const (
	RelativesCurrent = "CURRENT"
	RelativesStale   = "STALE" // of another epoch than the entry's pseudonyms, or lost
)

// Bounds of lists.
const (
	maxRelatives = 100
	maxProposals = 200
	proposalLife = 24 * time.Hour
)

// Declaration is the list of one account, as the log tells it: how many, never who.
type Declaration struct {
	Operator string    `json:"operator"`
	Persons  int       `json:"persons"`
	List     string    `json:"list"` // keyed digest, by which it is kept
	By       string    `json:"by"`
	Approver string    `json:"approver"`
	At       time.Time `json:"at"`
}

// Relatives is a declaration, and whether it is of any use now.
type Relatives struct {
	Declaration
	Epoch string `json:"epoch,omitempty"` // of its pseudonyms, if it can be read and names anybody
	Stale bool   `json:"stale"`           // of another epoch than new entries are, or lost
}

// Proposal is a list that nobody has approved yet. It is forgotten after a day,
// and when the gateway stops.
type Proposal struct {
	ID       string    `json:"id"`
	Operator string    `json:"operator"`
	Persons  int       `json:"persons"`
	List     string    `json:"list"`
	Before   string    `json:"before,omitempty"` // list that it would replace
	By       string    `json:"by"`
	Expires  time.Time `json:"expires"`

	text, epoch string
}

// kept is a list as it lies in its file.
type kept struct {
	V        int                `json:"v"`
	Operator string             `json:"operator"`
	Salt     string             `json:"salt"` // so that the same list entered again is another version
	Subjects []audit.SubjectRef `json:"subjects"`
}

// kin is a list as rules use it.
type kin struct {
	epoch   string
	persons map[string]bool // by subjectKey
}

// relatives reads the list of a digest; false if it is not here, or not what was kept.
func (t texts) relatives(digest, operator string) (kin, bool) {
	text, ok := t.read(digest)
	var k kept
	if !ok || json.Unmarshal([]byte(text), &k) != nil || k.V != 1 || k.Operator != operator {
		return kin{}, false
	}
	list := kin{persons: make(map[string]bool, len(k.Subjects))}
	for _, s := range k.Subjects {
		list.epoch, list.persons[subjectKey(s)] = s.Epoch, true
	}
	return list, true
}

// declare reads a list back that holds from its record on.
func (f *fold) declare(e *audit.Entry) {
	operator, ok := strings.CutPrefix(e.Closed.Object, "relatives/")
	if !ok || e.Open.Status != statusDeclared || e.Closed.Rows == nil || len(e.Closed.Approvals) != 2 {
		return
	}
	if f.state.Relatives == nil {
		f.state.Relatives = map[string]*Declaration{}
	}
	d := &Declaration{Operator: operator, Persons: *e.Closed.Rows, List: e.Closed.After, By: e.Closed.Approvals[0], Approver: e.Closed.Approvals[1],
		At: time.UnixMicro(e.Open.Time).UTC()}
	f.state.Relatives[operator] = d
	f.recall(d)
}

// recall fetches the list itself.
func (f *fold) recall(d *Declaration) {
	delete(f.kin, d.Operator)
	if f.lists == nil {
		return
	}
	if k, ok := f.lists(d.List, d.Operator); ok {
		f.kin[d.Operator] = k
	}
}

// related sets the variables that tell whether the account has a subject of the
// entry on its list.
func (f *fold) related(e *audit.Entry) {
	f.vars["relative"], f.vars["relatives"] = false, ""
	if f.state.Relatives[e.Closed.Actor] == nil {
		return
	}
	list, readable := f.kin[e.Closed.Actor]
	relative, stale := false, !readable
	for _, s := range e.Open.Subjects {
		relative = relative || list.persons[subjectKey(s)]
		stale = stale || list.epoch != "" && s.Type == audit.SubjectIDNumber && s.Epoch != list.epoch
	}
	f.vars["relative"], f.vars["relatives"] = relative, RelativesCurrent
	if stale {
		f.vars["relatives"] = RelativesStale
	}
}

// Statuses of a list's records.
const (
	statusProposed = "proposed"
	statusDeclared = "declared"
)

// ErrNames is returned while nobody computes pseudonyms.
var ErrNames = errors.New("假名服务没有应答，名单未登记，请稍后再试 / the pseudonym service does not answer; nothing was entered, try again later")

// Propose enters the whole list of an account, which may be empty. It holds once
// somebody else has approved it. Another proposal for the account takes its place.
func (e *Engine) Propose(ctx context.Context, who, operator string, numbers []identity.Number) (Proposal, error) {
	if who == operator {
		return Proposal{}, ErrConcerned
	}
	if len(numbers) > maxRelatives {
		return Proposal{}, fmt.Errorf("%w: 一人最多 %d 个号码 / at most %d numbers for one account", ErrCode, maxRelatives, maxRelatives)
	}
	list := kept{V: 1, Operator: operator, Salt: rand.Text(), Subjects: []audit.SubjectRef{}}
	now := time.Now()
	for _, n := range numbers {
		s, err := e.name(n, now)
		if err != nil {
			return Proposal{}, err
		}
		list.Subjects = append(list.Subjects, s)
	}
	slices.SortFunc(list.Subjects, func(a, b audit.SubjectRef) int { return cmp.Compare(subjectKey(a), subjectKey(b)) })
	list.Subjects = slices.Compact(list.Subjects)
	text, err := json.Marshal(list)
	if err != nil {
		return Proposal{}, fmt.Errorf("supervise: relatives: %w", err)
	}
	p := Proposal{ID: "R" + rand.Text()[:16], Operator: operator, Persons: len(list.Subjects), List: e.texts.digest(string(text)), By: who,
		Expires: now.Add(proposalLife).UTC().Truncate(time.Second), text: string(text)}
	if n := len(list.Subjects); n > 0 {
		p.epoch = list.Subjects[0].Epoch
		if list.Subjects[n-1].Epoch != p.epoch { // they are sorted; the keys changed in between
			return Proposal{}, ErrNames
		}
	}
	err = e.act(ctx, func() (audit.Entry, error) {
		e.forget(now, operator)
		if len(e.proposals) >= maxProposals {
			return audit.Entry{}, fmt.Errorf("%w: 待批的名单过多，请先批准 / too many lists wait for approval", ErrCode)
		}
		if old := e.fold.state.Relatives[operator]; old != nil {
			p.Before = old.List
		}
		return p.entry(statusProposed, who, supervisorRole), nil
	})
	if err != nil {
		return Proposal{}, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.forget(now, operator) // of two at once, the last one stays
	e.proposals[p.ID] = p
	return p, nil
}

// name is a number's pseudonym of the quarter that runs.
func (e *Engine) name(n identity.Number, at time.Time) (audit.SubjectRef, error) {
	if e.cfg.Names == nil {
		return audit.SubjectRef{}, ErrNames
	}
	s, err := e.cfg.Names.Of(audit.SubjectIDNumber, n.Reveal(), at)
	if err == nil && s.Type != audit.SubjectIDNumber {
		err = audit.ErrNumber
	}
	if err != nil {
		e.log.Error("supervision: no pseudonym for a list of relatives", "err", err) // which holds no number
		return audit.SubjectRef{}, ErrNames
	}
	return s, nil
}

// forget drops proposals that are over, and that for an account.
func (e *Engine) forget(now time.Time, operator string) {
	for id, p := range e.proposals {
		if p.Operator == operator || now.After(p.Expires) {
			delete(e.proposals, id)
		}
	}
}

// Approve lets a list hold: the decision of somebody else than who entered it and
// whom it is about. role is theirs.
func (e *Engine) Approve(ctx context.Context, id, who, role string) (Relatives, error) {
	var operator string
	err := e.act(ctx, func() (audit.Entry, error) {
		p, err := e.proposal(id)
		switch {
		case err != nil:
			return audit.Entry{}, err
		case who == p.By || who == p.Operator:
			return audit.Entry{}, ErrConcerned
		case e.over(p.epoch):
			return audit.Entry{}, fmt.Errorf("%w: 登记后假名密钥已更换（换季或应急轮换），请重新登记 / the pseudonym keys have changed since it was entered (a new quarter, or an emergency rotation); enter it again", ErrCode)
		}
		if err := e.texts.store(p.text); err != nil {
			return audit.Entry{}, fmt.Errorf("supervise: relatives: %w", err)
		}
		delete(e.proposals, id) // without its record it has to be entered again
		operator = p.Operator
		entry := p.entry(statusDeclared, who, role)
		entry.Closed.Approvals = []string{p.By, who}
		return entry, nil
	})
	if err != nil {
		return Relatives{}, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.listed(e.fold.state.Relatives[operator]), nil
}

// entry is the record of a step: digests, never persons.
func (p *Proposal) entry(status, who, role string) audit.Entry {
	return audit.Entry{
		Open: audit.Open{Op: audit.OpSuperviseRelatives, Phase: audit.PhaseDone, Status: status, Number: p.ID, Disclose: audit.DiscloseNever},
		Closed: audit.Closed{Actor: who, Role: role, Object: "relatives/" + p.Operator, Rows: &p.Persons, Before: p.Before,
			After: p.List},
	}
}

// Proposal finds one that waits for approval.
func (e *Engine) Proposal(id string) (Proposal, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.proposal(id)
}

func (e *Engine) proposal(id string) (Proposal, error) {
	p, ok := e.proposals[id]
	if !ok || time.Now().After(p.Expires) {
		return Proposal{}, ErrUnknown
	}
	return p, nil
}

// Relatives lists the accounts' lists, and what waits for approval.
func (e *Engine) Relatives() (declared []Relatives, waiting []Proposal) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range e.fold.state.Relatives {
		declared = append(declared, e.listed(r))
	}
	e.forget(time.Now(), "")
	for _, p := range e.proposals {
		waiting = append(waiting, p)
	}
	slices.SortFunc(declared, func(a, b Relatives) int { return cmp.Compare(a.Operator, b.Operator) })
	slices.SortFunc(waiting, func(a, b Proposal) int { return cmp.Compare(a.Operator, b.Operator) })
	return declared, waiting
}

// listed is a list with what is known of it now.
func (e *Engine) listed(d *Declaration) Relatives {
	list, readable := e.fold.kin[d.Operator]
	return Relatives{*d, list.epoch, !readable || e.over(list.epoch)}
}

// over tells whether pseudonyms of an epoch are no longer those of new entries: the
// quarter has ended, or the running log is one of the same quarter after an emergency
// rotation. A list that names nobody has none, and is never over.
func (e *Engine) over(epoch string) bool {
	if epoch == "" {
		return false
	}
	quarter, running := audit.EpochQuarter(epoch), path.Base(e.cfg.Log.Latest().Origin())
	return quarter != audit.Quarter(time.Now()) || quarter == audit.EpochQuarter(running) && epoch != running
}
