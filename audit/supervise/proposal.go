package supervise

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"yizheng/audit"
	"yizheng/identity"
)

// A list of relatives is entered twice, by two persons, each from the declaration
// that the operator has signed. If the second only saw how many there are, the first
// could enter anybody as a relative, and LZ-13 would tell who looks that person up.
// Whether they are relatives, nobody here can know: the declaration says so.

// Bounds of lists.
const (
	maxRelatives = 100
	maxProposals = 200
	proposalLife = 24 * time.Hour
)

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
	subjects    []audit.SubjectRef
}

// Statuses of a list's records.
const (
	statusProposed = "proposed"
	statusDeclared = "declared"
	statusVoid     = "void" // who was to approve it has another list
)

// Refusals of lists.
var (
	// ErrNames is returned while nobody computes pseudonyms.
	ErrNames = errors.New("假名服务没有应答，未办理，请稍后再试 / the pseudonym service does not answer; nothing was done, try again later")
	// ErrDiffer: the approver's list is another one than was entered. Which numbers
	// differ is told to nobody.
	ErrDiffer = errors.New("与登记的名单不一致，该名单已作废；请双方对照本人签字的申报表，重新登记 / it is not the list that was entered, which is void now: hold both against the signed declaration, and enter it again")
)

// Propose enters the whole list of an account, which may be empty. It holds once
// somebody else has approved it. Another proposal for the account takes its place.
func (e *Engine) Propose(ctx context.Context, who, operator string, numbers []identity.Number) (Proposal, error) {
	if who == operator {
		return Proposal{}, ErrConcerned
	}
	subjects, epoch, err := e.subjects(numbers)
	if err != nil {
		return Proposal{}, err
	}
	now := time.Now()
	list := kept{V: 1, Operator: operator, Salt: rand.Text(), Subjects: subjects}
	text, err := json.Marshal(list)
	if err != nil {
		return Proposal{}, fmt.Errorf("supervise: relatives: %w", err)
	}
	p := Proposal{ID: "R" + rand.Text()[:16], Operator: operator, Persons: len(subjects), List: e.texts.digest(string(text)), By: who,
		Expires: now.Add(proposalLife).UTC().Truncate(time.Second), text: string(text), epoch: epoch, subjects: subjects}
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

// subjects are the pseudonyms of a whole list, in order and each once, and the epoch
// they are of: "" if there are none.
func (e *Engine) subjects(numbers []identity.Number) (list []audit.SubjectRef, epoch string, err error) {
	if len(numbers) > maxRelatives {
		return nil, "", fmt.Errorf("%w: 一人最多 %d 个号码 / at most %d numbers for one account", ErrCode, maxRelatives, maxRelatives)
	}
	list = []audit.SubjectRef{}
	now := time.Now()
	for _, n := range numbers {
		s, err := e.name(n, now)
		if err != nil {
			return nil, "", err
		}
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b audit.SubjectRef) int { return cmp.Compare(subjectKey(a), subjectKey(b)) })
	list = slices.Compact(list)
	if len(list) == 0 {
		return list, "", nil
	}
	epoch = list[0].Epoch
	if list[len(list)-1].Epoch != epoch { // they are sorted; the keys changed in between
		return nil, "", ErrNames
	}
	return list, epoch, nil
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
// whom it is about. role is theirs. They give the whole list again, as the signed
// declaration has it; if it is any other than what was entered, that is void, which
// is recorded, and the answer is ErrDiffer. So nobody can try numbers out.
func (e *Engine) Approve(ctx context.Context, id, who, role string, numbers []identity.Number) (Relatives, error) {
	subjects, epoch, err := e.subjects(numbers)
	if err != nil {
		return Relatives{}, err
	}
	var operator string
	differ := false
	err = e.act(ctx, func() (audit.Entry, error) {
		p, err := e.proposal(id)
		switch {
		case err != nil:
			return audit.Entry{}, err
		case who == p.By || who == p.Operator:
			return audit.Entry{}, ErrConcerned
		case e.over(p.epoch) || p.epoch != "" && epoch != "" && epoch != p.epoch:
			return audit.Entry{}, fmt.Errorf("%w: 登记后假名密钥已更换（换季或应急轮换），请重新登记 / the pseudonym keys have changed since it was entered (a new quarter, or an emergency rotation); enter it again", ErrCode)
		}
		if differ = !slices.Equal(subjects, p.subjects); differ {
			delete(e.proposals, id) // there is one try, recorded or not
			return p.void(who, role), nil
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
	if err == nil && differ {
		err = ErrDiffer
	}
	if err != nil {
		return Relatives{}, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.listed(e.fold.state.Relatives[operator]), nil
}

// void is the record that somebody who was to approve a list has another one.
func (p *Proposal) void(who, role string) audit.Entry {
	entry := p.entry(statusVoid, who, role)
	entry.Open.Phase, entry.Open.Outcome = audit.PhaseDenied, "LISTS_DIFFER"
	return entry
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
