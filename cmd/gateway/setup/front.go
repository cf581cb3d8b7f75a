package setup

import (
	"fmt"
	"os"
	"path/filepath"

	"yizheng/catalog"
)

// MakeFronts makes what each front processor of the catalogue has of its own,
// below fronts/<id>: the key of its log, its certificate for the broker, and
// the directories of its log and pseudonyms. Its SM2 key is one of those the
// catalogue refers to. In a real city each front makes these on its own machine.
func MakeFronts(o Options) error {
	c, err := catalog.Load(o.Catalog, catalog.Options{})
	if err != nil {
		return err
	}
	for _, f := range c.Fronts {
		base := filepath.Join("fronts", string(f.ID))
		for _, d := range []string{"audit", "pseudonyms"} {
			if err := os.MkdirAll(filepath.Join(o.Dir, base, d), 0o700); err != nil {
				return fmt.Errorf("set up: %w", err)
			}
		}
		if err := keyPair(o, filepath.Join(base, "audit-key")); err != nil {
			return fmt.Errorf("set up: %w", err)
		}
		if err := IssueClient(o, filepath.Join(base, "kafka"), string(f.ID)); err != nil {
			return fmt.Errorf("set up: %w", err)
		}
	}
	return nil
}
