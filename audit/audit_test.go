package audit

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"
)

const testOrigin = "gw1.example.gov.cn/audit/2026q4"

// testKey signs as the gateway's key does.
type testKey struct{ *sm2.PrivateKey }

func newKey(t testing.TB) testKey {
	t.Helper()
	k, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return testKey{k}
}

func (k testKey) Public() *ecdsa.PublicKey { return &k.PublicKey }
func (k testKey) SignMessage(msg []byte) ([]byte, error) {
	return k.Sign(rand.Reader, msg, sm2.DefaultSM2SignerOpts)
}

func testConfig(dir string, key testKey) Config {
	return Config{Dir: dir, Origin: testOrigin, Signer: key, SegmentSize: 8 << 10, MinFree: 1, PublishEvery: 20 * time.Millisecond,
		AppendTimeout: 30 * time.Second} // a machine may stand still
}

func openTest(t testing.TB, cfg Config) *Log {
	t.Helper()
	l, err := OpenLog(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func testEntry(n int) Entry {
	return Entry{
		Open: Open{Op: OpRelease, Phase: PhaseDone, Outcome: "FOUND", Department: "690100000000", Item: "690100-SUBSIDY",
			Case: fmt.Sprintf("2026-%06d", n), Proof: "social-insurance", Fields: []string{"months", "status"}},
		Closed: Closed{Actor: "clerk-7", Workstation: "w-12", Trace: "4bf92f3577b34da6a3ce929d0e0e4736"},
	}
}

func appendTest(t testing.TB, l *Log, n int) []Receipt {
	t.Helper()
	var out []Receipt
	for i := range n {
		r, err := l.Append(context.Background(), testEntry(i))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r...)
	}
	return out
}

func closeTest(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func verifyTest(t testing.TB, dir string, key testKey, o VerifyOptions) Report {
	t.Helper()
	o.Keys = append(o.Keys, key.Public())
	r, err := VerifyDir(context.Background(), dir, o)
	if err != nil {
		t.Fatalf("%v\n%v", err, r.Problems)
	}
	return r
}

func TestAppendedEntriesAreProvenAndVerify(t *testing.T) {
	dir, key := t.TempDir(), newKey(t)
	l := openTest(t, testConfig(dir, key))
	receipts := appendTest(t, l, 40)
	batch, err := l.Append(context.Background(), testEntry(1), testEntry(2), testEntry(3))
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range append(receipts, batch...) {
		if r.Index != uint64(i+1) {
			t.Fatalf("receipt %d has index %d", i, r.Index)
		}
		if err := r.Verify(key.Public(), r.Leaf); err != nil {
			t.Fatal(err)
		}
	}
	var seen uint64
	err = l.Read(context.Background(), 0, l.Head().Size, func(index uint64, e Stored) error {
		if index != seen {
			t.Errorf("read entry %d, want %d", index, seen)
		}
		seen++
		return nil
	})
	if err != nil || seen != l.Head().Size {
		t.Fatalf("read %d entries: %v", seen, err)
	}
	verifyTest(t, dir, key, VerifyOptions{Live: true})
	closeTest(t, l)
	seen = 0
	err = Each(dir, func(s Stored) error {
		if s.Index != seen || s.Entry.Open.Op == "" {
			t.Errorf("entry %d, want %d", s.Index, seen)
		}
		seen++
		return nil
	}, key.Public())
	if err != nil || seen != 45 {
		t.Fatalf("read %d entries offline: %v", seen, err)
	}
	found := 0
	err = Find(t.Context(), dir, []Op{OpLogOpen, OpLogStop}, func(s Stored) error {
		if op := s.Entry.Open.Op; op != OpLogOpen && op != OpLogStop {
			t.Errorf("found %s", op)
		}
		found++
		return nil
	}, key.Public())
	if err != nil || found != 2 {
		t.Fatalf("found %d entries of two operations: %v", found, err)
	}
	stop := errors.New("enough")
	if err := Find(t.Context(), dir, []Op{OpLogOpen}, func(Stored) error { return stop }, key.Public()); err != stop {
		t.Fatalf("stopped with %v", err)
	}
	r := verifyTest(t, dir, key, VerifyOptions{})
	if r.Entries != 45 || r.Segments < 2 || len(r.Warnings) != 0 {
		t.Fatalf("report %+v", r)
	}
}

func TestReopenedLogContinues(t *testing.T) {
	dir, key := t.TempDir(), newKey(t)
	var known []byte
	for round := range 3 {
		l := openTest(t, testConfig(dir, key))
		appendTest(t, l, 10)
		closeTest(t, l)
		r := verifyTest(t, dir, key, VerifyOptions{Known: known, MinSize: uint64(12 * round)})
		known, _ = r.Head.MarshalText()
	}
}

func TestManyWritersShareBatches(t *testing.T) {
	dir, key := t.TempDir(), newKey(t)
	fsys := &faulty{}
	cfg := testConfig(dir, key)
	cfg.SegmentSize, cfg.files = 256<<10, fsys
	l := openTest(t, cfg)
	disk := fsys.stalls(".seg")
	if err := l.AppendAsync(testEntry(0)); err != nil {
		t.Fatal(err)
	}
	<-disk.began // the committer waits for the disk
	const writers, each = 64, 20
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for i := range each {
				r, err := l.Append(context.Background(), testEntry(i))
				if err != nil {
					t.Error(err)
					return
				}
				if err := r[0].Verify(key.Public(), r[0].Leaf); err != nil {
					t.Error(err)
				}
				if i%5 == 0 {
					if err := l.AppendAsync(testEntry(i)); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	within(t, "not all writers wait", func() bool { return len(l.queue) == writers })
	close(disk.over)
	wg.Wait()
	closeTest(t, l)
	r := verifyTest(t, dir, key, VerifyOptions{})
	if want := uint64(writers*each*6/5 + 3); r.Entries != want {
		t.Errorf("%d entries, want %d", r.Entries, want)
	}
	if most := int(r.Entries) - writers + 1; r.Frames > most { // those who waited are in one
		t.Errorf("%d frames for %d entries: writers did not share batches", r.Frames, r.Entries)
	}
}

func TestProofsOfAnySizeVerify(t *testing.T) {
	dir, key := t.TempDir(), newKey(t)
	cfg := testConfig(dir, key)
	cfg.SegmentSize = 1 << 20
	l := openTest(t, cfg)
	entries := make([]Entry, 30)
	for i := range entries {
		entries[i] = testEntry(i)
	}
	heads := map[uint64]Hash{}
	for range 20 {
		if _, err := l.Append(context.Background(), entries...); err != nil {
			t.Fatal(err)
		}
		heads[l.Head().Size] = l.Head().Root
		time.Sleep(3 * time.Millisecond) // let tiles move to disk meanwhile
	}
	n := l.Head().Size
	for from, root := range heads {
		path, err := l.Consistency(from, n)
		if err == nil {
			err = VerifyConsistency(from, n, path, root, l.Head().Root)
		}
		if err != nil {
			t.Fatalf("consistency from %d: %v", from, err)
		}
	}
	for _, index := range []uint64{0, 1, 127, 255, 256, 257, 511, 512, 600} {
		r, err := l.Receipt(index)
		if err == nil {
			err = r.Verify(key.Public(), r.Leaf)
		}
		if err != nil {
			t.Fatalf("receipt %d: %v", index, err)
		}
	}
	if _, err := l.Inclusion(n, n); !errors.Is(err, ErrRange) {
		t.Errorf("inclusion outside the tree: %v", err)
	}
	closeTest(t, l)
	for _, index := range []uint64{0, 300, n} {
		s, r, err := Prove(dir, index, key.Public())
		if err != nil || r.Verify(key.Public(), s.Leaf) != nil || s.Leaf != LeafHash(s.OpenJSON, s.ClosedJSON, s.Salt) {
			t.Fatalf("prove %d: %v", index, err)
		}
	}
	if _, _, err := Prove(dir, n+1, key.Public()); !errors.Is(err, ErrRange) {
		t.Errorf("prove outside the log: %v", err)
	}
}

func keysOf(keys ...testKey) []*ecdsa.PublicKey {
	var out []*ecdsa.PublicKey
	for _, k := range keys {
		out = append(out, k.Public())
	}
	return out
}

func TestRunningLogVerifiesAtAnyMoment(t *testing.T) {
	dir, key := t.TempDir(), newKey(t)
	cfg := testConfig(dir, key)
	cfg.PublishEvery = 2 * time.Millisecond
	l := openTest(t, cfg)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(3 * time.Millisecond): // lest the log outgrow the verifier
				}
				if _, err := l.Append(context.Background(), testEntry(i)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	var known []byte
	for range 12 {
		r := verifyTest(t, dir, key, VerifyOptions{Live: true, Known: known})
		known, _ = r.Head.MarshalText()
		if _, receipt, err := Prove(dir, r.Entries-1, key.Public()); err != nil || receipt.Index != r.Entries-1 {
			t.Fatalf("prove on a running log: %v", err)
		}
	}
	close(stop)
	wg.Wait()
}

func TestIntentWithoutOutcomeIsAWarning(t *testing.T) {
	dir, key := t.TempDir(), newKey(t)
	l := openTest(t, testConfig(dir, key))
	var prev uint64
	for i, e := range []Entry{
		{Open: Open{Op: OpQuery, Phase: PhaseIntent, Exchange: "X1"}},
		{Open: Open{Op: OpQuery, Phase: PhaseIntent, Exchange: "X2"}},
		{Open: Open{Op: OpQuery, Phase: PhaseDone, Exchange: "X1"}},
		{Open: Open{Op: OpDocPrint, Phase: PhaseIntent}},
		{Open: Open{Op: OpDocPrint, Phase: PhaseFailed, Prev: &prev}},
	} {
		r, err := l.Append(context.Background(), e)
		if err != nil {
			t.Fatal(err)
		}
		if i == 3 {
			prev = r[0].Index
		}
	}
	closeTest(t, l)
	r := verifyTest(t, dir, key, VerifyOptions{})
	if len(r.Warnings) != 1 || r.Warnings[0].Index != 2 || r.Warnings[0].Code != "intent" {
		t.Errorf("warnings %v", r.Warnings)
	}
}
