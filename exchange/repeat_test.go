package exchange

import (
	"context"
	"errors"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/catalog"
)

// TestARepeatElsewhereIsTheSameExchange: a gateway dies with a leg in hand. The
// caller sends the same request to another: what was released stays, what is
// missing is asked again as the same leg, which is what a front answers from memory.
func TestARepeatElsewhereIsTheSameExchange(t *testing.T) {
	t.Parallel()
	a := newCity(t)
	b := a.twin()
	hung := make(chan struct{})
	defer close(hung)
	a.sources["hf"].says(func(ctx context.Context, _ Ask) (Answer, error) { // a gateway that has died waits for ever
		select {
		case <-hung:
		case <-ctx.Done():
		}
		return Answer{}, ctx.Err()
	})
	req := a.request("ALL")
	req.Proofs = []catalog.ProofCode{"SI-01", "HF-01"}
	x, err := a.Exchange(context.Background(), a.who, req, "key-1")
	a.ok(err)
	for a.part(x, "SI-01").State != "released" {
		time.Sleep(time.Millisecond)
	}
	first := a.result(x, "SI-01")
	a.sources["hf"].gives(a.found("hf"), nil)

	y, err := b.Exchange(context.Background(), b.who, req, "key-1")
	b.ok(err)
	b.await(y)
	if y.Number != x.Number || b.part(y, "HF-01").Code != Found {
		t.Fatalf("%s, %s: %+v", y.Number, x.Number, b.View(y))
	}
	if s := a.sources["si"].times(); s != 1 {
		t.Errorf("what had been released was asked %d times", s)
	}
	if again := b.result(y, "SI-01"); again.Number != first.Number {
		t.Error("what had been released was made again")
	}
	if asked := a.sources["hf"].asked; len(asked) != 2 || asked[0].Digest != asked[1].Digest {
		t.Error("another leg than before")
	}
	if v := b.View(y); v.State != "ended" || len(v.Parts) != 2 {
		t.Errorf("%+v", v)
	}
	repeated := 0
	for _, e := range b.entries(audit.OpQuery) {
		if e.Closed.Reason == "REPEATED" && e.Open.Exchange == x.Number && len(e.Closed.Legs) == 1 && len(e.Open.Subjects) == 1 {
			repeated++
		}
	}
	if repeated != 1 {
		t.Errorf("%d records of the repeat", repeated)
	}
	third := b.twin() // all is there: nothing to be asked
	z, err := third.Exchange(context.Background(), third.who, req, "key-1")
	third.ok(err)
	if v := third.View(z); v.State != "ended" || len(third.entries(audit.OpQuery)) > 0 {
		t.Errorf("%+v", v)
	}
}

// A gateway that was only thought dead hands nothing over any more.
func TestTheFormerGatewaysResultsAreNotTaken(t *testing.T) {
	t.Parallel()
	a := newCity(t)
	b := a.twin()
	go1 := make(chan struct{})
	a.sources["si"].says(func(ctx context.Context, _ Ask) (Answer, error) {
		select {
		case <-go1:
			return a.found("si"), nil
		case <-ctx.Done():
			return Answer{}, ctx.Err()
		}
	})
	req := a.request("ONE")
	x, err := a.Exchange(context.Background(), a.who, req, "key-1")
	a.ok(err)
	for a.sources["si"].times() == 0 {
		time.Sleep(time.Millisecond)
	}
	a.sources["si"].gives(a.found("si"), nil)
	y, err := b.Exchange(context.Background(), b.who, req, "key-1")
	b.ok(err)
	number := b.part(b.await(y), "SI-01").Number
	close(go1)
	a.await(x)
	if kept := b.result(y, "SI-01"); kept.Number != number {
		t.Error("the former gateway's result has replaced the new one's")
	}
	z, err := a.Exchange(context.Background(), a.who, req, "key-1")
	a.ok(err)
	if p := a.part(z, "SI-01"); p.Number != number {
		t.Errorf("%+v", p)
	}
}

func TestARepeatWhoseCardReadIsOverIsRefused(t *testing.T) {
	t.Parallel()
	a := newCity(t)
	b := a.twin()
	a.sources["si"].gives(Answer{}, errors.New("HTTP 500"))
	req := a.request("ONE")
	_, err := a.Exchange(context.Background(), a.who, req, "key-1")
	a.ok(err)
	a.offset.Store(int64(11 * time.Minute))
	if _, err := b.Exchange(context.Background(), b.who, req, "key-1"); reasonOf(err) != ReasonToken {
		t.Errorf("%v", err)
	}
}

func TestAnInterruptedExchangeSaysSo(t *testing.T) {
	t.Parallel()
	a := newCity(t)
	b := a.twin()
	hung := make(chan struct{})
	defer close(hung)
	a.sources["si"].says(func(ctx context.Context, _ Ask) (Answer, error) { <-hung; return Answer{}, ctx.Err() })
	x := a.begin(a.request("ONE"))
	if v := b.View(b.at(x)); v.State != "running" {
		t.Errorf("%+v", v)
	}
	b.offset.Store(int64(time.Minute))
	if v := b.View(b.at(x)); v.State != "ended" || v.Parts[0].State != "withheld" || v.Parts[0].Sentence != interruptedSentence {
		t.Errorf("%+v", v)
	}
}
