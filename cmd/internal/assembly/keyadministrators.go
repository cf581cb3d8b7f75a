package assembly

import (
	"fmt"

	"yizheng/identity/jose"
	"yizheng/identity/staff"
)

// KeyAdministrator is a security administrator who looks after pseudonym keys that
// a front processor has itself: who may sign a step with them.
type KeyAdministrator struct {
	Name string `yaml:"name"` // staff account
	Key  string `yaml:"key"`  // PEM of the person's SM2 public key
	// Until ends what the person may sign, RFC 3339. Keep persons who left here:
	// what they signed must still be verified.
	Until End `yaml:"until"`
}

// KeyAdministrators reads their keys. Without any, no step is believed.
func KeyAdministrators(list []KeyAdministrator) (*staff.Register, error) {
	var persons []staff.Person
	for _, a := range list {
		key, err := jose.ReadPublicKey(a.Key)
		if err != nil {
			return nil, fmt.Errorf("administrators: %s: %w", a.Name, err)
		}
		persons = append(persons, staff.Person{Name: a.Name, Role: staff.Security, Key: key, Until: a.Until.Time})
	}
	r, err := staff.NewRegister(persons)
	if err != nil {
		return nil, fmt.Errorf("administrators: %w", err)
	}
	return r, nil
}
