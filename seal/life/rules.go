package life

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"yizheng/identity/staff"
)

// rule says when an action is allowed, and to whom.
type rule struct {
	from    []State      // states of the seal; nil: none yet, or declined
	pending bool         // something must be waiting, and the step names it
	stage   State        // in which stage, for pending; "" any
	roles   []staff.Role // of the person
	reason  bool         // a reason is needed
}

var (
	askers   = []staff.Role{staff.Applicant, staff.Security}
	deciders = []staff.Role{staff.Security}
	makers   = []staff.Role{staff.Maker, staff.Security}
)

// rules is the whole state machine but for what take does with a step it allows.
var rules = map[Action]rule{
	Apply:   {roles: askers},
	Import:  {roles: askers},
	Renew:   {from: []State{Issued}, roles: askers},
	Replace: {from: []State{Issued, Suspended, Revoked}, roles: askers, reason: true},
	Suspend: {from: []State{Issued}, roles: askers, reason: true},
	Resume:  {from: []State{Suspended}, roles: askers, reason: true},
	Revoke:  {from: []State{Issued, Suspended}, roles: askers, reason: true},
	Destroy: {from: []State{Revoked}, roles: askers, reason: true},
	Approve: {pending: true, stage: Applied, roles: deciders},
	Reject:  {pending: true, roles: askers},
	Test:    {from: []State{Issued}, roles: []staff.Role{staff.Applicant, staff.Security, staff.Maker}},
	Make:    {pending: true, stage: Approved, roles: makers},
	Issue:   {pending: true, stage: Made, roles: deciders},
}

var plainID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// allow holds a step of person p against the rules; s is nil for a seal the
// register does not know. Errors are *Refusal.
func allow(s *Seal, step Step, p staff.Person) error {
	refuse := func(zh, en string) error {
		return &Refusal{Seal: step.Seal, Action: string(step.Action), Chinese: zh, English: en}
	}
	r, known := rules[step.Action]
	switch {
	case !known:
		return refuse("没有这种步骤", "no such action")
	case !plainID.MatchString(step.Seal):
		return refuse("编号只能用字母、数字和 ._-，至多 64 个", "an id is letters, digits and ._- only, at most 64")
	case !slices.Contains(r.roles, p.Role):
		return refuse(fmt.Sprintf("%s 的角色 %s 不可办理此步", p.Name, p.Role), fmt.Sprintf("the role %s of %s does not allow this", p.Role, p.Name))
	case r.reason && !slices.Contains(Reasons(), step.Reason):
		return refuse("须给出原因代码", "a reason code is needed")
	case s == nil && (r.from != nil || r.pending):
		return refuse("登记簿中没有这枚印章", "the register has no such seal")
	case r.pending:
		return allowPending(s, step, p, r, refuse)
	case s != nil && s.Pending != nil && step.Action != Suspend && step.Action != Test:
		return refuse(fmt.Sprintf("已有待办的 %s，请先批准或驳回", s.Pending.Action), fmt.Sprintf("%s is pending; approve or reject it first", s.Pending.Action))
	case s != nil && r.from == nil && s.State != Declined:
		return refuse("这个编号已经用过", "this id is taken")
	case s != nil && r.from != nil && !slices.Contains(r.from, s.State):
		return refuse(fmt.Sprintf("印章状态为 %s，只有 %s 才能办理", s.State, join(r.from)), fmt.Sprintf("the seal is %s; this needs %s", s.State, join(r.from)))
	}
	return nil
}

func join(states []State) string {
	var list []string
	for _, s := range states {
		list = append(list, string(s))
	}
	return strings.Join(list, "/")
}

// allowPending judges what is done about something that waits. Nobody approves
// what they asked for, makes what they applied for, or issues what they made.
func allowPending(s *Seal, step Step, p staff.Person, r rule, refuse func(zh, en string) error) error {
	c := s.Pending
	switch {
	case c == nil:
		return refuse("没有待办事项", "nothing is pending")
	case step.Of != c.Asked:
		return refuse("所指的申请不是这枚印章当前待办的那一件", "it names another request than the one pending for this seal")
	case r.stage != "" && c.Stage != r.stage:
		return refuse(fmt.Sprintf("待办的 %s 处于 %s 阶段，此步须在 %s 阶段", c.Action, c.Stage, r.stage), fmt.Sprintf("the pending %s is %s; this needs %s", c.Action, c.Stage, r.stage))
	case step.Action == Reject:
		return nil
	case step.Action == Issue && c.MadeBy == p.Name:
		return refuse("制作人不得自行发放，须由另一人办理", "who made it may not issue it; somebody else must")
	case step.Action != Issue && c.By == p.Name:
		return refuse("申请人不得办理自己的申请，须由另一人办理", "nobody acts on their own request; somebody else must")
	case step.Action == Issue && c.Action == Renew && s.State != Issued:
		return refuse("印章已不是 issued，不能发放续期；请先恢复", "the seal is no longer issued, so a renewal cannot be; resume it first")
	}
	return nil
}

// steady holds a step's time against the step before and the clock.
func steady(at, last, now time.Time) error {
	if at.Before(last) || at.After(now.Add(5*time.Minute)) {
		return ErrTime
	}
	return nil
}
