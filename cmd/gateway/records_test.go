package main

import (
	"os"
	"strings"
	"testing"
)

// How what a command does about residents gets into an audit log.
const (
	byRoutes  = "its routes are recorded; a test of package web walks them"
	byGateway = "asks a running gateway, which records it"
	offline   = "works on files that its caller has: no source is asked, no service answers"
	nobody    = "concerns no resident"
)

// A new command must say how it is recorded. What is said is held against the
// source where it can be: what asks a gateway names one of its routes, and none but the
// gateway itself has a way to a source.
func TestEveryCommandHasAnAuditClass(t *testing.T) {
	classes := map[string]struct{ class, file, shows string }{
		"serve":     {byRoutes, "serve.go", "web."},
		"demo":      {byGateway, "demo/demo.go", ""},
		"verify":    {byGateway, "online.go", "/v1/verify"}, // with -online; else offline
		"withdraw":  {byGateway, "withdraw.go", "/v1/"},
		"bundle":    {offline, "bundle.go", ""},
		"audit":     {offline, "tools.go", ""},
		"supervise": {offline, "", ""},
		"witness":   {nobody, "witness.go", ""},
		"pseudod":   {byGateway, "pseudod.go", "pseudod."}, // who asks it records why
		"catalog":   {nobody, "catalog.go", ""},
		"seal":      {nobody, "sealoffice.go", "LastRecorded"}, // held against what the gateway has recorded
		"keys":      {nobody, "keys.go", ""},
		"init":      {nobody, "tools.go", ""},
		"topics":    {nobody, "topics.go", ""},
		"health":    {nobody, "probe.go", "/v1/health"},
	}
	for _, c := range commands() {
		is, ok := classes[c.name]
		if !ok {
			t.Errorf("gateway %s: how is what it does recorded? Say so here", c.name)
			continue
		}
		delete(classes, c.name)
		if is.file == "" {
			continue
		}
		source, err := os.ReadFile(is.file)
		if err != nil {
			t.Errorf("gateway %s: %v", c.name, err)
			continue
		}
		if !strings.Contains(string(source), is.shows) {
			t.Errorf("gateway %s: %s, but %s has no %s", c.name, is.class, is.file, is.shows)
		}
		if is.class != byRoutes && strings.Contains(string(source), `"yizheng/adapters`) {
			t.Errorf("gateway %s: %s, but it can ask a source itself", c.name, is.class)
		}
	}
	for name := range classes {
		t.Errorf("there is no gateway %s any more", name)
	}
}
