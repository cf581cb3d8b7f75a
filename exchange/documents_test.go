package exchange

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"yizheng/audit"
	"yizheng/audit/audittest"
	"yizheng/identity/jose"
)

// shard makes one quarter's log with an issue leaf for every number.
func shard(t *testing.T, key *jose.Key, quarter string, numbers ...string) (*audit.Log, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), quarter)
	l, err := audit.OpenLog(context.Background(), audit.Config{AppendTimeout: audittest.Patience, Dir: dir, Origin: "yz.test/audit/" + quarter, Signer: key, SegmentSize: 4 << 10, MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	for _, n := range numbers {
		if _, err := l.Append(context.Background(), audit.Entry{Open: audit.Open{Op: audit.OpIssue, Number: n, Valid: quarter}}); err != nil {
			t.Fatal(err)
		}
	}
	return l, dir
}

func archive(t *testing.T, key *jose.Key, quarter string, numbers ...string) *audit.Archive {
	t.Helper()
	l, dir := shard(t, key, quarter, numbers...)
	if _, err := l.Seal(); err != nil {
		t.Fatal(err)
	}
	a, err := audit.OpenArchive(context.Background(), dir, key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestDocumentsOfEarlierQuartersAreStillFoundAndProven(t *testing.T) {
	key, err := jose.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	log, _ := shard(t, key, "2026q4", "E")
	s := &Service{}
	earlier := []*audit.Archive{archive(t, key, "2026q2", "A", "B"), archive(t, key, "2026q3", "C", "D")}
	if err := s.documents.load(t.Context(), log, earlier); err != nil {
		t.Fatal(err)
	}
	receipts, err := log.Append(t.Context(), audit.Entry{Open: audit.Open{Op: audit.OpIssue, Number: "F", Valid: "2026q4"}})
	if err != nil {
		t.Fatal(err)
	}
	s.documents.add("F", log, receipts[0])
	for number, quarter := range map[string]string{"A": "2026q2", "B": "2026q2", "C": "2026q3", "D": "2026q3", "E": "2026q4", "F": "2026q4"} {
		stored, receipt, ok, err := s.IssueRecord(t.Context(), number)
		open := stored.Entry.Open
		if err != nil || !ok || open.Number != number || open.Valid != quarter || receipt.Origin != "yz.test/audit/"+quarter {
			t.Errorf("%s: %v %v %+v %s", number, ok, err, open, receipt.Origin)
		}
		if err := receipt.Verify(key.Public(), receipt.Leaf); err != nil {
			t.Errorf("%s: %v", number, err)
		}
	}
	if _, _, ok, err := s.IssueRecord(t.Context(), "G"); ok || err != nil {
		t.Errorf("a number never issued: %v %v", ok, err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := new(documents).load(ended, log, earlier); !errors.Is(err, context.Canceled) {
		t.Errorf("load in a start that was cut short: %v", err)
	}
}
