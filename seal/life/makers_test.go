package life_test

import (
	"os"
	"path/filepath"
	"testing"

	"yizheng/seal"
	"yizheng/seal/life"
)

// TestStatusList_OfEveryMakerOfAnEdition: a document shows the edition it was sealed
// with, so whoever verifies it looks at the list of the maker of that edition.
func TestStatusList_OfEveryMakerOfAnEdition(t *testing.T) {
	c := newCity(t)
	c.ok(os.WriteFile(filepath.Join(c.trusted, "makers/second.crt"), c.stranger.CertPEM(), 0o600))
	first, second := c.maker.Key.ID(), c.stranger.Key.ID()
	r := c.register()
	c.issue(r, "mz", "1", 0)
	c.issue(r, "cz", "2", 1)
	listed := func(maker, esid string, want seal.State) {
		t.Helper()
		l := r.StatusList(maker, c.clock.AddDate(0, 0, 7))
		if got, _ := l.At(esid, c.clock); got != want {
			t.Errorf("list of %.6s: %s is %q, want %q (%v)", maker, esid, got, want, l.Events)
		}
	}

	c.do(r, "applicant", "mz", life.Renew, ordered(c.order("1", 0)))
	c.do(r, "security-1", "mz", life.Approve)
	c.do(r, "maker", "mz", life.Make, holding(c.make(c.stranger, c.order("1", 0), 0)))
	c.do(r, "applicant", "mz", life.Suspend) // the second edition is made and not issued
	listed(first, "1", seal.Suspended)
	listed(second, "1", seal.Suspended)
	c.do(r, "security-1", "mz", life.Reject)
	c.do(r, "applicant", "mz", life.Resume)
	c.do(r, "security-1", "mz", life.Approve)
	listed(first, "1", seal.Issued)
	listed(second, "1", seal.Issued)

	c.do(r, "applicant", "mz", life.Renew, ordered(c.order("1", 0)))
	c.do(r, "security-1", "mz", life.Approve)
	c.do(r, "maker", "mz", life.Make, holding(c.make(c.stranger, c.order("1", 0), 0)))
	c.do(r, "security-1", "mz", life.Issue)
	c.do(r, "applicant", "mz", life.Revoke)
	c.do(r, "security-2", "mz", life.Approve)
	listed(first, "1", seal.Revoked)
	listed(second, "1", seal.Revoked)
	if got := len(r.StatusList(second, c.clock.AddDate(0, 0, 7)).Events); got != 3 {
		t.Errorf("the second maker's list has %d events, want the 3 of the seal it made an edition of", got)
	}
	c.do(r, "applicant", "cz", life.Suspend)
	listed(second, "2", seal.Issued) // none of its own
	if r = c.register(); !r.Makes(first) || !r.Makes(second) || r.Makes("another") {
		t.Error("the register does not know who made its seals")
	}
}

func TestReasons_AreKnownToWhoVerifies(t *testing.T) {
	for _, r := range life.Reasons() {
		if got := r.Text(); got.ZH == string(r) || got.EN == string(r) {
			t.Errorf("a verifier does not know %s", r)
		}
	}
}
