package assembly

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"yizheng/audit"
	"yizheng/audit/auditor"
	"yizheng/audit/stamp"
)

// StampsConfig names the authority that stamps an audit log's checkpoints (RFC 3161).
type StampsConfig struct {
	URL    string        `yaml:"url"`    // https
	CA     string        `yaml:"ca"`     // PEM of the roots of the connection; empty: the machine's
	Policy string        `yaml:"policy"` // object identifier to ask for and insist on; empty: the authority's own
	Every  time.Duration `yaml:"every"`  // default 1h; besides when a quarter ends and when the program does
	// MaxUnstamped is how long entries may go without before no business is taken
	// any more. Default: for ever.
	MaxUnstamped time.Duration `yaml:"max_unstamped"`
	// Dir gets the stamps, a file a quarter. Default: the log's with "-stamps" behind it.
	Dir string `yaml:"dir"`
}

func (c *StampsConfig) check(bad func(key, zh, en string)) {
	if u, err := url.Parse(c.URL); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		bad("audit.timestamp.url", "须为 https 地址", "must be an https address")
	}
	if _, err := parseOID(c.Policy); err != nil {
		bad("audit.timestamp.policy", "不是对象标识符", "is no object identifier")
	}
	every := c.Every
	if every == 0 {
		every = time.Hour
	}
	if every < time.Second {
		bad("audit.timestamp.every", "不得短于 1s；不写则为 1h", "must not be less than 1s; 1h if left out")
	}
	if c.MaxUnstamped != 0 && c.MaxUnstamped <= every {
		bad("audit.timestamp.max_unstamped", "须长于 every，否则平时也会停业务", "must be longer than every, or business would stop in between")
	}
}

// OpenStamper makes what has the log's checkpoints stamped. Nil if the
// configuration names no authority. Run it as long as the log takes entries.
func OpenStamper(ctx context.Context, c AuditConfig, live *audit.Log, log *slog.Logger) (*stamp.Stamper, error) {
	if c.Timestamp == nil {
		return nil, nil
	}
	t := TimestampConfig{URL: c.Timestamp.URL, CA: c.Timestamp.CA, Policy: c.Timestamp.Policy}
	client, err := t.Client()
	if err != nil {
		return nil, fmt.Errorf("audit.timestamp: %w", err)
	}
	before, err := shardBefore(c.Dir, live.Origin())
	if err != nil {
		return nil, fmt.Errorf("audit.timestamp: %w", err)
	}
	return stamp.New(ctx, stamp.Config{Log: live, Before: before, Dir: c.Timestamp.Dir, Client: client,
		Every: c.Timestamp.Every, MaxUnstamped: c.Timestamp.MaxUnstamped, Logger: log})
}

// shardBefore is the final head of the shard before that of the origin; the
// zero head if there is none in dir.
func shardBefore(dir, origin string) (audit.SignedHead, error) {
	names, err := auditor.Shards(dir)
	i := slices.Index(names, path.Base(origin))
	if err != nil || i < 1 {
		return audit.SignedHead{}, err
	}
	note, err := os.ReadFile(filepath.Join(dir, names[i-1], "checkpoint"))
	if err != nil {
		return audit.SignedHead{}, err
	}
	return audit.ParseCheckpoint(note)
}
