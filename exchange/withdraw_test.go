package exchange

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/audit/audittest"
	"yizheng/identity/jose"
	"yizheng/identity/staff"
)

// registry is a gateway that knows its documents and two security administrators, and
// can be started anew.
type registry struct {
	t       *testing.T
	logKey  *jose.Key
	keys    map[string]*jose.Key
	persons *staff.Register
	earlier []*audit.Archive
	log     *audit.Log
	dir     string // of log
	*Service
}

func newRegistry(t *testing.T, quarter string, issued ...string) *registry {
	t.Helper()
	g := &registry{t: t, logKey: newKey(t), keys: map[string]*jose.Key{"security-1": newKey(t), "security-2": newKey(t)}}
	var persons []staff.Person
	for name, k := range g.keys {
		persons = append(persons, staff.Person{Name: name, Role: staff.Security, Key: k.Public()})
	}
	var err error
	if g.persons, err = staff.NewRegister(persons); err != nil {
		t.Fatal(err)
	}
	g.log, g.dir = shard(t, g.logKey, quarter, issued...)
	g.load()
	return g
}

func newKey(t *testing.T) *jose.Key {
	t.Helper()
	k, err := jose.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// load is what New does with the logs.
func (g *registry) load() {
	g.t.Helper()
	g.Service = &Service{slot: "01", audit: g.log, release: shared.release, now: time.Now}
	if err := g.documents.load(g.t.Context(), g.log, g.earlier); err != nil {
		g.t.Fatal(err)
	}
}

// restart closes the log and reads it again from disk.
func (g *registry) restart() {
	g.t.Helper()
	if err := g.log.Close(); err != nil {
		g.t.Fatal(err)
	}
	log, err := audit.OpenLog(context.Background(), audit.Config{AppendTimeout: audittest.Patience, Dir: g.dir, Origin: "yz.test/audit/" + filepath.Base(g.dir), Signer: g.logKey, SegmentSize: 4 << 10, MinFree: 1})
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = log.Close() })
	g.log = log
	g.load()
}

// turn seals the quarter's log and goes on with the next one's.
func (g *registry) turn(quarter string) {
	g.t.Helper()
	if _, err := g.log.Seal(); err != nil {
		g.t.Fatal(err)
	}
	a, err := audit.OpenArchive(g.t.Context(), g.dir, g.logKey.Public())
	if err != nil {
		g.t.Fatal(err)
	}
	g.earlier = append(g.earlier, a)
	g.log, g.dir = shard(g.t, g.logKey, quarter)
	g.load()
}

// says signs a person's statement and hands it in.
func (g *registry) says(by string, st WithdrawalStatement) Withdrawal {
	g.t.Helper()
	st.At = time.Now()
	line, err := st.Sign(g.keys[by])
	if err != nil {
		g.t.Fatal(err)
	}
	w, err := g.Withdraw(g.t.Context(), g.persons, by, st.Number, line, Principal{})
	if err != nil {
		g.t.Fatalf("%s %s: %v", by, st.Action, err)
	}
	return w
}

// is compares what is known of a document with what was.
func (g *registry) is(when string, want Withdrawal) {
	g.t.Helper()
	if got, ok := g.Withdrawal(want.Number); !ok || got != want {
		g.t.Errorf("%s: %v %+v, want %+v", when, ok, got, want)
	}
}

func TestWithdrawalOutlivesRestartsAndQuarters(t *testing.T) {
	t.Parallel()
	g := newRegistry(t, "2026q2", "A", "B", "C")
	g.says("security-1", WithdrawalStatement{Action: WithdrawAsk, Number: "A", Reason: "WRONG_DATA"})
	pending, _ := g.Withdrawal("A")
	a := g.says("security-2", WithdrawalStatement{Action: WithdrawApprove, Number: "A", Of: pending.Asked})
	b := g.says("security-2", WithdrawalStatement{Action: WithdrawAsk, Number: "B", Reason: "WRONG_SEAL"})
	if a.Since.IsZero() || !b.Since.IsZero() || b.Asked == "" {
		t.Fatalf("withdrawn %+v, pending %+v", a, b)
	}
	g.restart()
	g.is("withdrawn, after a restart", a)
	g.is("pending, after a restart", b)
	g.is("untouched, after a restart", Withdrawal{Number: "C"})

	g.turn("2026q3")
	g.is("withdrawn last quarter", a)
	g.is("asked for last quarter", b)
	b = g.says("security-1", WithdrawalStatement{Action: WithdrawApprove, Number: "B", Of: b.Asked})
	if b.Since.IsZero() {
		t.Fatalf("approved in the next quarter: %+v", b)
	}
	g.restart()
	g.is("document and approval in two quarters", b)

	g.turn("2026q4")
	g.is("withdrawn two quarters ago", a)
	g.is("asked for and approved in earlier quarters", b)
	g.is("never asked for", Withdrawal{Number: "C"})
}
