package assembly

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"yizheng/audit"
)

// line is the way to a replica, which a test can cut.
type line struct {
	*audit.ReplicaDir
	cut atomic.Bool
}

func (l *line) Begin(ctx context.Context, meta []byte) (uint64, error) {
	if l.cut.Load() {
		return 0, errors.New("cut")
	}
	return l.ReplicaDir.Begin(ctx, meta)
}

func (l *line) Write(ctx context.Context, s audit.Stretch) (uint64, error) {
	if l.cut.Load() {
		return 0, errors.New("cut")
	}
	return l.ReplicaDir.Write(ctx, s)
}

// TestReplica_GetsTheTailOfTheQuarterThatEndedWhileItWasDown, from the process
// that turned, not from its next start.
func TestReplica_GetsTheTailOfTheQuarterThatEndedWhileItWasDown(t *testing.T) {
	n := newNode(t)
	copied := filepath.Join(t.TempDir(), "copy")
	n.must(os.Mkdir(copied, 0o700))
	dir, err := audit.OpenReplicaDir(audit.ReplicaConfig{Dir: copied, Origin: testOrigin, Keys: []*ecdsa.PublicKey{n.key.Public()}})
	n.must(err)
	way := &line{ReplicaDir: dir}
	r := &Replica{Replica: way, close: dir.Close, turned: make(chan struct{}, 1)}
	conf := n.config()
	conf.Replica, conf.ReplicaOptional = way, true
	l, err := OpenShard(t.Context(), n.dir, testOrigin, autumn, conf)
	n.must(err)
	n.issue(l, "A")
	r.Earlier(NewArchives(n.dir, n.key.Public()), l, slog.New(slog.DiscardHandler))
	way.cut.Store(true)
	n.issue(l, "B")
	tu := n.turner(l)
	tu.Config.Replica, tu.Config.ReplicaOptional = way, true
	tu.Turned = []func(*audit.Log){func(*audit.Log) { way.cut.Store(false) }, r.Turned}
	tu.look(t.Context(), winter, winter.Add(time.Second), time.Second)
	want := n.read("2026q4/checkpoint")
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		got, err := os.ReadFile(filepath.Join(copied, "2026q4", "checkpoint"))
		if err == nil && string(got) == string(want) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the replica ends elsewhere: %v\n%s\nthe log:\n%s", err, got, want)
		}
	}
	n.must(l.Close())
	n.must(r.Close())
}

func TestArchives_AreOpenedOnce(t *testing.T) {
	n := newNode(t)
	n.run(summer, "A")
	n.run(autumn, "B")
	a := NewArchives(n.dir, n.key.Public())
	list, err := a.Valid(t.Context(), autumn)
	n.must(err)
	again, err := a.Open(t.Context(), "2026q3")
	n.must(err)
	if len(list) != 1 || list[0] != again {
		t.Errorf("opened again: %v", list)
	}
	if names, err := a.Before("2026q3"); err != nil || len(names) != 0 {
		t.Errorf("before the first: %v, %v", names, err)
	}
	if _, err := a.Open(t.Context(), "2026q4"); !errors.Is(err, audit.ErrNotSealed) {
		t.Errorf("one that is not sealed: %v", err)
	}
}
