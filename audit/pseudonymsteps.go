package audit

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emmansun/gmsm/sm3"
)

// KeyStep is what was done to a node's pseudonym keys, once and for good. It lies
// beside them, in a file named by its epoch: 2023q1.destroyed, 2026q4-2.opened.
type KeyStep struct {
	Action KeyAction `json:"action"`
	// Epoch is the quarter whose keys are destroyed, or the epoch that was opened.
	Epoch string `json:"epoch"`
	// Compromised is the epoch that was ended by opening another.
	Compromised string    `json:"compromised,omitempty"`
	Reason      string    `json:"reason"` // a code
	By          []string  `json:"by"`     // staff accounts: who asked, who approved
	Statements  []string  `json:"statements"`
	At          time.Time `json:"at"`
	// Before and After are digests of all keys there were: b64 SM3 over the lines
	// "<name> <SM3 of the file, hex>\n", in ascending order.
	Before string `json:"before"`
	After  string `json:"after"`
}

// KeyAction of a KeyStep.
type KeyAction string

// Actions.
const (
	KeyDestroy KeyAction = "destroy" // a quarter's pseudonyms are nobody's from now on
	KeyRotate  KeyAction = "rotate"  // the keys of the epoch that ran are compromised; entries are never keyed again
)

var (
	// ErrKeysDestroyed is returned for a quarter whose keys were destroyed.
	ErrKeysDestroyed = errors.New("这一季度的对照已按期销毁 / the pseudonym keys of this quarter have been destroyed")
	// ErrKeyStep is returned for a step that cannot be taken.
	ErrKeyStep = errors.New("不能办理 / cannot be done")
)

// maxEpochs of one quarter, the first one included.
const maxEpochs = 9

var (
	epochForm  = regexp.MustCompile(`^([0-9]{4}q[1-4])(-[2-9])?$`)
	markedForm = regexp.MustCompile(`^([0-9]{4}q[1-4](?:-[2-9])?)\.(destroyed|opened)$`)
)

// EpochQuarter is the quarter of an epoch, or of a shard: 2026q4 of 2026q4 and of
// 2026q4-2, the second one of that quarter. It is "" for what is neither.
func EpochQuarter(epoch string) string {
	if m := epochForm.FindStringSubmatch(epoch); m != nil {
		return m[1]
	}
	return ""
}

// layout is what a directory of keys holds.
type layout struct {
	keys      []keyName // by epoch
	destroyed []string  // quarters
	opened    []string  // epochs that an emergency opened
}

func (p *Pseudonyms) layout() (l layout, err error) {
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		return l, fmt.Errorf("audit: pseudonym keys: %w", err)
	}
	for _, e := range entries {
		if m := pseudonymFile.FindStringSubmatch(e.Name()); m != nil {
			l.keys = append(l.keys, keyName{m[1], m[2]})
		} else if m := markedForm.FindStringSubmatch(e.Name()); m != nil && m[2] == "destroyed" {
			l.destroyed = append(l.destroyed, m[1])
		} else if m != nil {
			l.opened = append(l.opened, m[1])
		}
	}
	slices.SortStableFunc(l.keys, func(a, b keyName) int { return strings.Compare(a.epoch, b.epoch) })
	return l, nil
}

// epoch is the last one of a quarter.
func (l layout) epoch(quarter string) string {
	last := quarter
	for _, e := range l.opened {
		if EpochQuarter(e) == quarter && e > last {
			last = e
		}
	}
	return last
}

// Steps are those taken with the keys, the oldest first.
func (p *Pseudonyms) Steps() ([]KeyStep, error) {
	l, err := p.layout()
	if err != nil {
		return nil, err
	}
	var steps []KeyStep
	read := func(epoch, suffix string) error {
		var s KeyStep
		text, err := os.ReadFile(filepath.Join(p.dir, epoch+suffix))
		if err == nil {
			err = json.Unmarshal(text, &s)
		}
		if err != nil {
			return fmt.Errorf("audit: pseudonym keys: %s%s: %w", epoch, suffix, err)
		}
		steps = append(steps, s)
		return nil
	}
	for _, q := range l.destroyed {
		err = errors.Join(err, read(q, ".destroyed"))
	}
	for _, e := range l.opened {
		err = errors.Join(err, read(e, ".opened"))
	}
	slices.SortStableFunc(steps, func(a, b KeyStep) int { return a.At.Compare(b.At) })
	return steps, err
}

// Destroy makes a quarter's pseudonyms nobody's, for ever: s names the quarter,
// why, and by whose statements. The step is on disk before the first key is gone,
// and none of the quarter is used or made from then on; what a crash leaves of its
// keys is removed when they are opened again. It returns the step with its digests.
func (p *Pseudonyms) Destroy(s KeyStep) (KeyStep, error) {
	s.Action = KeyDestroy
	err := p.locked(func() error {
		l, err := p.layout()
		if err != nil {
			return err
		}
		if EpochQuarter(s.Epoch) != s.Epoch || s.Epoch == "" || slices.Contains(l.destroyed, s.Epoch) {
			return fmt.Errorf("%w: %s: 不是季度，或已销毁 / no quarter, or destroyed already", ErrKeyStep, s.Epoch)
		}
		if s.Before, s.After, err = p.digests(l, s.Epoch); err != nil {
			return err
		}
		if err := p.mark(s, s.Epoch+".destroyed"); err != nil {
			return err
		}
		return p.shred(s.Epoch)
	})
	return s, err
}

// Rotate opens another epoch in the quarter of a moment, because the keys of the
// one that ran are compromised. Every process that has these keys takes it up
// within a second. It returns the step with its epochs and digests.
func (p *Pseudonyms) Rotate(s KeyStep, now time.Time) (KeyStep, error) {
	s.Action = KeyRotate
	err := p.locked(func() error {
		l, err := p.layout()
		if err != nil {
			return err
		}
		quarter := Quarter(now)
		s.Compromised = l.epoch(quarter)
		n := 2
		if s.Compromised != quarter {
			if n, err = strconv.Atoi(s.Compromised[len(quarter)+1:]); err != nil {
				return err
			}
			n++
		}
		if n > maxEpochs {
			return fmt.Errorf("%w: 本季度已轮换 %d 次 / rotated %d times this quarter", ErrKeyStep, maxEpochs-1, maxEpochs-1)
		}
		s.Epoch = quarter + "-" + strconv.Itoa(n)
		if s.Before, _, err = p.digests(l, ""); err != nil {
			return err
		}
		s.After = s.Before
		return p.mark(s, s.Epoch+".opened")
	})
	return s, err
}

// mark writes a step down. The caller holds the lock.
func (p *Pseudonyms) mark(s KeyStep, name string) error {
	text, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("audit: pseudonym keys: %w", err)
	}
	if err := writeWhole(osFiles{}, filepath.Join(p.dir, name), append(text, '\n')); err != nil {
		return fmt.Errorf("audit: pseudonym keys: %w", err)
	}
	return osFiles{}.SyncDir(p.dir)
}

// digests are those of all keys, and of all but a quarter's.
func (p *Pseudonyms) digests(l layout, without string) (before, after string, err error) {
	var all, others []string
	for _, n := range l.keys {
		text, err := os.ReadFile(p.path(n))
		if err != nil {
			return "", "", fmt.Errorf("audit: pseudonym key %s: %w", n, err)
		}
		sum := sm3.Sum(text)
		line := n.String() + " " + hex.EncodeToString(sum[:]) + "\n"
		all = append(all, line)
		if EpochQuarter(n.epoch) != without {
			others = append(others, line)
		}
	}
	return linesDigest(all), linesDigest(others), nil
}

func linesDigest(lines []string) string {
	sum := sm3.Sum([]byte(strings.Join(slices.Sorted(slices.Values(lines)), "")))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// shred overwrites and removes a quarter's keys. The caller holds the lock.
func (p *Pseudonyms) shred(quarter string) error {
	l, err := p.layout()
	if err != nil {
		return err
	}
	for _, n := range l.keys {
		if EpochQuarter(n.epoch) != quarter {
			continue
		}
		if err := overwrite(p.path(n)); err != nil {
			return fmt.Errorf("audit: destroying pseudonym key %s: %w", n, err)
		}
	}
	return osFiles{}.SyncDir(p.dir)
}

// overwrite writes zeros over a file, as far as its disk allows, and removes it.
func overwrite(path string) (err error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, info.Size()))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Remove(path)
}

// finish removes what a crash has left of keys that were being destroyed, or what
// a backup brought back.
func (p *Pseudonyms) finish() error {
	return p.locked(func() error {
		l, err := p.layout()
		if err != nil {
			return err
		}
		for _, q := range l.destroyed {
			err = errors.Join(err, p.shred(q))
		}
		return err
	})
}
