package index

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"yizheng/audit"
)

// node is a gateway's log of two quarters: the first sealed, the second running.
type node struct {
	archive *audit.Archive
	live    *audit.Log
	dir     string // of the index
}

func newNode(t *testing.T) *node {
	t.Helper()
	k, dir := newKey(t), t.TempDir()
	old := openShard(t, k, filepath.Join(dir, "2026q3"), "2026q3")
	for n := range 30 {
		record(t, old, n)
	}
	if _, err := old.Seal(); err != nil {
		t.Fatal(err)
	}
	a, err := audit.OpenArchive(t.Context(), filepath.Join(dir, "2026q3"), k.Public())
	if err != nil {
		t.Fatal(err)
	}
	n := &node{archive: a, live: openShard(t, k, filepath.Join(dir, "2026q4"), "2026q4"), dir: t.TempDir()}
	for i := range 25 {
		record(t, n.live, i)
	}
	return n
}

// record adds an entry of one of three cases.
func record(t *testing.T, l *audit.Log, n int) {
	t.Helper()
	e := audit.Entry{Open: audit.Open{Op: audit.OpQuery, Phase: audit.PhaseIntent, Case: fmt.Sprintf("2026-%d", n%3), Item: fmt.Sprint("item-", n)}}
	if _, err := l.Append(t.Context(), e); err != nil {
		t.Fatal(err)
	}
}

func (n *node) index(t *testing.T) *Shards {
	t.Helper()
	s := NewShards(ShardsConfig{Dir: n.dir, Every: time.Millisecond})
	t.Cleanup(func() { s.Close() })
	s.Add(n.archive)
	s.Add(n.live)
	await(t, s)
	return s
}

// await waits until all is indexed.
func await(t *testing.T, s *Shards) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		complete := true
		for _, st := range s.State() {
			complete = complete && st.Err == nil && st.Doubt == nil && st.Indexed == st.Size
		}
		if complete {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not indexed: %+v", s.State())
		}
	}
}

// items searches page by page and tells what was found, newest first.
func items(t *testing.T, s *Shards, q Query) (list []string) {
	t.Helper()
	for {
		r, err := s.Search(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range r.Hits {
			list = append(list, h.Origin[len(h.Origin)-2:]+" "+h.Entry.Open.Item)
		}
		if r.Next == nil {
			return list
		}
		q.Before, q.BeforeShard = r.Next.Index, r.Next.Shard
	}
}

func wantItems() (want []string) {
	for i := 24; i >= 0; i-- {
		if i%3 == 1 {
			want = append(want, fmt.Sprint("q4 item-", i))
		}
	}
	for i := 29; i >= 0; i-- {
		if i%3 == 1 {
			want = append(want, fmt.Sprint("q3 item-", i))
		}
	}
	return want
}

func TestSearchGoesThroughAllQuartersNewestFirst(t *testing.T) {
	n := newNode(t)
	s := n.index(t)
	for _, limit := range []int{1, 4, 8, 9, 100} {
		if got, want := fmt.Sprint(items(t, s, Query{Case: "2026-1", Limit: limit})), fmt.Sprint(wantItems()); got != want {
			t.Errorf("%d at once: %s, want %s", limit, got, want)
		}
	}
	record(t, n.live, 25)
	await(t, s)
	if got := items(t, s, Query{Case: "2026-1"}); got[0] != "q4 item-25" {
		t.Errorf("the newest is %s", got[0])
	}
}

// What the index says about an entry is not believed: it is read from the log.
func TestRowsThatPointElsewhereAreNotShown(t *testing.T) {
	n := newNode(t)
	s := n.index(t)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	edit(t, filepath.Join(n.dir, "2026q4"), "UPDATE entry SET kase = (SELECT kase FROM entry WHERE idx = 3) WHERE idx = 4")
	s = n.index(t)
	if got, want := fmt.Sprint(items(t, s, Query{Case: "2026-1", Limit: 3})), fmt.Sprint(wantItems()); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func edit(t *testing.T, dir, statement string) {
	t.Helper()
	db, err := connect(dir, liveName)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	r, err := db.ExecContext(t.Context(), statement)
	if err != nil {
		t.Fatal(err)
	}
	if rows, err := r.RowsAffected(); err != nil || rows == 0 {
		t.Fatalf("%d rows changed: %v", rows, err)
	}
}

// A quarter that is not there is named, and the others are searched.
func TestAMissingQuarterIsNamed(t *testing.T) {
	n := newNode(t)
	s := n.index(t)
	lost := errors.New("disk is gone")
	s.Lack("gw1.example.gov.cn/audit/2026q2", lost)
	r, err := s.Search(t.Context(), Query{Case: "2026-1"})
	if err != nil {
		t.Fatal(err)
	}
	if lag, err := s.Lag(t.Context()); err != nil || lag.Entries != 0 || !lag.Since.IsZero() || len(lag.Lost) != 1 {
		t.Errorf("lag %+v, %v", lag, err)
	}
	if last := r.Searched[len(r.Searched)-1]; len(r.Hits) != len(wantItems()) || len(r.Searched) != 3 || last.Origin != "gw1.example.gov.cn/audit/2026q2" || !errors.Is(last.Err, lost) {
		t.Errorf("%d hits in %+v", len(r.Hits), r.Searched)
	}
}

func TestWhatIsNotIndexedYetIsCounted(t *testing.T) {
	n := newNode(t)
	s := NewShards(ShardsConfig{Dir: n.dir, Every: time.Hour})
	t.Cleanup(func() { s.Close() })
	s.Add(n.live)
	await(t, s)
	record(t, n.live, 1)
	last := time.UnixMicro(n.live.Head().Time)
	record(t, n.live, 2)
	if lag, err := s.Lag(t.Context()); err != nil || lag.Entries != 2 || !lag.Since.Equal(last) {
		t.Errorf("lag %+v, %v; the first is of %s", lag, err, last)
	}
}

func TestAnIndexInDoubtIsMadeAgain(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, dir string){
		"no database":   func(t *testing.T, dir string) { write(t, dir, liveName, "not a database") },
		"ahead":         func(t *testing.T, dir string) { edit(t, dir, "UPDATE entry SET idx = 100 WHERE idx = 25") },
		"another log's": func(t *testing.T, dir string) { edit(t, dir, "UPDATE entry SET ts = ts + 1 WHERE idx = 25") },
		"gone":          func(t *testing.T, dir string) { removeIndex(t, dir) },
		"without words": func(t *testing.T, dir string) { remove(t, dir, wordsName) },
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			if err := n.index(t).Close(); err != nil {
				t.Fatal(err)
			}
			damage(t, filepath.Join(n.dir, "2026q4"))
			if got, want := fmt.Sprint(items(t, n.index(t), Query{Case: "2026-1"})), fmt.Sprint(wantItems()); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		})
	}
}

func removeIndex(t *testing.T, dir string) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
}

// The index may fail as it likes: the log takes entries, and the search says
// that it is incomplete.
func TestALogWithoutIndexGoesOn(t *testing.T) {
	n := newNode(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := NewShards(ShardsConfig{Dir: file, Every: time.Millisecond}) // no directory can be made in a file
	defer s.Close()
	s.Add(n.live)
	record(t, n.live, 1)
	r, err := s.Search(t.Context(), Query{})
	if err != nil || len(r.Hits) != 0 || r.Searched[0].Err == nil || r.Searched[0].Size != n.live.Head().Size {
		t.Errorf("%+v: %v", r, err)
	}
}

func TestTwoProcessesDoNotShareAnIndex(t *testing.T) {
	dir := t.TempDir()
	x := open(t, dir)
	if _, err := Open(context.Background(), Config{Dir: dir}); !errors.Is(err, ErrInUse) {
		t.Errorf("opened twice: %v", err)
	}
	if err := Rebuild(dir); !errors.Is(err, ErrInUse) {
		t.Errorf("removed under its user: %v", err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Rebuild(dir); err != nil {
		t.Error(err)
	}
}

// A quarter that takes long to open holds nothing up: it is named until it is searched.
func TestAQuarterThatIsStillBeingOpenedIsNamed(t *testing.T) {
	n := newNode(t)
	s := NewShards(ShardsConfig{Dir: t.TempDir(), Every: time.Millisecond})
	t.Cleanup(func() { s.Close() })
	ready := make(chan struct{})
	s.Open(n.live.Origin(), func(ctx context.Context) (Shard, error) {
		select {
		case <-ready:
			return n.live, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
	r, err := s.Search(t.Context(), Query{Case: "2026-1"})
	if err != nil || len(r.Searched) != 1 || !errors.Is(r.Searched[0].Err, ErrOpening) || r.Searched[0].Origin != n.live.Origin() {
		t.Fatalf("%+v, %v", r, err)
	}
	if _, err := s.Receipt(n.live.Origin(), 0); err == nil {
		t.Error("a proof out of a log that is not open")
	}
	if lag, err := s.Lag(t.Context()); err != nil || len(lag.Lost) != 0 || lag.Opening != 1 || lag.Entries != 0 {
		t.Errorf("what is being opened is neither lost nor late: %+v, %v", lag, err)
	}
	close(ready)
	for lag := (Lag{Opening: 1}); lag.Opening > 0; time.Sleep(time.Millisecond) { // while it is opened
		if lag, err = s.Lag(t.Context()); err != nil || len(lag.Lost) != 0 {
			t.Fatalf("%+v, %v", lag, err)
		}
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if r, err = s.Search(t.Context(), Query{Case: "2026-1"}); err != nil || time.Now().After(end) {
			t.Fatalf("%+v, %v", r.Searched, err)
		}
		if st := r.Searched[0]; st.Err == nil && st.Indexed == st.Size && len(r.Hits) > 0 {
			return
		}
	}
}

func TestAQuarterThatIsNeverOpenedHoldsUpNoClose(t *testing.T) {
	s := NewShards(ShardsConfig{Dir: t.TempDir()})
	s.Open("gw1.example.gov.cn/audit/2026q2", func(ctx context.Context) (Shard, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
