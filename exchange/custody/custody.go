// Package custody looks after the seals of a running gateway: it holds the
// register of seals (package seal/life), the seals that sign (package seal) and
// the status lists of the trust directory, and sees to it that
//
//   - every step of the register is in the audit log before it has an effect here,
//     whoever took it: this gateway's API, or a command on the same directory;
//   - a suspended or revoked seal signs nothing any more from then on, without a
//     restart;
//   - a register or a status list that was put back is noticed, after a restart
//     too: the audit log remembers the register's last step, and status lists
//     carry its number. The seals stay as they were seen last, and an alarm is
//     recorded.
//
// Seals that are not in the register yet, as those of an older installation, work as
// they stand: they have the state that their own files say.
package custody

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"yizheng/audit"
	"yizheng/identity/staff"
	"yizheng/seal"
	"yizheng/seal/life"
)

// Config of Open.
type Config struct {
	Dir      string // of the seals
	Registry seal.RegistryOptions
	Persons  *staff.Register
	Audit    *audit.Log
	Earlier  []*audit.Archive // earlier quarters of Audit, oldest first
	Logger   *slog.Logger
	Now      func() time.Time
}

// Custody is safe for concurrent use.
type Custody struct {
	register *life.Register
	seals    *seal.Registry
	trust    *seal.Trust
	log      *audit.Log
	logger   *slog.Logger

	mu       sync.Mutex
	recorded string // head of the register that the audit log has

	alarms  sync.Mutex
	alarmed string // what the last alarm said
}

// Open opens register and seals. It returns life.ErrRolledBack, wrapped, if the
// audit log or a status list knows a step that the register has not.
func Open(ctx context.Context, c Config) (*Custody, error) {
	k := &Custody{trust: c.Registry.Trust, log: c.Audit, logger: c.Logger}
	if k.logger == nil {
		k.logger = slog.New(slog.DiscardHandler)
	}
	var err error
	if k.register, err = life.Open(c.Dir, life.Options{Persons: c.Persons, Trust: c.Registry.Trust, Now: c.Now}); err != nil {
		return nil, err
	}
	if k.recorded, err = lastRecorded(ctx, c.Audit, c.Earlier); err != nil {
		return nil, err
	}
	if err := Remembered(k.register, k.trust, k.recorded); err != nil {
		return nil, err
	}
	c.Registry.States = k.register.States
	if k.seals, err = seal.OpenRegistry(c.Dir, c.Registry); err != nil {
		return nil, err
	}
	return k, k.takeUp(ctx)
}

// Seals are the seals in use.
func (k *Custody) Seals() *seal.Registry { return k.seals }

// Register is the register, for reading; steps go through Append.
func (k *Custody) Register() *life.Register { return k.register }

// Append enters a person's signed step, records it and lets it take effect.
// Errors are those of life.Register.Append but for ErrFiles, which is an alarm: the
// files are tried again. Audit errors mean that the step is in the register and not
// yet in effect.
func (k *Custody) Append(ctx context.Context, statement string) (life.Entry, error) {
	e, err := k.register.Append(statement)
	if errors.Is(err, life.ErrFiles) {
		k.alarm("SEAL_FILES", err)
	} else if err != nil {
		return e, err
	}
	return e, k.takeUp(ctx)
}

// takeUp records what is new in the register, and then lets it hold.
func (k *Custody) takeUp(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	fresh, err := k.register.From(k.recorded)
	if err != nil {
		return fmt.Errorf("%w, as the audit log tells (审计日志所记)", err)
	}
	if len(fresh) == 0 {
		return nil
	}
	entries := make([]audit.Entry, len(fresh))
	for i, e := range fresh {
		entries[i] = record(e)
	}
	for len(entries) > 0 { // as many at a time as any log takes
		n := min(len(entries), 64)
		if _, err := k.log.Append(context.WithoutCancel(ctx), entries[:n]...); err != nil {
			return fmt.Errorf("record steps of the seal register: %w", err)
		}
		entries = entries[n:]
	}
	k.recorded = fresh[len(fresh)-1].After
	if err := k.seals.Reload(); err != nil { // a seal that is faulty now is refused by Sign
		k.alarm("SEAL_FILES", err)
	}
	return nil
}

// record is the audit entry of a step: who, what, why, and the register before and after.
func record(e life.Entry) audit.Entry {
	return audit.Entry{
		Open: audit.Open{Op: audit.OpSealStep, Phase: audit.PhaseDone, Status: string(e.Action)},
		Closed: audit.Closed{Actor: e.By.Name, Role: string(e.By.Role), Auth: "signature", Object: "seal/" + e.Seal,
			Reason: string(e.Reason), Before: e.Before, After: e.After},
	}
}

// lastRecorded is the head of the register in the newest record of a step.
func lastRecorded(ctx context.Context, log *audit.Log, earlier []*audit.Archive) (head string, err error) {
	const block = 4096
	for to := log.Head().Size; to > 0 && head == ""; to -= min(to, block) {
		err := log.Read(ctx, to-min(to, block), to, func(_ uint64, e audit.Stored) error {
			if e.Entry.Open.Op == audit.OpSealStep {
				head = e.Entry.Closed.After
			}
			return nil
		})
		if err != nil {
			return "", fmt.Errorf("read steps of the seal register in the audit log: %w", err)
		}
	}
	for i := len(earlier) - 1; i >= 0 && head == ""; i-- {
		err := earlier[i].Find(ctx, audit.OpSealStep, func(_ uint64, e audit.Stored) error {
			head = e.Entry.Closed.After
			return nil
		})
		if err != nil {
			return "", fmt.Errorf("read steps of the seal register in %s: %w", earlier[i].Origin(), err)
		}
	}
	return head, nil
}

// interval is how soon a step taken elsewhere takes effect here.
const interval = 250 * time.Millisecond

// Watch takes up steps and status lists that others write, until ctx ends.
func (k *Custody) Watch(ctx context.Context) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if k.register.Changed() || n%4 == 0 && k.register.Unfinished() {
			k.Refresh(ctx)
		}
		if n%4 == 0 && k.trust != nil {
			if err := k.trust.ReloadStatus(); err != nil {
				k.alarm("SEAL_STATUS_LIST", err)
			}
		}
	}
}

// Refresh takes up steps that other processes have entered.
func (k *Custody) Refresh(ctx context.Context) {
	again := k.register.Unfinished()
	_, err := k.register.Reload()
	if errors.Is(err, life.ErrFiles) { // what the steps say holds for all seals
		k.alarm("SEAL_FILES", err)
		err = nil
	} else if err == nil && again {
		err = k.seals.Reload()
	}
	if err == nil {
		err = k.takeUp(ctx)
	}
	switch {
	case errors.Is(err, life.ErrBusy): // next time
	case err != nil:
		k.alarm("SEAL_REGISTER", err)
	}
}

// alarm records that something is wrong with the seals, once for each reason.
func (k *Custody) alarm(code string, err error) {
	k.alarms.Lock()
	defer k.alarms.Unlock()
	if k.alarmed == err.Error() {
		return
	}
	k.alarmed = err.Error()
	k.logger.Error("seals", "code", code, "err", err)
	e := audit.Entry{Open: audit.Open{Op: audit.OpAlarm, Phase: audit.PhaseDone, Outcome: code}}
	if err := k.log.AppendAsync(e); err != nil {
		k.logger.Error("alarm not recorded", "code", code, "err", err)
	}
}
