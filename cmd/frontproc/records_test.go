package main

import (
	"maps"
	"slices"
	"testing"

	"yizheng/cmd/internal/commandtest"
)

// A new command must say how it is recorded.
func TestEveryCommandHasAnAuditClass(t *testing.T) {
	commandtest.Hold(t, "frontproc", slices.Sorted(maps.Keys(commands())), map[string]commandtest.Class{
		"agent": {Way: commandtest.ByFront, File: "agent.go", Shows: "front.NewAgent("},
		"relay": {Way: commandtest.Nobody, File: "relay.go", Shows: "relay."}, // carries what it cannot open
		"check": {Way: commandtest.Probes, File: "check.go", Shows: ".Probe("},
		"init":  {Way: commandtest.Nobody, File: "init.go", Shows: "GenerateKey"},
	})
}
