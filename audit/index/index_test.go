package index

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"yizheng/audit"
	"yizheng/audit/audittest"
)

var began = time.Date(2026, 10, 1, 8, 0, 0, 0, time.UTC)

// entries makes n entries as a log would hold them, one every second, about
// few residents, cases and departments, so that any two conditions meet.
func entries(from uint64, n int) []audit.Stored {
	list := make([]audit.Stored, n)
	for i := range list {
		at := from + uint64(i)
		rng := mathrand.New(mathrand.NewPCG(at, 7))
		pick := func(of string, n int) string { return fmt.Sprintf("%s-%d", of, rng.IntN(n)) }
		e := audit.Entry{
			Open: audit.Open{Time: began.Add(time.Duration(at) * time.Second).UnixMicro(), Op: audit.OpRelease, Phase: audit.PhaseDone,
				Outcome: pick("CODE", 3), Department: pick("dept", 4), Item: pick("item", 3), Case: pick("case", 40),
				Proof: pick("proof", 5), Provider: pick("provider", 4), Exchange: pick("exchange", 60)},
			Closed: audit.Closed{Actor: pick("clerk", 6), Workstation: pick("ws", 4)},
		}
		for range rng.IntN(3) {
			e.Open.Subjects = append(e.Open.Subjects, subject(rng.IntN(30)))
		}
		list[i] = audit.Stored{Index: at, Entry: e}
	}
	return list
}

func subject(n int) audit.SubjectRef {
	return audit.SubjectRef{Type: "idno", Epoch: "2026q4", P: base64.StdEncoding.EncodeToString([]byte(fmt.Sprintf("pseudonym-%06d", n)))}
}

func open(t *testing.T, dir string) *Index {
	t.Helper()
	x, err := Open(t.Context(), Config{Dir: dir, Live: 50, Merge: 3})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	return x
}

func add(t *testing.T, x *Index, n int) {
	t.Helper()
	if err := x.Add(t.Context(), entries(x.Next(), n)); err != nil {
		t.Fatal(err)
	}
}

// all searches page by page.
func all(t *testing.T, x *Index, q Query) []uint64 {
	t.Helper()
	var list []uint64
	for {
		f, err := x.Search(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, f.Entries...)
		if !f.More {
			return list
		}
		q.Before = f.Entries[len(f.Entries)-1]
	}
}

// scan is what Search must find, found the slow way.
func scan(size uint64, q Query) []uint64 {
	var list []uint64
	for _, s := range slices.Backward(entries(0, int(size))) {
		if q.Matches(s.Entry) {
			list = append(list, s.Index)
		}
	}
	return list
}

func merge(t *testing.T, x *Index) {
	t.Helper()
	for again := true; again; {
		var err error
		if again, err = x.merge(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

var queries = map[string]Query{
	"one resident":                     {Subjects: []audit.SubjectRef{subject(3)}},
	"one resident, several pseudonyms": {Subjects: []audit.SubjectRef{subject(3), subject(4), {Type: "idno", Epoch: "2026q3", P: "none"}}},
	"a case":                           {Case: "case-7"},
	"an exchange":                      {Exchange: "exchange-12"},
	"an operator":                      {Actor: "clerk-2"},
	"who asked, and what":              {Department: "dept-1", Proof: "proof-2"},
	"who answered, and how":            {Provider: "provider-3", Outcome: "CODE-0"},
	"a workstation in an hour":         {Workstation: "ws-1", From: began.Add(100 * time.Second), To: began.Add(300 * time.Second)},
	"a resident at a time by a clerk":  {Subjects: []audit.SubjectRef{subject(5)}, Actor: "clerk-1", From: began.Add(50 * time.Second)},
	"everything":                       {},
	"a word nobody used":               {Item: "item-99"},
	"a case nobody had":                {Case: "case-99"},
	"before all time":                  {To: began},
}

func TestSearchFindsWhatAScanOfTheLogFinds(t *testing.T) {
	x := open(t, t.TempDir())
	for round := range 3 {
		add(t, x, 170)
		for name, q := range queries {
			q.Limit = 1 + round*17
			if got, want := all(t, x, q), scan(x.Next(), q); !slices.Equal(got, want) {
				t.Errorf("%s among %d entries: %v, want %v", name, x.Next(), got, want)
			}
		}
		merge(t, x)
	}
	if n := len(x.parts); n > 6 {
		t.Errorf("%d files, not merged", n)
	}
}

func TestIndexGoesOnAfterWhateverACrashLeft(t *testing.T) {
	for name, harm := range map[string]func(t *testing.T, dir string){
		"nothing":                        func(*testing.T, string) {},
		"a merge that was not finished":  func(t *testing.T, dir string) { write(t, dir, "tmp-l000000000300.db", "half") },
		"files that were merged already": func(t *testing.T, dir string) { copyFile(t, dir, "s000000000300.db", "s000000000050.db") },
		"a torn live file":               func(t *testing.T, dir string) { write(t, dir, "live.db", "torn") },
		"a file that is no database":     func(t *testing.T, dir string) { write(t, dir, "s000000000300.db", "torn") },
		"a missing file":                 func(t *testing.T, dir string) { remove(t, dir, "l000000000150.db") },
		"no words":                       func(t *testing.T, dir string) { remove(t, dir, "words.db") },
		"torn words":                     func(t *testing.T, dir string) { write(t, dir, "words.db", "torn") },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			x := open(t, dir)
			add(t, x, 370)
			merge(t, x)
			if err := x.Close(); err != nil {
				t.Fatal(err)
			}
			harm(t, dir)
			x = open(t, dir)
			add(t, x, int(400-x.Next())) // what the log still has
			for name, q := range queries {
				if got, want := all(t, x, q), scan(400, q); !slices.Equal(got, want) {
					t.Errorf("%s: %v, want %v", name, got, want)
				}
			}
		})
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	remove(t, dir, name)
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := removeFile(dir, name); err != nil {
		t.Fatal(err)
	}
}

func copyFile(t *testing.T, dir, from, to string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, from))
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, to, string(b))
}

func TestBadQueriesAreRefused(t *testing.T) {
	x := open(t, t.TempDir())
	for name, q := range map[string]Query{"negative limit": {Limit: -1}, "too many at once": {Limit: maxLimit + 1},
		"too many pseudonyms": {Subjects: make([]audit.SubjectRef, maxLimit+1)}} {
		if _, err := x.Search(t.Context(), q); !errors.Is(err, ErrQuery) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEntriesThatDoNotFollowAreRefused(t *testing.T) {
	x := open(t, t.TempDir())
	add(t, x, 10)
	if err := x.Add(t.Context(), entries(11, 1)); err == nil {
		t.Error("a gap was indexed")
	}
	if x.Next() != 10 {
		t.Errorf("next is %d", x.Next())
	}
}

type key struct{ *sm2.PrivateKey }

func (k key) Public() *ecdsa.PublicKey { return &k.PublicKey }
func (k key) SignMessage(msg []byte) ([]byte, error) {
	return k.Sign(rand.Reader, msg, sm2.DefaultSM2SignerOpts)
}

func newKey(t testing.TB) key {
	t.Helper()
	k, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key{k}
}

func openLog(t *testing.T) *audit.Log { return openShard(t, newKey(t), t.TempDir(), "2026q4") }

func openShard(t *testing.T, k key, dir, quarter string) *audit.Log {
	t.Helper()
	l, err := audit.OpenLog(t.Context(), audit.Config{AppendTimeout: audittest.Patience, Dir: dir, Origin: "gw1.example.gov.cn/audit/" + quarter, Signer: k, SegmentSize: 64 << 10, MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestIndexFollowsItsLog(t *testing.T) {
	l, x := openLog(t), open(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- x.Follow(ctx, l, time.Millisecond) }()
	var want []uint64
	for n := range 200 {
		e := entries(uint64(n), 1)[0].Entry
		e.Open.Case = fmt.Sprintf("2026-%d", n%3)
		r, err := l.Append(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		if n%3 == 1 {
			want = append(want, r[0].Index)
		}
	}
	for size := l.Head().Size; x.Next() < size; time.Sleep(time.Millisecond) {
		select {
		case err := <-ended:
			t.Fatal(err)
		default:
		}
	}
	slices.Reverse(want)
	if got := all(t, x, Query{Case: "2026-1"}); !slices.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

func TestIndexOfAnotherLogIsNotGoneOnWith(t *testing.T) {
	l, x := openLog(t), open(t, t.TempDir())
	add(t, x, 10)
	if err := x.Follow(t.Context(), l, time.Second); !errors.Is(err, ErrAhead) {
		t.Fatal(err)
	}
}
