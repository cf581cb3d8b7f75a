package assembly

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"time"

	"yizheng/audit"
	"yizheng/audit/witness"
	"yizheng/identity/jose"
)

// WitnessConfig is one witness of a log (docs/protocol/witness.md): a process of
// another department, whose key and certificate authority it has told us.
type WitnessConfig struct {
	Name string `yaml:"name"` // in its cosignatures
	URL  string `yaml:"url"`  // https://witness.audit.690100.example:8445
	Key  string `yaml:"key"`  // PEM of its SM2 public key
	CA   string `yaml:"ca"`   // PEM; its TLS certificate must chain to it
	// Certificate and TLSKey are this program's own, if the witness wants to know
	// who calls. What counts is the signature of the log.
	Certificate string `yaml:"certificate"`
	TLSKey      string `yaml:"tls_key"`
}

// checkWitnesses notes what is missing or contradictory.
func (c *AuditConfig) checkWitnesses(bad func(key, zh, en string)) {
	names := make(map[string]bool)
	for _, w := range c.Witnesses {
		if w.Name == "" || w.Key == "" || w.CA == "" || names[w.Name] {
			bad("audit.witnesses", "每个见证方须有 name、url、key、ca，名称不得重复", "every witness needs name, url, key and ca, and a name of its own")
		}
		names[w.Name] = true
		if u, err := url.Parse(w.URL); err != nil || u.Scheme != "https" || u.Host == "" {
			bad("audit.witnesses.url", "须为 https 地址", "must be an https address")
		}
		if (w.Certificate == "") != (w.TLSKey == "") {
			bad("audit.witnesses.certificate", "certificate 与 tls_key 须同时给出", "certificate and tls_key need each other")
		}
	}
	if c.Need < 0 || c.Need > len(c.Witnesses) {
		bad("audit.need", "须在 1 与见证方个数之间；不写则为全部", "must be between 1 and the number of witnesses; all of them if left out")
	}
	if c.MaxUnwitnessed < 0 {
		bad("audit.max_unwitnessed", "不能为负", "must not be negative")
	}
	if len(c.Witnesses) == 0 && (c.MaxUnwitnessed > 0 || c.MaxUnwitnessedEntries > 0) {
		bad("audit.max_unwitnessed", "没有 witnesses 时不起作用", "has no effect without witnesses")
	}
}

// StrictWitnesses refuses what production must not have.
func (s *Strictness) StrictWitnesses(list []WitnessConfig) {
	for _, w := range list {
		s.Certificates(w.CA, w.Certificate)
		s.Secrets(w.TLSKey)
	}
}

// ErrRewound: the log must not go on.
var ErrRewound = errors.New("审计日志与见证方所见不符：疑被回退或改写，拒绝启动；请保全现场并通知审计部门 / the audit log is not the one its witnesses have seen, rewound or rewritten: not started; leave everything as it is and tell the audit office")

// OpenKeeper shows the log to its witnesses for the first time. Nil if the
// configuration names none. Run the keeper as long as the log takes entries.
// An error wraps ErrRewound if they have seen another log.
func OpenKeeper(ctx context.Context, c AuditConfig, live *audit.Log, log *slog.Logger) (*witness.Keeper, error) {
	if len(c.Witnesses) == 0 {
		return nil, nil
	}
	conf := witness.KeeperConfig{Log: live, Need: c.Need, MaxUnwitnessed: c.MaxUnwitnessed, MaxEntries: c.MaxUnwitnessedEntries, File: c.Witnessed, Logger: log}
	for _, w := range c.Witnesses {
		p, err := w.peer()
		if err != nil {
			return nil, fmt.Errorf("audit.witnesses: %s: %w", w.Name, err)
		}
		conf.Peers = append(conf.Peers, p)
	}
	k, err := witness.NewKeeper(conf)
	if err != nil {
		return nil, err
	}
	err = k.Begin(ctx)
	if errors.Is(err, witness.ErrForked) {
		return nil, fmt.Errorf("%w: %w", ErrRewound, err)
	}
	return k, err
}

func (w WitnessConfig) peer() (witness.Peer, error) {
	key, err := jose.ReadPublicKey(w.Key)
	if err != nil {
		return witness.Peer{}, err
	}
	ca, err := os.ReadFile(w.CA)
	if err != nil {
		return witness.Peer{}, err
	}
	conf := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	if !conf.RootCAs.AppendCertsFromPEM(ca) {
		return witness.Peer{}, fmt.Errorf("%s: 没有证书 / holds no certificate", w.CA)
	}
	if w.Certificate != "" {
		own, err := tls.LoadX509KeyPair(w.Certificate, w.TLSKey)
		if err != nil {
			return witness.Peer{}, err
		}
		conf.Certificates = []tls.Certificate{own}
	}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: conf},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return witness.Peer{URL: w.URL, WitnessKey: audit.WitnessKey{Name: w.Name, Key: key}, HTTP: client}, nil
}
