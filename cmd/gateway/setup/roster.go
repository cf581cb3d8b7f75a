package setup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"

	"yizheng/audit/search"
	"yizheng/catalog"
	"yizheng/identity/jose"
)

// SignRoster lists the logs of the gateway and of all fronts in dir/roster.json,
// signed by both security administrators, under the next number if the logs
// are others than before. A front has no address at which its log answers, so
// that each is listed as isolated: what it holds is carried to the auditor.
// Call it after MakeFronts. Like Publish it is for a demo city only.
//
// origin is the gateway's, without the quarter, and url its address.
func SignRoster(o Options, origin, url string) error {
	path := filepath.Join(o.Dir, "roster.json")
	r := search.Roster{V: 1, Number: 1, Created: o.Now.UTC()}
	var err error
	if r.Logs, err = logs(o, origin, url); err != nil {
		return fmt.Errorf("roster: %w", err)
	}
	data, err := os.ReadFile(path)
	if err == nil {
		old, _, err := search.ParseRoster(data)
		if err != nil || reflect.DeepEqual(old.Logs, r.Logs) {
			return err
		}
		r.Number = old.Number + 1
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("roster: %w", err)
	}
	m, err := search.NewRoster(r)
	if err != nil {
		return err
	}
	_, admins, err := securityAdministrators(filepath.Join(o.Dir, "keys"))
	if err != nil {
		return fmt.Errorf("roster: %w", err)
	}
	for _, k := range admins {
		if err := m.AddSignature(k, search.TypeRoster); err != nil {
			return fmt.Errorf("roster: %w", err)
		}
	}
	if data, err = m.Marshal(); err != nil {
		return fmt.Errorf("roster: %w", err)
	}
	if err := os.WriteFile(path+".new", data, 0o644); err != nil {
		return fmt.Errorf("roster: %w", err)
	}
	return os.Rename(path+".new", path)
}

func logs(o Options, origin, url string) ([]search.Listed, error) {
	c, err := catalog.Load(o.Catalog, catalog.Options{})
	if err != nil {
		return nil, err
	}
	list := []search.Listed{{Origin: origin, Kind: search.KindGateway, Name: c.City.Name + "网关", Department: string(c.Callers[0].Department), URL: url}}
	keys := []string{"keys/audit.pub.pem"}
	for _, f := range c.Fronts {
		d, _ := c.Department(f.Department) // a catalogue without it does not load
		list = append(list, search.Listed{Origin: string(f.ID) + "/audit", Kind: search.KindFront, Name: d.Name + "前置机",
			Department: string(f.Department), Front: string(f.ID), Isolated: true})
		keys = append(keys, filepath.Join("fronts", string(f.ID), "audit-key.pub.pem"))
	}
	for i := range list {
		pub, err := jose.ReadPublicKey(filepath.Join(o.Dir, keys[i]))
		if err != nil {
			return nil, err
		}
		key, err := search.NewKey(pub)
		if err != nil {
			return nil, err
		}
		list[i].Keys = []string{key}
	}
	return list, nil
}
