package exchange

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"yizheng/audit"
	"yizheng/exchange/store"
)

func TestEveryPrintIsOnRecordBeforeItIsMade(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	x := c.ended(c.request("ONE"))
	part := x.plan.parts[0].id
	for _, step := range []struct {
		reason string
		op     audit.Op
	}{{"", audit.OpDocPrint}, {"PAPER_JAM", audit.OpDocReprint}, {"OTHER", audit.OpDocReprint}} {
		p, err := c.Print(t.Context(), c.who, x, part, step.reason)
		c.ok(err)
		pointer, err := audit.ParsePointer(p.Record)
		c.ok(err)
		e := c.entries("")[pointer.Index]
		if p.Op != step.op || e.Open.Op != step.op || e.Closed.Reason != step.reason || e.Closed.Actor != string(c.who.Operator) ||
			e.Open.Exchange != x.Number || e.Open.Leg != part || e.Open.Proof == "" {
			t.Errorf("%+v: %+v", p, e)
		}
	}
}

func TestAFurtherPrintNeedsAReasonFromTheList(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	x := c.ended(c.request("ONE"))
	part := x.plan.parts[0].id
	_, err := c.Print(t.Context(), c.who, x, part, "because I say so")
	if r := reasonOf(err); r != ReasonInvalid {
		t.Errorf("%q: %v", r, err)
	}
	_, err = c.Print(t.Context(), c.who, x, part, "")
	c.ok(err)
	_, err = c.Print(t.Context(), c.who, x, part, "")
	if r := reasonOf(err); r != ReasonReprint {
		t.Errorf("%q: %v", r, err)
	}
	if n, denied := len(c.entries(audit.OpDocPrint)), len(c.entries(audit.OpDeny)); n != 1 || denied != 2 {
		t.Errorf("%d prints, %d refusals", n, denied)
	}
	for _, e := range c.entries("") {
		if strings.Contains(e.Open.Outcome+e.Closed.Reason, "because") {
			t.Error("the log repeats what it was told")
		}
	}
}

// A gateway that knows of no first print takes the client's word that this is another.
func TestAReprintAtAnotherGatewayIsSaidByItsReason(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	x := c.ended(c.request("ONE"))
	p, err := c.Print(t.Context(), c.who, x, x.plan.parts[0].id, "DAMAGED")
	if c.ok(err); p.Op != audit.OpDocReprint {
		t.Error(p.Op)
	}
}

func TestAPrintOfASensitiveProofTellsTheOpenHalfNothing(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	x := c.ended(c.request("SECRET"))
	_, err := c.Print(t.Context(), c.who, x, "MR-01", "")
	c.ok(err)
	e := c.entries(audit.OpDocPrint)[0]
	if e.Open.Exchange+e.Open.Leg+e.Open.Proof+e.Open.Item+e.Open.Case+e.Open.Provider != "" || e.Closed.Object != x.Number+"/MR-01" {
		t.Errorf("%+v", e)
	}
}

// Neither by what an entry says nor by standing beside the order's.
func TestAPrintOrderTellsTheOpenHalfNothingOfASensitiveProof(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	x := c.ended(c.request("SECRET"))
	numbers := []string{x.plan.parts[0].result.number}
	_, err := c.PrintOrder(t.Context(), c.who, x, "", func(View) (Bound, error) { return Bound{File: []byte("order"), Numbers: numbers}, nil })
	c.ok(err)
	list := c.entries(audit.OpDocPrint)
	if len(list) != 2 || list[0].Closed.Object != "print-order" || list[1].Closed.Object != "print-order "+x.Number+"/MR-01" {
		t.Errorf("%+v", list)
	}
	if list[1].Open.Exchange != x.Number || list[1].Open.Leg+list[1].Open.Proof+list[1].Open.Provider != "" {
		t.Errorf("%+v", list[1].Open)
	}
}

func TestWithoutARecordNothingIsPrinted(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	x := c.ended(c.request("ONE"))
	part := x.plan.parts[0].id
	if _, err := c.Print(t.Context(), c.who, x, "XX-99", ""); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an unknown part: %v", err)
	}
	c.breakLog()
	_, err := c.Print(t.Context(), c.who, x, part, "")
	if r := reasonOf(err); r != ReasonUnavailable {
		t.Errorf("%q: %v", r, err)
	}
	if x.plan.parts[0].result.printed {
		t.Error("counts as printed")
	}
}

func TestOfPrintsAtTheSameTimeOneIsTheFirst(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	x := c.ended(c.request("ONE"))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { _, _ = c.Print(t.Context(), c.who, x, x.plan.parts[0].id, "") })
	}
	all.Wait()
	if n := len(c.entries(audit.OpDocPrint)); n != 1 {
		t.Errorf("%d first prints", n)
	}
}
