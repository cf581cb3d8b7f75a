package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"yizheng/identity/staff"
)

func TestExampleConfigurationIsCompleteAndResolvesItsPaths(t *testing.T) {
	c, err := readConfig("../../configs/gateway.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join("../../configs", "keys/gateway.key"); c.Keys.Gateway != want {
		t.Errorf("keys.gateway = %q, want %q: relative to the file", c.Keys.Gateway, want)
	}
	if got := c.Connections["province"].Platform.AppKeyFile; !strings.HasPrefix(got, "../../configs/") {
		t.Errorf("app_key_file = %q, want it relative to the file", got)
	}
}

func TestConfigurationMistakesAreNamedWithTheirPlace(t *testing.T) {
	good, err := os.ReadFile("../../configs/gateway.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, old, new, want string }{
		{"unknown key", "slot: \"00\"", "slott: \"00\"", "[6:1]"},
		{"unknown key of a connection", "rid: 690100-gateway", "ridd: 690100-gateway", "ridd"},
		{"slot that is not two digits", "slot: \"00\"", "slot: \"0\"", "slot: 须为两位数字 / must be two digits"},
		{"mode that does not exist", "mode: production", "mode: test", "mode: 须为 demo 或 production"},
		{"missing key file", "  gateway: keys/gateway.key\n", "", "keys.gateway: 缺少此项 / is missing"},
		{"one administrator only", ", keys/security-2.pub.pem]", "]", "at least two security administrators"},
		{"form of signatures that does not exist", "  # mode: cms ", "  mode: pades # ", "seals.mode: 须为 ses 或 cms"},
		{"time stamps without a choice", "  # timestamp: ", "  timestamp: { url: https://tsa.example/ } # ", "seals.timestamp.on_failure: 须为 require"},
		{"name that the audit log takes for an ID number", "origin: gw", "origin: gw69010219880614105x.", "origin: 其中连续 18 位像居民身份证号码"},
		{"supervision without rules", "  rules: supervise\n", "", "supervise.rules: 缺少此项"},
		{"supervision once a week", "  # scan: 2s", "  scan: 168h #", "supervise.scan: 须在"},
		{"end of a person's time that is no time", "role: auditor,", "role: auditor, until: 2026-13-01,", "不是时间"},
		{"connection of no kind", "    sql:\n      driver: pgx\n      dsn_file: keys/housing-fund.dsn\n", "    {}\n", "exactly one of platform and sql"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "gateway.yaml")
			text := strings.Replace(string(good), tt.old, tt.new, 1)
			if text == string(good) {
				t.Fatalf("the example has no %q", tt.old)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := readConfig(path); err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error = %v, want one with %q and the file's name", err, tt.want)
			}
		})
	}
}

func TestProductionNamesEveryViolationAtOnce(t *testing.T) {
	c, err := readConfig("../../configs/gateway.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c.Kafka.Embedded = true
	k := c.Connections["housing-fund"]
	k.DemoTables = "people.yaml"
	c.Connections["housing-fund"] = k
	err = c.strict()
	for _, want := range []string{"gateway.key", "kafka.embedded", "connections.housing-fund", "audit.dir"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("strict() = %v, want it to name %s", err, want)
		}
	}
}

func TestAnAccountThatLooksLikeAnIDNumberIsRefusedWithoutRepeatingIt(t *testing.T) {
	const account = "69010219880614105X"
	_, err := registerOf([]AdministratorConfig{{Name: account, Role: staff.Auditor}})
	if err == nil || !strings.Contains(err.Error(), "administrators[0].name: ") || strings.Contains(err.Error(), account) {
		t.Errorf("%v", err)
	}
}
