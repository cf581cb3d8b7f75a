package witness

import "time"

// Status is how far a log is witnessed.
type Status struct {
	Need int `json:"need"` // cosignatures that make a head a witnessed one
	Of   int `json:"of"`   // witnesses
	// Size and At are of the last witnessed head of the shard that is written, and
	// when the witnesses needed had seen it. Zero: none yet.
	Size uint64    `json:"size"`
	At   time.Time `json:"at,omitzero"`
	// Unwitnessed entries are not under such a head, the first of them since Since.
	Unwitnessed uint64        `json:"unwitnessed"`
	Since       time.Time     `json:"since,omitzero"`
	Max         time.Duration `json:"-"` // how long they may be; see KeeperConfig
	MaxEntries  uint64        `json:"max_unwitnessed_entries,omitempty"`
	Forked      bool          `json:"forked"` // ErrForked
}

// Status tells how far the log is witnessed now. Any goroutine may call it.
func (k *Keeper) Status() Status {
	s := Status{Need: k.Need, Of: len(k.Peers), Max: k.MaxUnwitnessed, MaxEntries: k.MaxEntries}
	k.mu.Lock()
	defer k.mu.Unlock()
	s.Forked, s.Since = k.forked != nil, k.since
	head := k.Log.Latest().Head()
	if s.Unwitnessed = head.Size; k.seen.Origin == head.Origin {
		s.Size = k.seen.Size
		s.Unwitnessed -= min(head.Size, s.Size)
		if at, err := WitnessedAt(k.seen, k.keys(), k.Need); err == nil {
			s.At = at
		}
	}
	return s
}
