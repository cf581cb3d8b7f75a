package seal

import (
	"strings"
	"testing"
	"time"

	"yizheng/seal/revocation"
	"yizheng/seal/tsp/tsptest"
)

// TestVerify_ASigningTimeCountsAgainstACompromiseOnlyWhenItIsProven: what is refused
// without a proof is class "backdating" of the mutations.
func TestVerify_ASigningTimeCountsAgainstACompromiseOnlyWhenItIsProven(t *testing.T) {
	w := newWorkshop(t)
	after := signed.Add(time.Hour)
	a := tsptest.New(t)
	a.GenTime = func() time.Time { return signed.Add(time.Second) }
	stamped := w.stamped(a.Stamp(w.signature()))
	for name, prepare := range map[string]func(*city){
		"certificate":            func(c *city) { c.crlFor(w.holder.Cert, after, revocation.KeyCompromise) },
		"certificate, no reason": func(c *city) { c.crlFor(w.holder.Cert, after, revocation.Unspecified) },
		"seal":                   func(c *city) { c.statusList(Event{esid, Revoked, after, "LOST"}) },
		"seal suspended":         func(c *city) { c.statusList(Event{esid, Suspended, after, "LOST"}) },
		"maker":                  func(c *city) { c.crlFor(w.maker.Cert, after, revocation.KeyCompromise) },
		"seal lost, then replaced": func(c *city) {
			c.statusList(Event{esid, Suspended, after, "LOST"}, Event{esid, Revoked, after.Add(time.Hour), "REORGANISED"})
		},
	} {
		trust := w.trustWith(func(c *city) { c.trustAuthority(a); prepare(c) })
		if r := Verify(w.good, trust, now); r.Overall || !r.Unproven || !strings.Contains(r.Checks[CheckTime-1].Reason.EN+r.Checks[CheckSeal-1].Reason.EN, "only claimed") {
			t.Errorf("%s: a mere claim: overall %v, unproven %v, %+v", name, r.Overall, r.Unproven, r.Checks[CheckTime-1])
		}
		if r := Verify(stamped, trust, now); !r.Overall || r.Unproven || !strings.Contains(r.Checks[CheckCertificate-1].Reason.EN+r.Checks[CheckSeal-1].Reason.EN, "later") && name != "maker" {
			t.Errorf("%s: time stamp before: overall %v, %+v", name, r.Overall, r.Checks)
		}
		if r := VerifyWitnessed(t.Context(), w.good, trust, now, signed.Add(time.Minute)); !r.Overall || r.Unproven {
			t.Errorf("%s: witness before: overall %v, %+v", name, r.Overall, r.Checks)
		}
		if r := VerifyWitnessed(t.Context(), w.good, trust, now, after); r.Overall || !r.Unproven {
			t.Errorf("%s: witness at that second: overall %v", name, r.Overall)
		}
	}
}

func TestVerify_AnOrderlyEndLeavesEarlierSignaturesAlone(t *testing.T) {
	w := newWorkshop(t)
	after := signed.Add(time.Hour)
	trusts := map[string]*Trust{
		"lost and found again": w.trustWith(func(c *city) {
			c.statusList(Event{esid, Suspended, after, "LOST"}, Event{esid, Issued, after.Add(time.Hour), "FOUND"})
		}),
	}
	for _, why := range []revocation.Reason{revocation.AffiliationChanged, revocation.Superseded, revocation.CessationOfOperation, revocation.PrivilegeWithdrawn} {
		_, name := why.Text()
		trusts["certificate "+name] = w.trustWith(func(c *city) { c.crlFor(w.holder.Cert, after, why) })
	}
	for _, why := range []Reason{"REORGANISED", "EXPIRED", "MISTAKE", "RETIRED"} {
		trusts["seal "+string(why)] = w.trustWith(func(c *city) { c.statusList(Event{esid, Revoked, after, why}) })
	}
	for name, trust := range trusts {
		if r := Verify(w.good, trust, now); !r.Overall || r.Unproven {
			t.Errorf("%s: %+v", name, r.Checks)
		}
	}
}
