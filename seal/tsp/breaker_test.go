package tsp_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"yizheng/seal/tsp"
	"yizheng/seal/tsp/tsptest"
)

func TestAnAuthorityThatIsDownIsAskedOnce(t *testing.T) {
	for name, down := range map[string]func(*tsptest.Authority){
		"error of its server": func(a *tsptest.Authority) { a.Code = 503 },
		"does not answer":     func(a *tsptest.Authority) { a.Hold = 500 * time.Millisecond },
	} {
		t.Run(name, func(t *testing.T) {
			a := tsptest.New(t)
			k := client(t, a, tsp.Config{Timeout: 200 * time.Millisecond, Pause: time.Hour})
			down(a)
			for range 20 {
				if _, _, err := k.Stamp(context.Background(), over); !errors.Is(err, tsp.ErrUnavailable) {
					t.Fatal(err)
				}
			}
			if n := a.Calls.Load(); n > 1 { // 0: the time limit ended while the connection was made
				t.Errorf("asked %d times", n)
			}
		})
	}
}

func TestAnAuthorityThatRefusesIsAskedAgain(t *testing.T) {
	a := tsptest.New(t)
	k := client(t, a, tsp.Config{Pause: time.Hour})
	for _, wrong := range []func(){func() { a.Status = 2 }, func() { a.Status, a.Code = 0, 404 }, func() { a.Code, a.NoCert = 0, true }} {
		wrong()
		if _, _, err := k.Stamp(context.Background(), over); !errors.Is(err, tsp.ErrUnavailable) {
			t.Fatal(err)
		}
	}
	a.NoCert = false
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := k.Stamp(gone, over); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, _, err := k.Stamp(context.Background(), over); err != nil {
		t.Errorf("after refusals and a caller who gave up: %v", err)
	}
}

func TestAnAuthorityThatIsUpAgainIsUsed(t *testing.T) {
	a := tsptest.New(t)
	k := client(t, a, tsp.Config{Pause: time.Nanosecond})
	for range 3 {
		a.Code = 503
		if _, _, err := k.Stamp(context.Background(), over); !errors.Is(err, tsp.ErrUnavailable) {
			t.Fatal(err)
		}
		a.Code = 0
		if _, _, err := k.Stamp(context.Background(), over); err != nil {
			t.Fatal(err)
		}
	}
}
