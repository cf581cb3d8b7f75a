// Package audittest spoils an audit log at a chosen record, so that tests of
// other packages can look at what leaves then: nothing may.
//
// It does so through what a log is configured with, its signer, which the log
// calls once for every batch that it makes durable. It also says how long a log
// waits in tests.
package audittest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"yizheng/audit"
)

// Patience is the AppendTimeout of a log in a test that is not about it: the
// machine may stand still for seconds.
const Patience = 30 * time.Second

// A Way is what happens to the batch at which a log is spoiled. Either way the
// log has stopped for ever and Append has returned an error.
type Way string

const (
	Unwritten      Way = "unwritten"      // nothing of the batch was written
	Unacknowledged Way = "unacknowledged" // it is on the disk, under its signed head
)

// Ways are all of them.
func Ways() []Way { return []Way{Unwritten, Unacknowledged} }

// ErrSpoilt is the cause when nothing was written.
var ErrSpoilt = errors.New("audittest: the test has spoilt the log")

// Spoiler signs for a log until it is told to spoil it.
type Spoiler struct {
	audit.Signer
	dir string // the log's

	mu     sync.Mutex
	left   int // batches to the one that is spoilt; 0: none is
	way    Way
	spoilt bool
}

// NewSpoiler signs for the log in dir as signer does.
func NewSpoiler(signer audit.Signer, dir string) *Spoiler { return &Spoiler{Signer: signer, dir: dir} }

// Spoil has the k-th batch from now, the next being the first, spoil the log.
func (s *Spoiler) Spoil(k int, way Way) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left, s.way = k, way
}

// Spoilt reports whether it has come to that.
func (s *Spoiler) Spoilt() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.spoilt
}

// SignMessage signs, or spoils the log at its turn.
func (s *Spoiler) SignMessage(text []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left > 0 {
		if s.left--; s.left == 0 {
			s.spoilt = true
			if s.way == Unwritten {
				return nil, ErrSpoilt
			}
			if err := s.protect(); err != nil {
				return nil, err
			}
		}
	}
	return s.Signer.SignMessage(text)
}

// protect takes the write permission from the live segment. The log, which has
// it open, writes the batch all the same, and stops when it sees that.
func (s *Spoiler) protect() error {
	segments, err := filepath.Glob(filepath.Join(s.dir, "wal", "*.seg"))
	if err == nil && len(segments) == 0 {
		err = errors.New("no segment")
	}
	for _, name := range segments {
		err = errors.Join(err, os.Chmod(name, 0o400))
	}
	if err != nil {
		return fmt.Errorf("audittest: protect the log: %w", err)
	}
	return nil
}
