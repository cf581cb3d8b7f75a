package main

import (
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"yizheng/cmd/internal/commandtest"
)

// The agent has one way to work, given by its flags, and commands for its
// simulated reader: a new one of either must say how it is recorded.
func TestEveryCommandHasAnAuditClass(t *testing.T) {
	var names []string
	for _, f := range regexp.MustCompile(`(?m)^  -\w+`).FindAllString(help(t), -1) {
		names = append(names, strings.TrimSpace(f))
	}
	names = slices.AppendSeq(names, maps.Keys(new(simulatedReader).commands()))
	commandtest.Hold(t, "readeragent", names, map[string]commandtest.Class{
		"-config": {Way: commandtest.ByGateway, File: "answer.go", Shows: "/v1/read-sessions/"},
		"put":     {Way: commandtest.Nobody, File: "simulated.go"}, // a sample person's card; reading it is by the gateway
		"remove":  {Way: commandtest.Nobody, File: "simulated.go"},
	})
}

func help(t *testing.T) string {
	t.Helper()
	var said strings.Builder
	if code := run(t.Context(), []string{"-h"}, strings.NewReader(""), io.Discard, &said); code != exitOK {
		t.Fatalf("-h: exit code %d", code)
	}
	return said.String()
}
