package assembly

import (
	"context"
	"log/slog"
	"path"
	"path/filepath"
	"time"

	"yizheng/audit"
)

// Turner has a running log go on in a new shard when a quarter begins, as
// OpenShard does at a start. A turn that fails ends the log, and with it the
// program; its next start makes the turn good.
type Turner struct {
	Dir    string // of the shards
	Origin string // without the quarter
	Config audit.Config
	Log    *audit.Log
	// Turned are told of every new shard, for what reads the log.
	Turned []func(*audit.Log)
	// Keys, if set, tell of an epoch that an emergency has opened: the log goes on in
	// a shard of that name.
	Keys   *KeySteps
	Logger *slog.Logger

	stepped time.Duration // since the clock was last set; 0: never
	doubted string        // quarter that it was not believed
}

// calm is how long a clock that was set must run before it may end a quarter:
// a shard that a wrong clock has sealed stays sealed.
const calm = time.Hour

// Run looks at the clock once a second, until ctx ends or the log has failed.
func (t *Turner) Run(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for last := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-t.Log.Failed():
			return
		case <-tick.C:
		}
		now := time.Now()
		t.look(ctx, last.Round(0), now.Round(0), now.Sub(last))
		if t.Keys != nil {
			t.Keys.look(ctx, t)
		}
		last = now
	}
}

// look turns the log if a quarter has begun. The wall clock went from one
// reading to the next while really so much time passed.
func (t *Turner) look(ctx context.Context, before, now time.Time, passed time.Duration) {
	switch off := now.Sub(before) - passed; {
	case off.Abs() > time.Second:
		t.stepped = 1
	case t.stepped > 0:
		t.stepped += passed
	}
	quarter := audit.Quarter(now)
	if path.Base(t.Log.Latest().Origin()) >= quarter {
		return
	}
	if t.stepped > 0 && t.stepped < calm {
		if t.doubted != quarter {
			t.Logger.WarnContext(ctx, "audit log: a quarter has begun by a clock that was just set; not believed yet", "quarter", quarter, "wait", (calm - t.stepped).Round(time.Second))
		}
		t.doubted = quarter
		return
	}
	t.turnTo(ctx, quarter, nil)
}

// turnTo goes on in the shard of a quarter, or of an epoch within it.
func (t *Turner) turnTo(ctx context.Context, shard string, compromised []string) {
	c := t.Config
	c.Dir, c.Origin, c.Compromised = filepath.Join(t.Dir, shard), t.Origin+"/"+shard, compromised
	next, err := t.Log.Latest().Turn(func(previous []byte) (*audit.Log, error) {
		c.Previous = previous
		return audit.OpenLog(context.WithoutCancel(ctx), c)
	})
	if err != nil {
		t.Logger.ErrorContext(ctx, "audit log: turn to the next shard", "shard", shard, "err", err)
		return
	}
	t.Logger.InfoContext(ctx, "audit log: a new shard", "origin", next.Origin())
	for _, tell := range t.Turned {
		tell(next)
	}
}
