package assembly

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"yizheng/audit"
	"yizheng/audit/auditor"
)

// ErrClock: the directory holds shards that a clock running right cannot have left.
var ErrClock = errors.New("时钟与审计日志不符，请校时 / clock and audit log disagree; set the clock right")

// OpenShard opens the log of the present quarter below dir, one directory a
// quarter. When a quarter begins, the last one is sealed and the new one's
// first entry carries its final checkpoint, so that the shards form a chain.
// A crash at any point of that is made good by the next start.
//
// A shard later than now is refused, and so is a present one that is already
// sealed: the clock is, or was, wrong. Both wrap ErrClock.
//
// A process that runs across the turn of a quarter has a Turner.
func OpenShard(ctx context.Context, dir, origin string, now time.Time, c audit.Config) (*audit.Log, error) {
	return OpenEpoch(ctx, dir, origin, audit.Quarter(now), c)
}

// OpenEpoch is OpenShard where an emergency has opened another epoch in the
// present quarter (KeySteps): the log has a shard for each of them. An epoch before
// the latest shard's is refused: ErrKeyStepUndone.
func OpenEpoch(ctx context.Context, dir, origin, present string, c audit.Config) (*audit.Log, error) {
	shards, err := auditor.Shards(dir)
	if err != nil { // one that is missing, too: a mistyped path must not begin a second log
		return nil, err
	}
	last := ""
	if n := len(shards); n > 0 {
		last = shards[n-1]
	}
	if last > present && audit.EpochQuarter(last) == audit.EpochQuarter(present) {
		return nil, fmt.Errorf("%w: %s %s", ErrKeyStepUndone, audit.KeyRotate, last)
	}
	if last > present {
		return nil, fmt.Errorf("%w: 现在是 %s，但已有 %s 的日志 / it is %s, but there is a log of %s", ErrClock, present, last, present, last)
	}
	if last != "" && last < present {
		old := c
		old.Dir, old.Origin = filepath.Join(dir, last), origin+"/"+last
		if c.Previous, err = sealShard(ctx, old); err != nil {
			return nil, fmt.Errorf("seal the shard before: %w", err)
		}
	}
	c.Dir, c.Origin = filepath.Join(dir, present), origin+"/"+present
	l, err := audit.OpenLog(ctx, c)
	if errors.Is(err, audit.ErrSealed) {
		return nil, fmt.Errorf("%w: %s 的日志已封存，下一季度开始前不能再写 / the log of %s is sealed and takes nothing before the next quarter: %w", ErrClock, present, present, err)
	}
	return l, err
}

// sealShard ends a shard and returns its final checkpoint. One that a start
// before this one has sealed already is only read.
func sealShard(ctx context.Context, c audit.Config) ([]byte, error) {
	l, err := audit.OpenLog(ctx, c)
	if errors.Is(err, audit.ErrSealed) {
		a, err := audit.OpenArchive(ctx, c.Dir, c.Signer.Public())
		if err != nil {
			return nil, err
		}
		return a.Head().MarshalText()
	}
	if err != nil {
		return nil, err
	}
	head, err := l.Seal()
	if err != nil {
		return nil, err
	}
	return head.MarshalText()
}
