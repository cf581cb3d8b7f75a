//go:build long

package audit

import "testing"

func TestProcessKilledAThousandTimesLosesNothing(t *testing.T) { killCycles(t, 1000) }
