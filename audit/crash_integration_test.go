//go:build integration

package audit

import "testing"

func TestTenThousandPowerCutsLoseNothingAcknowledged(t *testing.T) { survivePowerCuts(t, 10_000) }
