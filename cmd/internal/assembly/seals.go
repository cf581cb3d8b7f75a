package assembly

import (
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/emmansun/gmsm/smx509"

	"yizheng/seal"
	"yizheng/seal/revocation"
	"yizheng/seal/tsp"
)

// SealsConfig of the seals whose keys are held here.
type SealsConfig struct {
	Dir   string `yaml:"dir"`   // one directory a seal
	Trust string `yaml:"trust"` // roots, makers and status lists: which seals are believed
	// Profile is a local standard all seals must keep: db37 (DB37/T 3448.1, seals of
	// GM/T 0031-2014). Without it seals of every version sign.
	Profile seal.Profile `yaml:"profile"`
	// Mode is the form of signatures: ses (the seal's own standard, default) or cms
	// (adbe.pkcs7.detached, for readers that know no Chinese seals). Modes sets it for
	// single seals, by id.
	Mode  seal.Mode            `yaml:"mode"`
	Modes map[string]seal.Mode `yaml:"modes"`
	// Timestamp puts a time stamp into every signature; without it there is none.
	Timestamp  *TimestampConfig `yaml:"timestamp"`
	Revocation RevocationConfig `yaml:"revocation"`
}

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
	// Pause is how long after the authority could not be reached nobody asks it, and
	// OnFailure decides at once; default 30s.
	Pause time.Duration `yaml:"pause"`
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

// Paths are the settings that are files or directories.
func (c *SealsConfig) Paths() []*string {
	list := []*string{&c.Dir, &c.Trust, &c.Revocation.CA}
	for i := range c.Revocation.OCSP {
		list = append(list, &c.Revocation.OCSP[i].Issuer)
	}
	if c.Timestamp != nil {
		list = append(list, &c.Timestamp.CA)
	}
	return list
}

// Options opens the trust directory and makes the client of the time stamp authority.
// done ends what was opened.
func (c *SealsConfig) Options(passphrase string) (o seal.RegistryOptions, done func() error, err error) {
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
		client, err := c.Timestamp.Client()
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
	if o.RootCAs, err = CertPool(c.CA); err != nil {
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

// Client asks the authority. Close it.
func (c *TimestampConfig) Client() (*tsp.Client, error) {
	policy, err := parseOID(c.Policy)
	if err != nil {
		return nil, fmt.Errorf("policy: %q is not an object identifier", c.Policy)
	}
	roots, err := CertPool(c.CA)
	if err != nil {
		return nil, err
	}
	return tsp.NewClient(tsp.Config{URL: c.URL, RootCAs: roots, Policy: policy, Timeout: c.Timeout, Pause: c.Pause})
}

// CertPool reads PEM certificates; nil for no file.
func CertPool(path string) (*x509.CertPool, error) {
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

// Check reports faulty settings of seals.
func (c *SealsConfig) Check(bad func(key, zh, en string)) {
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
