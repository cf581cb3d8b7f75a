package assembly

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/audit/search"
	"yizheng/identity/jose"
)

// past is a node whose log of two quarters tells of a destruction in the first one,
// and whose keys are as they were before.
func past(t *testing.T) (n *node, keys *audit.Pseudonyms) {
	t.Helper()
	n = newNode(t)
	dir := filepath.Join(t.TempDir(), "keys")
	keys = n.keysIn(dir)
	l, err := n.open(summer)
	n.must(err)
	tu := n.watch(l, keys)
	n.must(destroy(keys, "s"))
	tu.Keys.look(context.Background(), tu)
	n.end(tu)
	n.run(autumn, "A")
	n.must(os.Remove(filepath.Join(dir, "2022q4.destroyed")))
	return n, keys
}

// begin starts, and tells whether business was refused at once, and after all was read.
func (n *node) begin(keys *audit.Pseudonyms) (tu *Turner, atOnce, in error) {
	n.t.Helper()
	l := n.openEpoch(keys)
	tu = n.turner(l)
	tu.Keys = n.keySteps(keys)
	tu.Keys.Begin(context.Background(), l)
	_, atOnce = l.Append(context.Background(), business)
	tu.Keys.reading.Wait()
	tu.Keys.look(context.Background(), tu)
	_, in = l.Append(context.Background(), business)
	return tu, atOnce, in
}

// Whatever is done to the file, a step is noticed, at once or when the log was read.
func TestKeyMemory_NeitherLostNorForgedNorOldHidesAStep(t *testing.T) {
	signed := func(n *node, typ, text string) []byte {
		line, err := jose.Sign(n.key, typ, []byte(text))
		n.must(err)
		return []byte(line)
	}
	for name, test := range map[string]struct {
		change func(n *node, file string)
		alarms int // besides the one about the step
		atOnce bool
	}{
		"as it is": {func(*node, string) {}, 0, true},
		"lost":     {func(n *node, file string) { n.must(os.Remove(file)) }, 0, false},
		"garbage":  {func(n *node, file string) { n.must(os.WriteFile(file, []byte("x"), 0o600)) }, 1, false},
		"of before the step": {func(n *node, file string) {
			n.must(os.WriteFile(file, signed(n, typeKeyMemory, `{"v":1,"origin":"`+testOrigin+`","shards":[]}`), 0o600))
		}, 0, false},
		"signed by another": {func(n *node, file string) {
			n.must(os.WriteFile(file, signed(newNode(t), typeKeyMemory, `{"v":1,"origin":"`+testOrigin+`","shards":[]}`), 0o600))
		}, 1, false},
		"another statement of the key": {func(n *node, file string) {
			n.must(os.WriteFile(file, signed(n, "another+jws", `{"v":1,"origin":"`+testOrigin+`","shards":[]}`), 0o600))
		}, 1, false},
		"another log's": {func(n *node, file string) {
			n.must(os.WriteFile(file, signed(n, typeKeyMemory, `{"v":1,"origin":"gw01.690100.example/audit","shards":[]}`), 0o600))
		}, 1, false},
		"changed": {func(n *node, file string) {
			line, err := os.ReadFile(file)
			n.must(err)
			parts := strings.Split(string(line), ".")
			parts[1] = parts[1][:40] + "A" + parts[1][41:]
			n.must(os.WriteFile(file, []byte(strings.Join(parts, ".")), 0o600))
		}, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			n, keys := past(t)
			test.change(n, memoryFile(n.dir))
			tu, atOnce, in := n.begin(keys)
			if errors.Is(atOnce, ErrKeyStepUndone) != test.atOnce && test.atOnce { // else it may have been read already
				t.Errorf("at once: %v", atOnce)
			}
			if !errors.Is(in, ErrKeyStepUndone) {
				t.Errorf("business goes on: %v", in)
			}
			if got := n.alarms(tu.Log); got != 1+test.alarms {
				t.Errorf("%d alarms", got)
			}
			n.end(tu)
			// What was read is remembered.
			tu, atOnce, _ = n.begin(keys)
			if !errors.Is(atOnce, ErrKeyStepUndone) {
				t.Errorf("after another start: %v", atOnce)
			}
			n.end(tu)
		})
	}
}

func TestKeyMemory_ANormalStartReadsWhatIsNew(t *testing.T) {
	n, keys := past(t)
	n.must(destroy(keys, "again"))
	tu, _, in := n.begin(keys)
	n.must(in)
	size := tu.Log.Head().Size
	n.end(tu)
	l := n.openEpoch(keys)
	m := newKeyMemory(n.dir, n.key)
	n.must(m.recall(l))
	for name, most := range map[string]uint64{"2026q4": 3, "2026q3": 0} { // log.stop, log.start
		if read, err := m.read(t.Context(), name); err != nil || read > most {
			t.Errorf("%s: %d entries were read again, %v", name, read, err)
		}
	}
	if size < 4 {
		t.Fatalf("a log of %d entries", size)
	}
	n.must(l.Close())
}

// A shard that cannot be read refuses no start: it is told, and the others are read.
func TestKeyMemory_AShardThatCannotBeReadIsTold(t *testing.T) {
	n, keys := past(t)
	n.must(os.Remove(memoryFile(n.dir)))
	n.must(os.Truncate(n.in("2026q3/wal/000000000000.seg"), 512))
	tu, _, in := n.begin(keys)
	if in != nil {
		t.Errorf("business is refused: %v", in)
	}
	if got := tu.Keys.Unread(); len(got) != 1 || got[0] != "2026q3" {
		t.Errorf("told of %v", got)
	}
	if got := n.alarms(tu.Log); got != 1 {
		t.Errorf("%d alarms", got)
	}
	n.end(tu)
}

// Who keeps the memory and exchanges the shard is told of, and what the memory has stays known.
func TestKeyMemory_AnotherShardInItsPlaceIsTold(t *testing.T) {
	n, keys := past(t)
	other := &node{t, t.TempDir(), n.key}
	other.run(summer, "Z")
	other.seal("2026q3")
	n.must(os.RemoveAll(n.in("2026q3")))
	n.must(os.CopyFS(n.in("2026q3"), os.DirFS(other.in("2026q3"))))
	tu, atOnce, in := n.begin(keys)
	if !errors.Is(atOnce, ErrKeyStepUndone) || !errors.Is(in, ErrKeyStepUndone) {
		t.Errorf("business goes on: %v, %v", atOnce, in)
	}
	if got := n.alarms(tu.Log); got != 2 {
		t.Errorf("%d alarms", got)
	}
	n.end(tu)
}

// Shards are taken away after their time; what they told of stays known.
func TestKeyMemory_AShardThatWasTakenAwayStaysKnown(t *testing.T) {
	n, keys := past(t)
	tu, _, _ := n.begin(keys)
	n.end(tu)
	n.must(os.RemoveAll(n.in("2026q3")))
	for range 2 {
		tu, atOnce, _ := n.begin(keys)
		if !errors.Is(atOnce, ErrKeyStepUndone) || len(tu.Keys.Unread()) > 0 {
			t.Errorf("%v, unread %v", atOnce, tu.Keys.Unread())
		}
		n.end(tu)
	}
}

// Before all was read nobody knows what is recorded; an emergency's epoch begins all the same.
func TestKeySteps_ARecordWaitsForTheReadingAndAnEmergencyDoesNot(t *testing.T) {
	n, ctx := newNode(t), context.Background()
	keys := n.keysIn(filepath.Join(t.TempDir(), "keys"))
	l, err := n.open(autumn)
	n.must(err)
	tu := n.watch(l, keys)
	tu.Keys.memory.whole = false
	n.must(rotate(keys, "s"))
	tu.Keys.look(ctx, tu)
	if l.Next() == nil || len(n.keyEntries(l.Latest())) > 0 {
		t.Errorf("goes on in %s with %d records", l.Latest().Origin(), len(n.keyEntries(l.Latest())))
	}
	tu.Keys.memory.ended()
	tu.Keys.look(ctx, tu)
	if got := len(n.keyEntries(l.Latest())); got != 1 {
		t.Errorf("%d records", got)
	}
	n.end(tu)
}

// BenchmarkKeySteps is about a start with a log of a million entries, with what
// was remembered of it and without. begin-ms is what the start waits for, read-ms
// when all is known.
func BenchmarkKeySteps(b *testing.B) {
	key, err := jose.GenerateKey()
	if err != nil {
		b.Fatal(err)
	}
	dir, c := b.TempDir(), audit.Config{Signer: key}
	keys, err := audit.OpenPseudonyms(filepath.Join(b.TempDir(), "keys"))
	if err != nil {
		b.Fatal(err)
	}
	fillShard(b, dir, c, 1_000_000)
	for _, remembered := range []bool{false, true} {
		b.Run(fmt.Sprintf("remembered=%v", remembered), func(b *testing.B) {
			var opened, begun, read time.Duration
			for range b.N {
				if !remembered {
					_ = os.Remove(memoryFile(dir))
				}
				began := time.Now()
				l, err := OpenShard(b.Context(), dir, testOrigin, autumn, c)
				if err != nil {
					b.Fatal(err)
				}
				open := time.Now()
				k := NewKeySteps(dir, key, search.NewVault(keys, nil, nil), slog.New(slog.DiscardHandler))
				k.Begin(b.Context(), l)
				opened, begun = opened+open.Sub(began), begun+time.Since(open)
				k.reading.Wait()
				read += time.Since(open)
				if err := errors.Join(k.Close(), l.Close()); err != nil {
					b.Fatal(err)
				}
			}
			for unit, d := range map[string]time.Duration{"open-ms": opened, "begin-ms": begun, "read-ms": read} {
				b.ReportMetric(float64(d.Microseconds())/1000/float64(b.N), unit)
			}
		})
	}
}

// fillShard makes this quarter's shard with so many entries.
func fillShard(b *testing.B, dir string, c audit.Config, entries int) {
	b.Helper()
	l, err := OpenShard(b.Context(), dir, testOrigin, autumn, c)
	if err != nil {
		b.Fatal(err)
	}
	batch := make([]audit.Entry, 500)
	for i := range batch {
		batch[i] = audit.Entry{Open: audit.Open{Op: audit.OpQuery, Phase: audit.PhaseDone, Outcome: "FOUND", Item: "MZ-014", System: "690100-HALL", Department: "690100000012"}}
	}
	for range entries / len(batch) {
		if _, err := l.Append(b.Context(), batch...); err != nil {
			b.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
}
