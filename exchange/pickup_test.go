package exchange

import (
	"context"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/catalog"
	"yizheng/identity"
)

func TestAManualCheckIsPickedUpWithANewCardRead(t *testing.T) {
	t.Parallel()
	a := newCity(t)
	b := a.twin() // any window: another gateway, another clerk
	b.who.Operator = "clerk-02"
	a.sources["si"].gives(a.state("si", StatePending), nil)
	x := a.ended(a.request("ONE"))
	number := a.part(x, "SI-01").Manual
	if number == "" {
		t.Fatal("no 受理号")
	}
	a.offset.Store(int64(20 * 24 * time.Hour))
	pickup := func(c *city, change ...func(*identity.SubjectClaims, *Request)) (*Exchange, error) {
		claims := c.claims()
		req := Request{Item: "PRH", Situation: "ONE", Case: "C-1", Purpose: "P-PRH", ReplyKey: c.request("ONE").ReplyKey, Proofs: []catalog.ProofCode{"SI-01"}, Pickup: number}
		for _, f := range change {
			f(&claims, &req)
		}
		req.Subjects = []SubjectToken{c.mint(claims)}
		return c.Exchange(context.Background(), c.who, req, "")
	}
	again, err := pickup(b)
	b.ok(err)
	if p := b.part(b.await(again), "SI-01"); p.Code != Pending || p.Manual != number {
		t.Errorf("still pending, and yet another number: %+v", p)
	}
	b.sources["si"].gives(b.found("si"), nil)
	again, err = pickup(b)
	b.ok(err)
	if p := b.part(b.await(again), "SI-01"); p.Code != Found || p.Number == "" {
		t.Errorf("%+v", p)
	}
	told := 0
	for _, e := range b.entries(audit.OpQuery) {
		if e.Closed.Reason == "PICKUP" && e.Closed.Object == x.Number && e.Closed.Digests["manual"] == manualDigest(number) {
			told++
		}
	}
	if told != 2 {
		t.Errorf("the record does not name the earlier exchange: %d", told)
	}
	refusals := make(map[string]bool)
	asked := b.sources["si"].times()
	for name, change := range map[string]func(*identity.SubjectClaims, *Request){
		"another person": func(c *identity.SubjectClaims, _ *Request) { c.Person = person(t, wangNumber, wangName) },
		"unknown number": func(_ *identity.SubjectClaims, r *Request) { r.Pickup = "S2026112201ABCDEFGHJKV" },
		"no number":      func(_ *identity.SubjectClaims, r *Request) { r.Pickup = "x" },
		"another proof": func(_ *identity.SubjectClaims, r *Request) {
			r.Situation, r.Proofs = "ALL", []catalog.ProofCode{"HF-01"}
		},
	} {
		_, err := pickup(b, change)
		if reasonOf(err) != ReasonPickup {
			t.Errorf("%s: %v", name, err)
			continue
		}
		refusals[err.(*Refusal).Chinese+err.(*Refusal).Where] = true
	}
	a.offset.Store(int64(60 * 24 * time.Hour))
	_, err = pickup(b)
	if reasonOf(err) != ReasonPickup {
		t.Errorf("too late: %v", err)
	}
	refusals[err.(*Refusal).Chinese+err.(*Refusal).Where] = true
	if len(refusals) != 1 {
		t.Errorf("%d kinds of refusal tell one case from the other", len(refusals))
	}
	if b.sources["si"].times() != asked {
		t.Error("asked without a right to")
	}
	if _, err := pickup(b, func(_ *identity.SubjectClaims, r *Request) { r.Situation, r.Proofs = "ALL", nil }); reasonOf(err) != ReasonInvalid {
		t.Errorf("several proofs: %v", err)
	}
}
