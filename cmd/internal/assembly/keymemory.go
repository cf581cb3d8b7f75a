package assembly

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"yizheng/audit"
	"yizheng/audit/auditor"
	"yizheng/identity/jose"
)

// keyMemory is what a node's log tells of steps with its pseudonym keys: those of
// its entries `key`, by shard, and how far each shard has been read for them.
//
// It lies in a file beside the log, signed with the log's key and bound to the root
// of the entries read, so that a start reads only what was written since, and
// nobody else can write one that leaves a step out. The log is what counts: without
// the file, with an older one, or where it is not of this log, the log is read
// again. Shards that were taken away after their time stay in it.
type keyMemory struct {
	file, dir string
	key       *jose.Key
	log       *audit.Log // that of the start, which turns to others

	mu      sync.Mutex
	shards  map[string]readShard // by name
	doubts  []string             // shards that could not be read
	whole   bool                 // all has been read that can be
	changed bool                 // since it was written
	written time.Time
}

// readShard is a shard as far as it has been read.
type readShard struct {
	Shard string     `json:"shard"`
	Size  uint64     `json:"size"`
	Root  audit.Hash `json:"root"` // of so many entries
	Steps []doneStep `json:"steps,omitempty"`

	read bool // by this process, up to its start at least
}

// doneStep is a step that the log tells of.
type doneStep struct {
	ID     string          `json:"id"` // of what was signed
	Action audit.KeyAction `json:"action"`
	Epoch  string          `json:"epoch"`
}

func (d doneStep) String() string { return string(d.Action) + " " + d.Epoch }

const (
	typeKeyMemory = "yz-pseudonym-memory+jws"
	// rememberEvery is how much of a busy log a start after a crash reads again.
	rememberEvery = 10 * time.Minute
)

type memoryText struct {
	V      int         `json:"v"`
	Origin string      `json:"origin"` // of the log, without a shard
	Shards []readShard `json:"shards"`
}

func newKeyMemory(dir string, key *jose.Key) *keyMemory {
	return &keyMemory{file: memoryFile(dir), dir: dir, key: key, shards: map[string]readShard{}}
}

// recall reads the file, and which shards there are. Without a file nothing is known.
func (m *keyMemory) recall(log *audit.Log) error {
	m.log = log
	text, err := m.open(path.Dir(log.Origin()))
	for _, s := range text.Shards {
		m.shards[s.Shard] = s
	}
	names, listed := auditor.Shards(m.dir)
	for _, name := range names {
		if m.shards[name].Shard == "" {
			m.shards[name] = readShard{Shard: name}
		}
	}
	return errors.Join(err, listed)
}

func (m *keyMemory) open(origin string) (text memoryText, err error) {
	line, err := os.ReadFile(m.file)
	if errors.Is(err, fs.ErrNotExist) {
		return text, nil
	}
	if err != nil {
		return text, err
	}
	payload, _, err := jose.Verify(string(line), typeKeyMemory, func(kid string) *ecdsa.PublicKey {
		if kid != m.key.ID() {
			return nil
		}
		return m.key.Public()
	})
	if err == nil {
		err = jose.Unmarshal(payload, &text)
	}
	if err == nil && (text.V != 1 || text.Origin != origin) {
		err = errors.New("it is another log's")
	}
	if err != nil {
		return memoryText{}, err
	}
	return text, nil
}

// unread are the shards to read, the newest first.
func (m *keyMemory) unread() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := slices.Sorted(maps.Keys(m.shards))
	slices.Reverse(names)
	return names
}

// shard is a log or an archive.
type shard interface {
	Since(ctx context.Context, from uint64, root audit.Hash, ops []audit.Op, fn func(audit.Stored) error) (audit.SignedHead, error)
}

// read takes up the steps of a shard's entries that were not read before, and tells
// how many entries these were. A step counts from the moment it is found. If the
// shard is not the one that was remembered, all of it is read, and err says so;
// what was remembered stays known, since the log's key has signed it.
func (m *keyMemory) read(ctx context.Context, name string) (entries uint64, err error) {
	from := m.remembered(name)
	s, err := m.shard(ctx, name)
	if errors.Is(err, fs.ErrNotExist) && from.Size > 0 {
		return 0, nil // taken away after its time
	}
	if err != nil {
		return 0, m.doubt(from, err)
	}
	since := func(size uint64, root audit.Hash) (audit.SignedHead, error) {
		head, err := s.Since(ctx, size, root, []audit.Op{audit.OpKey}, func(e audit.Stored) error {
			m.add(name, stepOf(e.Entry))
			return nil
		})
		entries = head.Size - size
		return head, err
	}
	head, err := since(from.Size, from.Root)
	var other error
	if errors.Is(err, audit.ErrProof) || errors.Is(err, audit.ErrRange) {
		other = fmt.Errorf("不是所记的那一卷（被换过或退回过） / it was exchanged, or put back to an older state: %w", err)
		head, err = since(0, audit.Hash{})
	}
	if err != nil {
		return 0, m.doubt(from, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.shards[name]
	now.Size, now.Root, now.read = head.Size, head.Root, true
	m.shards[name], m.changed = now, true
	return entries, other
}

func (m *keyMemory) remembered(name string) readShard {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.shards[name]
	s.Steps = slices.Clone(s.Steps)
	return s
}

func (m *keyMemory) shard(ctx context.Context, name string) (shard, error) {
	if name == path.Base(m.log.Origin()) {
		return m.log, nil
	}
	dir := filepath.Join(m.dir, name)
	if _, err := os.Stat(dir); err != nil {
		return nil, err
	}
	return audit.OpenArchive(ctx, dir, m.key.Public())
}

// doubt takes back what was found in a shard that cannot be read to its end.
func (m *keyMemory) doubt(was readShard, err error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.shards[was.Shard] = was
	m.doubts = append(m.doubts, was.Shard)
	return err
}

// failed are the shards that could not be read.
func (m *keyMemory) failed() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.doubts)
}

// ended: all has been read that can be.
func (m *keyMemory) ended() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.whole = true
}

// add takes up a step that a shard tells of.
func (m *keyMemory) add(name string, d doneStep) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.shards[name]
	if slices.Contains(s.Steps, d) {
		return
	}
	s.Shard, s.Steps = name, append(s.Steps, d)
	m.shards[name], m.changed = s, true
}

// lacks tells whether a step has to be recorded: never before everything was read.
func (m *keyMemory) lacks(step audit.KeyStep) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	id := stepID(step)
	for _, s := range m.shards {
		if slices.ContainsFunc(s.Steps, func(d doneStep) bool { return d.ID == id }) {
			return false
		}
	}
	return m.whole
}

// undone finds what the log tells of and the keys do not, in its entries or in the
// name of a shard. A destruction that was done again is there. A rotation is not:
// the same epoch would have other keys. One to a later epoch takes its place, but
// not if its statement is by the log another step's: whoever signs a rotation names
// the quarter, not the epoch.
func (m *keyMemory) undone(steps []audit.KeyStep) error {
	signed, there, newest := map[string]doneStep{}, map[string]bool{}, ""
	for _, s := range steps {
		done := doneStep{stepID(s), s.Action, s.Epoch}
		signed[done.ID], there[done.String()] = done, true
		if s.Action == audit.KeyRotate {
			newest = max(newest, s.Epoch)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(m.shards)) {
		named := doneStep{Action: audit.KeyRotate, Epoch: name}
		if audit.EpochQuarter(name) != name && !there[named.String()] && newest <= name {
			return fmt.Errorf("%w: %s", ErrKeyStepUndone, named)
		}
		for _, d := range m.shards[name].Steps {
			same, known := signed[d.ID]
			if known && same != d {
				return fmt.Errorf("%w: %s: 其声明在日志中是 %s 的 / by the log its statement is that of %s", audit.ErrKeyStepUnproven, same, d, d)
			}
			gone := d.Action == audit.KeyDestroy && !there[d.String()] ||
				d.Action == audit.KeyRotate && !known && newest <= d.Epoch
			if gone {
				return fmt.Errorf("%w: %s", ErrKeyStepUndone, d)
			}
		}
	}
	return nil
}

// write remembers what is known, if something is new, or the log has grown for long,
// or at last. What this process has appended it need not read: nobody else records steps.
func (m *keyMemory) write(last bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !last && !m.changed && time.Since(m.written) < rememberEvery {
		return nil
	}
	for l := m.log; l != nil; l = l.Next() {
		name, head := path.Base(l.Origin()), l.Head()
		s := m.shards[name]
		if l == m.log && !s.read {
			continue
		}
		s.Shard, s.Size, s.Root = name, head.Size, head.Root
		m.shards[name] = s
	}
	text := memoryText{V: 1, Origin: path.Dir(m.log.Origin()), Shards: slices.SortedFunc(maps.Values(m.shards), func(a, b readShard) int { return cmp.Compare(a.Shard, b.Shard) })}
	payload, err := json.Marshal(text)
	if err != nil {
		return fmt.Errorf("remember steps with pseudonym keys: %w", err)
	}
	line, err := jose.Sign(m.key, typeKeyMemory, payload)
	if err == nil {
		err = audit.ReplaceFile(m.file, []byte(line))
	}
	if err != nil {
		return fmt.Errorf("remember steps with pseudonym keys: %w", err)
	}
	m.changed, m.written = false, time.Now()
	return nil
}
