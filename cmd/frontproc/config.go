package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

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
	// Kafka or Spool is how questions arrive: exactly one of them. Spool is for
	// a front behind a gap; a relay is at the gap's other side.
	Kafka   *KafkaConfig           `yaml:"kafka"`
	Spool   *SpoolConfig           `yaml:"spool"`
	Catalog assembly.CatalogConfig `yaml:"catalog"`
	Audit   assembly.AuditConfig   `yaml:"audit"`
	// Administrators are the security administrators whose steps with the pseudonym
	// keys are believed, at least two, where this process has the keys itself: their
	// destruction and emergency rotation (docs/protocol/pseudod.md §4). Without them
	// such a step stops the front.
	Administrators []assembly.KeyAdministrator `yaml:"administrators"`
	// Seals are the department's own that are kept here (front of a seal in the
	// catalogue); Fonts print the documents that bear them. Both or neither.
	Seals *assembly.SealsConfig `yaml:"seals"`
	Fonts *assembly.FontsConfig `yaml:"fonts"`
	// Reads is the file in which used card reads are remembered across restarts.
	// It is needed when one of this front's sources can be deferred.
	Reads string `yaml:"reads"`
	// DeferredWorkers is how many questions that may take days are worked on at
	// once, besides live ones; the others wait. Default: 64.
	DeferredWorkers int `yaml:"deferred_workers"`
	// DeferredAge is how old a card read may be when a deferred question first
	// comes here. Default: 1h.
	DeferredAge time.Duration `yaml:"deferred_age"`
	// Connections are the department's own systems.
	Connections assembly.Connections `yaml:"connections"`

	file string
}

// GatewayConfig is one gateway that may ask.
type GatewayConfig struct {
	Name string `yaml:"name"`
	Key  string `yaml:"key"` // PEM of its SM2 public key; also signs challenges
}

func readConfig(path string) (*Config, error) {
	c := &Config{file: path}
	if err := decode(path, c); err != nil {
		return nil, err
	}
	paths := []*string{&c.Key, &c.Passphrase, &c.Catalog.Releases, &c.Reads}
	paths = append(paths, c.Audit.Paths()...)
	paths = append(append(paths, c.Kafka.paths()...), c.Spool.paths()...)
	if c.Seals != nil {
		paths = append(paths, c.Seals.Paths()...)
	}
	if c.Fonts != nil {
		paths = append(paths, c.Fonts.Paths()...)
	}
	for i := range c.Gateways {
		paths = append(paths, &c.Gateways[i].Key)
	}
	for i := range c.Catalog.Administrators {
		paths = append(paths, &c.Catalog.Administrators[i])
	}
	for i := range c.Administrators {
		paths = append(paths, &c.Administrators[i].Key)
	}
	assembly.Resolve(filepath.Dir(path), paths...)
	c.Connections.Resolve(filepath.Dir(path))
	return c, c.check(path)
}

// check reports every missing or contradictory setting at once.
func (c *Config) check(path string) error {
	f := faults{file: path}
	f.mode(c.Mode)
	f.missing(map[string]string{"front": c.Front, "key": c.Key, "catalog.releases": c.Catalog.Releases})
	named := map[string]string{"front": c.Front}
	for i, g := range c.Gateways {
		named[fmt.Sprintf("gateways[%d].name", i)] = g.Name
	}
	c.checkAdministrators(&f, named)
	f.loggable(named)
	c.Audit.Check(f.add)
	if len(c.Gateways) == 0 {
		f.add("gateways", "至少一个", "needs at least one")
	}
	if (c.Kafka == nil) == (c.Spool == nil) {
		f.add("kafka, spool", "须二者取一", "need exactly one of the two")
	}
	if c.DeferredWorkers < 0 {
		f.add("deferred_workers", "不能为负", "must not be negative")
	}
	if c.DeferredAge < 0 {
		f.add("deferred_age", "不能为负", "must not be negative")
	}
	c.Kafka.check(&f)
	c.Spool.check(&f)
	if (c.Seals == nil) != (c.Fonts == nil) {
		f.add("seals, fonts", "须同时给出：保管印章的前置机自行制证", "need each other: a front that keeps seals makes the documents")
	}
	if c.Seals != nil && c.Fonts != nil {
		f.missing(map[string]string{"seals.dir": c.Seals.Dir, "seals.trust": c.Seals.Trust, "fonts.body": c.Fonts.Body})
		c.Seals.Check(f.add)
	}
	return errors.Join(append(f.errs, c.Connections.Check(path))...)
}

// checkAdministrators looks at those of the pseudonym keys, and has their names checked.
func (c *Config) checkAdministrators(f *faults, named map[string]string) {
	for i, a := range c.Administrators {
		at := fmt.Sprintf("administrators[%d]", i)
		f.missing(map[string]string{at + ".name": a.Name, at + ".key": a.Key})
		named[at+".name"] = a.Name
	}
	switch n := len(c.Administrators); {
	case n > 0 && c.Audit.Pseudonyms == "":
		f.add("administrators", "密钥在假名服务处，其管理员写在 pseudod.yaml", "the keys are the service's; who looks after them is named in pseudod.yaml")
	case n == 1:
		f.add("administrators", "至少两人：销毁须一人申请、另一人批准", "at least two: one asks for a destruction, another approves")
	}
}
