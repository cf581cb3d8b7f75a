package exchange

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/catalog"
	"yizheng/identity/jose"
)

// weights are the sizes of a result, in bytes: as stored, and decrypted.
func (c *city) weights(x *Exchange, part string) (stored, plain int) {
	c.t.Helper()
	token, err := c.Sealed(c.t.Context(), x, part)
	c.ok(err)
	text, err := jose.DecryptSM2(c.reply, TypeResult, string(token))
	c.ok(err)
	return len(token), len(text)
}

func TestSensitiveResultsHaveOneSize(t *testing.T) {
	t.Parallel()
	for _, f := range findings {
		t.Run(f.name, func(t *testing.T) {
			c := newCity(t)
			c.sources["mr"].gives(f.answer(c))
			stored, plain := c.weights(c.ended(c.request("SECRET")), "MR-01")
			if plain != PadDocument {
				t.Errorf("%d bytes, want %d", plain, PadDocument)
			}
			// a few bytes of the ciphertext are random: SM2 writes numbers without leading zeros
			if want := PadDocument * 4 / 3; stored < want || stored > want+600 {
				t.Errorf("%d bytes stored, want about %d", stored, want)
			}
		})
	}
}

func TestResultsArePaddedToWholeSteps(t *testing.T) {
	for _, n := range []int{2, 3, 53, 54, 55, 56, 64, 119, 120, 200} {
		bare := append(append([]byte(`{`), slices.Repeat([]byte{' '}, n-2)...), '}')
		p := Padded(bare, 64)
		if len(p)%64 != 0 || len(p) < n+9 || len(p) >= n+9+64 || string(p[:n-1]) != string(bare[:n-1]) {
			t.Errorf("%d bytes became %d: %s", n, len(p), p)
		}
	}
	document := &part{grant: catalog.Grant{Output: catalog.OutputBoth}}
	data := &part{grant: catalog.Grant{Output: catalog.OutputData}}
	if padStep(document) != 512<<10 || padStep(data) != 16<<10 {
		t.Error("wrong steps")
	}
}

func TestReleaseDoesNotTellHowLongADocumentTook(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct{ answered, ready, due time.Duration }{
		{0, 0, 200 * ms},
		{3 * ms, 3 * ms, 200 * ms},
		{3 * ms, 90 * ms, 200 * ms},
		{99 * ms, 199 * ms, 200 * ms},
		{100 * ms, 101 * ms, 300 * ms},
		{140 * ms, 250 * ms, 300 * ms},
		{99 * ms, 201 * ms, 300 * ms},
		{99 * ms, 950 * ms, 1000 * ms},
	} {
		if due := maskedUntil(tt.answered, tt.ready); due != tt.due {
			t.Errorf("answered %v, ready %v: due %v, want %v", tt.answered, tt.ready, due, tt.due)
		}
	}
}

// When a leg of a sensitive proof ended is nobody's business: its record comes with the release.
func TestLegsOfASensitiveProofAreRecordedWithTheirRelease(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	c.ended(c.request("SECRET"))
	var ops []string
	for _, e := range c.entries("") {
		if e.Open.Proof == "MR-01" {
			ops = append(ops, string(e.Open.Op))
		}
	}
	if fmt.Sprint(ops) != "[release issue source.call]" {
		t.Errorf("%v", ops)
	}
}

func TestLegsOfAForgottenSensitiveProofAreRecorded(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	x := c.begin(c.request("SECRET"))
	c.ok(c.Forget(t.Context(), x))
	c.await(x)
	if legs := c.entries(audit.OpSourceCall); len(legs) != 1 || len(c.entries(audit.OpRelease)) > 0 {
		t.Errorf("%+v", legs)
	}
}

func TestWhoIsShownASensitiveOutcomeIsInTheLog(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	x := c.ended(c.request("SECRET"))
	for range 3 {
		c.ok(c.RecordView(t.Context(), c.who, x, c.View(x)))
	}
	views := c.entries(audit.OpDocView)
	if len(views) != 1 || views[0].Open.Leg != "MR-01" || views[0].Open.Exchange != x.Number || views[0].Closed.Actor != string(c.who.Operator) {
		t.Fatalf("%+v", views)
	}
	other := c.who
	other.Operator = "somebody-else"
	c.ok(c.RecordView(t.Context(), other, x, c.View(x)))
	if n := len(c.entries(audit.OpDocView)); n != 2 {
		t.Errorf("%d records for two people", n)
	}
	other.Operator = "a-third"
	c.breakLog()
	if c.RecordView(t.Context(), other, x, c.View(x)) == nil {
		t.Error("shown without a record")
	}
}

func TestOutcomesOfOtherProofsAreShownWithoutMoreRecords(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	x := c.ended(c.request("ONE"))
	c.ok(c.RecordView(t.Context(), c.who, x, c.View(x)))
	if views := c.entries(audit.OpDocView); len(views) > 0 {
		t.Errorf("%+v", views)
	}
}

func TestIntentNamesEveryWorkstation(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	spouse := c.claims()
	spouse.Role, spouse.Workstation, spouse.Person = "spouse", "ws-02", person(t, wangNumber, wangName)
	req := c.request("FAMILY")
	req.Subjects = append(req.Subjects, c.mint(spouse))
	c.ended(req)
	if intent := c.entries(audit.OpQuery)[0]; intent.Closed.Workstation != "ws-01,ws-02" {
		t.Errorf("%q", intent.Closed.Workstation)
	}
}
