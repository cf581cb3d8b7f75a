package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// clock is a time that tests move.
type clock struct{ ms atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.ms.Store(time.Now().UnixMilli())
	return c
}
func (c *clock) Now() time.Time          { return time.UnixMilli(c.ms.Load()) }
func (c *clock) Advance(d time.Duration) { c.ms.Add(d.Milliseconds()) }

var testKey = bytes.Repeat([]byte{7}, 32)

// conform is what every database must do. open gives an empty store.
func conform(t *testing.T, open func(t *testing.T, c *clock) *Store) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, *Store, *clock)
	}{
		{"a nonce is consumed once", nonceOnce},
		{"a sequence only rises, per workstation", sequenceRises},
		{"a refused sequence leaves the nonce unused", refusedSequenceKeepsNonce},
		{"one of many concurrent readers wins", nonceRace},
		{"the same request gets the same number", sameRequest},
		{"a key with another request is refused", keyReuse},
		{"a token belongs to one exchange", tokenOnce},
		{"a refused exchange spends nothing", refusedSpendsNothing},
		{"one of many concurrent exchanges gets the tokens", tokenRace},
		{"an abandoned exchange frees key and tokens", abandon},
		{"an expired admission frees its key", admissionExpires},
		{"results come back until they expire", resultsExpire},
		{"deleting an exchange keeps its tokens spent", deleteKeepsSpent},
		{"purge removes what expired and nothing else", purge},
		{"arguments are bounded", argumentsBounded},
		{"an exchange taken over takes no result of its former runner", takenOver},
		{"a deferral is finished once, when all answers are there", finishedOnce},
		{"what was not sent is sent by another, once", unsentIsSentByAnother},
		{"a deferral ends at its deadline, and its lease passes on", leasePassesOn},
		{"a deleted exchange is not finished", deletedIsNotFinished},
		{"what has its result is not finished again", releasedIsNotFinished},
		{"a ticket shows what has come and what is waited for", ticketShows},
		{"a manual number is its holder's", manualIsItsHolders},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newClock()
			test.run(t, open(t, c), c)
		})
	}
}

func want(t *testing.T, got, expected error) {
	t.Helper()
	if !errors.Is(got, expected) {
		t.Fatalf("error %v, want %v", got, expected)
	}
}

func admission(c *clock, key, request, no string, tokens ...string) Admission {
	return Admission{Caller: "window-1", Key: key, RequestDigest: request, ExchangeNo: no, TokenIDs: tokens, Expires: c.Now().Add(time.Hour),
		Runner: "gateway-a", Ticket: "ticket-" + no}
}

func result(no, part, sealed string, expires time.Time) Result {
	return Result{ExchangeNo: no, Part: part, Sealed: []byte(sealed), View: "view-" + part, Expires: expires}
}

func begin(t *testing.T, s *Store, a Admission, existing string, expected error) {
	t.Helper()
	got, err := s.Begin(t.Context(), a)
	want(t, err, expected)
	if got != existing {
		t.Fatalf("existing number %q, want %q", got, existing)
	}
}

func nonceOnce(t *testing.T, s *Store, c *clock) {
	later := c.Now().Add(time.Hour)
	want(t, s.ConsumeNonce(t.Context(), "n1", "w1", 1, later), nil)
	want(t, s.ConsumeNonce(t.Context(), "n1", "w1", 2, later), ErrReplay)
	want(t, s.ConsumeNonce(t.Context(), "n1", "w2", 1, later), ErrReplay)
	want(t, s.ConsumeNonce(t.Context(), "n2", "w1", 2, later), nil)
}

func sequenceRises(t *testing.T, s *Store, c *clock) {
	later := c.Now().Add(time.Hour)
	want(t, s.ConsumeNonce(t.Context(), "a", "w1", 10, later), nil)
	want(t, s.ConsumeNonce(t.Context(), "b", "w1", 10, later), ErrReplay)
	want(t, s.ConsumeNonce(t.Context(), "c", "w1", 9, later), ErrReplay)
	want(t, s.ConsumeNonce(t.Context(), "d", "w2", 1, later), nil)
	want(t, s.ConsumeNonce(t.Context(), "e", "w1", 1<<40, later), nil)
}

func refusedSequenceKeepsNonce(t *testing.T, s *Store, c *clock) {
	later := c.Now().Add(time.Hour)
	want(t, s.ConsumeNonce(t.Context(), "a", "w1", 5, later), nil)
	want(t, s.ConsumeNonce(t.Context(), "b", "w1", 5, later), ErrReplay)
	want(t, s.ConsumeNonce(t.Context(), "b", "w1", 6, later), nil)
}

// race runs f from n goroutines and returns how many got nil; others must get ErrReplay.
func race(t *testing.T, n int, f func(i int) error) int {
	t.Helper()
	var won atomic.Int32
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			switch err := f(i); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, ErrReplay):
				t.Errorf("racer %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	return int(won.Load())
}

func nonceRace(t *testing.T, s *Store, c *clock) {
	won := race(t, 20, func(i int) error {
		return s.ConsumeNonce(context.Background(), "n", fmt.Sprint("w", i), 1, c.Now().Add(time.Hour))
	})
	if won != 1 {
		t.Fatalf("%d goroutines consumed one nonce", won)
	}
}

func sameRequest(t *testing.T, s *Store, c *clock) {
	begin(t, s, admission(c, "k", "r", "E1", "t1", "t2"), "", nil)
	begin(t, s, admission(c, "k", "r", "E2", "t1", "t2"), "E1", nil)
	other := admission(c, "k", "r", "E3")
	other.Caller = "window-2"
	begin(t, s, other, "", nil)
	for no, caller := range map[string]string{"E1": "window-1", "E3": "window-2"} {
		got, err := s.Owner(t.Context(), no)
		want(t, err, nil)
		if got != caller {
			t.Fatalf("owner of %s is %q", no, got)
		}
	}
	_, err := s.Owner(t.Context(), "E2")
	want(t, err, ErrNotFound)
}

func keyReuse(t *testing.T, s *Store, c *clock) {
	begin(t, s, admission(c, "k", "r", "E1", "t1"), "", nil)
	begin(t, s, admission(c, "k", "r2", "E2", "t2"), "", ErrKeyReuse)
	begin(t, s, admission(c, "k", "r2", "E2", "t1"), "", ErrKeyReuse)
	begin(t, s, admission(c, "k2", "r2", "E2", "t2"), "", nil)
}

func tokenOnce(t *testing.T, s *Store, c *clock) {
	begin(t, s, admission(c, "k1", "r1", "E1", "t1"), "", nil)
	begin(t, s, admission(c, "k2", "r1", "E2", "t1"), "", ErrReplay)
	begin(t, s, admission(c, "", "r1", "E3", "t1"), "", ErrReplay)
	begin(t, s, admission(c, "k3", "r3", "E4", "t3", "t3"), "", ErrReplay)
}

func refusedSpendsNothing(t *testing.T, s *Store, c *clock) {
	begin(t, s, admission(c, "k1", "r1", "E1", "t1"), "", nil)
	begin(t, s, admission(c, "k2", "r2", "E2", "t0", "t1", "t2"), "", ErrReplay)
	begin(t, s, admission(c, "k2", "r3", "E2", "t0", "t2"), "", nil)
}

func tokenRace(t *testing.T, s *Store, c *clock) {
	won := race(t, 20, func(i int) error {
		a := admission(c, fmt.Sprint("k", i), "r", fmt.Sprint("E", i), "t1", "t2")
		if i%2 == 1 {
			a.TokenIDs = []string{"t2", "t1"}
		}
		_, err := s.Begin(context.Background(), a)
		return err
	})
	if won != 1 {
		t.Fatalf("%d exchanges got the same tokens", won)
	}
}

func abandon(t *testing.T, s *Store, c *clock) {
	begin(t, s, admission(c, "k1", "r1", "E1", "t1", "t2"), "", nil)
	begin(t, s, admission(c, "k2", "r2", "E2", "t3"), "", nil)
	want(t, s.Abandon(t.Context(), "E1", "gateway-a"), nil)
	want(t, s.Abandon(t.Context(), "E9", "gateway-a"), nil)
	begin(t, s, admission(c, "k3", "r3", "E3", "t1"), "", nil)
	begin(t, s, admission(c, "k1", "r4", "E4", "t2"), "", nil)
	begin(t, s, admission(c, "k5", "r5", "E5", "t3"), "", ErrReplay)

	// A gateway that is too late to say so undoes nothing of the one that went on.
	want(t, s.TakeOver(t.Context(), "E2", "gateway-b"), nil)
	want(t, s.PutResult(t.Context(), result("E2", "P1", "sealed", c.Now().Add(time.Hour)), "gateway-b"), nil)
	want(t, s.Abandon(t.Context(), "E2", "gateway-a"), nil)
	if _, err := s.GetResult(t.Context(), "E2", "P1"); err != nil {
		t.Errorf("result of the new runner is gone: %v", err)
	}
	begin(t, s, admission(c, "k6", "r6", "E6", "t3"), "", ErrReplay)
}

func admissionExpires(t *testing.T, s *Store, c *clock) {
	begin(t, s, admission(c, "k", "r", "E1", "t1"), "", nil)
	c.Advance(2 * time.Hour)
	begin(t, s, admission(c, "k", "r2", "E2", "t2"), "", nil)
}

func resultsExpire(t *testing.T, s *Store, c *clock) {
	ctx, later := t.Context(), c.Now().Add(time.Minute)
	const sealed = "\x00\x01\x02\xff"
	begin(t, s, admission(c, "k1", "r", "E1"), "", nil)
	begin(t, s, admission(c, "k2", "r", "E2"), "", nil)
	want(t, s.PutResult(ctx, result("E1", "b", "first", later), "gateway-a"), nil)
	want(t, s.PutResult(ctx, result("E1", "b", sealed, later), "gateway-a"), nil)
	want(t, s.PutResult(ctx, result("E1", "a", sealed, later.Add(time.Hour)), "gateway-a"), nil)
	want(t, s.PutResult(ctx, result("E2", "c", sealed, later), "gateway-a"), nil)
	got, err := s.GetResult(ctx, "E1", "b")
	want(t, err, nil)
	if string(got) != sealed {
		t.Fatalf("result is %x", got)
	}
	parts(t, s, "E1", "a,b")
	c.Advance(time.Minute)
	parts(t, s, "E1", "a")
	_, err = s.GetResult(ctx, "E1", "b")
	want(t, err, ErrNotFound)
	_, err = s.GetResult(ctx, "E9", "a")
	want(t, err, ErrNotFound)
}

func parts(t *testing.T, s *Store, no, expected string) {
	t.Helper()
	got, err := s.Results(t.Context(), no)
	want(t, err, nil)
	if strings.Join(got, ",") != expected {
		t.Fatalf("parts of %s are %v, want %s", no, got, expected)
	}
}

func deleteKeepsSpent(t *testing.T, s *Store, c *clock) {
	begin(t, s, admission(c, "k1", "r1", "E1", "t1"), "", nil)
	want(t, s.PutResult(t.Context(), result("E1", "p", "x", c.Now().Add(time.Hour)), "gateway-a"), nil)
	want(t, s.DeleteExchange(t.Context(), "E1"), nil)
	parts(t, s, "E1", "")
	begin(t, s, admission(c, "k2", "r2", "E2", "t1"), "", ErrReplay)
	begin(t, s, admission(c, "k1", "r1", "E2", "t1"), "E1", nil)
}

func purge(t *testing.T, s *Store, c *clock) {
	ctx := t.Context()
	early, late := c.Now().Add(time.Minute), c.Now().Add(time.Hour)
	want(t, s.ConsumeNonce(ctx, "n1", "w1", 7, early), nil)
	want(t, s.ConsumeNonce(ctx, "n2", "w2", 1, late), nil)
	begin(t, s, admission(c, "k1", "r1", "E1", "t1"), "", nil)
	want(t, s.PutResult(ctx, result("E1", "p", "x", early), "gateway-a"), nil)
	c.Advance(time.Minute)
	n, err := s.Purge(ctx, c.Now())
	want(t, err, nil)
	if n != 2 {
		t.Fatalf("%d rows purged, want nonce n1 and result p", n)
	}
	want(t, s.ConsumeNonce(ctx, "n3", "w1", 7, late), ErrReplay)
	want(t, s.ConsumeNonce(ctx, "n2", "w2", 2, late), ErrReplay)
	begin(t, s, admission(c, "k2", "r2", "E2", "t1"), "", ErrReplay)
}

func argumentsBounded(t *testing.T, s *Store, c *clock) {
	ctx, later := t.Context(), c.Now().Add(time.Hour)
	want(t, s.ConsumeNonce(ctx, "", "w", 1, later), ErrArgument)
	want(t, s.ConsumeNonce(ctx, "n", "w", 1<<63, later), ErrArgument)
	want(t, s.PutResult(ctx, result("E", "p", "", later), "gateway-a"), ErrArgument)
	want(t, s.PutResult(ctx, result("E", strings.Repeat("p", maxID+1), "x", later), "gateway-a"), ErrArgument)
	_, err := s.Begin(ctx, Admission{Caller: "c", RequestDigest: "r"})
	want(t, err, ErrArgument)
}
