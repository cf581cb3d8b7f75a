package assembly

import (
	"context"
	"crypto/ecdsa"
	"log/slog"
	"path"
	"path/filepath"

	"yizheng/audit"
	"yizheng/audit/auditor"
	"yizheng/audit/index"
)

// IndexOff is the value of audit.index that stands for no index.
const IndexOff = "off"

// OpenIndex indexes the shard that is written and every one before it, from
// now on and in its own goroutines. It never fails: neither the start of a
// program nor any record waits for an index. A shard that cannot be read is
// logged, and named by every search. Nil if the configuration wants none.
func OpenIndex(ctx context.Context, c AuditConfig, live *audit.Log, log *slog.Logger, keys ...*ecdsa.PublicKey) *index.Shards {
	if c.Index == IndexOff {
		return nil
	}
	x := index.NewShards(index.ShardsConfig{Dir: c.Index, Logger: log})
	x.Add(live)
	shards, err := auditor.Shards(c.Dir)
	if err != nil {
		log.Error("audit index: earlier quarters are not searched", "err", err)
	}
	for _, name := range shards {
		if name == path.Base(live.Origin()) {
			continue
		}
		a, err := audit.OpenArchive(ctx, filepath.Join(c.Dir, name), keys...)
		if err != nil {
			log.Error("audit index: a quarter is not searched", "quarter", name, "err", err)
			x.Lack(path.Dir(live.Origin())+"/"+name, err)
			continue
		}
		x.Add(a)
	}
	return x
}
