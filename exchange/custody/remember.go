package custody

import (
	"context"
	"crypto/ecdsa"
	"fmt"

	"yizheng/audit"
	"yizheng/seal"
	"yizheng/seal/life"
)

// Remembered holds a register against what others remember of it: recorded is the
// head in the newest record of a step (LastRecorded), "" if there is none; the
// status lists are those of trust, which may be nil. It returns
// life.ErrRolledBack, wrapped.
func Remembered(r *life.Register, trust *seal.Trust, recorded string) error {
	if _, err := r.From(recorded); err != nil {
		return fmt.Errorf("%w, as the audit log tells (审计日志所记)", err)
	}
	if trust == nil {
		return nil
	}
	for kid, l := range trust.StatusLists() {
		if l.Head == "" || !r.Makes(kid) {
			continue // of a maker who keeps another register, or none
		}
		if err := r.Remembers(l.Number, l.Head); err != nil {
			return fmt.Errorf("%w, as a status list of the maker tells (状态表所记)", err)
		}
	}
	return nil
}

// LastRecorded is the register's head in the newest record of a step, read out of
// the directories of an audit log, oldest first, whether the log is running or not.
// It is "" if there is none.
func LastRecorded(ctx context.Context, dirs []string, keys ...*ecdsa.PublicKey) (head string, err error) {
	for i := len(dirs) - 1; i >= 0 && head == ""; i-- {
		err := audit.Find(ctx, dirs[i], []audit.Op{audit.OpSealStep}, func(e audit.Stored) error {
			head = e.Entry.Closed.After
			return nil
		}, keys...)
		if err != nil {
			return "", fmt.Errorf("read steps of the seal register in %s: %w", dirs[i], err)
		}
	}
	return head, nil
}
