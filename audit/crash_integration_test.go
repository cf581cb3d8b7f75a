//go:build integration

package audit

import "testing"

func TestTenThousandPowerCutsLoseNothingAcknowledged(t *testing.T) { survivePowerCuts(t, 10_000) }

func TestAThousandPowerCutsInATurnLoseNothingAcknowledged(t *testing.T) { surviveTurns(t, 1000) }
