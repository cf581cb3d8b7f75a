// Package witness keeps a log honest from outside: a witness, in another
// department, cosigns a checkpoint only if it continues every one it has
// cosigned before. A log that was rewritten, cut or shown in two versions
// finds no witness any more.
//
// [Server] is the witness, with the HTTP interface of c2sp.org/tlog-witness
// (POST /add-checkpoint), SM3 and SM2 in place of SHA-256 and Ed25519, as
// docs/protocol/witness.md writes down. Its state is one small file a log,
// replaced and synced before a cosignature leaves: a witness that lost its
// state must be given a new name and key.
//
// [Keeper] is the log's side: it shows new heads to the witnesses, keeps what
// they cosign, and holds the log up when too few have for too long.
package witness

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/emmansun/gmsm/sm3"

	"yizheng/audit"
)

// Log is a log that a witness watches: one node's, all its shards.
type Log struct {
	Origin string             // without the quarter: gw1.data.example.gov.cn/audit
	Keys   []*ecdsa.PublicKey // any of which may sign
}

// Config is what a witness is made of.
type Config struct {
	Name   string // in its cosignatures
	Dir    string // its state; must exist
	Signer audit.Signer
	Logs   []Log
	Now    func() time.Time
}

// Witness decides what it cosigns. It is safe for concurrent use; one process
// uses a directory at a time.
type Witness struct {
	Config
	mu sync.Mutex
}

// New makes a Witness.
func New(c Config) (*Witness, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if info, err := os.Stat(c.Dir); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("witness: %s is not a directory", c.Dir)
	}
	if _, err := audit.Cosign(c.Name, c.Signer, audit.Head{}, c.Now()); err != nil {
		return nil, fmt.Errorf("witness: %w", err)
	}
	return &Witness{Config: c}, nil
}

// Why a checkpoint is not cosigned.
var (
	ErrUnknownLog   = errors.New("witness: log is not watched here")
	ErrForeignKey   = errors.New("witness: checkpoint is not signed by a key of its log")
	ErrInconsistent = errors.New("witness: checkpoint does not continue the last one")
)

// ConflictError: the proof begins elsewhere than at the last checkpoint.
type ConflictError struct{ Size uint64 }

func (e *ConflictError) Error() string {
	return fmt.Sprintf("witness: last checkpoint has size %d", e.Size)
}

// state is the last head cosigned of one shard.
type state struct {
	Origin string `json:"origin"`
	Size   uint64 `json:"size"`
	Root   []byte `json:"root"`
	Note   string `json:"note"` // the checkpoint, with the cosignature
}

// Last is the last checkpoint cosigned of a shard, with the cosignature: what an
// auditor asks the witness for, rather than the log. ErrUnknownLog if there is none.
func (w *Witness) Last(origin string) (note []byte, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s, err := w.load(origin)
	if err == nil && s.Size == 0 {
		err = ErrUnknownLog
	}
	return []byte(s.Note), err
}

// Add cosigns a head if path proves that it continues the last one cosigned,
// whose size the caller says is old. The state is durable when it returns.
func (w *Witness) Add(head audit.SignedHead, old uint64, path []audit.Hash) (line string, err error) {
	if err := w.signedByLog(head); err != nil {
		return "", err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	last, err := w.load(head.Origin)
	if err != nil {
		return "", err
	}
	if old != last.Size {
		return "", &ConflictError{last.Size}
	}
	if old > head.Size {
		return "", fmt.Errorf("%w: it has shrunk", ErrInconsistent)
	}
	if err := continues(last, head.Head, path); err != nil {
		return "", err
	}
	line, err = audit.Cosign(w.Name, w.Signer, head.Head, w.Now())
	if err != nil {
		return "", err
	}
	head.Cosignatures = []string{line} // other witnesses' are theirs to show
	note, err := head.MarshalText()
	if err != nil {
		return "", fmt.Errorf("witness: %w", err)
	}
	if err := w.save(state{Origin: head.Origin, Size: head.Size, Root: head.Root[:], Note: string(note)}); err != nil {
		return "", err
	}
	return line, nil
}

func continues(last state, head audit.Head, path []audit.Hash) error {
	same := bytes.Equal(last.Root, head.Root[:])
	switch {
	case last.Size == 0 && len(path) == 0:
		return nil
	case last.Size == head.Size && len(path) == 0 && same:
		return nil
	case last.Size == 0 || last.Size == head.Size:
		return ErrInconsistent
	}
	if err := audit.VerifyConsistency(last.Size, head.Size, path, audit.Hash(last.Root), head.Root); err != nil {
		return fmt.Errorf("%w: %w", ErrInconsistent, err)
	}
	return nil
}

// signedByLog finds the log by the origin without its quarter.
func (w *Witness) signedByLog(head audit.SignedHead) error {
	base := head.Origin
	if i := strings.LastIndexByte(base, '/'); i >= 0 {
		base = base[:i]
	}
	for _, l := range w.Logs {
		if l.Origin != base {
			continue
		}
		for _, k := range l.Keys {
			if head.Verify(k) == nil {
				return nil
			}
		}
		return ErrForeignKey
	}
	return ErrUnknownLog
}

func (w *Witness) file(origin string) string {
	sum := sm3.Sum([]byte(origin))
	return filepath.Join(w.Dir, fmt.Sprintf("%x.json", sum[:16]))
}

func (w *Witness) load(origin string) (state, error) {
	b, err := os.ReadFile(w.file(origin))
	if errors.Is(err, fs.ErrNotExist) {
		return state{Origin: origin}, nil
	}
	var s state
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err == nil && (s.Origin != origin || len(s.Root) != len(audit.Hash{})) {
		err = errors.New("not the state of this log")
	}
	if err != nil { // never begin anew: that would be to forget
		return s, fmt.Errorf("witness: state of %s: %w", origin, err)
	}
	return s, nil
}

func (w *Witness) save(s state) error {
	b, err := json.Marshal(s)
	if err == nil {
		err = audit.ReplaceFile(w.file(s.Origin), b)
	}
	if err != nil {
		return fmt.Errorf("witness: state of %s: %w", s.Origin, err)
	}
	return nil
}
