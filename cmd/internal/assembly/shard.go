package assembly

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"yizheng/audit"
)

// OpenShard opens the log of the present quarter below dir, one directory a
// quarter. When a quarter begins, the last one is sealed and the new one's
// first entry carries its final checkpoint, so that the shards form a chain.
// A process that runs across the turn of a quarter keeps its shard until it is restarted.
func OpenShard(ctx context.Context, dir, origin string, now time.Time, c audit.Config) (*audit.Log, error) {
	c.Dir, c.Origin = filepath.Join(dir, audit.Quarter(now)), audit.ShardOrigin(origin, now)
	if _, err := os.Stat(c.Dir); err == nil {
		return audit.OpenLog(ctx, c)
	}
	earlier, err := Shards(dir)
	if err != nil {
		return nil, err
	}
	if n := len(earlier); n > 0 {
		old := c
		old.Dir = filepath.Join(dir, earlier[n-1])
		old.Origin = origin + "/" + earlier[n-1]
		if c.Previous, err = sealShard(ctx, old); err != nil {
			return nil, fmt.Errorf("seal the shard before: %w", err)
		}
	}
	return audit.OpenLog(ctx, c)
}

// Shards lists the quarters below dir, oldest first.
func Shards(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("audit directory: %w", err)
	}
	var list []string
	for _, e := range entries {
		if e.IsDir() {
			list = append(list, e.Name())
		}
	}
	slices.Sort(list)
	return list, nil
}

func sealShard(ctx context.Context, c audit.Config) ([]byte, error) {
	l, err := audit.OpenLog(ctx, c)
	if err != nil {
		return nil, err
	}
	head, err := l.Seal()
	if err != nil {
		return nil, err
	}
	return head.MarshalText()
}
