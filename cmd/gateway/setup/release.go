package setup

import (
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"yizheng/catalog"
	"yizheng/identity/jose"
)

// Publish makes, countersigns, signs and publishes the catalogue as the next
// release, if it differs from the last one. It uses the departments' and both
// security administrators' keys of this directory, as only a demo city may.
func Publish(o Options) (number uint64, err error) {
	keys := filepath.Join(o.Dir, "keys")
	c, err := catalog.Load(o.Catalog, catalog.Options{Vars: map[string]string{"keys": keys}})
	if err != nil {
		return 0, err
	}
	trust, admins, err := securityAdministrators(keys)
	if err != nil {
		return 0, err
	}
	releases := filepath.Join(o.Dir, "releases")
	next := catalog.ReleaseOptions{Number: 1, Created: o.Now, Expires: o.Now.AddDate(1, 0, 0)}
	data, last, err := catalog.Latest(releases)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return 0, err
	default:
		old, err := catalog.Open(data, catalog.Trust{Administrators: trust, Need: 2, AnyTime: true})
		if err != nil {
			return 0, fmt.Errorf("release %d: %w", last, err)
		}
		if len(catalog.Diff(old.Catalogue, c)) == 0 && o.Now.Before(old.Expires.Add(-24*time.Hour)) {
			return last, nil
		}
		next.Number, next.Previous = last+1, old.Digest()
	}
	if next.Grants, err = countersign(keys, c); err != nil {
		return 0, err
	}
	r, err := catalog.NewRelease(c, next)
	if err != nil {
		return 0, err
	}
	for _, k := range admins {
		if err := r.AddSignature(k); err != nil {
			return 0, err
		}
	}
	if data, err = r.Marshal(); err != nil {
		return 0, err
	}
	_, err = catalog.Publish(releases, data, catalog.Trust{Administrators: trust, Need: 2, Now: o.Now})
	return next.Number, err
}

func securityAdministrators(keys string) (map[string]*ecdsa.PublicKey, []*jose.Key, error) {
	trust := make(map[string]*ecdsa.PublicKey)
	var list []*jose.Key
	for _, name := range []string{"security-1", "security-2"} {
		k, err := jose.ReadKey(filepath.Join(keys, "admins", name+".key"), "")
		if err != nil {
			return nil, nil, err
		}
		trust[k.ID()] = k.Public()
		list = append(list, k)
	}
	return trust, list, nil
}

// countersign has every grant signed by the department that owns its proof.
func countersign(keys string, c *catalog.Catalogue) ([]string, error) {
	var signed []string
	for _, g := range c.Grants {
		p, _ := c.Proof(g.Proof) // a catalogue without it does not load
		k, err := jose.ReadKey(filepath.Join(keys, "departments", string(p.Owner)+".grant.key"), "")
		if err != nil {
			return nil, err
		}
		token, err := catalog.SignGrant(k, c, g)
		if err != nil {
			return nil, err
		}
		signed = append(signed, token)
	}
	return signed, nil
}
