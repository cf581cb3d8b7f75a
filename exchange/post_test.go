package exchange

import (
	"context"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/exchange/store"
)

// until waits for something that another goroutine does.
func (c *city) until(what string, ok func() bool) {
	c.t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatal("not in time: " + what)
		}
	}
}

// A gateway that dies after it has noted a deferral and before it has sent the
// question leaves nobody waiting for nothing.
func TestWhatADeadGatewayDidNotSendAnotherSends(t *testing.T) {
	t.Parallel()
	a := newCity(t)
	b := a.twin()
	stuck := make(chan struct{})
	a.slow.set(func() { a.slow.stuck = stuck })
	x := a.begin(a.request("SLOW"))
	a.until("the question is about to be sent", func() bool {
		a.slow.mu.Lock()
		defer a.slow.mu.Unlock()
		return a.slow.stuck == nil
	})
	b.postDue(context.Background())
	if n := len(a.slow.posted); n != 0 {
		t.Fatalf("%d questions sent while the other may still be at it", n)
	}
	a.offset.Store(int64(postGrace + time.Second))
	b.postDue(context.Background())
	b.postDue(context.Background())               // sent is sent
	a.until("the question is sent", func() bool { // the sweep may have been faster
		a.slow.mu.Lock()
		defer a.slow.mu.Unlock()
		return len(a.slow.posted) == 1
	})
	again := 0
	for _, g := range []*city{a, b} {
		for _, e := range g.entries(audit.OpQuery) {
			if e.Closed.Reason == "DEFERRED_AGAIN" {
				again++
			}
		}
	}
	if again != 1 {
		t.Errorf("recorded %d times", again)
	}
	q := a.asked("DA-01.1")
	b.ok(b.Returned(context.Background(), b.answer(q, b.slowly("D1"))))
	b.until("the part is finished", func() bool { return b.View(b.at(x)).State == "ended" })
	if r := b.result(b.at(x), "DA-01"); r.Code != Found || b.data(r).Records[0]["account"] != "D1" {
		t.Error(r.Code)
	}
	close(stuck) // it was not dead after all: its question is the second one
	a.until("it comes to rest", x.Quiet)
	b.ok(b.Returned(context.Background(), b.answer(q, b.slowly("D2"))))
	if b.refused() != 1 || b.result(b.at(x), "DA-01").Code != Found {
		t.Errorf("a second answer: %d refused", b.refused())
	}
}

func TestWhatNobodyMayAskAnyMoreIsNotSent(t *testing.T) {
	t.Parallel()
	a := newCity(t)
	x := a.quiet(a.request("SLOW"))
	sent := len(a.slow.posted)
	d, err := a.store.Deferral(context.Background(), x.Number, "DA-01")
	a.ok(err)
	d.PostAfter = a.now().Add(-time.Second) // as if it had died then
	a.ok(a.store.Defer(context.Background(), d, a.runner))
	a.offset.Store(int64(72*time.Hour) + int64(time.Second))
	a.ok(a.postAgain(context.Background(), store.PartRef{ExchangeNo: x.Number, Part: "DA-01"}))
	if n := len(a.slow.posted); n != sent {
		t.Error("a question was sent whose time is over")
	}
}
