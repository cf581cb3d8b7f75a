package audit

import (
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"time"
)

// watchEvery keeps what the watch finds well within a second.
const watchEvery = 250 * time.Millisecond

// watches looks at what could make the log lie without any write failing:
// files removed or replaced, permissions taken away, the disk filling up, the
// clock stepping.
func (l *Log) watches() {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-l.quit:
			return
		case <-l.failed:
			return
		case <-tick.C:
		}
		if err := l.check(); err != nil {
			l.poison(err)
			return
		}
		now := time.Now()
		if step := clockStep(last, now); step != 0 && l.cfg.Now == nil {
			l.note(Entry{Open: Open{Op: OpClockStep, Millis: step.Milliseconds()}})
		}
		last = now
	}
}

func (l *Log) check() error {
	for _, dir := range []string{l.cfg.Dir, l.wal.dir} {
		if err := l.cfg.files.Writable(dir); err != nil {
			return fmt.Errorf("audit directory: %w", err)
		}
	}
	if err := l.lock.StillNamed(filepath.Join(l.cfg.Dir, nameLock)); err != nil {
		return fmt.Errorf("audit lock: %w", err)
	}
	if err := l.wal.check(); err != nil {
		return fmt.Errorf("audit segment: %w", err)
	}
	free, err := l.cfg.files.Free(l.cfg.Dir)
	if err != nil {
		return fmt.Errorf("audit directory: %w", err)
	}
	if low := free < l.cfg.MinFree; l.low.Swap(low) != low {
		l.cfg.Logger.Warn("audit disk space", "low", low, "free", free, "low_water", l.cfg.MinFree)
	}
	return nil
}

// spareFailed decides what a failure to make the spare segment means.
func (l *Log) spareFailed(err error) (again bool) {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		l.low.Store(true)
		l.cfg.Logger.Warn("audit log has no room for its spare segment", "cause", err)
		return true
	}
	l.poison(fmt.Errorf("audit: spare segment: %w", err))
	return false
}

// note records what the log has noticed itself; if it cannot, the log is
// about to fail anyway.
func (l *Log) note(e Entry) {
	if err := l.AppendAsync(e); err != nil {
		l.cfg.Logger.Warn("audit log could not record its own observation", "op", string(e.Open.Op), "cause", err)
	}
}

// clockStep is by how much the wall clock moved otherwise than the monotonic
// one between two readings, if by more than a second.
func clockStep(last, now time.Time) time.Duration {
	step := now.Round(0).Sub(last.Round(0)) - now.Sub(last)
	if step.Abs() <= time.Second {
		return 0
	}
	return step
}
