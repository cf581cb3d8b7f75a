package main

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/emmansun/gmsm/smx509"

	"yizheng/catalog/beijing"
	"yizheng/seal"
	"yizheng/web/health"
)

// certificates are the files with certificates that this gateway works with, by
// the key of the configuration. Those of persons who have left are not among them.
func (c *Config) certificates() map[string][]string {
	of := map[string][]string{
		"tls.certificate": {c.TLS.Certificate}, "tls.client_ca": {c.TLS.ClientCA},
		"search.ca": {c.Search.CA}, "search.certificate": {c.Search.Certificate}, "monitors": c.Monitors,
	}
	add := func(key string, paths ...string) { of[key] = append(of[key], paths...) }
	for _, p := range c.Search.Peers {
		add("search.peers", p.Certificate)
	}
	for _, a := range c.Administrators {
		if a.Until.IsZero() {
			add("administrators", a.Certificate)
		}
	}
	if k := c.Kafka; k != nil {
		add("kafka", k.CA, k.Certificate, k.BrokerCertificate)
	}
	for _, w := range c.Audit.Witnesses {
		add("audit.witnesses", w.CA, w.Certificate)
	}
	if r := c.Audit.Replica; r != nil {
		add("audit.replica", r.CA, r.Certificate)
	}
	for _, s := range c.Audit.Ship {
		add("audit.ship", s.CA, s.Certificate)
	}
	if t := c.Audit.Timestamp; t != nil {
		add("audit.timestamp", t.CA)
	}
	if s := c.Supervise; s != nil {
		for _, e := range s.Events {
			add("supervise.events", e.CA, e.Certificate)
		}
	}
	for _, k := range c.Connections {
		if k.Platform != nil {
			add("connections", k.Platform.CA, k.Platform.Certificate)
		}
	}
	if t := c.Seals.Timestamp; t != nil {
		add("seals.timestamp", t.CA)
	}
	add("seals.revocation", c.Seals.Revocation.CA)
	return of
}

// certificateEnds reads when each of the certificates ends that are in use from
// now until the next start; of a file with several, the first to end.
func (c *Config) certificateEnds() ([]health.End, error) {
	var list []health.End
	seen := make(map[health.End]bool) // one file may serve twice under a key
	for key, paths := range c.certificates() {
		for _, path := range paths {
			if path == "" {
				continue
			}
			until, err := firstEnd(path)
			if err != nil {
				return nil, fmt.Errorf("%s: %s: %w", key, path, err)
			}
			if e := (health.End{What: key, Name: filepath.Base(path), Until: until}); !seen[e] {
				seen[e] = true
				list = append(list, e)
			}
		}
	}
	return list, nil
}

func firstEnd(path string) (first time.Time, err error) {
	rest, err := os.ReadFile(path)
	if err != nil {
		return first, err
	}
	for {
		var block *pem.Block
		if block, rest = pem.Decode(bytes.TrimSpace(rest)); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := smx509.ParseCertificate(block.Bytes)
		if err != nil {
			return first, err
		}
		if first.IsZero() || c.NotAfter.Before(first) {
			first = c.NotAfter
		}
	}
	if first.IsZero() {
		return first, errors.New("没有证书 / holds no certificate")
	}
	return first, nil
}

// ends is all that ends by its date, the soonest first.
func (g *gateway) ends(now time.Time) []health.End {
	list := append(slices.Clone(g.certificateEnds), health.End{What: "catalogue", Until: g.release.Expires})
	for i := range list {
		list[i].Days, list[i].Within, _ = seal.Left(list[i].Until, now)
	}
	list = slices.Concat(list, sealEnds(g.custody.Seals(), now), trustEnds(g.trust, now))
	slices.SortFunc(list, func(a, b health.End) int { return a.Until.Compare(b.Until) })
	return list
}

// sealEnds are the ends of seals and of their certificates.
func sealEnds(seals *seal.Registry, now time.Time) []health.End {
	names := map[string]string{seal.ExpiringSeal: "seal", seal.ExpiringCertificate: "seal.certificate", seal.ExpiringMaker: "seal.maker"}
	var list []health.End
	for _, e := range seals.Ends(now) {
		list = append(list, health.End{What: names[e.What], Name: e.SealID, Until: e.Until, Days: e.Days, Within: e.Within})
	}
	return list
}

// trustEnds are the ends of what seals are verified with. Lists are made anew every few
// days: they have no alert ahead, only one when they are overdue.
func trustEnds(trust *seal.Trust, now time.Time) []health.End {
	var list []health.End
	for _, e := range trust.Ends() {
		end := health.End{What: e.What, Name: e.Name, Until: e.Until}
		end.Days, end.Within, _ = seal.Left(e.Until, now)
		if e.Routine {
			end.Within = 0
		}
		list = append(list, end)
	}
	return list
}

// remindEvery is how often what ends is logged.
const remindEvery = 24 * time.Hour

// remind logs what ends within 60, 30 and 7 days, now and daily until ctx ends.
func remind(ctx context.Context, ends func(time.Time) []health.End, log *slog.Logger) {
	tick := time.NewTicker(remindEvery)
	defer tick.Stop()
	for {
		for _, e := range ends(time.Now()) {
			if e.Days < 0 || e.Within > 0 {
				log.Warn("ends soon, renew it (即将到期，请办理更新)", "what", e.What, "name", e.Name, "on", e.Until.In(beijing.Zone()).Format(time.DateOnly), "days", e.Days, "within", e.Within)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
