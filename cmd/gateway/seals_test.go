package main

import (
	"strings"
	"testing"

	"yizheng/catalog"
	"yizheng/seal"
)

func TestSealInUseWithoutAKeyAnywhereStopsTheStart(t *testing.T) {
	for name, c := range map[string]struct {
		front   catalog.FrontID
		state   seal.State
		keyHere bool
		refused bool
	}{
		"key here":            {"", seal.Issued, true, false},
		"kept at a front":     {"hr-front", seal.Issued, false, false},
		"revoked, key erased": {"", seal.Revoked, false, false},
		"nowhere":             {"", seal.Issued, false, true},
	} {
		err := keysHere([]catalog.Seal{{ID: "hr", Front: c.front}}, []seal.Info{{ID: "other"}, {ID: "hr", State: c.state, KeyHere: c.keyHere}}, false)
		if (err != nil) != c.refused || err != nil && !strings.Contains(err.Error(), "seal hr has no key here") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUnprotectedKeyOfASealStopsProduction(t *testing.T) {
	have := []seal.Info{{ID: "hr", KeyHere: true}}
	if err := keysHere(nil, have, true); err == nil || !strings.Contains(err.Error(), "seal hr is not encrypted") {
		t.Errorf("in production: %v", err)
	}
	if err := keysHere(nil, have, false); err != nil {
		t.Errorf("in a demo: %v", err)
	}
}
