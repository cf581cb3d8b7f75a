package supervise

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/emmansun/gmsm/sm3"

	"yizheng/audit"
	"yizheng/identity/jose"
)

const snapshotName = "state.json"

// typeSeal is the JWS typ of a snapshot's first line.
const typeSeal = "yz-supervision-state+jws"

// seal is what a snapshot is signed with, in its first line; the second is the
// state. Whoever changes the state, or brings that of another log, has no such
// line. An older snapshot of this log is as good as the last one: what it lacks
// is read again, and yields the same.
type seal struct {
	V     int        `json:"v"`
	State []byte     `json:"state"` // SM3 of the second line
	Root  audit.Hash `json:"root"`  // of the log's entries that the state has read
}

// shard is a log or an archive, as far as a snapshot is held against it.
type shard interface {
	Origin() string
	Head() audit.SignedHead
	Consistency(from, to uint64) ([]audit.Hash, error)
}

var errSnapshot = errors.New("not what this supervision wrote")

// snapshot reads the last one; nil if there is none.
func (e *Engine) snapshot() (*state, error) {
	raw, err := os.ReadFile(filepath.Join(e.cfg.Dir, snapshotName))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	line, text, _ := bytes.Cut(raw, []byte("\n"))
	s, err := e.opened(string(line), text)
	if err != nil {
		return nil, err
	}
	st := newState()
	if err := json.Unmarshal(text, st); err != nil {
		return nil, fmt.Errorf("%w: %w", errSnapshot, err)
	}
	if st.Format != stateFormat {
		return nil, fmt.Errorf("%w: format %d", errSnapshot, st.Format)
	}
	return st, e.holds(st, s.Root)
}

// opened verifies a snapshot's first line, and the second by it.
func (e *Engine) opened(line string, text []byte) (s seal, err error) {
	payload, _, err := jose.Verify(line, typeSeal, func(kid string) *ecdsa.PublicKey {
		if kid != e.cfg.Key.ID() {
			return nil
		}
		return e.cfg.Key.Public()
	})
	if err != nil {
		return s, fmt.Errorf("%w: %w", errSnapshot, err)
	}
	if err := json.Unmarshal(payload, &s); err != nil {
		return s, fmt.Errorf("%w: %w", errSnapshot, err)
	}
	if sum := sm3.Sum(text); s.V != 1 || !bytes.Equal(sum[:], s.State) {
		return s, fmt.Errorf("%w: the state is not what was signed", errSnapshot)
	}
	return s, nil
}

// holds proves that the log grew out of the entries that a state has read.
func (e *Engine) holds(st *state, root audit.Hash) error {
	logs := []shard{e.cfg.Log}
	for _, a := range e.cfg.Earlier {
		logs = append(logs, a)
	}
	for _, l := range logs {
		if l.Origin() != st.Origin {
			continue
		}
		head := l.Head()
		path, err := l.Consistency(st.Next, head.Size)
		if err == nil {
			err = audit.VerifyConsistency(st.Next, head.Size, path, root, head.Root)
		}
		if err != nil {
			return fmt.Errorf("%w: it is not of this log: %w", errSnapshot, err)
		}
		return nil
	}
	return fmt.Errorf("%w: its log %s is not here", errSnapshot, st.Origin)
}

// resume goes on from the snapshot. One that cannot be trusted is not used at
// all: the log is read again from its beginning, which is said aloud.
func (e *Engine) resume() {
	st, err := e.snapshot()
	switch {
	case err != nil:
		e.doubt = true
		e.log.Error("监察快照未经本网关签署、已被改动或不属于此日志：不予采用，由日志重建 / supervision: the snapshot was changed, is not this gateway's or not of this log; it is not used, the log is read again",
			"file", filepath.Join(e.cfg.Dir, snapshotName), "err", err)
	case st != nil:
		e.fold.resume(st)
	}
}

// save writes the snapshot.
func (e *Engine) save() error {
	e.fold.open()
	text, err := json.Marshal(e.fold.state)
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	root, err := e.shard.Root(e.fold.state.Next)
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	sum := sm3.Sum(text)
	payload, err := json.Marshal(seal{V: 1, State: sum[:], Root: root})
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	line, err := jose.Sign(e.cfg.Key, typeSeal, payload)
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	if err := audit.ReplaceFile(filepath.Join(e.cfg.Dir, snapshotName), append([]byte(line+"\n"), text...)); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	return nil
}
