package setup

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"yizheng/catalog"
)

// BehindGap tells whether a front is asked across a gap.
func BehindGap(c *catalog.Catalogue, f catalog.FrontID) bool {
	return slices.ContainsFunc(c.Sources, func(s catalog.Source) bool { return s.Front == f && s.Route == catalog.RouteGap })
}

// FrontsBehindGap are those that are asked across a gap.
func FrontsBehindGap(c *catalog.Catalogue) []catalog.Front {
	return slices.DeleteFunc(slices.Clone(c.Fronts), func(f catalog.Front) bool { return !BehindGap(c, f.ID) })
}

// MakeFronts makes what each front processor of the catalogue has of its own,
// below fronts/<id>: the keys of its log and
// of its pseudonyms, the directories of both, and its certificate for the broker. A front behind a gap has a key
// for the files that cross it in that certificate's place; the certificate, and
// a key for the files of the other direction, are its relay's, below
// relays/<id>. A front's SM2 key is one of those the catalogue refers to. In a
// real city each makes these on its own machine (frontproc init).
func MakeFronts(o Options) error {
	c, err := catalog.Load(o.Catalog, catalog.Options{})
	if err != nil {
		return err
	}
	for _, f := range c.Fronts {
		if err := makeFront(o, f.ID, BehindGap(c, f.ID)); err != nil {
			return fmt.Errorf("set up front %s: %w", f.ID, err)
		}
	}
	return nil
}

func makeFront(o Options, f catalog.FrontID, behindGap bool) error {
	front, relay := filepath.Join("fronts", string(f)), filepath.Join("relays", string(f))
	dirs := []string{filepath.Join(front, "audit"), filepath.Join(front, "pseudonyms")}
	keys := []string{filepath.Join(front, "audit-key"), filepath.Join(front, "pseudonyms-key")}
	client := front // who connects to the broker
	if behindGap {
		client = relay
		dirs = append(dirs, relay)
		keys = append(keys, filepath.Join(front, "gap"), filepath.Join(relay, "gap"))
	}
	for _, d := range dirs {
		if err := os.MkdirAll(filepath.Join(o.Dir, d), 0o700); err != nil {
			return err
		}
	}
	for _, k := range keys {
		if err := keyPair(o, k); err != nil {
			return err
		}
	}
	return IssueClient(o, filepath.Join(client, "kafka"), string(f))
}
