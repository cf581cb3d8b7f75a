package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/goccy/go-yaml"

	"yizheng/cmd/internal/assembly"
)

// Config is an agent's one configuration file. Unknown keys are errors.
// Relative paths are relative to the file. Secrets are only ever named by path.
type Config struct {
	// Mode is "demo" or "production". Production refuses simulated readers and
	// data, and private keys that are not encrypted.
	Mode string `yaml:"mode"`
	// Front is this front's id in the catalogue.
	Front string `yaml:"front"`
	// Key is the front's SM2 private key: opens questions, signs answers.
	Key string `yaml:"key"`
	// Passphrase is a file with the passphrase of encrypted keys.
	Passphrase string `yaml:"passphrase"`
	// Gateways may ask: their names and public keys.
	Gateways []GatewayConfig `yaml:"gateways"`
	// Kafka is how questions arrive.
	Kafka   KafkaConfig            `yaml:"kafka"`
	Catalog assembly.CatalogConfig `yaml:"catalog"`
	Audit   assembly.AuditConfig   `yaml:"audit"`
	// Connections are the department's own systems.
	Connections assembly.Connections `yaml:"connections"`
}

// GatewayConfig is one gateway that may ask.
type GatewayConfig struct {
	Name string `yaml:"name"`
	Key  string `yaml:"key"` // PEM of its SM2 public key; also signs challenges
}

// KafkaConfig of the ferry. Everything is TLS with client certificates.
type KafkaConfig struct {
	Brokers     []string `yaml:"brokers"`
	CA          string   `yaml:"ca"`
	Certificate string   `yaml:"certificate"`
	Key         string   `yaml:"key"`
}

func readConfig(path string) (*Config, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	c := &Config{}
	if err := yaml.NewDecoder(bytes.NewReader(raw), yaml.Strict()).Decode(c); err != nil {
		return nil, fmt.Errorf("configuration %s: 配置有误，请按提示修改 / not valid, see below\n%s", path, yaml.FormatError(err, false, true))
	}
	paths := []*string{&c.Key, &c.Passphrase, &c.Kafka.CA, &c.Kafka.Certificate, &c.Kafka.Key, &c.Catalog.Releases,
		&c.Audit.Dir, &c.Audit.Key, &c.Audit.Pseudonyms}
	for i := range c.Gateways {
		paths = append(paths, &c.Gateways[i].Key)
	}
	for i := range c.Catalog.Administrators {
		paths = append(paths, &c.Catalog.Administrators[i])
	}
	assembly.Resolve(filepath.Dir(path), paths...)
	c.Connections.Resolve(filepath.Dir(path))
	return c, c.check(path)
}

// check reports every missing or contradictory setting at once.
func (c *Config) check(path string) error {
	var errs []error
	bad := func(key, zh, en string) { errs = append(errs, fmt.Errorf("%s: %s: %s / %s", path, key, zh, en)) }
	if c.Mode != "demo" && c.Mode != "production" {
		bad("mode", "须为 demo 或 production", "must be demo or production")
	}
	for key, v := range map[string]string{"front": c.Front, "key": c.Key, "kafka.ca": c.Kafka.CA, "kafka.certificate": c.Kafka.Certificate,
		"kafka.key": c.Kafka.Key, "catalog.releases": c.Catalog.Releases, "audit.dir": c.Audit.Dir, "audit.key": c.Audit.Key, "audit.pseudonyms": c.Audit.Pseudonyms} {
		if v == "" {
			bad(key, "缺少此项", "is missing")
		}
	}
	if len(c.Gateways) == 0 || len(c.Kafka.Brokers) == 0 {
		bad("gateways, kafka.brokers", "至少各一个", "need at least one each")
	}
	if c.Mode == "production" {
		for _, name := range c.Connections.Simulated() {
			bad("connections."+name, "demo_tables 是模拟数据", "demo_tables are simulated data")
		}
	}
	return errors.Join(append(errs, c.Connections.Check(path))...)
}
