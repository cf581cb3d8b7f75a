package spool

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// dying makes a step hook that ends the link's life at the nth time that step
// is reached, and lets nothing happen afterwards.
func dying(step string, nth int64) (hook func(string) error, dead *atomic.Bool) {
	dead = &atomic.Bool{}
	var reached atomic.Int64
	return func(at string) error {
		if dead.Load() || at == step && reached.Add(1) == nth {
			dead.Store(true)
			return errKilled
		}
		return nil
	}, dead
}

// TestDeathAtAnyStepLosesNothing ends one side's life after each step that
// changes the disk, starts it again and repeats what was not taken, as Kafka
// does. Only a receiver that died between delivery and cursor delivers again.
func TestDeathAtAnyStepLosesNothing(t *testing.T) {
	for _, c := range []struct {
		step   string
		sender bool
		twice  bool // may deliver twice
	}{
		{"tmp", true, false}, {"done", true, false}, {"journal", true, false}, {"out", true, false}, {"acked", true, false},
		{"delivered", false, true}, {"cursor", false, false}, {"removed", false, false},
	} {
		for _, durable := range []bool{false, true} {
			for _, nth := range []int64{1, 3} {
				t.Run(fmt.Sprintf("%s/durable=%v/%d", c.step, durable, nth), func(t *testing.T) {
					t.Parallel()
					dieAt(t, c.step, c.sender, durable, nth, c.twice)
				})
			}
		}
	}
}

func dieAt(t *testing.T, step string, senderDies, durable bool, nth int64, mayRepeat bool) {
	dirA, dirB := t.TempDir(), t.TempDir()
	ca, cb := sideA(dirA), sideB(dirB)
	ca.Durable, cb.Durable = durable, durable
	hook, dead := dying(step, nth)
	if senderDies {
		ca.step = hook
	} else {
		cb.step = hook
	}
	wire(t, dirA, dirB, nil)
	atB := &inbox{seen: map[string]int{}}
	var mu sync.Mutex
	a, b := revive(t, ca, nil, &mu), revive(t, cb, atB, &mu)
	const n = 12
	for i := range n {
		for { // at least once, as a caller of Put does it
			mu.Lock()
			l := *a
			mu.Unlock()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			err := l.Put(ctx, message(i))
			cancel()
			if err == nil {
				break
			}
			time.Sleep(time.Millisecond)
		}
	}
	wait(t, "all messages", func() bool { return atB.count() == n })
	wait(t, "all acknowledged", func() bool { mu.Lock(); defer mu.Unlock(); return (*a).Metrics().Unacknowledged == 0 })
	if !dead.Load() {
		t.Error("the step was never reached")
	}
	mu.Lock()
	lost := (*a).Metrics().FilesLost + (*b).Metrics().VoidedFiles
	mu.Unlock()
	if lost > 0 {
		t.Errorf("%d files given up", lost)
	}
	if again := atB.repeated(); len(again) > 0 && !mayRepeat {
		t.Errorf("delivered twice: %v", again)
	}
}

// revive runs a link and, when a step hook has ended its life, another one
// without the hook.
func revive(t *testing.T, c Config, into *inbox, mu *sync.Mutex) **Link {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	open := func() *Link {
		l, err := Open(c)
		if err != nil {
			t.Error(err)
			return nil
		}
		if into != nil {
			go l.Receive(ctx, into.add)
		}
		return l
	}
	present := open()
	go func() {
		defer close(done)
		for l := present; l != nil; {
			if err := l.Run(ctx); !errors.Is(err, errKilled) {
				if err != nil {
					t.Error(err)
				}
				return
			}
			c.step = nil
			l = open()
			mu.Lock()
			present = l
			mu.Unlock()
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return &present
}
