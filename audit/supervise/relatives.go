package supervise

import (
	"cmp"
	"encoding/json"
	"path"
	"slices"
	"strings"
	"time"

	"yizheng/audit"
)

// Relatives of operators (查本人亲属, 廉政风险点): whom an account may not look up. A
// supervisor enters an operator's list, somebody who guards searches for persons
// enters the same one again (proposal.go), and from its record on rules know of it
// (relative, relatives).
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
