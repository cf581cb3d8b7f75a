package assembly

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"

	"github.com/emmansun/gmsm/sm3"

	"yizheng/audit"
	"yizheng/catalog"
)

// RecordStart writes into the log what a program works with from now on: the
// catalogue's release, with the digest of the one before and who signed it, and
// the digest of its configuration file, which holds no secret. Both are read at
// the start only, so that a change of either is an entry; what was before it
// stands in the entry of the start before.
func RecordStart(ctx context.Context, log *audit.Log, node string, release *catalog.Release, configuration string) error {
	raw, err := os.ReadFile(configuration)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	sum := sm3.Sum(raw)
	_, err = log.Append(ctx,
		audit.Entry{Open: audit.Open{Op: audit.OpCatalog, Phase: audit.PhaseDone, Release: release.Number},
			Closed: audit.Closed{Node: node, Object: "catalogue", Before: release.Previous, After: release.Digest(), Approvals: release.Signers}},
		audit.Entry{Open: audit.Open{Op: audit.OpAdmin, Phase: audit.PhaseDone},
			Closed: audit.Closed{Node: node, Object: "configuration", After: base64.StdEncoding.EncodeToString(sum[:])}})
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	return nil
}
