package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"time"

	"yizheng/audit"
	"yizheng/audit/search"
	"yizheng/catalog"
	"yizheng/cmd/internal/assembly"
	"yizheng/identity/staff"
)

// SearchConfig of searches in the audit log, which auditors and residents make.
type SearchConfig struct {
	// Roster lists every log that has to be asked about an exchange, signed by two
	// security administrators (gateway audit roster). Without it there is this one.
	Roster string `yaml:"roster"`
	// RosterSeen keeps the number of the newest roster that was used, so that an older
	// one is noticed. Default: audit.dir with "-roster" behind it. The newest checkpoints
	// that the logs on the roster have shown are kept beside it, with "-heads" behind its
	// name, so that a log that was cut is noticed, too.
	RosterSeen string `yaml:"roster_seen"`
	// CA, Certificate and Key are for asking the logs on the roster: roots of their
	// certificates, and this gateway's own client certificate. PEM.
	CA          string `yaml:"ca"`
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
	// Peers are the nodes that may ask this one for an auditor of theirs.
	Peers []PeerConfig `yaml:"peers"`
	// DisclosureDelay is how long after it an entry is shown to the resident it is
	// about, unless it says otherwise itself; the same at all gateways. Default: 24h.
	DisclosureDelay time.Duration `yaml:"disclosure_delay"`
}

// PeerConfig is a node that may ask.
type PeerConfig struct {
	Name        string `yaml:"name"`
	Certificate string `yaml:"certificate"` // PEM of its client certificate
}

func (c *SearchConfig) paths() []*string {
	list := []*string{&c.Roster, &c.RosterSeen, &c.CA, &c.Certificate, &c.Key}
	for i := range c.Peers {
		list = append(list, &c.Peers[i].Certificate)
	}
	return list
}

func (c *SearchConfig) check(bad func(key, zh, en string)) {
	if (c.Certificate == "") != (c.Key == "") {
		bad("search.certificate, search.key", "须成对给出", "are given together or not at all")
	}
	for i, p := range c.Peers {
		if p.Name == "" || p.Certificate == "" {
			bad("search.peers", "每项须有 name 与 certificate", "each needs name and certificate")
		}
		if zh, en := audit.NameFault(p.Name); zh != "" {
			bad(fmt.Sprintf("search.peers[%d].name", i), zh, en)
		}
	}
	if c.DisclosureDelay < 0 {
		bad("search.disclosure_delay", "不可为负", "must not be negative")
	}
}

// openSearch lets the log be searched. Nil if it is not indexed.
func (g *gateway) openSearch(persons *staff.Register, pseudonyms search.Pseudonyms) (*search.Service, error) {
	if g.audit.Index == nil {
		return nil, nil
	}
	c := search.Config{Node: search.Node{Log: g.audit.Log, Logs: g.audit.Index}, Origin: g.config.Origin, Key: g.audit.Key, Persons: persons,
		Pseudonyms: pseudonyms, Delay: g.config.Search.DisclosureDelay,
		Front: frontOf(g.release.Catalogue),
		Department: func(id string) string {
			d, _ := g.release.Catalogue.Department(catalog.DepartmentID(id))
			return d.Name
		}}
	var err error
	if c.Roster, err = g.config.Search.roster(g.config.Origin, persons); err != nil {
		return nil, err
	}
	if c.Roster != nil {
		if err := rememberRoster(g.config.Search.RosterSeen, *c.Roster); err != nil {
			return nil, err
		}
		if c.Heads, err = search.OpenHeads(g.config.Search.RosterSeen+"-heads", *c.Roster); err != nil {
			return nil, err
		}
	}
	if c.Peers, err = g.config.Search.client(); err != nil {
		return nil, err
	}
	return search.New(c), nil
}

func (c *SearchConfig) roster(origin string, persons *staff.Register) (*search.Roster, error) {
	if c.Roster == "" {
		return nil, c.rosterTaken()
	}
	data, err := os.ReadFile(c.Roster)
	if err != nil {
		return nil, fmt.Errorf("search.roster: %w", err)
	}
	r, _, err := search.OpenRoster(data, persons)
	if err != nil {
		return nil, fmt.Errorf("search.roster: %s: %w", c.Roster, err)
	}
	seen, err := rosterSeen(c.RosterSeen)
	if err != nil {
		return nil, err
	}
	if err := seen.Allows(r); err != nil {
		return nil, fmt.Errorf("search.roster: %s: %w", c.Roster, err)
	}
	if !slices.ContainsFunc(r.Logs, func(l search.Listed) bool { return l.Origin == origin }) {
		return nil, fmt.Errorf("search.roster: %s: 名册中没有本网关的日志 %s / does not list this gateway's own log", c.Roster, origin)
	}
	return &r, nil
}

// rosterTaken refuses to do without a roster where one was used: no other log would
// be asked any more, and answers would still be whole.
func (c *SearchConfig) rosterTaken() error {
	seen, err := rosterSeen(c.RosterSeen)
	if err != nil || seen.Number == 0 {
		return err
	}
	return fmt.Errorf("search.roster: 未配置名册，而本网关用过编号 %d 的名册（%s）；没有名册就不再询问其他日志。请恢复 search.roster；确要停用名册的，经安全管理员核对后删除 %s 与 %s-heads / there is none, but this gateway has used number %d (%s), and without it no other log is asked. Put search.roster back; to do without one, have the security administrators agree, then delete %s and %s-heads",
		seen.Number, c.RosterSeen, c.RosterSeen, c.RosterSeen, seen.Number, c.RosterSeen, c.RosterSeen, c.RosterSeen)
}

// client asks the other logs: with this gateway's certificate, without redirects or proxies.
func (c *SearchConfig) client() (*http.Client, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	var err error
	if t.RootCAs, err = assembly.CertPool(c.CA); err != nil {
		return nil, fmt.Errorf("search.ca: %w", err)
	}
	if c.Certificate != "" {
		own, err := tls.LoadX509KeyPair(c.Certificate, c.Key)
		if err != nil {
			return nil, fmt.Errorf("search.certificate: %w", err)
		}
		t.Certificates = []tls.Certificate{own}
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: t, IdleConnTimeout: time.Minute},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, nil
}

// peers are the nodes that may ask, by the digest of their certificates.
func (c *SearchConfig) peers() (map[string]string, error) {
	peers := make(map[string]string)
	for _, p := range c.Peers {
		digest, err := certificateDigest(p.Certificate)
		if err == nil && peers[digest] != "" {
			err = errors.New("证书重复 / certificate given twice")
		}
		if err != nil {
			return nil, fmt.Errorf("search.peers: %s: %w", p.Name, err)
		}
		peers[digest] = p.Name
	}
	return peers, nil
}
