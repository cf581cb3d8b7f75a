package ship

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"yizheng/audit"
	"yizheng/audit/audittest"
)

type key struct{ *sm2.PrivateKey }

func newKey(t testing.TB) key {
	t.Helper()
	k, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key{k}
}

func (k key) Public() *ecdsa.PublicKey { return &k.PublicKey }
func (k key) SignMessage(msg []byte) ([]byte, error) {
	return k.Sign(rand.Reader, msg, sm2.DefaultSM2SignerOpts)
}

// openShard opens a running log with n entries besides its own.
func openShard(t testing.TB, k key, dir, quarter string, n int) Shard {
	t.Helper()
	origin := "gw1.example.gov.cn/audit/" + quarter
	l, err := audit.OpenLog(t.Context(), audit.Config{AppendTimeout: audittest.Patience, Dir: dir, Origin: origin, Signer: k, SegmentSize: 64 << 10, MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	grow(t, l, n)
	return Shard{Origin: origin, Log: l, Dir: dir, Keys: []*ecdsa.PublicKey{k.Public()}}
}

func grow(t testing.TB, l *audit.Log, n int) {
	t.Helper()
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			e := audit.Entry{Open: audit.Open{Op: audit.OpQuery, Phase: audit.PhaseIntent, Case: fmt.Sprintf("<CASE-%d>", i),
				Subjects: []audit.SubjectRef{{Type: "idno", Epoch: "2026q4", P: "cHNldWRvbnltLTAwMDAwMQ=="}}},
				Closed: audit.Closed{Actor: "clerk-1"}}
			if _, err := l.Append(t.Context(), e); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// shelf is a sink in memory that fails when told to.
type shelf struct {
	mu   sync.Mutex
	got  []Record
	fail func(records []Record) (taken int, err error)
}

func (s *shelf) Send(_ context.Context, records []Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		n, err := s.fail(records)
		s.got = append(s.got, records[:n]...)
		return err
	}
	s.got = append(s.got, records...)
	return nil
}
func (s *shelf) Close() error { return nil }

func (s *shelf) set(fail func([]Record) (int, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = fail
}

// indexes of what has come, in the order of coming.
func (s *shelf) indexes(origin string) []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []uint64
	for _, r := range s.got {
		if r.Origin == origin {
			list = append(list, r.Index)
		}
	}
	return list
}

func upTo(n uint64) []uint64 {
	list := make([]uint64, n)
	for i := range list {
		list[i] = uint64(i)
	}
	return list
}

func newShipper(t testing.TB, dir string, sink Sink, change func(*Config)) *Shipper {
	t.Helper()
	c := Config{Name: "siem", Dir: dir, Sink: sink, Closed: true, Every: 5 * time.Millisecond, Retry: 5 * time.Millisecond,
		Logger: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&c)
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// running runs a shipper until the test ends or stop is called, which returns
// Run's error.
func running(t testing.TB, s *Shipper, shards ...Shard) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, shards) }()
	stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() { _ = stop() })
	return stop
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

func TestEveryEntryIsShippedInOrderAndGoneOnWithAfterARestart(t *testing.T) {
	sh := openShard(t, newKey(t), t.TempDir(), "2026q4", 1200)
	dir, sink := t.TempDir(), &shelf{}
	stop := running(t, newShipper(t, dir, sink, nil), sh)
	eventually(t, "all are there", func() bool { return len(sink.indexes(sh.Origin)) == int(sh.Log.Head().Size) })
	grow(t, sh.Log, 3)
	eventually(t, "what comes is there", func() bool { return len(sink.indexes(sh.Origin)) == int(sh.Log.Head().Size) })
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	grow(t, sh.Log, 5)
	again := newShipper(t, dir, sink, nil)
	stop = running(t, again, sh)
	eventually(t, "the rest is there", func() bool { return len(sink.indexes(sh.Origin)) >= int(sh.Log.Head().Size) })
	eventually(t, "the cursor has moved", func() bool { return again.Status().Next == sh.Log.Head().Size })
	_ = stop()
	if got := sink.indexes(sh.Origin); !slices.Equal(got, upTo(sh.Log.Head().Size)) {
		t.Errorf("%d records, not each once and in order", len(got))
	}
}

func TestASinkThatFailsGetsEverythingAgainFromItsCursor(t *testing.T) {
	sh := openShard(t, newKey(t), t.TempDir(), "2026q4", 1800)
	for name, back := range map[string]uint64{"that says what it has taken": 0, "that does not": 700} {
		t.Run(name, func(t *testing.T) {
			var calls atomic.Int32
			sink := &shelf{fail: func(records []Record) (int, error) {
				if calls.Add(1)%3 != 0 {
					return len(records) / 3, errors.New("down")
				}
				return len(records), nil
			}}
			s := newShipper(t, t.TempDir(), sink, func(c *Config) { c.Back = back })
			stop := running(t, s, sh)
			eventually(t, "some batches are taken", func() bool { return calls.Load() > 5 })
			sink.set(nil)
			eventually(t, "all are taken", func() bool { return s.Status().Next == sh.Log.Head().Size })
			_ = stop()
			got := sink.indexes(sh.Origin)
			jumped := false
			for i := 1; i < len(got); i++ {
				if got[i] > got[i-1]+1 {
					t.Fatalf("%d comes after %d", got[i], got[i-1])
				}
				jumped = jumped || got[i]+uint64(batchRecords) < got[i-1]
			}
			slices.Sort(got)
			if !slices.Equal(slices.Compact(got), upTo(sh.Log.Head().Size)) {
				t.Error("something is missing")
			}
			if jumped != (back > 0) {
				t.Errorf("went back far: %v", jumped)
			}
		})
	}
}

func TestQuartersAreShippedOneAfterAnother(t *testing.T) {
	k, dir, sink := newKey(t), t.TempDir(), &shelf{}
	old := openShard(t, k, filepath.Join(t.TempDir(), "2026q3"), "2026q3", 700)
	s := newShipper(t, dir, sink, nil)
	stop := running(t, s, old)
	eventually(t, "it has begun", func() bool { return s.Status().Next > 0 })
	_ = stop()
	grow(t, old.Log, 10) // not shipped when the quarter turns
	if err := old.Log.Close(); err != nil {
		t.Fatal(err)
	}
	old.Log = nil
	live := openShard(t, k, t.TempDir(), "2026q4", 5)
	s = newShipper(t, dir, sink, nil)
	stop = running(t, s, old, live)
	eventually(t, "the new quarter is shipped", func() bool { return s.Status().Origin == live.Origin && s.Status().Next == live.Log.Head().Size })
	_ = stop()
	got := sink.indexes(old.Origin)
	if !slices.Equal(got, upTo(uint64(len(got)))) || len(got) < 711 {
		t.Errorf("%d entries of the old quarter", len(got))
	}
	// With everything sealed, Run ends when all is shipped.
	all := &shelf{}
	if err := newShipper(t, t.TempDir(), all, nil).Run(t.Context(), []Shard{old}); err != nil || !slices.Equal(all.indexes(old.Origin), got) {
		t.Errorf("%d entries, %v", len(all.indexes(old.Origin)), err)
	}
}

func TestALogIsFollowedToTheShardThatItTurnsTo(t *testing.T) {
	for name, back := range map[string]uint64{"a sink that says what it has taken": 0, "one that does not": 700} {
		t.Run(name, func(t *testing.T) {
			k, sink := newKey(t), &shelf{}
			old := openShard(t, k, t.TempDir(), "2026q4", 3)
			running(t, newShipper(t, t.TempDir(), sink, func(c *Config) { c.Back = back }), old)
			logs := []*audit.Log{old.Log}
			for _, quarter := range []string{"2027q1", "2027q2"} {
				next, err := old.Log.Latest().Turn(func(previous []byte) (*audit.Log, error) {
					return audit.OpenLog(t.Context(), audit.Config{AppendTimeout: audittest.Patience, Dir: t.TempDir(), Origin: "gw1.example.gov.cn/audit/" + quarter, Signer: k, SegmentSize: 64 << 10, MinFree: 1, Previous: previous})
				})
				if err != nil {
					t.Fatal(err)
				}
				logs = append(logs, next)
				grow(t, old.Log, 4) // goes to the new one
			}
			for _, l := range logs {
				eventually(t, l.Origin(), func() bool { return slices.Equal(sink.indexes(l.Origin()), upTo(l.Head().Size)) })
			}
		})
	}
}

// TestACursorAtAQuarterThatIsNotThereIsSaid: nothing is shipped again, and
// nothing passed over.
func TestACursorAtAQuarterThatIsNotThereIsSaid(t *testing.T) {
	k, dir, sink := newKey(t), t.TempDir(), &shelf{}
	gone := openShard(t, k, t.TempDir(), "2026q3", 5)
	stop := running(t, newShipper(t, dir, sink, nil), gone)
	eventually(t, "all is shipped", func() bool { return len(sink.indexes(gone.Origin)) == int(gone.Log.Head().Size) })
	_ = stop()
	live := openShard(t, k, t.TempDir(), "2026q4", 5)
	if err := newShipper(t, dir, sink, nil).Run(t.Context(), []Shard{live}); !errors.Is(err, ErrGone) || !strings.Contains(err.Error(), gone.Origin) {
		t.Errorf("%v", err)
	}
	if n := len(sink.indexes(live.Origin)); n != 0 {
		t.Errorf("%d entries were shipped", n)
	}
	if err := os.Remove(filepath.Join(dir, "siem.cursor")); err != nil { // what the message says
		t.Fatal(err)
	}
	running(t, newShipper(t, dir, sink, nil), live)
	eventually(t, "all is shipped", func() bool { return len(sink.indexes(live.Origin)) == int(live.Log.Head().Size) })
}

func TestALogThatIsShorterThanItsCopyIsSaid(t *testing.T) {
	k, dir := newKey(t), t.TempDir()
	sh := openShard(t, k, t.TempDir(), "2026q4", 40)
	s := newShipper(t, dir, &shelf{}, nil)
	stop := running(t, s, sh)
	eventually(t, "all is shipped", func() bool { return s.Status().Next == sh.Log.Head().Size })
	_ = stop()
	for name, sealed := range map[string]bool{"running": false, "sealed": true} {
		put := openShard(t, k, t.TempDir(), "2026q4", 10) // as from a backup
		if sealed {
			put.Log.Close()
			put.Log = nil
		}
		if err := newShipper(t, dir, &shelf{}, nil).Run(t.Context(), []Shard{put}); !errors.Is(err, ErrAhead) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// clock is the time, put forward.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// anHour lets a copy be an hour behind by the clock.
func (c *clock) anHour(conf *Config) { conf.MaxBehind, conf.Now = time.Hour, c.now }

var business = audit.Entry{Open: audit.Open{Op: audit.OpQuery, Phase: audit.PhaseIntent}}

func isHeld(t testing.TB, l *audit.Log) {
	t.Helper()
	eventually(t, "no business is taken", func() bool {
		_, err := l.Append(t.Context(), business)
		return errors.Is(err, audit.ErrHeld) && errors.Is(err, ErrBehind)
	})
}

func goesOn(t testing.TB, l *audit.Log) {
	t.Helper()
	eventually(t, "business goes on", func() bool { _, err := l.Append(t.Context(), business); return err == nil })
}

func down([]Record) (int, error) { return 0, errors.New("down") }

func TestTheLogIsHeldWhileACopyIsBehindForTooLong(t *testing.T) {
	sh := openShard(t, newKey(t), t.TempDir(), "2026q4", 3)
	sink, now := &shelf{fail: down}, &clock{}
	s := newShipper(t, t.TempDir(), sink, now.anHour)
	running(t, s, sh)
	eventually(t, "it is known to be down", func() bool { return s.Status().Error != "" })
	grow(t, sh.Log, 1) // within the hour everything goes on
	now.ahead.Store(int64(time.Hour))
	isHeld(t, sh.Log)
	if _, err := sh.Log.Append(t.Context(), audit.Entry{Open: audit.Open{Op: audit.OpLogin}}); err != nil {
		t.Errorf("a login: %v", err)
	}
	sink.set(nil)
	goesOn(t, sh.Log)
}

func TestARestartDoesNotMakeYoungerWhatWaits(t *testing.T) {
	sh := openShard(t, newKey(t), t.TempDir(), "2026q4", 3)
	sink, now := &shelf{fail: down}, &clock{}
	for _, ahead := range []time.Duration{0, 40 * time.Minute, 80 * time.Minute} {
		now.ahead.Store(int64(ahead))
		s := newShipper(t, t.TempDir(), sink, now.anHour)
		stop := running(t, s, sh)
		eventually(t, "it is known to be down", func() bool { return s.Status().Error != "" })
		if ahead < time.Hour {
			grow(t, sh.Log, 1)
		} else {
			isHeld(t, sh.Log)
		}
		_ = stop()
	}
}

func TestASinkThatIsSlowerThanTheLogHoldsItToo(t *testing.T) {
	sh := openShard(t, newKey(t), t.TempDir(), "2026q4", 3*batchRecords)
	now, quick := &clock{}, make(chan struct{})
	sink := &shelf{fail: func(records []Record) (int, error) {
		if records[0].Index > 0 { // the first batch has taken an hour, the second one goes on for long
			<-quick
		}
		now.ahead.Store(int64(time.Hour))
		return len(records), nil
	}}
	s := newShipper(t, t.TempDir(), sink, now.anHour)
	running(t, s, sh)
	open := sync.OnceFunc(func() { close(quick) })
	t.Cleanup(open) // before the shipper is waited for
	isHeld(t, sh.Log)
	if s.Status().Error != "" {
		t.Error("the sink has failed")
	}
	open()
	goesOn(t, sh.Log)
}

func TestTheRunningLogIsHeldWhileAnEarlierQuarterWaits(t *testing.T) {
	k, sink, now := newKey(t), &shelf{fail: down}, &clock{}
	old := openShard(t, k, filepath.Join(t.TempDir(), "2026q3"), "2026q3", 3)
	if err := old.Log.Close(); err != nil {
		t.Fatal(err)
	}
	old.Log = nil
	live := openShard(t, k, t.TempDir(), "2026q4", 1)
	running(t, newShipper(t, t.TempDir(), sink, now.anHour), old, live)
	goesOn(t, live.Log)
	now.ahead.Store(int64(time.Hour))
	isHeld(t, live.Log)
	sink.set(nil)
	goesOn(t, live.Log)
}

func TestRecordsProveThemselves(t *testing.T) {
	sh := openShard(t, newKey(t), t.TempDir(), "2026q4", 2)
	for name, closed := range map[string]bool{"with the closed half": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			sink := &shelf{}
			s := newShipper(t, t.TempDir(), sink, func(c *Config) { c.Closed = closed })
			stop := running(t, s, sh)
			eventually(t, "all are taken", func() bool { return s.Status().Next == sh.Log.Head().Size })
			_ = stop()
			for i, r := range sink.got {
				var got struct {
					Origin    string
					Index     uint64
					Leaf      []byte
					Open      json.RawMessage
					Closed    json.RawMessage
					Salt      []byte
					ClosedSM3 []byte `json:"closed_sm3"`
				}
				if err := json.Unmarshal(r.JSON, &got); err != nil {
					t.Fatal(err)
				}
				var leaf audit.Hash
				if closed {
					leaf = audit.LeafHash(got.Open, got.Closed, [audit.SaltSize]byte(got.Salt))
				} else {
					leaf = audit.LeafHashWithheld(got.Open, audit.Hash(got.ClosedSM3))
					if got.Closed != nil || got.Salt != nil || r.Closed != nil || r.Salt != nil || r.Entry.Closed.Actor != "" {
						t.Error("the closed half is there")
					}
				}
				if leaf != audit.Hash(got.Leaf) || got.Origin != sh.Origin || got.Index != uint64(i) {
					t.Errorf("record %d does not prove itself", i)
				}
			}
		})
	}
}

func TestNamesAndCursorsThatAreNone(t *testing.T) {
	for _, name := range []string{"", "../siem", "SIEM", "a.cursor", "-a"} {
		if _, err := New(Config{Name: name, Dir: t.TempDir(), Sink: &shelf{}}); err == nil {
			t.Errorf("%q is a name", name)
		}
	}
	for _, text := range []string{"", "{", `{"next":4}`, `{"origin":"a","next":-1}`} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "siem.cursor"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := New(Config{Name: "siem", Dir: dir, Sink: &shelf{}}); err == nil {
			t.Errorf("%q is a cursor", text)
		}
	}
}
