package exchange

import (
	"context"
	"path/filepath"
	"testing"

	"yizheng/audit"
	"yizheng/audit/pseudod"
)

// TestWithoutPseudonymsThereIsNoBusiness: the service that has the keys is gone.
func TestWithoutPseudonymsThereIsNoBusiness(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	c.pseudonyms = pseudod.NewClient(filepath.Join(t.TempDir(), "gone"))
	x, err := c.Exchange(context.Background(), c.who, c.request("ALL"), "")
	if x != nil || reasonOf(err) != ReasonUnavailable {
		t.Errorf("%v, %v", x, err)
	}
	for name, f := range c.sources {
		if f.times() != 0 {
			t.Errorf("%s was asked", name)
		}
	}
	if n := len(c.entries(audit.OpQuery)) + len(c.entries(audit.OpRelease)); n > 0 {
		t.Errorf("%d records of business that was not done", n)
	}
}
