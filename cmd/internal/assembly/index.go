package assembly

import (
	"context"
	"log/slog"
	"path"

	"yizheng/audit"
	"yizheng/audit/index"
	"yizheng/identity/jose"
)

// IndexOff is the value of audit.index that stands for no index.
const IndexOff = "off"

// OpenIndex indexes the shard that is written and every one before it, from
// now on and in goroutines of the index. It never fails and never waits: neither
// the start of a program nor any record waits for an index. A quarter that is
// still being opened, or cannot be, is named by every search. Nil if the
// configuration wants none. key is the log's: it seals files of the index. One
// that was changed by somebody else raises an alarm in the log.
func OpenIndex(c AuditConfig, archives *Archives, key *jose.Key, live *audit.Log, log *slog.Logger) *index.Shards {
	if c.Index == IndexOff {
		return nil
	}
	x := index.NewShards(index.ShardsConfig{Dir: c.Index, Key: key, Logger: log, Changed: func(found index.Change) {
		e := audit.Entry{Open: audit.Open{Op: audit.OpAlarm, Phase: audit.PhaseDone, Outcome: "INDEX_CHANGED"}, Closed: audit.Closed{Object: "index/" + found.Name()}}
		if err := live.AppendAsync(e); err != nil {
			log.Error("alarm not recorded", "code", e.Open.Outcome, "err", err)
		}
	}})
	x.Add(live)
	base, present := path.Split(live.Origin())
	quarters, err := archives.Before(present)
	if err != nil {
		log.Error("audit index: earlier quarters are not searched", "err", err)
	}
	for _, name := range quarters {
		x.Open(base+name, func(ctx context.Context) (index.Shard, error) { return archives.Open(ctx, name) })
	}
	return x
}
