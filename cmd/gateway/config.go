package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml"

	"yizheng/audit"
	"yizheng/cmd/internal/assembly"
)

// Config is the gateway's one configuration file. Unknown keys are errors.
// Relative paths are relative to the file. Secrets are only ever named by path.
type Config struct {
	// Mode is "demo" or "production". Production refuses to start with sample
	// keys, simulators, unprotected private keys, and keys others can read.
	Mode string `yaml:"mode"`
	// Listen is the address of the one HTTPS listener.
	Listen string `yaml:"listen"`
	// Slot is this gateway's two digits among the fleet; exchange numbers carry it.
	Slot string `yaml:"slot"`
	// Origin names this gateway and its audit log: gw00.690100.example/audit.
	Origin string `yaml:"origin"`

	TLS     TLSConfig              `yaml:"tls"`
	Keys    KeysConfig             `yaml:"keys"`
	Catalog assembly.CatalogConfig `yaml:"catalog"`
	Seals   assembly.SealsConfig   `yaml:"seals"`
	Audit   assembly.AuditConfig   `yaml:"audit"`
	Search  SearchConfig           `yaml:"search"`
	Store   StoreConfig            `yaml:"store"`
	Fonts   assembly.FontsConfig   `yaml:"fonts"`
	// Administrators look after seals and withdraw documents, two at a time. Without
	// them the seals cannot be changed here.
	Administrators []AdministratorConfig `yaml:"administrators"`
	// Connections are the ways to source systems, by the name the catalogue uses.
	Connections assembly.Connections `yaml:"connections"`
	// Kafka leads to the front processors. Without it sources behind fronts are UNREACHABLE.
	Kafka *KafkaConfig `yaml:"kafka"`
	// Monitors are the certificates (PEM) of systems that may read /v1/admin/health and
	// /metrics, such as a Prometheus server; security administrators and auditors may
	// as well.
	Monitors []string `yaml:"monitors"`
	// Supervise raises yellow and red cards about the exchange itself. Without it nobody is told.
	Supervise *SuperviseConfig `yaml:"supervise"`

	file, dir string
}

// TLSConfig of the listener.
type TLSConfig struct {
	Certificate string `yaml:"certificate"` // PEM, with chain
	Key         string `yaml:"key"`         // PEM
	ClientCA    string `yaml:"client_ca"`   // PEM; certificates of clerks, systems, kiosks and agents must chain to it
}

// KeysConfig names the gateway's own keys. `gateway init` makes them.
type KeysConfig struct {
	Gateway string `yaml:"gateway"` // SM2, signs challenges, data and QR codes, opens card texts
	Token   string `yaml:"token"`   // 16 bytes: encrypts subject tokens; the same for the whole fleet
	Store   string `yaml:"store"`   // 32 bytes: keys the digests in the state store
	// Fleet is the directory of the keys for what outlives a gateway: one a day,
	// made by the gateways themselves. All gateways of a fleet share it, as they
	// share the database. Default: fleet, beside the gateway's own key.
	Fleet      string `yaml:"fleet"`
	Passphrase string `yaml:"passphrase"` // file with the passphrase of encrypted keys; empty: keys are plain, demo only
}

// StoreConfig of the state store: nonces, idempotency, results encrypted to their callers.
type StoreConfig struct {
	Driver   string `yaml:"driver"`    // sqlite (one machine) or pgx (PostgreSQL)
	DSN      string `yaml:"dsn"`       // sqlite: the file
	DSNFile  string `yaml:"dsn_file"`  // pgx: file with the connection string
	RedisURL string `yaml:"redis_url"` // file with rediss://…; empty: no fast path
}

// KafkaConfig of the ferry. Everything is TLS with client certificates.
type KafkaConfig struct {
	Brokers     []string `yaml:"brokers"`
	CA          string   `yaml:"ca"`
	Certificate string   `yaml:"certificate"`
	Key         string   `yaml:"key"`
	// Embedded starts a broker in this process, on this port of 127.0.0.1 (0: a
	// free one), in memory: for one machine, refused in production.
	Embedded          bool   `yaml:"embedded"`
	Port              int    `yaml:"port"`
	BrokerCertificate string `yaml:"broker_certificate"`
	BrokerKey         string `yaml:"broker_key"`
}

// decodeStrictly reads a configuration file. Unknown keys are errors.
func decodeStrictly(path string, into any) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	if err := yaml.NewDecoder(bytes.NewReader(raw), yaml.Strict()).Decode(into); err != nil {
		return fmt.Errorf("configuration %s: 配置有误，请按提示修改 / not valid, see below\n%s", path, yaml.FormatError(err, false, true))
	}
	return nil
}

// readConfig parses strictly and resolves paths.
func readConfig(path string) (*Config, error) {
	c := &Config{}
	if err := decodeStrictly(path, c); err != nil {
		return nil, err
	}
	c.file, c.dir = path, filepath.Dir(path)
	c.resolve()
	return c, c.check(path)
}

// resolve makes every path absolute or relative to the working directory.
func (c *Config) resolve() {
	paths := []*string{&c.TLS.Certificate, &c.TLS.Key, &c.TLS.ClientCA, &c.Keys.Gateway, &c.Keys.Token, &c.Keys.Store,
		&c.Keys.Fleet, &c.Keys.Passphrase, &c.Catalog.Releases,
		&c.Store.DSNFile, &c.Store.RedisURL}
	paths = append(append(paths, c.Audit.Paths()...), c.Seals.Paths()...)
	if c.Search.RosterSeen == "" && c.Audit.Dir != "" {
		c.Search.RosterSeen = filepath.Clean(c.Audit.Dir) + "-roster"
	}
	paths = append(paths, c.Search.paths()...)
	for i := range c.Catalog.Administrators {
		paths = append(paths, &c.Catalog.Administrators[i])
	}
	for i := range c.Administrators {
		paths = append(paths, &c.Administrators[i].Key, &c.Administrators[i].Certificate)
	}
	for i := range c.Monitors {
		paths = append(paths, &c.Monitors[i])
	}
	paths = append(paths, c.Fonts.Paths()...)
	if c.Store.Driver == "sqlite" && c.Store.DSN != ":memory:" {
		paths = append(paths, &c.Store.DSN)
	}
	if k := c.Kafka; k != nil {
		paths = append(paths, &k.CA, &k.Certificate, &k.Key, &k.BrokerCertificate, &k.BrokerKey)
	}
	if s := c.Supervise; s != nil {
		if s.Dir == "" {
			s.Dir = filepath.Join(filepath.Dir(c.Audit.Dir), "supervise")
		}
		paths = append(paths, &s.Rules, &s.Dir)
		for i := range s.Events {
			paths = append(paths, s.Events[i].Paths()...)
		}
	}
	if c.Keys.Fleet == "" {
		c.Keys.Fleet = filepath.Join(filepath.Dir(c.Keys.Gateway), "fleet")
	}
	c.Connections.Resolve(c.dir)
	assembly.Resolve(c.dir, paths...)
}

// check reports every missing or contradictory setting at once.
func (c *Config) check(path string) error {
	var errs []error
	bad := func(key, zh, en string) { errs = append(errs, fmt.Errorf("%s: %s: %s / %s", path, key, zh, en)) }
	if c.Mode != "demo" && c.Mode != "production" {
		bad("mode", "须为 demo 或 production", "must be demo or production")
	}
	if len(c.Slot) != 2 || strings.Trim(c.Slot, "0123456789") != "" {
		bad("slot", "须为两位数字", "must be two digits")
	}
	for key, v := range map[string]string{"listen": c.Listen, "origin": c.Origin, "tls.certificate": c.TLS.Certificate, "tls.key": c.TLS.Key,
		"tls.client_ca": c.TLS.ClientCA, "keys.gateway": c.Keys.Gateway, "keys.token": c.Keys.Token, "keys.store": c.Keys.Store,
		"catalog.releases": c.Catalog.Releases, "seals.dir": c.Seals.Dir, "seals.trust": c.Seals.Trust, "store.driver": c.Store.Driver, "fonts.body": c.Fonts.Body} {
		if v == "" {
			bad(key, "缺少此项", "is missing")
		}
	}
	if len(c.Catalog.Administrators) < 2 {
		bad("catalog.administrators", "至少两名安全管理员的公钥", "needs the public keys of at least two security administrators")
	}
	if zh, en := audit.NameFault(c.Origin); zh != "" {
		bad("origin", zh, en)
	}
	c.Seals.Check(bad)
	c.Supervise.check(bad)
	c.Audit.Check(bad)
	c.Search.check(bad)
	errs = append(errs, c.Connections.Check(path))
	return errors.Join(errs...)
}
