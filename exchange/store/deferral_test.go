package store

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func takenOver(t *testing.T, s *Store, c *clock) {
	ctx, later := t.Context(), c.Now().Add(time.Hour)
	begin(t, s, admission(c, "k", "r", "E1", "t1"), "", nil)
	want(t, s.TakeOver(ctx, "E1", "gateway-b"), nil)
	want(t, s.PutResult(ctx, result("E1", "p", "late", later), "gateway-a"), ErrSuperseded)
	want(t, s.Defer(ctx, deferral(c, "E1", "q", 1), "gateway-a"), ErrSuperseded)
	want(t, s.PutResult(ctx, result("E1", "p", "good", later), "gateway-b"), nil)
	parts(t, s, "E1", "p")
	want(t, s.TakeOver(ctx, "E9", "gateway-b"), ErrNotFound)
	want(t, s.DeleteExchange(ctx, "E1"), nil)
	want(t, s.TakeOver(ctx, "E1", "gateway-b"), ErrNotFound)
	want(t, s.PutResult(ctx, result("E1", "p", "late", later), "gateway-b"), ErrSuperseded)
}

func deferral(c *clock, no, part string, legs int) Deferral {
	return Deferral{ExchangeNo: no, Part: part, Context: "context", Legs: legs, Deadline: c.Now().Add(72 * time.Hour), Expires: c.Now().Add(73 * time.Hour)}
}

func due(t *testing.T, s *Store, expected int) {
	t.Helper()
	list, err := s.Due(t.Context(), 10)
	want(t, err, nil)
	if len(list) != expected {
		t.Fatalf("%d parts are due, want %d", len(list), expected)
	}
}

func finishedOnce(t *testing.T, s *Store, c *clock) {
	ctx, p := t.Context(), PartRef{"E1", "p"}
	begin(t, s, admission(c, "k", "r", "E1", "t1"), "", nil)
	want(t, s.PutAnswer(ctx, "E1", "p", "p.1", []byte("early")), ErrNotFound)
	want(t, s.Defer(ctx, deferral(c, "E1", "p", 2), "gateway-a"), nil)
	want(t, s.PutAnswer(ctx, "E1", "p", "p.1", []byte("one")), nil)
	want(t, s.PutAnswer(ctx, "E1", "p", "p.1", []byte("other")), ErrReplay)
	due(t, s, 0)
	_, _, err := s.Lease(ctx, p, "h", c.Now().Add(time.Minute))
	want(t, err, ErrNotFound)
	want(t, s.PutAnswer(ctx, "E1", "p", "p.2", []byte("two")), nil)
	due(t, s, 1)
	c.Advance(2 * time.Hour) // the exchange lives as long as it is waited for
	var leased atomic.Int32
	var wg sync.WaitGroup
	for _, holder := range []string{"a", "b", "c", "d"} {
		wg.Go(func() {
			d, answers, err := s.Lease(context.Background(), p, holder, c.Now().Add(time.Minute))
			if errors.Is(err, ErrNotFound) {
				return
			}
			if err != nil || d.Context != "context" || string(answers["p.1"]) != "one" || string(answers["p.2"]) != "two" {
				t.Errorf("%+v %q %v", d, answers, err)
			}
			leased.Add(1)
			if left, err := s.PutDeferred(context.Background(), result("E1", "p", "sealed", c.Now().Add(time.Hour)), holder); err != nil || left != 0 {
				t.Errorf("%d left, %v", left, err)
			}
		})
	}
	wg.Wait()
	if leased.Load() != 1 {
		t.Fatalf("finished %d times", leased.Load())
	}
	parts(t, s, "E1", "p")
	want(t, s.PutAnswer(ctx, "E1", "p", "p.1", []byte("again")), ErrNotFound)
	_, err = s.Deferral(ctx, "E1", "p")
	want(t, err, ErrNotFound)
}

func leasePassesOn(t *testing.T, s *Store, c *clock) {
	ctx, p := t.Context(), PartRef{"E1", "p"}
	begin(t, s, admission(c, "k", "r", "E1", "t1"), "", nil)
	want(t, s.Defer(ctx, deferral(c, "E1", "p", 1), "gateway-a"), nil)
	want(t, s.Defer(ctx, deferral(c, "E1", "q", 1), "gateway-a"), nil)
	due(t, s, 0)
	c.Advance(72 * time.Hour)
	due(t, s, 2)
	_, answers, err := s.Lease(ctx, p, "dies", c.Now().Add(time.Minute))
	want(t, err, nil)
	if len(answers) != 0 {
		t.Fatalf("%q", answers)
	}
	due(t, s, 1)
	c.Advance(time.Minute)
	due(t, s, 2)
	_, _, err = s.Lease(ctx, p, "lives", c.Now().Add(time.Minute))
	want(t, err, nil)
	_, err = s.PutDeferred(ctx, result("E1", "p", "late", c.Now().Add(time.Hour)), "dies")
	want(t, err, ErrSuperseded)
	left, err := s.PutDeferred(ctx, result("E1", "p", "good", c.Now().Add(time.Hour)), "lives")
	want(t, err, nil)
	if left != 1 {
		t.Fatalf("%d left, want q", left)
	}
}

func unsentIsSentByAnother(t *testing.T, s *Store, c *clock) {
	ctx, p := t.Context(), PartRef{"E1", "p"}
	begin(t, s, admission(c, "k", "r", "E1", "t1"), "", nil)
	unsent := func(expected int) {
		t.Helper()
		list, err := s.Unposted(ctx, 10)
		if err != nil || len(list) != expected {
			t.Fatalf("%d parts are not sent, want %d, %v", len(list), expected, err)
		}
	}
	d := deferral(c, "E1", "p", 1)
	d.PostAfter = c.Now().Add(time.Minute)
	want(t, s.Defer(ctx, d, "gateway-a"), nil)
	want(t, s.Defer(ctx, deferral(c, "E1", "q", 1), "gateway-a"), nil) // has been sent
	unsent(0)
	_, err := s.TakePost(ctx, p, c.Now().Add(time.Minute))
	want(t, err, ErrNotFound)
	c.Advance(time.Minute)
	unsent(1)
	taken, err := s.TakePost(ctx, p, c.Now().Add(time.Minute))
	want(t, err, nil)
	if taken.Context != d.Context || !taken.Deadline.Equal(d.Deadline) {
		t.Errorf("%+v", taken)
	}
	_, err = s.TakePost(ctx, p, c.Now().Add(time.Minute))
	want(t, err, ErrNotFound)
	unsent(0)
	c.Advance(time.Minute) // who took it died as well
	unsent(1)
	want(t, s.Posted(ctx, p), nil)
	unsent(0)
	c.Advance(24 * time.Hour)
	unsent(0)
}

func deletedIsNotFinished(t *testing.T, s *Store, c *clock) {
	ctx, p := t.Context(), PartRef{"E1", "p"}
	begin(t, s, admission(c, "k", "r", "E1", "t1"), "", nil)
	want(t, s.Defer(ctx, deferral(c, "E1", "p", 1), "gateway-a"), nil)
	want(t, s.PutAnswer(ctx, "E1", "p", "p.1", []byte("one")), nil)
	_, _, err := s.Lease(ctx, p, "h", c.Now().Add(time.Minute))
	want(t, err, nil)
	want(t, s.DeleteExchange(ctx, "E1"), nil)
	_, err = s.PutDeferred(ctx, result("E1", "p", "late", c.Now().Add(time.Hour)), "h")
	want(t, err, ErrSuperseded)
	parts(t, s, "E1", "")
	_, err = s.Ticket(ctx, "E1")
	want(t, err, ErrNotFound)
	begin(t, s, admission(c, "k2", "r2", "E2", "t1"), "", ErrReplay)
}

func ticketShows(t *testing.T, s *Store, c *clock) {
	ctx := t.Context()
	begin(t, s, admission(c, "k", "r", "E1", "t1"), "", nil)
	want(t, s.PutResult(ctx, result("E1", "a", "x", c.Now().Add(time.Hour)), "gateway-a"), nil)
	d := deferral(c, "E1", "b", 1)
	want(t, s.Defer(ctx, d, "gateway-a"), nil)
	tk, err := s.Ticket(ctx, "E1")
	want(t, err, nil)
	if tk.Sealed != "ticket-E1" || len(tk.Views) != 1 || tk.Views["a"] != "view-a" || !tk.Deferred["b"].Equal(d.Deadline) || !tk.Expires.Equal(d.Expires) {
		t.Fatalf("%+v", tk)
	}
	want(t, s.Undefer(ctx, "E1", "b"), nil)
	if tk, err = s.Ticket(ctx, "E1"); err != nil || len(tk.Deferred) != 0 {
		t.Fatalf("%+v %v", tk, err)
	}
	c.Advance(74 * time.Hour)
	_, err = s.Ticket(ctx, "E1")
	want(t, err, ErrNotFound)
	if n, err := s.Purge(ctx, c.Now()); err != nil || n != 3 {
		t.Fatalf("%d rows purged, want admission, token, result: %v", n, err)
	}
}

func manualIsItsHolders(t *testing.T, s *Store, c *clock) {
	ctx := t.Context()
	begin(t, s, admission(c, "k", "r", "E1", "t1"), "", nil)
	r := result("E1", "p", "x", c.Now().Add(time.Hour))
	r.Manual = Manual{Number: "S1", Holder: "li", Expires: c.Now().Add(24 * time.Hour)}
	want(t, s.PutResult(ctx, r, "gateway-a"), nil)
	no, err := s.HeldBy(ctx, "S1", "li")
	want(t, err, nil)
	if no != "E1" {
		t.Fatal(no)
	}
	for _, other := range [][2]string{{"S1", "wang"}, {"S2", "li"}, {"", ""}} {
		_, err := s.HeldBy(ctx, other[0], other[1])
		want(t, err, ErrNotFound)
	}
	c.Advance(24 * time.Hour)
	_, err = s.HeldBy(ctx, "S1", "li")
	want(t, err, ErrNotFound)
}

// A deferral that was not taken back when its part ended does not end it again.
func releasedIsNotFinished(t *testing.T, s *Store, c *clock) {
	ctx, p, later := t.Context(), PartRef{"E1", "p"}, c.Now().Add(100*time.Hour)
	begin(t, s, admission(c, "k", "r", "E1", "t1"), "", nil)
	want(t, s.Defer(ctx, deferral(c, "E1", "p", 1), "gateway-a"), nil)
	want(t, s.PutResult(ctx, result("E1", "p", "live", later), "gateway-a"), nil)
	c.Advance(72 * time.Hour)
	due(t, s, 0)
	_, _, err := s.Lease(ctx, p, "h", c.Now().Add(time.Minute))
	want(t, err, ErrNotFound)
	want(t, s.Defer(ctx, deferral(c, "E1", "p", 1), "gateway-a"), nil) // asked again
	parts(t, s, "E1", "")
	want(t, s.PutAnswer(ctx, "E1", "p", "p.1", []byte("one")), nil)
	_, _, err = s.Lease(ctx, p, "h", c.Now().Add(time.Minute))
	want(t, err, nil)
	want(t, s.PutResult(ctx, result("E1", "p", "live", later), "gateway-a"), nil)
	_, err = s.PutDeferred(ctx, result("E1", "p", "second", later), "h")
	want(t, err, ErrSuperseded)
	if sealed, err := s.GetResult(ctx, "E1", "p"); err != nil || string(sealed) != "live" {
		t.Fatalf("%q %v", sealed, err)
	}
}
