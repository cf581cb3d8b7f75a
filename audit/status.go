package audit

import (
	"maps"
	"slices"
	"time"
)

// Status is how a log is just now, for whoever looks after the machine. It holds
// nothing of any entry.
type Status struct {
	Origin     string     `json:"origin"`
	Size       uint64     `json:"size"`                 // entries
	Last       time.Time  `json:"last"`                 // of the last entry
	Checkpoint *Published `json:"checkpoint,omitempty"` // nil: none yet since the start
	Failed     bool       `json:"failed"`               // poisoned: nothing is taken, ever
	Held       []string   `json:"held"`                 // by whom (see Log.Hold): no business is taken
	Free       int64      `json:"disk_free_bytes"`      // of its directory's file system; -1: cannot be found out
	LowWater   int64      `json:"disk_low_water_bytes"`
	Low        bool       `json:"disk_low"` // no business is taken
	// Replica is nil where there is none.
	Replica *ReplicaStatus `json:"replica,omitempty"`
}

// Published is the last checkpoint that a log has published.
type Published struct {
	Size uint64    `json:"size"`
	At   time.Time `json:"at"`
}

// ReplicaStatus is how far a log's replica is.
type ReplicaStatus struct {
	Follows  bool   `json:"follows"`
	Size     uint64 `json:"size"`
	Behind   uint64 `json:"behind"` // entries
	Optional bool   `json:"optional"`
}

// Status tells how the log is, or the shard that it has turned to.
func (l *Log) Status() Status {
	l = l.Latest()
	s := Status{Origin: l.cfg.Origin, Failed: l.Err() != nil, LowWater: l.cfg.MinFree, Low: l.low.Load(), Checkpoint: l.checkpoint.Load(), Held: []string{}}
	l.holding.Lock()
	s.Held = append(s.Held, slices.Sorted(maps.Keys(l.holders))...)
	l.holding.Unlock()
	if l.replica != nil { // before the head, so that it is never the longer
		s.Replica = l.replica.status()
	}
	head := l.Head()
	s.Size, s.Last = head.Size, time.UnixMicro(head.Time).UTC()
	if s.Replica != nil {
		s.Replica.Behind = head.Size - min(head.Size, s.Replica.Size)
	}
	var err error
	if s.Free, err = l.cfg.files.Free(l.cfg.Dir); err != nil {
		s.Free = -1
	}
	return s
}

func (r *replicator) status() *ReplicaStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &ReplicaStatus{Follows: r.down == nil, Size: r.size, Optional: r.l.cfg.ReplicaOptional}
}
