package setup

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"yizheng/identity/jose"
	"yizheng/identity/staff"
	"yizheng/seal"
	"yizheng/seal/life"
)

// registerSeals enters seals that lie in the directory into its register, with the
// keys of both security administrators of this directory, as only a demo city may.
// Where keys are encrypted the administrators do it themselves (gateway seal import).
func registerSeals(o Options) error {
	if o.Passphrase != nil {
		return nil
	}
	dir := filepath.Join(o.Dir, "seals")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	trust, err := seal.LoadTrust(filepath.Join(o.Dir, "trust"))
	if err != nil {
		return err
	}
	_, admins, err := securityAdministrators(filepath.Join(o.Dir, "keys"))
	if err != nil {
		return err
	}
	persons, err := staff.NewRegister([]staff.Person{{Name: "security-1", Role: staff.Security, Key: admins[0].Public()},
		{Name: "security-2", Role: staff.Security, Key: admins[1].Public()}})
	if err != nil {
		return err
	}
	r, err := life.Open(dir, life.Options{Persons: persons, Trust: trust, Now: func() time.Time { return o.Now }})
	if err != nil {
		return err
	}
	for _, e := range entries {
		if _, known := r.Find(e.Name()); e.IsDir() && !known {
			if err := registerSeal(r, e.Name(), admins); err != nil {
				return fmt.Errorf("register seal %s: %w", e.Name(), err)
			}
		}
	}
	return nil
}

func registerSeal(r *life.Register, id string, admins []*jose.Key) error {
	eseal, holder, err := seal.ReadFiles(r.Dir(id))
	if err != nil {
		return err
	}
	for i, a := range []life.Action{life.Import, life.Approve, life.Issue} {
		step := r.Next(id, a)
		if a == life.Import {
			step.ESeal, step.Holder = eseal, holder
		}
		line, err := step.Sign(admins[i%2])
		if err != nil {
			return err
		}
		if _, err := r.Append(line); err != nil {
			return err
		}
	}
	return nil
}
