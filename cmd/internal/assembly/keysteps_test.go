package assembly

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"yizheng/audit"
	"yizheng/audit/auditor"
	"yizheng/audit/search"
)

// keySteps are those of the node's keys, whose log is l.
func (n *node) keySteps(keys *audit.Pseudonyms) *KeySteps {
	n.t.Helper()
	k, err := OpenKeySteps(AuditConfig{Dir: n.dir}, search.NewVault(keys, nil, nil), slog.New(slog.DiscardHandler))
	n.must(err)
	return k
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
	tu := n.turner(l)
	tu.Keys = n.keySteps(keys)
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
	n.must(l.Close())
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
	again := n.keySteps(keys)
	epoch, compromised, err := again.Epoch(ctx, autumn)
	n.must(err)
	c := n.config()
	c.Compromised = compromised
	l, err = OpenEpoch(ctx, n.dir, testOrigin, epoch, c)
	n.must(err)
	again.look(ctx, n.turner(l))
	if list := n.keyEntries(l); len(list) != 1 || l.Origin() != testOrigin+"/2026q4-2" {
		t.Errorf("%s has %d records", l.Origin(), len(list))
	}
	n.must(l.Close())
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
	tu := n.turner(l)
	tu.Keys = n.keySteps(keys)
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
	n.must(l.Close())
}
