package assembly

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"yizheng/audit"
	"yizheng/audit/search"
	"yizheng/identity/jose"
)

// KeySteps takes up what security administrators have done to a node's pseudonym
// keys: every step is recorded in the node's log, once, and a log goes on in a
// shard of its own when an emergency has opened another epoch.
type KeySteps struct {
	pseudonyms search.Pseudonyms
	file       string // digests of the steps that are recorded, one a line
	recorded   map[string]bool
	logger     *slog.Logger
	failed     bool // the last look, which is said once
}

// OpenKeySteps reads which steps are recorded. The file lies beside the log: were
// it lost, they would be recorded once more.
func OpenKeySteps(c AuditConfig, pseudonyms search.Pseudonyms, log *slog.Logger) (*KeySteps, error) {
	k := &KeySteps{pseudonyms: pseudonyms, file: filepath.Clean(c.Dir) + "-keysteps", recorded: map[string]bool{}, logger: log}
	text, err := os.ReadFile(k.file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("audit: steps with pseudonym keys: %w", err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		k.recorded[lines.Text()] = true
	}
	return k, nil
}

const keyStepsWait = 5 * time.Second

// Epoch is the one that entries are written in at a moment, and those of its
// quarter that are compromised.
func (k *KeySteps) Epoch(ctx context.Context, now time.Time) (epoch string, compromised []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, keyStepsWait)
	defer cancel()
	steps, err := k.pseudonyms.Steps(ctx)
	if err != nil {
		return "", nil, err
	}
	epoch, compromised = epochOf(steps, audit.Quarter(now))
	return epoch, compromised, nil
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

// look takes up what is new. A service that is gone is asked again: without it no
// business is recorded anyway.
func (k *KeySteps) look(ctx context.Context, t *Turner) {
	wait, cancel := context.WithTimeout(ctx, keyStepsWait)
	defer cancel()
	steps, err := k.pseudonyms.Steps(wait)
	if err == nil {
		latest := filepath.Base(t.Log.Latest().Origin())
		if epoch, compromised := epochOf(steps, audit.EpochQuarter(latest)); epoch > latest {
			t.turnTo(ctx, epoch, compromised)
		}
		err = k.record(ctx, t.Log, steps)
	}
	if err != nil && !k.failed && ctx.Err() == nil {
		k.logger.WarnContext(ctx, "steps with pseudonym keys are not known; trying again", "err", err)
	}
	k.failed = err != nil
}

// record enters the steps that are not in the log yet.
func (k *KeySteps) record(ctx context.Context, log *audit.Log, steps []audit.KeyStep) error {
	for _, s := range steps {
		id := jose.Digest(strings.Join(s.Statements, "\n"))
		if k.recorded[id] {
			continue
		}
		if _, err := log.Append(context.WithoutCancel(ctx), keyEntry(s, id)); err != nil {
			return fmt.Errorf("record a step with pseudonym keys: %w", err)
		}
		k.recorded[id] = true
		if err := k.remember(id); err != nil {
			return err
		}
	}
	return nil
}

func keyEntry(s audit.KeyStep, id string) audit.Entry {
	e := audit.Entry{Open: audit.Open{Op: audit.OpKey, Phase: audit.PhaseDone, Status: string(s.Action), Disclose: audit.DiscloseNever},
		Closed: audit.Closed{Role: "security", Auth: "signature", Object: "pseudonyms/" + s.Epoch, Reason: s.Reason,
			Before: s.Before, After: s.After, Digests: map[string]string{"statements": id}}}
	if len(s.By) > 0 {
		e.Closed.Actor, e.Closed.Approvals = s.By[0], s.By[1:]
	}
	if s.Compromised != "" {
		e.Closed.Object += " pseudonyms/" + s.Compromised
	}
	return e
}

func (k *KeySteps) remember(id string) error {
	f, err := os.OpenFile(k.file, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("audit: steps with pseudonym keys: %w", err)
	}
	_, err = f.WriteString(id + "\n")
	return errors.Join(err, f.Sync(), f.Close())
}
