package search

import (
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"yizheng/audit"
)

// Heads are the newest heads that other nodes have shown of their shards, so that
// a log that was cut or exchanged is noticed. They are kept in a file, as the
// signed checkpoints themselves: it can be deleted, not made up.
type Heads struct {
	path string // "": in memory only

	mu    sync.Mutex
	heads map[string]audit.SignedHead // by origin
}

// OpenHeads reads the file, if there is one. What is not signed by a log of the
// roster is an error: whoever changed the file has to say why.
func OpenHeads(path string, r Roster) (*Heads, error) {
	s := newHeads()
	s.path = path
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	var notes []string
	if err == nil {
		err = json.Unmarshal(raw, &notes)
	}
	for i := 0; err == nil && i < len(notes); i++ {
		err = s.load(notes[i], r)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: 所记的其他日志检查点读不了或不是其签名；请查明后删除此文件 / the checkpoints kept of other logs cannot be read, or are not theirs; find out why, then delete this file: %w", path, err)
	}
	return s, nil
}

func newHeads() *Heads { return &Heads{heads: map[string]audit.SignedHead{}} }

// load takes up one checkpoint; one of a log that is no longer on the roster is left out.
func (s *Heads) load(note string, r Roster) error {
	head, err := audit.ParseCheckpoint([]byte(note))
	if err != nil {
		return err
	}
	for _, l := range r.Logs {
		if baseOf(head.Origin) != l.Origin {
			continue
		}
		var keys []*ecdsa.PublicKey
		if keys, err = l.PublicKeys(); err == nil {
			err = signedByOne(head, keys)
		}
		s.heads[head.Origin] = head
	}
	return err
}

// of are those of one log's shards, by origin.
func (s *Heads) of(log string) map[string]audit.Head {
	s.mu.Lock()
	defer s.mu.Unlock()
	heads := map[string]audit.Head{}
	for origin, head := range s.heads {
		if baseOf(origin) == log {
			heads[origin] = head.Head
		}
	}
	return heads
}

// keep remembers heads that were verified; the newer one, if two questions were
// under way at once.
func (s *Heads) keep(heads map[string]audit.SignedHead) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for origin, head := range heads {
		if head.Size >= s.heads[origin].Size {
			s.heads[origin] = head
		}
	}
	if s.path == "" {
		return nil
	}
	notes := make([]string, 0, len(s.heads))
	for _, head := range s.heads {
		note, err := head.MarshalText()
		if err != nil {
			return err
		}
		notes = append(notes, string(note))
	}
	raw, err := json.Marshal(notes)
	if err == nil {
		err = audit.ReplaceFile(s.path, raw)
	}
	if err != nil {
		return fmt.Errorf("%w, since it could not be remembered: %w", errDoubtful, err)
	}
	return nil
}
