//go:build integration

package exchange

import "testing"

func TestWhereverTheLogFailsNothingIsDoneWithoutItsRecord(t *testing.T) {
	for _, d := range deeds() {
		spoilAll(t, d)
	}
}
