package main

import (
	"context"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/emmansun/gmsm/smx509"

	"yizheng/catalog"
	"yizheng/seal"
	"yizheng/seal/revocation"
	"yizheng/seal/tsp"
)

// TimestampConfig names the authority that stamps signatures (RFC 3161).
type TimestampConfig struct {
	URL string `yaml:"url"` // https
	// CA is the PEM of the roots of the connection; empty: the machine's. The roots of
	// the tokens themselves lie in the trust directory (tsa/*.crt, or roots).
	CA string `yaml:"ca"`
	// Policy is the object identifier to ask for and insist on; empty: the authority's own.
	Policy string `yaml:"policy"`
	// OnFailure says what becomes of a document that gets no time stamp: require
	// refuses it, proceed releases it without and says so in the audit record.
	OnFailure string        `yaml:"on_failure"`
	Timeout   time.Duration `yaml:"timeout"` // default 3s
}

// RevocationConfig says where fresh revocation information comes from. Without it the
// lists of the trust directory are all there is. Addresses inside certificates are
// never called.
type RevocationConfig struct {
	CRL   []string          `yaml:"crl"` // http or https
	OCSP  []ResponderConfig `yaml:"ocsp"`
	CA    string            `yaml:"ca"`    // PEM of the roots of https; empty: the machine's
	Grace time.Duration     `yaml:"grace"` // how long after its next update was due an answer is believed; default 24h
	// Required refuses to sign, and calls a check unknown, without fresh information.
	Required bool `yaml:"required"`
}

// ResponderConfig names an OCSP responder.
type ResponderConfig struct {
	URL    string `yaml:"url"`
	Issuer string `yaml:"issuer"` // PEM of the authority it answers for; empty: all
	Ahead  bool   `yaml:"ahead"`  // its answers are made ahead and repeat no nonce
}

func (c *SealsConfig) paths() []*string {
	list := []*string{&c.Dir, &c.Trust, &c.Revocation.CA}
	for i := range c.Revocation.OCSP {
		list = append(list, &c.Revocation.OCSP[i].Issuer)
	}
	if c.Timestamp != nil {
		list = append(list, &c.Timestamp.CA)
	}
	return list
}

// options opens the trust directory and makes the client of the time stamp authority.
// done ends what was opened.
func (c *SealsConfig) options(passphrase string) (o seal.RegistryOptions, done func() error, err error) {
	done = func() error { return nil }
	o = seal.RegistryOptions{PassphraseFile: passphrase, Profile: c.Profile, Mode: c.Mode, Modes: c.Modes}
	fresh, err := c.Revocation.options()
	if err != nil {
		return o, done, fmt.Errorf("seals.revocation: %w", err)
	}
	if o.Trust, err = seal.OpenTrust(c.Trust, seal.TrustOptions{Revocation: fresh}); err != nil {
		return o, done, fmt.Errorf("seal trust: %w", err)
	}
	if c.Timestamp != nil {
		client, err := c.Timestamp.client()
		if err != nil {
			return o, done, fmt.Errorf("seals.timestamp: %w", err)
		}
		done = func() error { client.Close(); return nil }
		o.TimeStamps = &seal.TimeStamps{Client: client, Required: c.Timestamp.OnFailure == "require"}
	}
	return o, done, nil
}

func (c *RevocationConfig) options() (o revocation.Config, err error) {
	o = revocation.Config{Policy: revocation.Policy{Grace: c.Grace, Required: c.Required}, CRLs: c.CRL}
	if c.Grace == 0 {
		o.Grace = 24 * time.Hour
	}
	if o.RootCAs, err = certPool(c.CA); err != nil {
		return o, err
	}
	for _, r := range c.OCSP {
		one := revocation.Responder{URL: r.URL, Ahead: r.Ahead}
		if r.Issuer != "" {
			raw, err := os.ReadFile(r.Issuer)
			if err != nil {
				return o, err
			}
			if one.Issuer, err = smx509.ParseCertificatePEM(raw); err != nil {
				return o, fmt.Errorf("%s: %w", r.Issuer, err)
			}
		}
		o.Responders = append(o.Responders, one)
	}
	return o, nil
}

func (c *TimestampConfig) client() (*tsp.Client, error) {
	policy, err := parseOID(c.Policy)
	if err != nil {
		return nil, fmt.Errorf("policy: %q is not an object identifier", c.Policy)
	}
	roots, err := certPool(c.CA)
	if err != nil {
		return nil, err
	}
	return tsp.NewClient(tsp.Config{URL: c.URL, RootCAs: roots, Policy: policy, Timeout: c.Timeout})
}

// certPool reads PEM certificates; nil for no file.
func certPool(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(raw) {
		return nil, fmt.Errorf("%s holds no certificate", path)
	}
	return pool, nil
}

// parseOID reads dotted decimal; nil for "".
func parseOID(s string) (oid asn1.ObjectIdentifier, err error) {
	if s == "" {
		return nil, nil
	}
	for _, arc := range strings.Split(s, ".") {
		n, err := strconv.ParseUint(arc, 10, 31)
		if err != nil {
			return nil, err
		}
		oid = append(oid, int(n))
	}
	return oid, nil
}

// check reports faulty settings of seals.
func (c *SealsConfig) check(bad func(key, zh, en string)) {
	modes := map[string]seal.Mode{"seals.mode": c.Mode}
	for id, m := range c.Modes {
		modes["seals.modes."+id] = m
	}
	for key, m := range modes {
		if m != "" && m != seal.ModeSES && m != seal.ModeCMS {
			bad(key, "须为 ses 或 cms", "must be ses or cms")
		}
	}
	if t := c.Timestamp; t != nil && t.OnFailure != "require" && t.OnFailure != "proceed" {
		bad("seals.timestamp.on_failure", "须为 require（无时间戳则不签发）或 proceed（照常签发并记录）", "must be require (no document without) or proceed (without, and recorded)")
	}
}

// keysHere finds out now, and not with the first document, that a seal in use has no
// key here although the catalogue names no front that keeps it, or in production one
// that is not protected.
func keysHere(want []catalog.Seal, have []seal.Info, production bool) error {
	var errs []error
	for _, h := range have {
		if production && h.KeyHere && !h.KeyProtected {
			errs = append(errs, fmt.Errorf("production: 印章 %s 的私钥未加密，或密码机允许导出 / the key of seal %s is not encrypted, or its module would give it out", h.ID, h.ID))
		}
	}
	for _, w := range want {
		for _, h := range have {
			if h.ID == string(w.ID) && w.Front == "" && h.State == seal.Issued && !h.KeyHere {
				errs = append(errs, fmt.Errorf("seals: 印章 %s 在本机没有私钥，目录也未写明由哪台前置机保管（front） / seal %s has no key here, and the catalogue names no front that keeps it", w.ID, w.ID))
			}
		}
	}
	return errors.Join(errs...)
}

// remindEvery is how often what expires is logged.
const remindEvery = 24 * time.Hour

// remind logs what expires within 60, 30 and 7 days, now and daily until ctx ends.
func remind(ctx context.Context, seals *seal.Registry, log *slog.Logger) {
	tick := time.NewTicker(remindEvery)
	defer tick.Stop()
	for {
		for _, e := range seals.Expiring(time.Now()) {
			log.Warn("expires soon, renew it (即将到期，请办理更新)", "seal", e.SealID, "what", e.What, "on", e.Until.Format(time.DateOnly), "days", e.Days, "within", e.Within)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
