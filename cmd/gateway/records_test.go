package main

import (
	"testing"

	"yizheng/cmd/internal/commandtest"
)

// A new command must say how it is recorded.
func TestEveryCommandHasAnAuditClass(t *testing.T) {
	var names []string
	for _, c := range commands() {
		names = append(names, c.name)
	}
	commandtest.Hold(t, "gateway", names, map[string]commandtest.Class{
		"serve":     {Way: commandtest.ByRoutes, File: "serve.go", Shows: "web."},
		"demo":      {Way: commandtest.ByGateway, File: "demo/demo.go"},
		"verify":    {Way: commandtest.ByGateway, File: "online.go", Shows: "/v1/verify"}, // with -online; else offline
		"withdraw":  {Way: commandtest.ByGateway, File: "withdraw.go", Shows: "/v1/"},
		"bundle":    {Way: commandtest.Offline, File: "bundle.go"},
		"audit":     {Way: commandtest.Offline, File: "tools.go"},
		"supervise": {Way: commandtest.Offline},
		"witness":   {Way: commandtest.Nobody, File: "witness.go"},
		"pseudod":   {Way: commandtest.ByGateway, File: "pseudod.go", Shows: "pseudod."}, // who asks it records why
		"catalog":   {Way: commandtest.Nobody, File: "catalog.go"},
		"seal":      {Way: commandtest.Nobody, File: "sealoffice.go", Shows: "LastRecorded"}, // held against what the gateway has recorded
		"keys":      {Way: commandtest.Nobody, File: "keys.go"},
		"init":      {Way: commandtest.Nobody, File: "tools.go"},
		"topics":    {Way: commandtest.Nobody, File: "topics.go"},
		"health":    {Way: commandtest.Nobody, File: "probe.go", Shows: "/v1/health"},
	})
}
