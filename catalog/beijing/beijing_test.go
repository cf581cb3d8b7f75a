package beijing

import (
	"testing"
	"time"
)

func TestZone_HasTheDateOfBeijing(t *testing.T) {
	for utc, want := range map[string]string{"2026-11-22T15:59:59Z": "2026-11-22 23:59:59", "2026-11-22T16:00:00Z": "2026-11-23 00:00:00", "1988-07-01T00:00:00Z": "1988-07-01 08:00:00"} {
		at, err := time.Parse(time.RFC3339, utc)
		if err != nil {
			t.Fatal(err)
		}
		if got := at.In(Zone()); got.Format(time.DateTime) != want {
			t.Errorf("%s is %s, want %s", utc, got, want)
		}
	}
}
