package main

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"yizheng/identity/jose"
)

// enrol runs frontproc init in a new directory.
func enrol(t *testing.T, args ...string) (dir, said string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "front")
	var out, errOut bytes.Buffer
	if code := run(t.Context(), append([]string{"init", "-dir", dir, "-front", "land-front"}, args...), &out, &errOut); code != 0 {
		t.Fatalf("init ended with %d: %s", code, &errOut)
	}
	return dir, out.String()
}

func TestInitMakesWhatCanBeStartedFrom(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		keys []string
		read func(path string) error
		file string
		csr  bool
	}{
		"over Kafka":   {nil, []string{"front", "audit"}, func(p string) error { _, err := readConfig(p); return err }, "frontproc.yaml", true},
		"behind a gap": {[]string{"-gap"}, []string{"front", "audit", "front-gap"}, func(p string) error { _, err := readConfig(p); return err }, "frontproc.yaml", false},
		"relay":        {[]string{"-relay"}, []string{"relay-gap"}, func(p string) error { _, err := readRelayConfig(p); return err }, "relay.yaml", true},
	} {
		t.Run(name, func(t *testing.T) {
			dir, said := enrol(t, c.args...)
			if err := c.read(filepath.Join(dir, c.file)); err != nil {
				t.Error(err)
			}
			for _, k := range c.keys {
				base := filepath.Join(dir, "keys", k)
				key, err := jose.ReadKey(base+".key", filepath.Join(dir, "keys/passphrase"))
				if err != nil {
					t.Fatal(err)
				}
				if pub, err := jose.ReadPublicKey(base + ".pub.pem"); err != nil || jose.KeyID(pub) != key.ID() {
					t.Errorf("%s: the public key is another one, %v", k, err)
				}
				if ok, err := jose.IsProtected(base + ".key"); err != nil || !ok {
					t.Errorf("%s is not encrypted, %v", k, err)
				}
				if !strings.Contains(said, base+".pub.pem") || !strings.Contains(said, key.ID()) {
					t.Errorf("it does not say what to do with %s:\n%s", k, said)
				}
			}
			b, err := os.ReadFile(filepath.Join(dir, requestBase+".csr"))
			if (err == nil) != c.csr {
				t.Fatalf("request for a certificate: %v", err)
			}
			if c.csr {
				p, _ := pem.Decode(b)
				if r, err := x509.ParseCertificateRequest(p.Bytes); err != nil || r.CheckSignature() != nil || r.Subject.CommonName != "land-front" {
					t.Errorf("request for a certificate: %v, %v", r, err)
				}
			}
			others := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
				if err != nil {
					return err
				}
				info, err := e.Info()
				if secret := strings.HasSuffix(path, ".key") || strings.HasSuffix(path, "passphrase"); err == nil && secret && info.Mode().Perm() != 0o600 {
					return fmt.Errorf("%s has mode %v", path, info.Mode())
				}
				return err
			})
			if others != nil {
				t.Error(others)
			}
		})
	}
}

func TestInitOverwritesNothing(t *testing.T) {
	for _, there := range []string{"frontproc.yaml", "keys/front.key", "keys/audit.pub.pem", "keys/passphrase", "tls/kafka-client.csr"} {
		t.Run(there, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, there)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("mine"), 0o600)); err != nil {
				t.Fatal(err)
			}
			var out, errOut bytes.Buffer
			if code := run(t.Context(), []string{"init", "-dir", dir, "-front", "land-front"}, &out, &errOut); code != 1 || !strings.Contains(errOut.String(), path) {
				t.Errorf("ended with %d: %s", code, &errOut)
			}
			files := 0
			err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
				if err == nil && !e.IsDir() {
					files++
				}
				return err
			})
			if b, _ := os.ReadFile(path); err != nil || string(b) != "mine" || files != 1 {
				t.Errorf("%d files now, the first is %q, %v", files, b, err)
			}
		})
	}
}

// What a department has right after enrolment is not enough, and the self-test says what is missing.
func TestCheckSaysWhatIsMissingAndWhatToDo(t *testing.T) {
	dir, _ := enrol(t)
	config := filepath.Join(dir, "frontproc.yaml")
	b, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, bytes.Replace(b, []byte("<kafka-1.example:9093>"), []byte("127.0.0.1:9"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errOut bytes.Buffer
	if code := run(t.Context(), []string{"check", "-config", config}, &out, &errOut); code != 1 || errOut.Len() > 0 {
		t.Errorf("ended with %d: %s", code, &errOut)
	}
	for _, good := range []string{"✓ 配置文件", "✓ 前置机私钥", "✓ 审计私钥", "✓ 审计目录"} {
		if !strings.Contains(out.String(), good) {
			t.Errorf("no line %q", good)
		}
	}
	for _, bad := range []string{"✗ 网关公钥", "✗ 假名密钥", "✗ 目录发布", "✗ 消息总线证书", "✗ 消息总线 / Kafka"} {
		if !strings.Contains(out.String(), bad) {
			t.Errorf("no line %q", bad)
		}
	}
	if n := strings.Count(out.String(), "    → "); n != strings.Count(out.String(), "✗ ") || !strings.Contains(out.String(), fmt.Sprintf("failed: %d", n)) {
		t.Errorf("not every failure says what to do:\n%s", &out)
	}
}

func TestCheckOfASpoolThatNobodyEmpties(t *testing.T) {
	dir := t.TempDir()
	s := &SpoolConfig{Dir: dir}
	if err := s.checkDirectories(time.Now()); err != nil {
		t.Errorf("a spool to begin with: %v", err)
	}
	file := filepath.Join(dir, "out", "LAND_CITY-1790000000000-00000000000000000001.dat")
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "out"), 0o700), os.WriteFile(file, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := s.checkDirectories(time.Now()); err != nil {
		t.Errorf("a file just written: %v", err)
	}
	if err := s.checkDirectories(time.Now().Add(5 * time.Minute)); err == nil || !strings.Contains(err.Error(), "not fetched") {
		t.Errorf("a file that nobody fetches: %v", err)
	}
	if err := (&SpoolConfig{Dir: filepath.Join(dir, "none")}).checkDirectories(time.Now()); err == nil {
		t.Error("a spool that is not there was taken for one")
	}
}

func TestProductionIsStrict(t *testing.T) {
	dir, _ := enrol(t)
	good := func() *Config {
		c, err := readConfig(filepath.Join(dir, "frontproc.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if err := good().strict(); err != nil {
		t.Fatalf("what init makes: %v", err)
	}
	plain := filepath.Join(dir, "plain.key")
	k, err := jose.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	if err := k.WriteFile(plain, nil); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		spoil func(c *Config)
		says  string
	}{
		"plain front key":           {func(c *Config) { c.Key = plain }, plain},
		"plain audit key":           {func(c *Config) { c.Audit.Key = plain }, plain},
		"plain gap key":             {func(c *Config) { c.Kafka, c.Spool = nil, &SpoolConfig{Key: plain} }, plain},
		"no exemption":              {func(c *Config) { c.Kafka, c.Spool = nil, &SpoolConfig{Key: c.Key, Inspection: inspectNothing} }, "spool.exemption"},
		"deferred, but not durable": {func(c *Config) { c.Kafka, c.Spool, c.Reads = nil, &SpoolConfig{Key: c.Key}, "reads" }, "spool.durable"},
		"key that is gone":          {func(c *Config) { c.Key = filepath.Join(dir, "none.key") }, "none.key"},
		"passphrase for all":        {func(c *Config) { c.Passphrase = filepath.Join(dir, "open") }, "chmod 600"},
		"sample CA":                 {func(c *Config) { c.Kafka.CA = filepath.Join(dir, "sample.crt") }, "sample.crt"},
		"no log":                    {func(c *Config) { c.Audit.Dir = filepath.Join(dir, "none") }, "audit.dir"},
		"simulated data": {func(c *Config) {
			way := c.Connections["example"]
			way.DemoTables = "people.yaml"
			c.Connections["example"] = way
		}, "connections.example"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := errors.Join(os.WriteFile(filepath.Join(dir, "open"), nil, 0o644), os.WriteFile(filepath.Join(dir, "sample.crt"), sampleCA(t), 0o600)); err != nil {
				t.Fatal(err)
			}
			conf := good()
			c.spoil(conf)
			if err := conf.strict(); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v", err)
			}
			conf.Mode = "demo"
			if err := conf.strict(); err != nil {
				t.Errorf("a demo: %v", err)
			}
		})
	}
}

func TestSealSettingsOfAFrontAreThoseOfAGateway(t *testing.T) {
	example, err := os.ReadFile("../../configs/frontproc.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ settings, says string }{
		"none":                      {"", ""},
		"CMS":                       {"  mode: cms\n", ""},
		"CMS for one seal":          {"  modes: {hr-own: cms}\n", ""},
		"time stamps":               {"  timestamp: {url: https://tsa.example/, ca: tls/tsa.crt, on_failure: require}\n", ""},
		"no such mode":              {"  mode: pades\n", "seals.mode: 须为 ses 或 cms"},
		"no such mode for a seal":   {"  modes: {hr-own: pades}\n", "seals.modes.hr-own: 须为 ses 或 cms"},
		"time stamps, no choice":    {"  timestamp: {url: https://tsa.example/}\n", "seals.timestamp.on_failure: 须为 require"},
		"time stamps, a wrong word": {"  timestamp: {url: https://tsa.example/, onfailure: require}\n", "onfailure"},
	} {
		path := filepath.Join(t.TempDir(), "frontproc.yaml")
		text := strings.Replace(string(example), "  trust: trust\n", "  trust: trust\n"+c.settings, 1)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		config, err := readConfig(path)
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && config.Seals.Timestamp != nil && config.Seals.Timestamp.CA != filepath.Join(filepath.Dir(path), "tls/tsa.crt") {
			t.Errorf("%s: CA at %s", name, config.Seals.Timestamp.CA)
		}
	}
}

func TestNamesThatTheAuditLogWouldRefuseAreNamedAtOnce(t *testing.T) {
	const like = "69010219880614105X"
	c := Config{Mode: "demo", Front: like, Gateways: []GatewayConfig{{Name: like}}, Spool: &SpoolConfig{Exemption: like}}
	err := c.check("frontproc.yaml")
	for _, key := range []string{"front", "gateways[0].name", "spool.exemption"} {
		if err == nil || !strings.Contains(err.Error(), key+": 其中连续 18 位像居民身份证号码") {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// TestSoon_TellsTheDayOfBeijing on which something ends, which in UTC may be the day before.
func TestSoon_TellsTheDayOfBeijing(t *testing.T) {
	var out bytes.Buffer
	(&checkup{out: &out}).soon("x", time.Date(2020, 12, 31, 16, 0, 0, 0, time.UTC))
	if !strings.Contains(out.String(), "2021-01-01") {
		t.Errorf("says %s", out.String())
	}
}
