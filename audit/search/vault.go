package search

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"yizheng/audit"
	"yizheng/identity/staff"
)

// Pseudonyms is who has the keys of the pseudonyms: a Vault in this process, or
// the client of a pseudonym service (package pseudod), which is a Vault in another.
type Pseudonyms interface {
	// Of is for the quarter that runs.
	audit.SubjectNamer
	// Own is for a resident who asks about themself, in each of the quarters, one
	// moment of each. No key is made for it.
	Own(ctx context.Context, idType, number string, quarters []time.Time) (audit.Known, error)
	// Hold computes what an application is after, and tells ListDigest of it.
	Hold(ctx context.Context, sought Sought) (Held, error)
	// Release gives what Hold computed for two approvers' signed decisions, once.
	Release(ctx context.Context, application string, decisions []string) ([]audit.SubjectRef, error)
	// Steps are those that were taken with the keys, the oldest first.
	Steps(ctx context.Context) ([]audit.KeyStep, error)
}

// Held is what is known of an application's pseudonyms until they are released.
type Held struct {
	List string `json:"list,omitempty"`
	// Destroyed are quarters of its period whose keys have been destroyed.
	Destroyed []string `json:"destroyed,omitempty"`
}

// Sought is an application with what it commits to.
type Sought struct {
	Statement string      `json:"statement"`
	Numbers   []string    `json:"numbers"`
	Salt      []byte      `json:"salt"`
	Quarters  []time.Time `json:"quarters"` // one moment of each quarter there is a log of
}

// early is how long before an entry its pseudonyms may have been computed.
const early = time.Hour

// Vault holds pseudonyms of past quarters back until two approvers have signed
// for them. It verifies every signature itself, so that a gateway that asks it
// from another process need not be believed. It keeps no numbers.
type Vault struct {
	keys    *audit.Pseudonyms
	persons *staff.Register
	now     func() time.Time

	mu   sync.Mutex
	held map[string]held
}

// held is an application whose pseudonyms are computed.
type held struct {
	Application
	applicant, list string
	subjects        []audit.SubjectRef
	expires         time.Time
}

// NewVault makes one. Persons are the auditors and approvers; now may be nil.
func NewVault(keys *audit.Pseudonyms, persons *staff.Register, now func() time.Time) *Vault {
	if now == nil {
		now = time.Now
	}
	return &Vault{keys: keys, persons: persons, now: now, held: make(map[string]held)}
}

// Of implements audit.SubjectNamer.
func (v *Vault) Of(idType, number string, at time.Time) (audit.SubjectRef, error) {
	return v.keys.Of(idType, number, at)
}

// Own implements Pseudonyms.
func (v *Vault) Own(_ context.Context, idType, number string, quarters []time.Time) (audit.Known, error) {
	names := make([]string, len(quarters))
	for i, at := range quarters {
		names[i] = audit.Quarter(at)
	}
	return v.keys.Known(idType, number, names)
}

// Hold implements Pseudonyms. Only quarters that the application's period
// touches are computed.
func (v *Vault) Hold(ctx context.Context, s Sought) (Held, error) {
	in, p, err := openApplication(v.persons, s.Statement)
	if err != nil || p.Role != staff.Auditor {
		return Held{}, badStatement(err)
	}
	if where, zh, en := in.fault(v.now(), s.Numbers, s.Salt); en != "" {
		return Held{}, invalid(where, zh, en)
	}
	var out Held
	h := held{Application: in, applicant: p.Name, expires: v.now().Add(pendingLife)}
	quarters := slices.DeleteFunc(slices.Clone(s.Quarters), func(at time.Time) bool { return !in.touches(at) })
	for _, n := range s.Numbers {
		known, err := v.Own(ctx, audit.SubjectIDNumber, n, quarters)
		if err != nil {
			return Held{}, err
		}
		h.subjects, out.Destroyed = append(h.subjects, known.Subjects...), known.Destroyed
	}
	if len(h.subjects) == 0 { // an empty list must never become a search without persons
		if len(out.Destroyed) > 0 {
			return Held{}, refuse(http.StatusConflict, "APPLICATION_STATE", "from", "这一季度的对照已按期销毁，无法再按人检索："+strings.Join(out.Destroyed, "、"),
				"the pseudonym keys of this period have been destroyed, nobody can be found in it: "+strings.Join(out.Destroyed, ", "))
		}
		return Held{}, invalid("from", "这段时间的日志中没有这类号码", "the log of this period names nobody by such a number")
	}
	h.list = ListDigest(h.subjects)
	v.mu.Lock()
	defer v.mu.Unlock()
	for id, old := range v.held {
		if v.now().After(old.expires) {
			delete(v.held, id)
		}
	}
	if len(v.held) >= maxPending {
		return Held{}, refuse(http.StatusTooManyRequests, "TOO_MANY_REQUESTS", "", "请求过于频繁，请稍后再试", "too many requests; try again later")
	}
	v.held[ID(s.Statement)] = h
	out.List = h.list
	return out, nil
}

// Steps implements Pseudonyms.
func (v *Vault) Steps(context.Context) ([]audit.KeyStep, error) { return v.keys.Steps() }

// touches tells whether the quarter of a moment has a part of the period.
func (a Application) touches(at time.Time) bool {
	q := audit.Quarter(at)
	return audit.Quarter(a.From.Add(-early)) <= q && q <= audit.Quarter(a.To)
}

// Release implements Pseudonyms.
func (v *Vault) Release(_ context.Context, application string, decisions []string) ([]audit.SubjectRef, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	h, ok := v.held[application]
	if !ok || v.now().After(h.expires) {
		return nil, noApplication()
	}
	var approvers []string
	for _, statement := range decisions {
		d, p, err := OpenDecision(v.persons, statement)
		if err != nil || d.Of != application || !h.approvedBy(d, p, v.now()) {
			return nil, badStatement(err)
		}
		if !slices.Contains(approvers, p.Name) {
			approvers = append(approvers, p.Name)
		}
	}
	if len(approvers) < approvals {
		return nil, notApproved()
	}
	delete(v.held, application)
	return h.subjects, nil
}

// approvedBy: the decision is an approval that names this very list, be it of the
// gateway where it was applied or of another, signed since the application by
// somebody else who may.
func (h held) approvedBy(d Decision, p staff.Person, now time.Time) bool {
	return (p.Role == staff.Approver || p.Role == staff.Auditor) && p.Name != h.applicant && d.Action == Approve && d.names(h.list) &&
		!d.At.Before(h.At.Add(-statementLife)) && !d.At.After(now.Add(statementLife))
}

func notApproved() error {
	return refuse(http.StatusConflict, "APPLICATION_STATE", "id", "须先由另外两人批准", "two other persons must approve it first")
}
