package index

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Lag is how far the indexes of a node are behind its logs.
type Lag struct {
	Entries uint64    `json:"entries"`        // that searches do not find yet
	Since   time.Time `json:"since,omitzero"` // time of the oldest of them; zero: there is none
	Lost    []string  `json:"lost"`           // shards that cannot be searched, until somebody sees to it
	Opening int       `json:"opening"`        // shards that cannot be searched yet, which ends by itself
	Changed []Change  `json:"changed"`        // files that did not hold, of the last day
}

// Lag reads one entry of every shard that is not wholly indexed. Of a shard
// that is still being opened nothing is known yet.
func (s *Shards) Lag(ctx context.Context) (Lag, error) {
	lag := Lag{Lost: []string{}, Changed: s.Changes()}
	for _, sh := range s.shards() {
		st := sh.state()
		if errors.Is(st.Err, ErrOpening) {
			lag.Opening++
			continue
		}
		if st.Err != nil {
			lag.Lost = append(lag.Lost, st.Origin)
		}
		if st.Indexed >= st.Size { // also if there is no log to read: its size is 0 then
			continue
		}
		lag.Entries += st.Size - st.Indexed
		at, err := sh.timeOf(ctx, st.Indexed)
		if err != nil {
			return lag, fmt.Errorf("audit index: %w", err)
		}
		if lag.Since.IsZero() || at.Before(lag.Since) {
			lag.Since = at
		}
	}
	return lag, nil
}

func (sh *shard) timeOf(ctx context.Context, index uint64) (time.Time, error) {
	r := sh.NewReader(index)
	defer r.Close() // only read
	e, err := r.Entry(ctx, index)
	return time.UnixMicro(e.Entry.Open.Time).UTC(), err
}
