package audit

import (
	"context"
	"slices"
	"testing"
	"time"
)

func TestEveryRecordThatIsDurableIsTimed(t *testing.T) {
	var timed []time.Duration
	key := newKey(t)
	cfg := testConfig(t.TempDir(), key)
	cfg.Appended = func(took time.Duration) { timed = append(timed, took) }
	l := openTest(t, cfg)
	appendTest(t, l, 2)
	if _, err := l.Append(context.Background()); err == nil {
		t.Error("nothing was appended")
	}
	if len(timed) != int(l.Head().Size) || slices.Min(timed) <= 0 {
		t.Errorf("%d entries, timed %v", l.Head().Size, timed)
	}
	within(t, "no checkpoint is told of", func() bool { c := l.Status().Checkpoint; return c != nil && c.Size == l.Head().Size })
}
