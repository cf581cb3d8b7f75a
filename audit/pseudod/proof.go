package pseudod

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"yizheng/audit"
	"yizheng/identity/jose"
	"yizheng/identity/staff"
)

// Proof tells whether a step with pseudonym keys was taken as Office takes them:
// by statements of the right persons, about this very step, in time. It is what
// audit.Pseudonyms has to believe; the files themselves prove nothing.
func Proof(persons *staff.Register) func(audit.KeyStep) error {
	return func(s audit.KeyStep) error {
		var steps []Step
		var by []string
		for _, statement := range s.Statements {
			step, p, err := read(persons, statement)
			if err != nil {
				return err
			}
			steps, by = append(steps, step), append(by, p.Name)
		}
		if !slices.Equal(by, s.By) {
			return no("不是所列的人签名的 / signed by others than it says")
		}
		if n := len(steps); n == 0 || s.At.Sub(steps[n-1].At).Abs() > stepLife {
			return no("声明与办理时间不符 / not signed when it was taken")
		}
		switch {
		case s.Action == audit.KeyDestroy && len(steps) == 2:
			return destruction(s, steps[0], steps[1])
		case s.Action == audit.KeyRotate && len(steps) == 1:
			return rotation(s, steps[0])
		}
		return no("销毁须两人、轮换须一人的声明 / a destruction has two statements, a rotation one")
	}
}

// destruction holds a step against what one person asked for and another approved.
func destruction(s audit.KeyStep, ask, approval Step) error {
	waited := approval.At.Sub(ask.At)
	switch {
	case s.By[0] == s.By[1]:
		return no("须由另一人批准 / somebody else must approve")
	case ask.Action != Ask || ask.Quarter != s.Epoch || ask.Reason != s.Reason:
		return no("申请的不是这一步 / something else was asked for")
	case approval.Action != Approve || approval.Quarter != s.Epoch || approval.Of != jose.Digest(s.Statements[0]):
		return no("批准的不是这项申请 / something else was approved")
	case waited < -stepLife || waited > askLife+stepLife:
		return no("批准已过期 / approved too late")
	}
	return allowed(ask, s.At)
}

func rotation(s audit.KeyStep, rotate Step) error {
	if rotate.Action != Rotate || rotate.Quarter != audit.EpochQuarter(s.Epoch) || rotate.Quarter != audit.Quarter(s.At) || rotate.Reason != s.Reason || !slices.Contains(RotationReasons(), s.Reason) {
		return no("声明的不是这次轮换 / the statement is not about this rotation")
	}
	return nil
}

// read verifies a statement of a security administrator.
func read(persons *staff.Register, statement string) (s Step, p staff.Person, err error) {
	_, p, err = persons.Verify(statement, TypeStep, func(payload []byte) (time.Time, error) {
		if err := jose.Unmarshal(payload, &s); err != nil {
			return time.Time{}, err
		}
		if s.V != 1 {
			return time.Time{}, errors.New("not a step about pseudonym keys")
		}
		return s.At, nil
	})
	if err == nil && p.Role != staff.Security {
		err = no("%s 不是安全管理员 / is no security administrator", p.Name)
	}
	return s, p, err
}

func no(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{audit.ErrKeyStep}, args...)...)
}
