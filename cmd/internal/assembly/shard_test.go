package assembly

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/audit/auditor"
	"yizheng/identity/jose"
)

const testOrigin = "gw00.690100.example/audit"

var (
	summer = time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)
	autumn = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	winter = time.Date(2027, 2, 1, 12, 0, 0, 0, time.UTC)
)

// node is a gateway's audit directory and key.
type node struct {
	t   *testing.T
	dir string
	key *jose.Key
}

func newNode(t *testing.T) *node {
	t.Helper()
	key, err := jose.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return &node{t, t.TempDir(), key}
}

func (n *node) config() audit.Config {
	return audit.Config{Signer: n.key, SegmentSize: 4 << 10, MinFree: 1, AppendTimeout: time.Minute}
}

func (n *node) open(now time.Time) (*audit.Log, error) {
	n.t.Helper()
	return OpenShard(context.Background(), n.dir, testOrigin, now, n.config())
}

// run starts, issues a document and stops.
func (n *node) run(now time.Time, number string) {
	n.t.Helper()
	l, err := n.open(now)
	if err != nil {
		n.t.Fatal(err)
	}
	n.issue(l, number)
	if err := l.Close(); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) issue(l *audit.Log, number string) {
	n.t.Helper()
	if _, err := l.Append(context.Background(), audit.Entry{Open: audit.Open{Op: audit.OpIssue, Number: number}}); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) seal(quarter string) {
	n.t.Helper()
	c := n.config()
	c.Dir, c.Origin = n.in(quarter), testOrigin+"/"+quarter
	if _, err := sealShard(context.Background(), c); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) in(path string) string { return filepath.Join(n.dir, path) }

func (n *node) read(path string) []byte {
	n.t.Helper()
	b, err := os.ReadFile(n.in(path))
	if err != nil {
		n.t.Fatal(err)
	}
	return b
}

func (n *node) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

// verify returns all problems and warnings of the shards, and whether they are good.
func (n *node) verify(o auditor.Options) (bool, string) {
	n.t.Helper()
	o.Keys = append(o.Keys, n.key.Public())
	names, err := auditor.Shards(n.dir)
	n.must(err)
	for i := range names {
		names[i] = n.in(names[i])
	}
	var said []string
	good, err := auditor.VerifyChain(context.Background(), names, o, func(r auditor.Shard) error {
		for _, p := range append(r.Problems, r.Warnings...) {
			said = append(said, p.String())
		}
		return nil
	})
	n.must(err)
	return good, strings.Join(said, "\n")
}

func TestOpenShard_QuartersFormAChain(t *testing.T) {
	n := newNode(t)
	n.run(summer, "A")
	n.run(summer.AddDate(0, 1, 0), "B") // the same quarter: the same shard
	n.run(autumn, "C")
	n.run(winter, "D")
	shards, err := auditor.Shards(n.dir)
	if err != nil || !slices.Equal(shards, []string{"2026q3", "2026q4", "2027q1"}) {
		t.Fatalf("shards %v, %v", shards, err)
	}
	if good, said := n.verify(auditor.Options{}); !good {
		t.Error(said)
	}
}

// A start at the turn of a quarter may end anywhere; the next one goes on.
func TestOpenShard_GoesOnAfterACrash(t *testing.T) {
	for _, test := range []struct {
		name  string
		crash func(n *node)
	}{
		{"old shard not closed", func(n *node) {
			n.must(os.RemoveAll(n.in("2026q3")))
			l, err := n.open(summer)
			n.must(err)
			n.issue(l, "A")
			n.must(os.CopyFS(n.in("crashed"), os.DirFS(n.in("2026q3")))) // as a killed process leaves it
			n.must(l.Close())
			n.must(os.RemoveAll(n.in("2026q3")))
			n.must(os.Rename(n.in("crashed"), n.in("2026q3")))
		}},
		{"old shard sealed, the new one not begun", func(n *node) { n.seal("2026q3") }},
		{"sealed, its end not published", func(n *node) {
			old := map[string][]byte{}
			for _, name := range []string{"checkpoint", "checkpoints.log", "heads/last"} {
				old[name] = n.read("2026q3/" + name)
			}
			n.seal("2026q3")
			for name, b := range old {
				n.must(os.WriteFile(n.in("2026q3/"+name), b, 0o600))
			}
			n.must(os.RemoveAll(n.in("2026q3/tile/0")))
			n.must(os.Remove(n.in("2026q3/wal/next")))
		}},
		{"sealed, its last checkpoint half written", func(n *node) {
			n.seal("2026q3")
			b := n.read("2026q3/checkpoints.log")
			n.must(os.WriteFile(n.in("2026q3/checkpoints.log"), b[:len(b)-20], 0o600))
		}},
		{"directory of the new quarter empty, the old one not sealed", func(n *node) { n.must(os.Mkdir(n.in("2026q4"), 0o700)) }},
		{"directory of the new quarter empty, the old one sealed", func(n *node) {
			n.seal("2026q3")
			n.must(os.Mkdir(n.in("2026q4"), 0o700))
		}},
		{"segments of the new quarter made, no log.json yet", func(n *node) {
			n.seal("2026q3")
			n.must(os.MkdirAll(n.in("2026q4/wal"), 0o700))
			n.must(os.WriteFile(n.in("2026q4/wal/000000000000.seg"), make([]byte, 4<<10), 0o600))
			n.must(os.WriteFile(n.in("2026q4/LOCK"), nil, 0o600))
		}},
		{"new shard begun, no entry yet", func(n *node) {
			n.run(autumn, "B")
			n.must(os.WriteFile(n.in("2026q4/wal/000000000000.seg"), make([]byte, 4<<10), 0o600))
			for _, name := range []string{"checkpoint", "checkpoints.log", "heads", "tile"} {
				n.must(os.RemoveAll(n.in("2026q4/" + name)))
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := newNode(t)
			n.run(summer, "A")
			test.crash(n)
			n.run(autumn, "C")
			if good, said := n.verify(auditor.Options{}); !good {
				t.Error(said)
			}
			meta := string(n.read("2026q4/log.json"))
			if !strings.Contains(meta, `"previous":"`+testOrigin+"/2026q3") {
				t.Errorf("the new shard does not name the old one: %s", meta)
			}
		})
	}
}

func TestOpenShard_RefusesAClockThatIsWrong(t *testing.T) {
	for _, test := range []struct {
		name string
		make func(n *node)
		now  time.Time
	}{
		{"behind, with a shard of the quarter", func(n *node) { n.run(summer, "A"); n.run(autumn, "B") }, summer},
		{"behind, without one", func(n *node) { n.run(autumn, "A") }, summer},
		{"was ahead and sealed this quarter", func(n *node) { n.run(autumn, "A"); n.seal("2026q4") }, autumn},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := newNode(t)
			test.make(n)
			before := n.read("2026q4/wal/000000000000.seg")
			l, err := n.open(test.now)
			if !errors.Is(err, ErrClock) {
				t.Errorf("opened %v: %v", l, err)
			}
			if _, err := os.Stat(n.in("2026q3")); test.now == summer && test.name != "behind, with a shard of the quarter" && !errors.Is(err, os.ErrNotExist) {
				t.Error("a shard of the past was made")
			}
			if string(before) != string(n.read("2026q4/wal/000000000000.seg")) {
				t.Error("the log was changed")
			}
		})
	}
}

func TestOpenShard_RefusesAShardThatLostItsLogJSON(t *testing.T) {
	n := newNode(t)
	n.run(summer, "A")
	n.must(os.Remove(n.in("2026q3/log.json")))
	if _, err := n.open(autumn); !errors.Is(err, audit.ErrDamaged) {
		t.Errorf("%v", err)
	}
}

func TestArchives_ValidAreThoseWhoseDocumentsMayBe(t *testing.T) {
	n := newNode(t)
	n.run(summer, "A")
	n.run(autumn, "B")
	n.run(winter, "C")
	for _, test := range []struct {
		now  time.Time
		want []string
	}{{summer, nil}, {winter, []string{"2026q3", "2026q4"}}, {autumn.AddDate(1, 0, 0), nil}} {
		if test.now.After(winter) { // the last one is not sealed yet
			n.run(test.now, "D")
			test.want = []string{"2026q3", "2026q4", "2027q1"}
		}
		list, err := NewArchives(n.dir, n.key.Public()).Valid(context.Background(), test.now)
		n.must(err)
		var got []string
		for _, a := range list {
			got = append(got, filepath.Base(a.Origin()))
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("at %s: %v, want %v", test.now, got, test.want)
		}
	}
}

func TestVerifyChain_FindsMissingQuartersAndRewoundLogs(t *testing.T) {
	n := newNode(t)
	n.run(summer, "A")
	n.run(autumn, "B")
	n.run(winter, "C")
	q3, q4 := n.read("2026q3/checkpoint"), n.read("2026q4/checkpoint")
	c := n.config()
	c.Dir, c.Origin = n.in("rewound"), testOrigin+"/2027q1"
	n.must(os.CopyFS(c.Dir, os.DirFS(n.in("2027q1"))))
	n.run(winter, "D")
	q1 := n.read("2027q1/checkpoint")
	l, err := audit.OpenLog(context.Background(), c) // cut back to C, and grown otherwise
	n.must(err)
	for range 5 {
		n.issue(l, "E")
	}
	n.must(l.Close())
	drop := func(quarters ...string) func(*node) {
		return func(n *node) {
			for _, q := range quarters {
				n.must(os.RemoveAll(n.in(q)))
			}
		}
	}
	rewind := func(n *node) {
		n.must(os.RemoveAll(n.in("2027q1")))
		n.must(os.Rename(n.in("rewound"), n.in("2027q1")))
	}
	for _, test := range []struct {
		name    string
		change  func(n *node)
		known   [][]byte
		partial bool
		good    bool
		says    string
	}{
		{"whole", drop(), nil, false, true, ""},
		{"whole, all checkpoints known", drop(), [][]byte{q3, q4, q1}, false, true, ""},
		{"oldest dropped", drop("2026q3"), nil, false, false, "chain: "},
		{"oldest dropped, its checkpoint known", drop("2026q3"), [][]byte{q3}, false, true, ""},
		{"oldest dropped, another checkpoint known", drop("2026q3"), [][]byte{q4}, false, false, "chain: "},
		{"oldest dropped, partial", drop("2026q3"), nil, true, true, "只验了一部分"},
		{"two dropped, the first one's checkpoint known", drop("2026q3", "2026q4"), [][]byte{q3}, false, false, "known: "},
		{"middle dropped", drop("2026q4"), nil, false, false, "chain: "},
		{"middle dropped, partial", drop("2026q4"), nil, true, false, "chain: "},
		{"newest dropped: only a checkpoint tells", drop("2027q1"), nil, false, true, ""},
		{"newest dropped, its checkpoint known", drop("2027q1"), [][]byte{q1}, false, false, "known: "},
		{"cut back and grown again: only a checkpoint tells", rewind, nil, false, true, ""},
		{"cut back and grown again, checkpoint known", rewind, [][]byte{q1}, false, false, "never had the known head"},
	} {
		t.Run(test.name, func(t *testing.T) {
			copied := &node{t, t.TempDir(), n.key}
			copied.must(os.CopyFS(copied.dir, os.DirFS(n.dir)))
			test.change(copied)
			good, said := copied.verify(auditor.Options{Known: test.known, Partial: test.partial})
			if good != test.good || !strings.Contains(said, test.says) || test.says == "" && said != "" {
				t.Errorf("good %v: %s", good, said)
			}
		})
	}
	if _, err := auditor.VerifyChain(context.Background(), nil, auditor.Options{Known: [][]byte{q3, q3}}, nil); err == nil {
		t.Error("two checkpoints of one shard were taken")
	}
}
