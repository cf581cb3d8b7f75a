package pseudod

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"yizheng/audit"
	"yizheng/identity/jose"
	"yizheng/identity/staff"
)

// Office takes the steps that security administrators sign about pseudonym keys:
// the destruction of a quarter's, which one asks for and another approves, and the
// emergency rotation, which does not wait for a second person. It works on the
// keys' directory, whoever has it open; gateways record what was done. Keys believe
// Proof of the same persons.
type Office struct {
	Dir     string
	Keys    *audit.Pseudonyms
	Persons *staff.Register
	Now     func() time.Time
}

// TypeStep is the JWS typ of a step.
const TypeStep = "yz-pseudonym-step+jws"

// Action is what a person signs.
type Action string

// Actions.
const (
	Ask     Action = "destroy" // wants a quarter's keys destroyed
	Approve Action = "approve"
	Reject  Action = "reject"
	Rotate  Action = "rotate"
)

// Step is what a person signs.
type Step struct {
	V       int       `json:"v"` // 1
	Action  Action    `json:"action"`
	Quarter string    `json:"quarter"`          // 2023q1; of a rotation the one that runs
	Reason  string    `json:"reason,omitempty"` // asking, rotating: a code
	Of      string    `json:"of,omitempty"`     // approving, rejecting: jose.Digest of the request
	At      time.Time `json:"at"`
}

const (
	// Retention is how many years pseudonyms are kept: what providing personal data
	// demands of records (PIPL, article 56).
	Retention = 3
	// ReasonRetention is the reason for a destruction in due course.
	ReasonRetention = "RETENTION"

	stepLife = 10 * time.Minute   // from a signature to its being taken
	askLife  = 7 * 24 * time.Hour // from asking to the approval
)

// EarlyReasons are those for a destruction before the retention is over.
func EarlyReasons() []string { return []string{"AUTHORITY_ORDER", "COMPROMISED"} }

// RotationReasons are those for an emergency rotation.
func RotationReasons() []string { return []string{"COMPROMISED", "SUSPECTED", "LOST"} }

// Sign is the step as a person's statement.
func (s Step) Sign(k *jose.Key) (string, error) {
	s.V, s.At = 1, s.At.UTC().Truncate(time.Second)
	payload, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("pseudonym keys: %w", err)
	}
	return jose.Sign(k, TypeStep, payload)
}

// Pending is what somebody asked for and nobody has approved yet.
type Pending struct {
	Step
	By        string
	Statement string
}

// Pending is that of a quarter; nil for none, or one that is too old.
func (o Office) Pending(quarter string) (*Pending, error) {
	text, err := os.ReadFile(o.asked(quarter))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("pseudonym keys: %w", err)
	}
	s, p, err := read(o.Persons, string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.asked(quarter), err)
	}
	if s.Action != Ask || s.Quarter != quarter || o.Now().Sub(s.At) > askLife {
		return nil, nil
	}
	return &Pending{s, p.Name, string(text)}, nil
}

func (o Office) asked(quarter string) string { return filepath.Join(o.Dir, quarter+".asked") }

// Take takes a signed step. done is nil for a request that waits for somebody
// else's approval, and for a rejection. Errors wrap audit.ErrKeyStep, or are
// those of verifying and of the files.
func (o Office) Take(statement string) (done *audit.KeyStep, err error) {
	s, p, err := read(o.Persons, statement)
	if err != nil {
		return nil, err
	}
	if age := o.Now().Sub(s.At); age.Abs() > stepLife {
		return nil, no("声明已过时，请校时后重新签名 / the statement is too old or in the future; check the clock and sign anew")
	}
	if audit.EpochQuarter(s.Quarter) != s.Quarter || s.Quarter == "" {
		return nil, no("季度须如 2023q1 / a quarter looks like 2023q1")
	}
	pending, err := o.Pending(s.Quarter)
	if err != nil {
		return nil, err
	}
	switch s.Action {
	case Rotate:
		return o.rotate(s, p, statement)
	case Ask:
		return nil, o.ask(s, pending, statement)
	case Approve, Reject:
		return o.decide(s, p, pending, statement)
	}
	return nil, no("没有这种步骤 / no such action")
}

func (o Office) rotate(s Step, p staff.Person, statement string) (*audit.KeyStep, error) {
	if !slices.Contains(RotationReasons(), s.Reason) || s.Quarter != audit.Quarter(o.Now()) {
		return nil, no("须给出原因代码，且为当季：%v / needs a reason code, and the quarter that runs", RotationReasons())
	}
	done, err := o.Keys.Rotate(audit.KeyStep{Reason: s.Reason, By: []string{p.Name}, Statements: []string{statement}, At: o.Now().UTC()}, o.Now())
	return &done, err
}

// ask notes a request, if the quarter's time is over or the reason is good enough.
func (o Office) ask(s Step, pending *Pending, statement string) error {
	if pending != nil {
		return no("%s 已申请销毁 %s，待另一人批准 / has asked for it; somebody else must approve", pending.By, s.Quarter)
	}
	if err := allowed(s, o.Now()); err != nil {
		return err
	}
	if err := audit.ReplaceFile(o.asked(s.Quarter), []byte(statement)); err != nil {
		return fmt.Errorf("pseudonym keys: %w", err)
	}
	return nil
}

// allowed is the rule of when a quarter's keys may be destroyed.
func allowed(s Step, now time.Time) error {
	if s.Quarter >= audit.Quarter(now) {
		return no("%s 尚未结束；密钥泄露时先用 rotate -emergency / has not ended; when its keys are compromised use rotate -emergency", s.Quarter)
	}
	due := audit.Quarter(now.AddDate(-Retention, 0, 0))
	switch {
	case slices.Contains(EarlyReasons(), s.Reason):
		return nil
	case s.Reason != ReasonRetention:
		return no("原因代码须为 %s 或 %v / the reason must be one of these", ReasonRetention, EarlyReasons())
	case s.Quarter >= due:
		return no("%s 未满 %d 年保存期，提前销毁须给出原因代码 %v / is kept for %d years; earlier needs a reason", s.Quarter, Retention, EarlyReasons(), Retention)
	}
	return nil
}

func (o Office) decide(s Step, p staff.Person, pending *Pending, statement string) (*audit.KeyStep, error) {
	switch {
	case pending == nil || s.Of != jose.Digest(pending.Statement):
		return nil, no("没有待批准的这项申请 / no such request is pending")
	case s.Action == Approve && p.Name == pending.By:
		return nil, no("申请人不得批准自己的申请，须由另一人办理 / nobody approves their own request; somebody else must")
	}
	if s.Action == Reject {
		return nil, os.Remove(o.asked(s.Quarter))
	}
	if err := allowed(pending.Step, o.Now()); err != nil {
		return nil, err
	}
	done, err := o.Keys.Destroy(audit.KeyStep{Epoch: s.Quarter, Reason: pending.Reason, By: []string{pending.By, p.Name},
		Statements: []string{pending.Statement, statement}, At: o.Now().UTC()})
	if err != nil {
		return nil, err
	}
	return &done, os.Remove(o.asked(s.Quarter))
}
