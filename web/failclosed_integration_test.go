//go:build integration

package web_test

import "testing"

func TestNoRouteAnswersWithoutItsRecord(t *testing.T) {
	for _, r := range recordings() {
		spoilAll(t, r)
	}
}
