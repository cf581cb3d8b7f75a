package audit

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

// model is what a log has promised so far, in plain slices: every entry that
// was acknowledged or read, and every head that was shown.
type model struct {
	dir      string // of the present shard
	origin   string
	previous []byte
	leaves   []Hash // of all entries
	heads    map[uint64]Hash
	receipts []Receipt
}

// machine is a log on a disk in memory, and what it has promised.
type machine struct {
	model
	t      *rapid.T
	key    testKey
	disk   *crashFiles
	log    *Log
	shards []model // sealed
}

// Whatever happens to a log, in any order: what it has promised holds.
func TestLogBehavesAsAnAppendOnlyList(t *testing.T) {
	key := newKey(t)
	if err := flag.Set("rapid.checks", strconv.Itoa(modelRuns)); err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		m := &machine{t: t, key: key, disk: newCrashFiles("/var")}
		m.begin(1, nil)
		defer func() { m.log.Close() }()
		t.Repeat(map[string]func(*rapid.T){
			"append":  m.append,
			"publish": m.publish,
			"reopen":  m.reopen,
			"crash":   m.crash,
			"turn":    m.turn,
			"prove":   m.prove,
			"verify":  m.verify,
			"":        m.look,
		})
		m.must(m.log.Close())
		m.verifyShards()
	})
}

func (m *machine) must(err error) {
	if err != nil {
		m.t.Helper()
		m.t.Fatal(err)
	}
}

func (m *machine) config() Config {
	cfg := testConfig(m.dir, m.key)
	cfg.Origin, cfg.Previous, cfg.files, cfg.SegmentSize, cfg.PublishEvery = m.origin, m.previous, m.disk, 4<<10, 1<<40
	return cfg
}

// begin makes a shard.
func (m *machine) begin(n int, previous []byte) {
	m.model = model{dir: fmt.Sprintf("/var/s%d", n), origin: fmt.Sprintf("gw1.example.gov.cn/audit/s%d", n), previous: previous, heads: make(map[uint64]Hash)}
	m.open()
}

// open opens the shard and takes in what the log says of itself.
func (m *machine) open() {
	var err error
	m.log, err = OpenLog(context.Background(), m.config())
	m.must(err)
	m.takeIn()
}

// takeIn reads entries that nobody was promised: they may be there only behind
// those that somebody was.
func (m *machine) takeIn() {
	head := m.log.Head()
	if head.Size < uint64(len(m.leaves)) {
		m.t.Fatalf("log has %d entries, %d were acknowledged", head.Size, len(m.leaves))
	}
	m.must(m.log.Read(context.Background(), uint64(len(m.leaves)), head.Size, func(_ uint64, s Stored) error {
		m.leaves = append(m.leaves, s.Leaf)
		return nil
	}))
	m.heads[head.Size] = head.Root
}

func (m *machine) append(t *rapid.T) {
	entries := make([]Entry, rapid.IntRange(1, 5).Draw(t, "entries"))
	for i := range entries {
		entries[i] = testEntry(i)
	}
	receipts, err := m.log.Append(context.Background(), entries...)
	m.must(err)
	for _, r := range receipts {
		if r.Index != uint64(len(m.leaves)) {
			t.Fatalf("entry %d has index %d", len(m.leaves), r.Index)
		}
		m.leaves = append(m.leaves, r.Leaf)
	}
	m.receipts = append(m.receipts, receipts...)
	m.heads[m.log.Head().Size] = m.log.Head().Root
}

func (m *machine) publish(*rapid.T) { m.must(m.log.publish(m.log.Head(), true)) }

func (m *machine) reopen(*rapid.T) {
	m.must(m.log.Close())
	m.open()
}

// crash cuts the power; the old log goes on in a world that is gone.
func (m *machine) crash(t *rapid.T) {
	m.disk.mu.Lock()
	after := m.disk.crash(rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 8)))
	m.disk.mu.Unlock()
	m.must(m.log.Close())
	m.disk = after
	m.open()
}

// turn seals the shard and begins the next.
func (m *machine) turn(*rapid.T) {
	head, err := m.log.Seal()
	m.must(err)
	note, err := head.MarshalText()
	m.must(err)
	if _, err := OpenLog(context.Background(), m.config()); !errors.Is(err, ErrSealed) {
		m.t.Fatalf("sealed shard opens: %v", err)
	}
	m.shards = append(m.shards, m.model)
	m.begin(len(m.shards)+1, note)
}

// prove checks one old receipt again, and that the present tree continues an
// old one and holds any entry.
func (m *machine) prove(t *rapid.T) {
	head := m.log.Head()
	if len(m.receipts) > 0 {
		r := m.receipts[rapid.IntRange(0, len(m.receipts)-1).Draw(t, "receipt")]
		m.must(r.Verify(m.key.Public(), m.leaves[r.Index]))
	}
	index := rapid.Uint64Range(0, head.Size-1).Draw(t, "index")
	r, err := m.log.Receipt(index)
	m.must(err)
	m.must(r.Verify(m.key.Public(), m.leaves[index]))
	for size, root := range m.heads {
		if size > 0 {
			path, err := m.log.Consistency(size, head.Size)
			m.must(err)
			m.must(VerifyConsistency(size, head.Size, path, root, head.Root))
		}
	}
}

// verify takes the files as they are.
func (m *machine) verify(*rapid.T) {
	m.verifyDir(m.model, VerifyOptions{Live: true, MinSize: uint64(len(m.leaves))})
}

func (m *machine) verifyShards() {
	m.verifyDir(m.model, VerifyOptions{MinSize: uint64(len(m.leaves))})
	for _, s := range m.shards {
		m.verifyDir(s, VerifyOptions{MinSize: uint64(len(s.leaves))})
	}
}

func (m *machine) verifyDir(s model, o VerifyOptions) {
	dir, err := os.MkdirTemp("", "model")
	m.must(err)
	defer os.RemoveAll(dir)
	m.disk.mu.Lock()
	err = m.disk.save(s.dir, dir)
	m.disk.mu.Unlock()
	m.must(err)
	seen := 0
	o.Keys = keysOf(m.key)
	o.Entry = func(e *Stored) {
		if seen < len(s.leaves) && e.Leaf != s.leaves[seen] {
			m.t.Errorf("entry %d of %s is another", seen, s.origin)
		}
		seen++
	}
	report, err := VerifyDir(context.Background(), dir, o)
	if err != nil {
		m.t.Fatalf("%s: %v", s.origin, report.Problems)
	}
	if len(s.previous) > 0 && !bytes.Equal(s.previous, []byte(report.Previous)) {
		m.t.Errorf("%s does not continue the shard before", s.origin)
	}
	if _, err := os.Stat(filepath.Join(dir, nameCheckpoint)); err != nil {
		m.t.Error(err)
	}
}

// look is done after each step: the present root is that of the list.
func (m *machine) look(*rapid.T) {
	head := m.log.Head()
	m.must(head.Verify(m.key.Public()))
	var f frontier
	for _, leaf := range m.leaves {
		f.add(leaf, nil)
	}
	if head.Size != uint64(len(m.leaves)) || head.Root != f.root() {
		m.t.Fatalf("log has %d entries and root %s, the list %d and %s", head.Size, head.Root, len(m.leaves), f.root())
	}
}
