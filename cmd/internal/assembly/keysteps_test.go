package assembly

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"yizheng/audit"
	"yizheng/audit/auditor"
	"yizheng/audit/search"
)

// keySteps are those of the node's keys.
func (n *node) keySteps(keys *audit.Pseudonyms) *KeySteps {
	return NewKeySteps(n.dir, n.key, search.NewVault(keys, nil, nil), slog.New(slog.DiscardHandler))
}

// watch has a log watched over, as a program does, after all of it was read.
func (n *node) watch(l *audit.Log, keys *audit.Pseudonyms) *Turner {
	n.t.Helper()
	tu := n.turner(l)
	tu.Keys = n.keySteps(keys)
	tu.Keys.Begin(context.Background(), l)
	tu.Keys.reading.Wait()
	return tu
}

// end ends both.
func (n *node) end(tu *Turner) {
	n.t.Helper()
	n.must(tu.Keys.Close())
	n.must(tu.Log.Close())
}

// keysIn believe every step; who signs is package pseudod's.
func (n *node) keysIn(dir string) *audit.Pseudonyms {
	n.t.Helper()
	keys, err := audit.OpenPseudonyms(dir)
	n.must(err)
	n.must(keys.Believe(func(audit.KeyStep) error { return nil }))
	return keys
}

func (n *node) keyEntries(l *audit.Log) (list []audit.Entry) {
	n.t.Helper()
	n.must(l.Read(context.Background(), 0, l.Head().Size, func(_ uint64, s audit.Stored) error {
		if s.Entry.Open.Op == audit.OpKey {
			list = append(list, s.Entry)
		}
		return nil
	}))
	return list
}

func TestKeySteps_ARotationBeginsAShardThatNamesTheCompromisedEpoch(t *testing.T) {
	n := newNode(t)
	keys := n.keysIn(filepath.Join(t.TempDir(), "keys"))
	l, err := n.open(autumn)
	n.must(err)
	tu := n.watch(l, keys)
	ctx := context.Background()
	tu.Keys.look(ctx, tu)
	if l.Next() != nil {
		t.Fatal("turned without a step")
	}
	n.issue(l, "A")
	done, err := keys.Rotate(audit.KeyStep{Reason: "COMPROMISED", By: []string{"security-1"}, Statements: []string{"s"}, At: autumn}, autumn)
	n.must(err)
	for range 3 {
		tu.Keys.look(ctx, tu)
	}
	n.issue(l, "B")
	if got, want := l.Latest().Origin(), testOrigin+"/2026q4-2"; got != want || done.Epoch != "2026q4-2" {
		t.Fatalf("the log goes on in %s, want %s", got, want)
	}
	list := n.keyEntries(l.Latest())
	if len(list) != 1 || list[0].Closed.Object != "pseudonyms/2026q4-2 pseudonyms/2026q4" || list[0].Closed.Actor != "security-1" || list[0].Closed.Reason != "COMPROMISED" {
		t.Errorf("recorded as %+v", list)
	}
	n.end(tu)
	var meta struct{ Compromised []string }
	note, err := os.ReadFile(filepath.Join(n.in("2026q4-2"), "log.json"))
	n.must(err)
	n.must(json.NewDecoder(bytes.NewReader(note)).Decode(&meta)) // signatures follow
	if !slices.Equal(meta.Compromised, []string{"2026q4"}) {
		t.Errorf("log.json says that %v are compromised", meta.Compromised)
	}
	if good, said := n.verify(auditor.Options{}); !good {
		t.Error(said)
	}
	// The next start goes on in the epoch's shard, and records nothing twice.
	l = n.openEpoch(keys)
	tu = n.watch(l, keys)
	tu.Keys.look(ctx, tu)
	if list := n.keyEntries(l); len(list) != 1 || l.Origin() != testOrigin+"/2026q4-2" {
		t.Errorf("%s has %d records", l.Origin(), len(list))
	}
	n.end(tu)
}

// openEpoch opens the log as a program does, in the epoch of the keys.
func (n *node) openEpoch(keys *audit.Pseudonyms) *audit.Log {
	n.t.Helper()
	epoch, compromised, err := n.keySteps(keys).Epoch(context.Background(), autumn)
	n.must(err)
	c := n.config()
	c.Compromised = compromised
	l, err := OpenEpoch(context.Background(), n.dir, testOrigin, epoch, c)
	n.must(err)
	return l
}

// The process ended after the old shard was sealed, before the epoch's was made.
func TestKeySteps_ARotationCutShortIsMadeGoodByTheNextStart(t *testing.T) {
	n := newNode(t)
	l, err := n.open(autumn)
	n.must(err)
	n.issue(l, "A")
	_, err = l.Seal()
	n.must(err)
	n.must(l.Close())
	c := n.config()
	c.Compromised = []string{"2026q4"}
	l, err = OpenEpoch(context.Background(), n.dir, testOrigin, "2026q4-2", c)
	n.must(err)
	n.issue(l, "B")
	n.must(l.Close())
	if good, said := n.verify(auditor.Options{}); !good {
		t.Error(said)
	}
}

func TestKeySteps_ADestructionIsRecordedWithItsDigests(t *testing.T) {
	n := newNode(t)
	keys := n.keysIn(filepath.Join(t.TempDir(), "keys"))
	_, err := keys.Of("phone", "13900000000", autumn.AddDate(-4, 0, 0))
	n.must(err)
	done, err := keys.Destroy(audit.KeyStep{Epoch: "2022q4", Reason: "RETENTION", By: []string{"security-1", "security-2"}, Statements: []string{"a", "b"}})
	n.must(err)
	l, err := n.open(autumn)
	n.must(err)
	tu := n.watch(l, keys)
	tu.Keys.look(context.Background(), tu)
	list := n.keyEntries(l)
	if len(list) != 1 {
		t.Fatalf("%d records", len(list))
	}
	if e := list[0]; e.Closed.Before != done.Before || e.Closed.After != done.After || e.Open.Status != "destroy" || e.Closed.Actor != "security-1" || !slices.Equal(e.Closed.Approvals, []string{"security-2"}) {
		t.Errorf("recorded as %+v", e)
	}
	if l.Next() != nil {
		t.Error("a destruction turned the log")
	}
	n.end(tu)
}

// putBack makes a directory of keys what it was when it was copied.
func (n *node) putBack(dir, backup string) {
	n.t.Helper()
	n.must(os.RemoveAll(dir))
	n.must(os.CopyFS(dir, os.DirFS(backup)))
	n.must(os.Chmod(dir, 0o700))
}

// alarms counts those about the keys.
func (n *node) alarms(l *audit.Log) (found int) {
	n.t.Helper()
	_, err := l.Append(context.Background(), audit.Entry{Open: audit.Open{Op: audit.OpAdmin, Phase: audit.PhaseDone}}) // behind them
	n.must(err)
	n.must(l.Read(context.Background(), 0, l.Head().Size, func(_ uint64, s audit.Stored) error {
		if s.Entry.Open.Op == audit.OpAlarm && s.Entry.Open.Outcome == AlarmKeys {
			found++
		}
		return nil
	}))
	return found
}

func destroy(k *audit.Pseudonyms, statement string) error {
	_, err := k.Destroy(audit.KeyStep{Epoch: "2022q4", Reason: "RETENTION", By: []string{"security-1", "security-2"}, Statements: []string{statement, "approved " + statement}, At: autumn})
	return err
}

func rotate(k *audit.Pseudonyms, statement string) error {
	_, err := k.Rotate(audit.KeyStep{Reason: "COMPROMISED", By: []string{"security-1"}, Statements: []string{statement}, At: autumn}, autumn)
	return err
}

var business = audit.Entry{Open: audit.Open{Op: audit.OpIssue, Number: "B"}}

// A backup from before a step must not undo it: the log remembers.
func TestKeySteps_KeysThatWerePutBackEndBusiness(t *testing.T) {
	for name, step := range map[string]func(*audit.Pseudonyms, string) error{"a destruction": destroy, "a rotation": rotate} {
		t.Run(name, func(t *testing.T) {
			n, ctx := newNode(t), context.Background()
			dir, backup := filepath.Join(t.TempDir(), "keys"), filepath.Join(t.TempDir(), "backup")
			keys := n.keysIn(dir)
			_, err := keys.Of("phone", "13900000000", autumn.AddDate(-4, 0, 0))
			n.must(err)
			n.must(os.CopyFS(backup, os.DirFS(dir)))
			l, err := n.open(autumn)
			n.must(err)
			tu := n.watch(l, keys)
			n.must(step(keys, "s"))
			tu.Keys.look(ctx, tu)
			n.issue(l, "A")
			// Put back while the log runs, and taken away again.
			newest := filepath.Join(t.TempDir(), "newest")
			n.must(os.CopyFS(newest, os.DirFS(dir)))
			n.putBack(dir, backup)
			tu.Keys.look(ctx, tu)
			if _, err := l.Append(ctx, business); !errors.Is(err, ErrKeyStepUndone) {
				t.Errorf("business goes on: %v", err)
			}
			n.putBack(dir, newest)
			tu.Keys.look(ctx, tu)
			n.issue(l, "C")
			last := l.Latest()
			if got := n.alarms(last); got != 1 {
				t.Errorf("%d alarms", got)
			}
			n.end(tu)
			// Before a start, whatever else lies beside the log.
			n.putBack(dir, backup)
			n.must(os.WriteFile(n.dir+"-keysteps", nil, 0o600))
			if name == "a rotation" {
				if _, err := OpenEpoch(ctx, n.dir, testOrigin, "2026q4", n.config()); !errors.Is(err, ErrKeyStepUndone) {
					t.Errorf("goes on in the old epoch: %v", err)
				}
				return
			}
			l = n.openEpoch(keys)
			tu = n.turner(l)
			tu.Keys = n.keySteps(keys)
			tu.Keys.Begin(ctx, l) // holds it, before anything is read
			if _, err := l.Append(ctx, business); !errors.Is(err, ErrKeyStepUndone) {
				t.Errorf("business begins: %v", err)
			}
			n.must(step(keys, "taken again"))
			tu.Keys.reading.Wait()
			tu.Keys.look(ctx, tu)
			n.issue(l, "D")
			n.end(tu)
		})
	}
}

// rotated is a log after a rotation by the statement "s", and where its keys are.
func (n *node) rotated() (dir string, keys *audit.Pseudonyms, l *audit.Log, tu *Turner) {
	n.t.Helper()
	dir = filepath.Join(n.t.TempDir(), "keys")
	keys = n.keysIn(dir)
	l, err := n.open(autumn)
	n.must(err)
	tu = n.watch(l, keys)
	n.must(rotate(keys, "s"))
	tu.Keys.look(context.Background(), tu)
	return dir, keys, l, tu
}

// Rotated again from an old state, the same name would stand for other keys.
func TestKeySteps_AnEpochIsNotOpenedTwice(t *testing.T) {
	n, ctx := newNode(t), context.Background()
	dir, _, _, tu := n.rotated()
	n.end(tu)
	n.must(os.RemoveAll(dir)) // all is lost
	keys := n.keysIn(dir)
	n.must(rotate(keys, "again")) // 2026q4-2
	l := n.openEpoch(keys)
	tu = n.watch(l, keys)
	for range 2 {
		if _, err := l.Append(ctx, business); !errors.Is(err, ErrKeyStepUndone) {
			t.Errorf("the epoch has other keys than before: %v", err)
		}
		tu.Keys.look(ctx, tu)
	}
	n.must(rotate(keys, "and again")) // 2026q4-3, which nobody has used
	tu.Keys.look(ctx, tu)
	n.issue(l, "A")
	if got := filepath.Base(l.Latest().Origin()); got != "2026q4-3" {
		t.Errorf("goes on in %s", got)
	}
	n.end(tu)
	if good, said := n.verify(auditor.Options{}); !good {
		t.Error(said)
	}
}

// The statement of one rotation says the quarter: laid down again under the name
// of the next epoch it opens none, and nothing that was lost is forgiven for it.
func TestKeySteps_AStatementOpensOneEpochOnly(t *testing.T) {
	n, ctx := newNode(t), context.Background()
	dir, keys, l, tu := n.rotated()
	n.issue(l, "A")
	second, third := filepath.Join(dir, "2026q4-2.opened"), filepath.Join(dir, "2026q4-3.opened")
	text, err := os.ReadFile(second)
	n.must(err)
	n.must(os.Remove(second))
	forged := strings.NewReplacer(`"epoch":"2026q4-2"`, `"epoch":"2026q4-3"`, `"compromised":"2026q4"`, `"compromised":"2026q4-2"`).Replace(string(text))
	n.must(os.WriteFile(third, []byte(forged), 0o600))
	for _, by := range []*Turner{tu, nil} {
		if by == nil { // the next start
			n.end(tu)
			tu = n.watch(n.openEpoch(keys), keys)
		}
		tu.Keys.look(ctx, tu)
		if _, err := tu.Log.Append(ctx, business); !errors.Is(err, audit.ErrKeyStepUnproven) {
			t.Errorf("business goes on: %v", err)
		}
		if got := filepath.Base(tu.Log.Latest().Origin()); by != nil && got != "2026q4-2" {
			t.Errorf("goes on in %s", got)
		}
	}
	n.must(os.Remove(third)) // its shard was begun: the epoch has to be opened, by a person
	n.must(os.WriteFile(second, text, 0o600))
	n.must(rotate(keys, "again"))
	tu.Keys.look(ctx, tu)
	n.issue(tu.Log, "B")
	n.end(tu)
}

// The epoch's shard was begun, and its record not yet written.
func TestKeySteps_AnEpochOlderThanTheLatestShardIsRefused(t *testing.T) {
	n, ctx := newNode(t), context.Background()
	l, err := OpenEpoch(ctx, n.dir, testOrigin, "2026q4-2", n.config())
	n.must(err)
	n.must(l.Close())
	keys := n.keysIn(filepath.Join(t.TempDir(), "keys"))
	if _, err := OpenEpoch(ctx, n.dir, testOrigin, "2026q4", n.config()); !errors.Is(err, ErrKeyStepUndone) {
		t.Errorf("goes on: %v", err)
	}
	// In the quarter after, there is no business.
	l, err = n.open(winter)
	n.must(err)
	tu := n.watch(l, keys)
	if _, err := l.Append(ctx, business); !errors.Is(err, ErrKeyStepUndone) {
		t.Errorf("business begins: %v", err)
	}
	n.end(tu)
}

func TestKeySteps_AStepThatIsNotProvenIsNotRecorded(t *testing.T) {
	n, ctx := newNode(t), context.Background()
	dir := filepath.Join(t.TempDir(), "keys")
	keys := n.keysIn(dir)
	l, err := n.open(autumn)
	n.must(err)
	tu := n.watch(l, keys)
	forged := filepath.Join(dir, "2025q4.destroyed")
	n.must(os.WriteFile(forged, []byte("{}"), 0o600))
	tu.Keys.look(ctx, tu)
	if _, err := l.Append(ctx, business); !errors.Is(err, audit.ErrKeyStepUnproven) {
		t.Errorf("business goes on: %v", err)
	}
	n.must(os.Remove(forged))
	tu.Keys.look(ctx, tu)
	n.issue(l, "B")
	if list := n.keyEntries(l); len(list) > 0 {
		t.Errorf("recorded: %+v", list)
	}
	n.end(tu)
}
