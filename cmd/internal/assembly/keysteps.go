package assembly

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"yizheng/audit"
	"yizheng/audit/search"
	"yizheng/identity/jose"
)

// KeySteps takes up what security administrators have done to a node's pseudonym
// keys: every step is recorded in the node's log, once, and a log goes on in a
// shard of its own when an emergency has opened another epoch.
//
// What was done is done. The log remembers it (keyMemory), and while the keys are
// as they were before, as when a backup was put back, there is no business.
type KeySteps struct {
	pseudonyms search.Pseudonyms
	memory     *keyMemory
	logger     *slog.Logger
	failed     bool // the last look, which is said once

	stop    context.CancelFunc
	reading sync.WaitGroup
}

// AlarmKeys is the outcome of an alarm about the pseudonym keys.
const AlarmKeys = "PSEUDONYM_KEYS"

// ErrKeyStepUndone is returned while the keys are as they were before a step that
// the log tells of.
var ErrKeyStepUndone = errors.New("假名密钥目录退回到了以前的状态（如恢复了旧备份）：请换回最新的目录，或重新办理（销毁：gateway pseudod destroy；轮换：gateway pseudod rotate，直至所启用的一期晚于所列），见 docs/OPERATIONS.md 五 / " +
	"the directory of pseudonym keys is as it was before, as after putting back an old backup: put back the newest, or do it again (destroy; or rotate until the epoch is later than the one named), see docs/OPERATIONS.md")

// NewKeySteps are those of the keys that name persons in the log below dir. key is
// the log's own. Nothing is read yet.
func NewKeySteps(dir string, key *jose.Key, pseudonyms search.Pseudonyms, log *slog.Logger) *KeySteps {
	return &KeySteps{pseudonyms: pseudonyms, memory: newKeyMemory(dir, key), logger: log}
}

const keyStepsWait = 5 * time.Second

// Epoch is the one that entries are written in at a moment, and those of its
// quarter that are compromised.
func (k *KeySteps) Epoch(ctx context.Context, now time.Time) (epoch string, compromised []string, err error) {
	steps, err := k.steps(ctx)
	if err != nil {
		return "", nil, err
	}
	epoch, compromised = epochOf(steps, audit.Quarter(now))
	return epoch, compromised, nil
}

func (k *KeySteps) steps(ctx context.Context) ([]audit.KeyStep, error) {
	ctx, cancel := context.WithTimeout(ctx, keyStepsWait)
	defer cancel()
	return k.pseudonyms.Steps(ctx)
}

func epochOf(steps []audit.KeyStep, quarter string) (epoch string, compromised []string) {
	epoch = quarter
	for _, s := range steps {
		if s.Action == audit.KeyRotate && audit.EpochQuarter(s.Epoch) == quarter {
			epoch, compromised = max(epoch, s.Epoch), append(compromised, s.Compromised)
		}
	}
	return epoch, compromised
}

// Begin recalls what the log has told before, and reads what it has not in a
// goroutine, until Close: a start does not wait for that. While a step that is
// known is undone, log takes no business from now on.
func (k *KeySteps) Begin(ctx context.Context, log *audit.Log) {
	if err := k.memory.recall(log); err != nil {
		k.logger.ErrorContext(ctx, "所记的假名密钥步骤不可信，不予采用，由日志重新读取 / what was remembered of steps with pseudonym keys is not trusted: the log is read again; find out who changed the file", "file", k.memory.file, "err", err)
		k.alarm(ctx, log)
	}
	_, _ = k.judge(ctx, log) // look says what is wrong
	ctx, k.stop = context.WithCancel(context.WithoutCancel(ctx))
	k.reading.Go(func() { k.read(ctx, log) })
}

// read reads all shards, the newest first, since what was done last matters most.
func (k *KeySteps) read(ctx context.Context, log *audit.Log) {
	began := time.Now()
	entries, doubts := uint64(0), 0
	for _, name := range k.memory.unread() {
		n, err := k.memory.read(ctx, name)
		if ctx.Err() != nil {
			return
		}
		entries += n
		if err != nil {
			doubts++
			k.logger.ErrorContext(ctx, "这一卷审计日志与所记的不符或读不了，不知其中对假名密钥做过什么；请用 gateway audit verify 查明 / this shard of the audit log is not as it was remembered, or cannot be read for what was done to the pseudonym keys: see gateway audit verify", "shard", name, "err", err)
		}
	}
	k.memory.ended()
	k.logger.InfoContext(ctx, "audit log read for steps with pseudonym keys", "entries", entries, "took", time.Since(began).Round(time.Millisecond))
	if doubts > 0 {
		k.alarm(ctx, log)
	}
}

// Unread are the shards that could not be read for steps; records of steps in
// them may be written twice, and what they tell of is not noticed if it is undone.
func (k *KeySteps) Unread() []string { return k.memory.failed() }

// Close ends the reading, and remembers how far it was. The log is still open.
func (k *KeySteps) Close() error {
	if k.stop == nil {
		return nil
	}
	k.stop()
	k.reading.Wait()
	return k.memory.write(true)
}

// judge holds the steps there are against the log's, and the log while one is undone.
func (k *KeySteps) judge(ctx context.Context, log *audit.Log) (steps []audit.KeyStep, err error) {
	steps, err = k.steps(ctx)
	if err == nil {
		err = k.memory.undone(steps)
	}
	k.hold(ctx, log, err)
	if errors.Is(err, audit.ErrKeyStepUnproven) { // nothing of it is followed
		steps = nil
	}
	return steps, err
}

// look takes up what is new. An emergency's epoch begins whatever else is wrong. A
// service that is gone is asked again: without it no business is recorded anyway.
func (k *KeySteps) look(ctx context.Context, t *Turner) {
	steps, err := k.judge(ctx, t.Log)
	latest := path.Base(t.Log.Latest().Origin())
	if epoch, compromised := epochOf(steps, audit.EpochQuarter(latest)); epoch > latest {
		t.turnTo(ctx, epoch, compromised)
	}
	if err == nil {
		err = k.record(ctx, t.Log, steps)
	}
	err = errors.Join(err, k.memory.write(false))
	if err != nil && !k.failed && ctx.Err() == nil {
		k.logger.WarnContext(ctx, "steps with pseudonym keys are not taken up; trying again", "err", err)
	}
	k.failed = err != nil
}

// hold has the log take no business for a reason that somebody must look into, and
// raises an alarm. One that is gone ends it; a service that is gone changes nothing.
func (k *KeySteps) hold(ctx context.Context, log *audit.Log, err error) {
	if err != nil && !errors.Is(err, ErrKeyStepUndone) && !errors.Is(err, audit.ErrKeyStepUnproven) {
		return
	}
	if !log.Hold(audit.KeyHolder, err) {
		return
	}
	if err == nil {
		k.logger.InfoContext(ctx, "pseudonym keys no longer hold the log")
		return
	}
	k.logger.ErrorContext(ctx, "pseudonym keys: no business is taken any more", "err", err)
	k.alarm(ctx, log)
}

func (k *KeySteps) alarm(ctx context.Context, log *audit.Log) {
	e := audit.Entry{Open: audit.Open{Op: audit.OpAlarm, Phase: audit.PhaseDone, Outcome: AlarmKeys}}
	if err := log.AppendAsync(e); err != nil {
		k.logger.ErrorContext(ctx, "alarm not recorded", "outcome", AlarmKeys, "err", err)
	}
}

// record enters the steps that are not in the log yet, once it is known what is.
func (k *KeySteps) record(ctx context.Context, log *audit.Log, steps []audit.KeyStep) error {
	for _, s := range steps {
		if !k.memory.lacks(s) {
			continue
		}
		receipts, err := log.Append(context.WithoutCancel(ctx), keyEntry(s))
		if err != nil {
			return fmt.Errorf("record a step with pseudonym keys: %w", err)
		}
		k.memory.add(path.Base(receipts[0].Origin), doneStep{stepID(s), s.Action, s.Epoch})
	}
	return nil
}

// stepID names a step by what was signed for it.
func stepID(s audit.KeyStep) string { return jose.Digest(strings.Join(s.Statements, "\n")) }

const keyObject = "pseudonyms/"

func keyEntry(s audit.KeyStep) audit.Entry {
	e := audit.Entry{Open: audit.Open{Op: audit.OpKey, Phase: audit.PhaseDone, Status: string(s.Action), Disclose: audit.DiscloseNever},
		Closed: audit.Closed{Role: "security", Auth: "signature", Object: keyObject + s.Epoch, Reason: s.Reason,
			Before: s.Before, After: s.After, Digests: map[string]string{"statements": stepID(s)}}}
	if len(s.By) > 0 {
		e.Closed.Actor, e.Closed.Approvals = s.By[0], s.By[1:]
	}
	if s.Compromised != "" {
		e.Closed.Object += " " + keyObject + s.Compromised
	}
	return e
}

// stepOf is what a key's entry tells.
func stepOf(e audit.Entry) doneStep {
	object, _, _ := strings.Cut(e.Closed.Object, " ")
	return doneStep{e.Closed.Digests["statements"], audit.KeyAction(e.Open.Status), strings.TrimPrefix(object, keyObject)}
}

// memoryFile lies beside the log.
func memoryFile(dir string) string { return filepath.Clean(dir) + "-keysteps.jws" }
