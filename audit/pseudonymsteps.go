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
	// ErrKeyStepUnproven is returned for everything while the directory of keys holds
	// a step that nobody who may has signed: it is not followed, and nothing is keyed.
	ErrKeyStepUnproven = errors.New("密钥目录中有一步未经证实，未予采用：请查明来历；签名人须（离任的连同 until）仍在 administrators 中 / the directory of keys holds a step that is not proven and not followed: find out where it comes from; who signed it must be among the administrators, with until if they left")
)

// KeyHolder is who holds a log (Log.Hold) because of its pseudonym keys.
const KeyHolder = "pseudonym keys"

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
	steps     []KeyStep // that say so, the oldest first
}

// layout is what the directory holds if all its steps are proven.
func (p *Pseudonyms) layout() (layout, error) {
	l, err := p.list()
	if err != nil {
		return l, err
	}
	signed := map[string]bool{} // a statement is for one step only
	for _, name := range l.marks() {
		s, err := p.proven(name)
		if err != nil {
			return layout{}, fmt.Errorf("audit: pseudonym keys: %s: %w", filepath.Join(p.dir, name), err)
		}
		for _, statement := range s.Statements {
			if signed[statement] {
				return layout{}, fmt.Errorf("audit: pseudonym keys: %s: %w: 声明已用于另一步 / its statement is another step's", filepath.Join(p.dir, name), ErrKeyStepUnproven)
			}
			signed[statement] = true
		}
		l.steps = append(l.steps, s)
	}
	slices.SortStableFunc(l.steps, func(a, b KeyStep) int { return a.At.Compare(b.At) })
	return l, nil
}

// marks are the files of the steps.
func (l layout) marks() (names []string) {
	for _, q := range l.destroyed {
		names = append(names, q+".destroyed")
	}
	for _, e := range l.opened {
		names = append(names, e+".opened")
	}
	return names
}

// proven reads a step and proves it, once for each text.
func (p *Pseudonyms) proven(name string) (s KeyStep, err error) {
	text, err := os.ReadFile(filepath.Join(p.dir, name))
	if err != nil {
		return s, err
	}
	p.proving.Lock()
	defer p.proving.Unlock()
	known := name + "\n" + string(text)
	if s, ok := p.believed[known]; ok {
		return s, nil
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("%w: %w", ErrKeyStepUnproven, err)
	}
	if s.mark() != name {
		return s, fmt.Errorf("%w: 内容与文件名不符 / it is another step than its name says", ErrKeyStepUnproven)
	}
	if err := p.prove(s); err != nil {
		return s, err
	}
	if p.believed == nil {
		p.believed = map[string]KeyStep{}
	}
	p.believed[known] = s
	return s, nil
}

// mark is the name of a step's file, "" for what is no step.
func (s KeyStep) mark() string {
	switch {
	case s.Action == KeyDestroy && s.Compromised == "":
		return s.Epoch + ".destroyed"
	case s.Action == KeyRotate && s.Compromised != "" && nextEpoch(s.Compromised) == s.Epoch:
		return s.Epoch + ".opened"
	}
	return ""
}

// nextEpoch is the one that a rotation opens, "" behind the last of a quarter.
func nextEpoch(epoch string) string {
	quarter := EpochQuarter(epoch)
	n := 1
	if epoch != quarter {
		n = int(epoch[len(epoch)-1] - '0')
	}
	if quarter == "" || n == maxEpochs {
		return ""
	}
	return quarter + "-" + strconv.Itoa(n+1)
}

func (p *Pseudonyms) prove(s KeyStep) error {
	if p.proof == nil {
		return ErrKeyStepUnproven
	}
	if err := p.proof(s); err != nil {
		return fmt.Errorf("%w: %w", ErrKeyStepUnproven, err)
	}
	return nil
}

// Believe has steps followed that proof accepts, those that are there as well as
// those to come; without it there may be none. What a crash has left of keys that
// were being destroyed, or a backup brought back, is removed. Call it once, before
// the keys are used. Errors wrap ErrKeyStepUnproven, and then nothing is removed,
// or are the directory's.
func (p *Pseudonyms) Believe(proof func(KeyStep) error) error {
	p.proof = proof
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

// list reads the names in the directory.
func (p *Pseudonyms) list() (l layout, err error) {
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
	return l.steps, err
}

// Destroy makes a quarter's pseudonyms nobody's, for ever: s names the quarter,
// why, and by whose statements, which are proven first (Believe). The step is on
// disk before the first key is gone, and none of the quarter is used or made from
// then on. It returns the step with its digests.
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
		if err := p.writeStep(s); err != nil {
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
		s.Compromised = l.epoch(Quarter(now))
		if s.Epoch = nextEpoch(s.Compromised); s.Epoch == "" {
			return fmt.Errorf("%w: 本季度已轮换 %d 次 / rotated %d times this quarter", ErrKeyStep, maxEpochs-1, maxEpochs-1)
		}
		if slices.ContainsFunc(l.keys, func(n keyName) bool { return n.epoch == s.Epoch }) {
			return fmt.Errorf("%w: %s 已有密钥而无其步骤文件，目录不完整：请换回最新的目录，或移走这些密钥 / there are keys of that epoch without its step: put the newest directory back, or take them away", ErrKeyStep, s.Epoch)
		}
		if s.Before, _, err = p.digests(l, ""); err != nil {
			return err
		}
		s.After = s.Before
		return p.writeStep(s)
	})
	return s, err
}

// writeStep writes a step down, if it is proven. The caller holds the lock.
func (p *Pseudonyms) writeStep(s KeyStep) error {
	if err := p.prove(s); err != nil {
		return err
	}
	text, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("audit: pseudonym keys: %w", err)
	}
	if err := ReplaceFile(filepath.Join(p.dir, s.mark()), append(text, '\n')); err != nil {
		return fmt.Errorf("audit: pseudonym keys: %w", err)
	}
	return nil
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
	l, err := p.list()
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
