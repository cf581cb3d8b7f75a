package exchange

import (
	"context"
	"errors"
	"testing"

	"yizheng/audit"
	"yizheng/exchange/store"
)

// Something panics when a result is about to be handed over: it is withheld, the
// process goes on, and the log says so.
func TestAPanicAtTheEndWithholdsThePartOnRecord(t *testing.T) {
	t.Parallel()
	c := newCity(t)
	c.sources["si"].says(func(context.Context, Ask) (Answer, error) {
		c.Service.pseudonyms = nil // which the record of the release needs
		return c.found("si"), nil
	})
	x := c.ended(c.request("ONE"))
	if p := c.part(x, "SI-01"); p.State != "withheld" || p.Code != "" {
		t.Errorf("%+v", p)
	}
	if _, err := c.Sealed(t.Context(), x, "SI-01"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a result: %v", err)
	}
	withheld := 0
	for _, e := range c.entries(audit.OpRelease) {
		if e.Open.Phase == audit.PhaseFailed && e.Open.Outcome == "WITHHELD" && e.Open.Prev != nil {
			withheld++
		}
	}
	if withheld == 0 {
		t.Error("its record says nothing of it")
	}
}
