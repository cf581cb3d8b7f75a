// Package assembly puts together what a gateway and a front processor have in
// common: a trusted catalogue release, this quarter's audit shard, and the
// connections to source systems. Its configuration types are parts of both
// programs' configuration files, and their comments are the manual.
package assembly

import (
	"crypto/ecdsa"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"yizheng/catalog"
	"yizheng/identity/jose"
)

// CatalogConfig says which releases are trusted.
type CatalogConfig struct {
	Releases       string   `yaml:"releases"`       // directory of published releases; the newest is used
	Administrators []string `yaml:"administrators"` // public keys (PEM) of the security administrators
	MinNumber      uint64   `yaml:"min_number"`     // refuse older releases
}

// Open reads the newest release and holds it to its signatures.
func (c CatalogConfig) Open(now time.Time) (*catalog.Release, error) {
	t := catalog.Trust{Administrators: make(map[string]*ecdsa.PublicKey), Need: 2, Now: now, MinNumber: c.MinNumber}
	for _, path := range c.Administrators {
		pub, err := jose.ReadPublicKey(path)
		if err != nil {
			return nil, fmt.Errorf("security administrator: %w", err)
		}
		t.Administrators[jose.KeyID(pub)] = pub
	}
	data, number, err := catalog.Latest(c.Releases)
	if err != nil {
		return nil, fmt.Errorf("catalogue: %w", err)
	}
	r, err := catalog.Open(data, t)
	if err != nil {
		return nil, fmt.Errorf("catalogue release %d: %w", number, err)
	}
	return r, nil
}

// AuditConfig of a log.
type AuditConfig struct {
	Dir string `yaml:"dir"`
	Key string `yaml:"key"` // SM2, signs heads; no other use
	// Pseudonyms is the directory of the pseudonym keys, apart from the log, when
	// this process has them itself. PseudonymSocket is the socket of the service that
	// has them instead (gateway pseudod). One of the two.
	Pseudonyms      string `yaml:"pseudonyms"`
	PseudonymSocket string `yaml:"pseudonym_socket"`
	// PseudonymKey is the SM2 private key that the keys in Pseudonyms are encrypted to
	// at rest. Production demands it; without it they lie in clear.
	PseudonymKey string `yaml:"pseudonym_key"`
	// Index is the directory of the search index, which is made from the log and
	// may be deleted at any time. Default: dir with "-index" behind it. "off":
	// nothing is indexed, and the log can be searched elsewhere only.
	Index string `yaml:"index"`
	// Ship copies the log to elsewhere. ShipDir keeps how far each copy is; default:
	// dir with "-ship" behind it.
	Ship    []SinkConfig `yaml:"ship"`
	ShipDir string       `yaml:"ship_dir"`
	// Replica gets every entry before it is acknowledged. Default: none.
	Replica *ReplicaConfig `yaml:"replica"`
	// Witnesses cosign the log's checkpoints. A checkpoint counts as witnessed
	// when Need of them have (default: all). When entries have gone without for
	// MaxUnwitnessed (default 4h), or more than MaxUnwitnessedEntries of them
	// (default: any number), no business is taken any more until they are seen.
	Witnesses             []WitnessConfig `yaml:"witnesses"`
	Need                  int             `yaml:"need"`
	MaxUnwitnessed        time.Duration   `yaml:"max_unwitnessed"`
	MaxUnwitnessedEntries uint64          `yaml:"max_unwitnessed_entries"`
	// Witnessed is the file with the last witnessed checkpoint. Default: dir with
	// "-witnessed" behind it.
	Witnessed string `yaml:"witnessed"`
	// Timestamp has the checkpoints stamped. Default: nobody.
	Timestamp *StampsConfig `yaml:"timestamp"`
}

// Check notes every missing or contradictory setting.
func (c *AuditConfig) Check(bad func(key, zh, en string)) {
	for key, v := range map[string]string{"audit.dir": c.Dir, "audit.key": c.Key} {
		if v == "" {
			bad(key, "缺少此项", "is missing")
		}
	}
	if (c.Pseudonyms == "") == (c.PseudonymSocket == "") {
		bad("audit.pseudonyms, audit.pseudonym_socket", "须二者给一：本进程的密钥目录，或假名服务的套接字", "give one of them: the directory of keys in this process, or the socket of the pseudonym service")
	}
	if c.PseudonymKey != "" && c.Pseudonyms == "" {
		bad("audit.pseudonym_key", "密钥在假名服务处，其保护密钥写在 pseudod.yaml", "the keys are the service's; what protects them is named in pseudod.yaml")
	}
	c.checkWitnesses(bad)
	if c.Timestamp != nil {
		c.Timestamp.check(bad)
	}
}

// Paths are those that Resolve is for. Call it when the file has been read.
func (c *AuditConfig) Paths() []*string {
	if c.ShipDir == "" && c.Dir != "" {
		c.ShipDir = filepath.Clean(c.Dir) + "-ship"
	}
	if c.Witnessed == "" && c.Dir != "" {
		c.Witnessed = filepath.Clean(c.Dir) + "-witnessed"
	}
	paths := []*string{&c.Dir, &c.Key, &c.Pseudonyms, &c.PseudonymSocket, &c.PseudonymKey, &c.ShipDir, &c.Witnessed}
	if t := c.Timestamp; t != nil {
		if t.Dir == "" && c.Dir != "" {
			t.Dir = filepath.Clean(c.Dir) + "-stamps"
		}
		paths = append(paths, &t.Dir, &t.CA)
	}
	for i := range c.Witnesses {
		w := &c.Witnesses[i]
		paths = append(paths, &w.Key, &w.CA, &w.Certificate, &w.TLSKey)
	}
	for i := range c.Ship {
		paths = append(paths, c.Ship[i].Paths()...)
	}
	if c.Replica != nil {
		paths = append(paths, c.Replica.Paths()...)
	}
	switch {
	case c.Index == IndexOff:
	case c.Index == "" && c.Dir != "":
		c.Index = filepath.Clean(c.Dir) + "-index"
		fallthrough
	default:
		paths = append(paths, &c.Index)
	}
	return paths
}

// Resolve makes paths relative to base's directory.
func Resolve(base string, paths ...*string) {
	for _, p := range paths {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(base, *p)
		}
	}
}

// Secret reads a raw secret of exactly n bytes.
func Secret(path string, n int) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("secret: %w", err)
	}
	if len(b) != n {
		return nil, fmt.Errorf("secret %s: 须为 %d 字节 / must be %d bytes", path, n, n)
	}
	return b, nil
}

// Text reads a file with one line of text.
func Text(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("secret: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}
