package auditor

import (
	"crypto/ecdsa"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"yizheng/audit"
)

// The quarter turns between intents and their outcomes.
func TestAnOutcomeInTheNextQuarterCounts(t *testing.T) {
	n := newNode(t)
	l := n.open()
	intents, err := l.Append(t.Context(),
		audit.Entry{Open: audit.Open{Op: audit.OpQuery, Phase: audit.PhaseIntent, Exchange: "X-1"}},
		audit.Entry{Open: audit.Open{Op: audit.OpAuditSearch, Phase: audit.PhaseIntent}},
		audit.Entry{Open: audit.Open{Op: audit.OpCitizenView, Phase: audit.PhaseIntent}})
	n.must(err)
	head, err := l.Seal()
	n.must(err)
	previous, err := head.MarshalText()
	n.must(err)
	n.must(l.Close())

	alone := n.chain("2026q4")
	if w := intentWarnings(alone[0]); len(w) != 3 || !strings.Contains(w[0], "the next quarter's log may have it") {
		t.Errorf("the old quarter by itself: %q", w)
	}

	n.now = n.now.Add(48 * time.Hour)
	next, err := audit.OpenLog(t.Context(), audit.Config{Dir: filepath.Join(n.dir, "2027q1"), Origin: testBase + "/2027q1", Signer: n.key,
		SegmentSize: 8 << 10, MinFree: 1, PublishEvery: time.Hour, Previous: previous, Now: func() time.Time { return n.now }})
	n.must(err)
	_, err = next.Append(t.Context(),
		audit.Entry{Open: audit.Open{Op: audit.OpRelease, Phase: audit.PhaseDone, Exchange: "X-1"}},
		audit.Entry{Open: audit.Open{Op: audit.OpAuditSearch, Phase: audit.PhaseDone, Since: intents[1].Pointer().String()}})
	n.must(err)
	n.must(next.Close())

	both := n.chain("2026q4", "2027q1")
	if w := intentWarnings(both[0]); len(w) != 1 || !strings.Contains(w[0], "nor in the next quarter's log") || strings.Contains(w[0], "may have") {
		t.Errorf("with the next quarter: %q", w)
	}
}

// chain verifies quarters, oldest first.
func (n *node) chain(quarters ...string) (list []Shard) {
	n.t.Helper()
	var dirs []string
	for _, q := range quarters {
		dirs = append(dirs, filepath.Join(n.dir, q))
	}
	good, err := VerifyChain(n.t.Context(), dirs, Options{Keys: []*ecdsa.PublicKey{n.key.Public()}}, func(s Shard) error {
		list = append(list, s)
		return nil
	})
	n.must(err)
	if !good {
		n.t.Fatalf("%+v", list)
	}
	return list
}

func intentWarnings(s Shard) (list []string) {
	for _, w := range s.Warnings {
		if w.Code == "intent" {
			list = append(list, w.Text)
		}
	}
	return list
}
