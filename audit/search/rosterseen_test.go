package search

import (
	"errors"
	"testing"
)

func TestARosterThatWasPutBackIsRefused(t *testing.T) {
	used := goodRoster(t)
	used.Number = 7
	seen, err := used.Seen()
	must(t, err)
	for name, test := range map[string]struct {
		change func(*Roster)
		good   bool
	}{
		"the same":                    {func(*Roster) {}, true},
		"the next":                    {func(r *Roster) { r.Number, r.Logs = 8, r.Logs[:1] }, true},
		"an older one":                {func(r *Roster) { r.Number = 6 }, false},
		"another with the old number": {func(r *Roster) { r.Logs = r.Logs[:1] }, false},
	} {
		r := used
		test.change(&r)
		if err := seen.Allows(r); (err == nil) != test.good || err != nil && !errors.Is(err, ErrRosterOlder) {
			t.Errorf("%s: %v", name, err)
		}
		if err := (Seen{}).Allows(r); err != nil {
			t.Errorf("%s, the first: %v", name, err)
		}
	}
}
