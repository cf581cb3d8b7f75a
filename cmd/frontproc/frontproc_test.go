package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const goodConfig = `mode: demo
front: hr-front
key: keys/hr-front.key
gateways:
  - {name: gw00, key: keys/gateway.pub.pem}
kafka:
  brokers: [127.0.0.1:9]
  ca: keys/ca.crt
  certificate: keys/hr-front.crt
  key: keys/hr-front.tls.key
catalog:
  releases: releases
  administrators: [keys/security-1.pub.pem, keys/security-2.pub.pem]
audit:
  dir: audit
  key: keys/audit.key
  pseudonyms: pseudonyms
connections:
  hr:
    sql: {driver: sqlite}
    demo_tables: people.yaml
`

func configFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "frontproc.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPathsAreRelativeToTheFile(t *testing.T) {
	path := configFile(t, goodConfig)
	c, err := readConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(path)
	for _, p := range []string{c.Key, c.Kafka.CA, c.Kafka.Certificate, c.Kafka.Key, c.Catalog.Releases, c.Catalog.Administrators[1],
		c.Audit.Dir, c.Audit.Key, c.Audit.Pseudonyms, c.Gateways[0].Key, c.Connections["hr"].DemoTables} {
		if !strings.HasPrefix(p, dir+"/") {
			t.Errorf("%s is not below the file's directory", p)
		}
	}
}

func TestBadConfigurationNamesFileAndPlace(t *testing.T) {
	for name, c := range map[string]struct {
		old, new string
		want     []string
	}{
		"unknown key":              {"front: hr-front", "front: hr-front\nfronts: x", []string{"frontproc.yaml", "fronts", "3"}},
		"unknown key further in":   {"  ca: keys/ca.crt", "  ca: keys/ca.crt\n  plain: true", []string{"plain"}},
		"not YAML":                 {"mode: demo", "mode: [", []string{"frontproc.yaml"}},
		"another mode":             {"mode: demo", "mode: test", []string{"mode", "production"}},
		"two things at once":       {"front: hr-front\nkey: keys/hr-front.key\n", "", []string{"front: ", "key: "}},
		"no gateway":               {"  - {name: gw00, key: keys/gateway.pub.pem}\n", "", []string{"gateways"}},
		"no broker":                {"[127.0.0.1:9]", "[]", []string{"brokers"}},
		"no log":                   {"  dir: audit\n", "", []string{"audit.dir"}},
		"seals without fonts":      {"connections:\n", "seals: {dir: seals, trust: trust}\nconnections:\n", []string{"seals, fonts"}},
		"seals without a place":    {"connections:\n", "seals: {trust: trust}\nfonts: {body: font.ttf}\nconnections:\n", []string{"seals.dir"}},
		"connection of no kind":    {"    sql: {driver: sqlite}\n", "", []string{"connections.hr"}},
		"plain TCP cannot be said": {"  ca: keys/ca.crt\n", "", []string{"kafka.ca"}},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(goodConfig, c.old, c.new, 1)
			if text == goodConfig {
				t.Fatal("the test changes nothing")
			}
			_, err := readConfig(configFile(t, text))
			if err == nil {
				t.Fatal("accepted")
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q is not in: %v", w, err)
				}
			}
		})
	}
}

func TestExitCodes(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want int
		says string
	}{
		"nothing":          {nil, 2, "frontproc agent -config"},
		"help":             {[]string{"-h"}, 0, "例 / example"},
		"help of agent":    {[]string{"agent", "-h"}, 0, ""},
		"unknown command":  {[]string{"relays"}, 2, "frontproc agent -config"},
		"no configuration": {[]string{"agent"}, 2, ""},
		"unknown flag":     {[]string{"agent", "-number", "1"}, 2, ""},
		"no such file":     {[]string{"agent", "-config", "none.yaml"}, 1, "none.yaml"},
		"keys are missing": {[]string{"agent", "-config", configFile(t, goodConfig)}, 1, "front key"},
		"what is too much": {[]string{"agent", "-config", "none.yaml", "690102198503120016"}, 2, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errOut bytes.Buffer
			if got := run(context.Background(), c.args, &out, &errOut); got != c.want || !strings.Contains(errOut.String(), c.says) {
				t.Errorf("exit code %d, want %d; %s", got, c.want, &errOut)
			}
			if out.Len() > 0 {
				t.Errorf("stdout: %s", &out)
			}
		})
	}
}
