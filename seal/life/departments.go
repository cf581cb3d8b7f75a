package life

import (
	"fmt"

	"yizheng/identity/staff"
	"yizheng/seal"
)

// entitled holds a person to the seals of the departments they act for: one person's
// word suspends a seal, and must not suspend everybody's. The department is the credit
// code in the holder's certificate, of the seal in use and of what is asked for. It is
// asked when a step is entered, and not when it is read again: who may act for which
// department changes.
func (r *Register) entitled(step Step, p staff.Person) error {
	if p.Role != staff.Applicant && len(p.Departments) == 0 {
		return nil
	}
	holders := [][]byte{step.Holder}
	if step.Order != nil {
		holders = append(holders, step.Order.Holder)
	}
	if s := r.book.seals[step.Seal]; s != nil {
		if s.Current != nil {
			holders = append(holders, s.Current.Holder)
		}
		if c := s.Pending; c != nil && c.Order != nil {
			holders = append(holders, c.Order.Holder)
		} else if c != nil && c.Edition != nil {
			holders = append(holders, c.Edition.Holder)
		}
	}
	for _, der := range holders {
		if der == nil {
			continue
		}
		cert, err := seal.ParseCertificate(der)
		if err != nil {
			return err
		}
		if code := cert.Subject.SerialNumber; !p.ActsFor(code) {
			return &Refusal{Seal: step.Seal, Action: string(step.Action), Chinese: fmt.Sprintf("%s 不能代表单位 %s 办理", p.Name, code),
				English: fmt.Sprintf("%s does not act for the department %s", p.Name, code)}
		}
	}
	return nil
}
