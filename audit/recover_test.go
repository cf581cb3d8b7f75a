package audit

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"yizheng/catalog/beijing"
)

// crashed makes the directory that a crash leaves: n single entries are
// durable, the first of them published or (published false) only log.open.
func crashed(t testing.TB, key testKey, n int, published bool) string {
	t.Helper()
	dir := t.TempDir()
	cfg := testConfig(dir, key)
	cfg.SegmentSize = 64 << 10
	cfg.PublishEvery = time.Hour
	l := openTest(t, cfg)
	appendTest(t, l, n)
	if published {
		if err := l.publish(l.Head(), true); err != nil {
			t.Fatal(err)
		}
	}
	return copyDir(t, dir)
}

func reopen(t testing.TB, dir string, key testKey) (*Log, error) {
	t.Helper()
	cfg := testConfig(dir, key)
	l, err := OpenLog(context.Background(), cfg)
	if err == nil {
		t.Cleanup(func() { l.Close() })
	}
	return l, err
}

func TestCrashedLogIsContinued(t *testing.T) {
	key := newKey(t)
	dir := crashed(t, key, 5, false)
	verifyTest(t, dir, key, VerifyOptions{Live: true})
	if _, err := VerifyDir(context.Background(), dir, VerifyOptions{Keys: keysOf(key)}); err == nil {
		t.Error("a log that was not closed passes as closed")
	}
	l, err := reopen(t, dir, key)
	if err != nil {
		t.Fatal(err)
	}
	if got := l.Head().Size; got != 7 { // log.open, five, log.start
		t.Errorf("size %d, want 7", got)
	}
	closeTest(t, l)
	verifyTest(t, dir, key, VerifyOptions{})
}

func TestTornTailIsMovedToQuarantineAndRecorded(t *testing.T) {
	key := newKey(t)
	base := crashed(t, key, 5, false)
	seg := readTest(t, filepath.Join(base, nameWAL, segmentName(0)))
	from, to := frameAt(t, seg, -1)
	tears := map[string]func(tail []byte){
		"header only":       func(b []byte) { clear(b[headerLen:]) },
		"half a header":     func(b []byte) { clear(b[7:]) },
		"trailer missing":   func(b []byte) { clear(b[lastNonZero(b)-1:]) },
		"first sector lost": func(b []byte) { clear(b[:frameAlign]) },
		"last sector lost":  func(b []byte) { clear(b[len(b)-frameAlign:]) },
		"sector of rubbish": func(b []byte) { copy(b[frameAlign:], bytes.Repeat([]byte{0xa5}, frameAlign)) },
		"one bit in a body": func(b []byte) { b[100] ^= 4 },
		"one bit in header": func(b []byte) { b[9] ^= 4 },
	}
	for cut := frameAlign / 2; cut < lastNonZero(seg[from:to]); cut += frameAlign / 2 {
		tears["cut at "+string(rune('0'+cut*2/frameAlign))] = func(b []byte) { clear(b[cut:]) }
	}
	for name, tear := range tears {
		t.Run(name, func(t *testing.T) {
			dir := copyDir(t, base)
			torn := bytes.Clone(seg)
			tear(torn[from:to])
			writeTest(t, filepath.Join(dir, nameWAL, segmentName(0)), torn)
			l, err := reopen(t, dir, key)
			if err != nil {
				t.Fatal(err)
			}
			var ops []Op
			var moved []Quarantined
			if err := l.Read(context.Background(), 5, l.Head().Size, func(_ uint64, e Stored) error {
				ops = append(ops, e.Entry.Open.Op)
				moved = append(moved, e.Entry.Open.Quarantine...)
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if bytes.Equal(torn[from:to], make([]byte, to-from)) {
				t.Fatal("nothing was torn")
			}
			if !slices.Equal(ops, []Op{OpLogRecovered, OpLogStart}) || len(moved) != 1 {
				t.Fatalf("log says %v of its recovery", ops)
			}
			kept := readTest(t, filepath.Join(dir, nameQuarantine, moved[0].Name))
			if !bytes.Equal(kept, torn[from:from+int64(len(kept))]) || int64(lastNonZero(torn)) > from+int64(len(kept)) {
				t.Error("quarantine does not hold what was torn")
			}
			closeTest(t, l)
			verifyTest(t, dir, key, VerifyOptions{})
		})
	}
}

// Everything that is no torn tail is refused, named, and left to the byte as it was.
func TestDamageIsRefusedAndLeftAsItIs(t *testing.T) {
	key := newKey(t)
	unpublished, published := crashed(t, key, 5, false), crashed(t, key, 5, true)
	wal := func(change func(seg []byte)) func(dir string) {
		return func(dir string) {
			name := filepath.Join(dir, nameWAL, segmentName(0))
			b := readTest(t, name)
			change(b)
			writeTest(t, name, b)
		}
	}
	remove := func(names ...string) func(dir string) {
		return func(dir string) {
			for _, n := range names {
				if err := os.Remove(filepath.Join(dir, n)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	tests := []struct {
		name   string
		base   string
		damage func(dir string)
		says   string
	}{
		{"bit in an earlier frame", unpublished, wal(func(b []byte) { at, _ := frameAt(t, b, 2); b[at+90] ^= 1 }), "from entry 2 on"},
		{"header of an earlier frame", unpublished, wal(func(b []byte) { at, _ := frameAt(t, b, 3); clear(b[at : at+frameAlign]) }), "from entry 3 on"},
		{"tail under a published head", published, wal(func(b []byte) { at, _ := frameAt(t, b, -1); b[at+90] ^= 1 }), "from entry 5 on"},
		{"published tail removed", published, wal(func(b []byte) { at, to := frameAt(t, b, -1); clear(b[at:to]) }), "from entry 5 on"},
		{"rubbish far behind the tail", unpublished, wal(func(b []byte) { at, _ := frameAt(t, b, -1); b[at+90] ^= 1; b[60000] = 1 }), "from entry 5 on"},
		{"checksum renewed over a changed entry", unpublished, wal(func(b []byte) {
			at, to := frameAt(t, b, -1)
			copy(b[int(at)+bytes.Index(b[at:to], []byte("clerk-7")):], "clerk-9")
			reseal(b[at:to])
		}), "from entry 5 on"},
		{"segment shortened", unpublished, func(dir string) {
			if err := os.Truncate(filepath.Join(dir, nameWAL, segmentName(0)), 4096); err != nil {
				t.Fatal(err)
			}
		}, "from entry 0 on"},
		{"segment removed", unpublished, remove("wal/000000000000.seg"), "from entry 0 on"},
		{"log.json removed", unpublished, remove(nameMeta), "log.json is missing"},
		{"log.json and its heads removed", unpublished, remove(nameMeta, nameCheckpoint, nameCheckpoints, nameLastHead), "holds entries"},
		{"all heads removed", published, remove(nameCheckpoint, nameCheckpoints, nameLastHead), "missing"},
		{"heads/last changed", published, func(dir string) {
			b := readTest(t, filepath.Join(dir, nameLastHead))
			b[len(testOrigin)+1] ^= 1
			writeTest(t, filepath.Join(dir, nameLastHead), b)
		}, "heads/last"},
		{"spare segment written to", unpublished, func(dir string) {
			b := readTest(t, filepath.Join(dir, "wal/next"))
			b[77] = 1
			writeTest(t, filepath.Join(dir, "wal/next"), b)
		}, "wal/next"},
		{"foreign file in wal", unpublished, func(dir string) { writeTest(t, filepath.Join(dir, "wal/x"), nil) }, "wal/x"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := copyDir(t, tt.base)
			tt.damage(dir)
			before := filesOf(t, dir)
			_, err := reopen(t, dir, key)
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), tt.says) {
				t.Fatalf("got %v, want damage %q", err, tt.says)
			}
			if !maps.EqualFunc(before, filesOf(t, dir), bytes.Equal) {
				t.Error("the damaged directory was changed")
			}
		})
	}
}

func TestTornCheckpointRecordIsMovedAside(t *testing.T) {
	key := newKey(t)
	dir := crashed(t, key, 3, true)
	name := filepath.Join(dir, nameCheckpoints)
	whole := readTest(t, name)
	writeTest(t, name, append(bytes.Clone(whole), "checkpoint 2 400\ngw1.exam"...))
	l, err := reopen(t, dir, key)
	if err != nil {
		t.Fatal(err)
	}
	closeTest(t, l)
	verifyTest(t, dir, key, VerifyOptions{})
	if !bytes.HasPrefix(readTest(t, name), whole) {
		t.Error("earlier records are gone")
	}
}

func TestLostTilesAreRebuilt(t *testing.T) {
	key := newKey(t)
	dir := crashed(t, key, 9, true)
	if err := os.RemoveAll(filepath.Join(dir, nameTile)); err != nil {
		t.Fatal(err)
	}
	os.MkdirAll(filepath.Join(dir, "tile/0/000.p"), 0o700)
	writeTest(t, filepath.Join(dir, "tile/0/000.p/4"), nil) // a torn one
	l, err := reopen(t, dir, key)
	if err != nil {
		t.Fatal(err)
	}
	closeTest(t, l)
	verifyTest(t, dir, key, VerifyOptions{})
}

func TestDirectoryBelongsToOneProcessKeyAndOrigin(t *testing.T) {
	dir, key := t.TempDir(), newKey(t)
	l := openTest(t, testConfig(dir, key))
	if _, err := reopen(t, dir, key); !errors.Is(err, ErrLocked) {
		t.Errorf("second process: %v", err)
	}
	closeTest(t, l)
	if _, err := reopen(t, dir, newKey(t)); !errors.Is(err, ErrSignature) {
		t.Errorf("other key: %v", err)
	}
	cfg := testConfig(dir, key)
	cfg.Origin = "gw2.example.gov.cn/audit/2026q4"
	if _, err := OpenLog(context.Background(), cfg); err == nil {
		t.Error("other origin accepted")
	}
}

func TestSealedShardLinksToTheNextAndTakesNothingMore(t *testing.T) {
	key, next := newKey(t), newKey(t)
	first := t.TempDir()
	l := openTest(t, testConfig(first, key))
	appendTest(t, l, 3)
	head, err := l.Seal()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(context.Background(), testEntry(1)); !errors.Is(err, ErrSealed) {
		t.Errorf("append to a sealed shard: %v", err)
	}
	if _, err := reopen(t, first, key); !errors.Is(err, ErrSealed) {
		t.Errorf("reopening a sealed shard: %v", err)
	}
	verifyTest(t, first, key, VerifyOptions{})

	cfg := testConfig(t.TempDir(), next)
	cfg.Origin = ShardOrigin("gw1.example.gov.cn/audit", time.Date(2027, 1, 1, 0, 0, 0, 0, beijing.Zone()))
	if cfg.Previous, err = head.MarshalText(); err != nil {
		t.Fatal(err)
	}
	l = openTest(t, cfg)
	closeTest(t, l)
	verifyTest(t, cfg.Dir, next, VerifyOptions{Keys: keysOf(key), Origin: "gw1.example.gov.cn/audit/2027q1"})
	if _, err := VerifyDir(context.Background(), cfg.Dir, VerifyOptions{Keys: keysOf(next)}); err == nil {
		t.Error("link to the previous shard accepted without its key")
	}
}
