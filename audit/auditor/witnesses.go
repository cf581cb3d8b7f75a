package auditor

import (
	"crypto/ecdsa"
	"fmt"
	"slices"
	"time"

	"yizheng/audit"
	"yizheng/catalog/beijing"
)

// Witnesses says what of a log must have been seen from outside.
type Witnesses struct {
	By   []audit.WitnessKey // pinned
	Need int                // how many of them have to have cosigned; 0: all
	// Notes are checkpoints with their cosignatures. Each is best fetched from
	// its witness, not from the gateway that keeps the log.
	Notes [][]byte
	// MaxAge is how long before the last entry an entry may have been made
	// without being under a witnessed head, and how much older than it a
	// cosignature may be. Default 4 hours.
	MaxAge time.Duration
	// Since, if given: older cosignatures do not count at all.
	Since time.Time
}

// witnessed is one of the notes.
type witnessed struct {
	audit.SignedHead
	at map[string]time.Time // when each witness saw it
}

func (w Witnesses) read(note []byte) (witnessed, error) {
	head, err := audit.ParseCheckpoint(note)
	if err != nil {
		return witnessed{}, fmt.Errorf("见证过的检查点 / witnessed checkpoint: %w", err)
	}
	return witnessed{head, head.Witnessed(w.By)}, nil
}

// claims collects what others say of this shard.
func (s *scan) claims() {
	for _, w := range s.o.seen {
		if w.Origin != s.origin {
			continue
		}
		s.heads[w.Size] = append(s.heads[w.Size], claim{w.Head, "witness", "a witnessed checkpoint"})
		s.next[w.Size] = 0
		if !s.signed(w.SignedHead) {
			s.problem("witness", audit.NoIndex, "the witnessed checkpoint of size %d is not signed by a pinned key", w.Size)
		}
	}
	for _, r := range s.o.Receipts {
		if r.Origin != s.origin {
			continue
		}
		s.heads[r.Head.Size] = append(s.heads[r.Head.Size], claim{r.Head.Head, "receipt", "a receipt"})
		s.leaves[r.Index] = append(s.leaves[r.Index], r.Leaf)
		if !s.proven(r) {
			s.problem("receipt", r.Index, "the receipt's own proof or signature does not hold")
		}
	}
	for _, p := range s.o.Pointers {
		if p.Origin == s.origin {
			s.leaves[p.Index] = append(s.leaves[p.Index], p.Leaf)
		}
	}
}

func (s *scan) signed(h audit.SignedHead) bool {
	return slices.ContainsFunc(s.o.Keys, func(k *ecdsa.PublicKey) bool { return h.Verify(k) == nil })
}

func (s *scan) proven(r audit.Receipt) bool {
	return slices.ContainsFunc(s.o.Keys, func(k *ecdsa.PublicKey) bool { return r.Verify(k, r.Leaf) == nil })
}

// witnesses counts who has cosigned the shard's end, or nearly. A head that
// ends the shard before counts as one of size 0.
func (s *scan) witnesses(previous string) map[string]time.Time {
	w := &s.o.Witnesses
	if len(w.By) == 0 {
		return nil
	}
	oldest := time.UnixMicro(s.last).Add(-w.MaxAge)
	if w.Since.After(oldest) {
		oldest = w.Since
	}
	before, _ := audit.ParseCheckpoint([]byte(previous)) // the zero head names no log
	good := make(map[string]time.Time)
	for _, note := range s.o.seen {
		var next int64 // when the first entry was made that it does not cover; 0: it covers all
		switch {
		case note.Origin == s.origin:
			next = s.next[note.Size]
		case note.Origin != "" && note.Head == before.Head:
			next = s.first
		default:
			continue
		}
		if next != 0 && next < oldest.UnixMicro() {
			s.doubt("witness", audit.NoIndex, "the head of size %d was witnessed, but not the entries behind it, which are older than %s", note.Size, oldest.In(beijing.Zone()).Format(time.RFC3339))
			continue
		}
		for name, at := range note.at {
			if !at.Before(oldest.Truncate(time.Second)) && at.After(good[name]) {
				good[name] = at
			}
		}
	}
	if len(good) < w.Need {
		s.problem("witness", audit.NoIndex, "%d of %d witnesses have cosigned it since %s, %d are needed", len(good), len(w.By), oldest.In(beijing.Zone()).Format(time.RFC3339), w.Need)
	}
	return good
}
