package seal

import (
	"fmt"
	"testing"
	"time"
)

func TestExpiring_WarnsAt60And30And7DaysAndAfterTheEnd(t *testing.T) {
	c := newCity(t) // the seal ends after 3 years, the certificates after 5
	end := c.order().Validity.Until
	for _, tt := range []struct {
		name string
		now  time.Time
		want string
	}{
		{"long before", end.AddDate(0, 0, -61), "[]"},
		{"60 days", end.AddDate(0, 0, -60), "[mz seal 60 60]"},
		{"31 days", end.AddDate(0, 0, -31), "[mz seal 31 60]"},
		{"30 days", end.AddDate(0, 0, -30), "[mz seal 30 30]"},
		{"a week", end.AddDate(0, 0, -7), "[mz seal 7 7]"},
		{"the last hour", end.Add(-time.Hour), "[mz seal 0 7]"},
		{"an hour after", end.Add(time.Hour), "[mz seal -1 0]"},
		{"certificates too", years.Until.AddDate(0, 0, -10), "[mz seal -721 0 mz certificate 10 30 mz maker 10 30]"},
	} {
		var got []any
		for _, e := range c.registry(RegistryOptions{}).Expiring(tt.now) {
			got = append(got, e.SealID, e.What, e.Days, e.Within)
			if e.Name != sealName {
				t.Errorf("%s: %+v", tt.name, e)
			}
		}
		if fmt.Sprint(got) != tt.want {
			t.Errorf("%s: %v, want %s", tt.name, got, tt.want)
		}
	}
}
