package witness

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"yizheng/audit"
	"yizheng/audit/audittest"
)

const origin = "gw1.example.gov.cn/audit"

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

func openLog(t testing.TB, k key, shard string, n int) *audit.Log {
	t.Helper()
	l, err := audit.OpenLog(t.Context(), audit.Config{AppendTimeout: audittest.Patience, Dir: t.TempDir(), Origin: origin + "/" + shard, Signer: k, SegmentSize: 64 << 10, MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	grow(t, l, n)
	return l
}

func grow(t testing.TB, l *audit.Log, n int) {
	t.Helper()
	for range n {
		if _, err := l.Append(t.Context(), audit.Entry{Open: audit.Open{Op: audit.OpQuery, Phase: audit.PhaseIntent}}); err != nil {
			t.Fatal(err)
		}
	}
}

func newWitness(t testing.TB, dir string, name string, own key, logKey key) *Witness {
	t.Helper()
	w, err := New(Config{Name: name, Dir: dir, Signer: own, Logs: []Log{{Origin: origin, Keys: []*ecdsa.PublicKey{logKey.Public()}}}})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func proofOf(t testing.TB, l *audit.Log, from, to uint64) []audit.Hash {
	t.Helper()
	p, err := l.Consistency(from, to)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestWitnessCosignsOnlyWhatContinues(t *testing.T) {
	logKey, own, dir := newKey(t), newKey(t), t.TempDir()
	l := openLog(t, logKey, "2026q4", 5)
	rewritten := openLog(t, logKey, "2026q4", 20) // another history under the same name and key
	w := newWitness(t, dir, "witness-1", own, logKey)
	first := l.Head()
	line, err := w.Add(first, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (audit.WitnessKey{Name: "witness-1", Key: own.Public()}).Check(first.Head, line); err != nil {
		t.Fatal(err)
	}
	grow(t, l, 6)
	second := l.Head()
	w = newWitness(t, dir, "witness-1", own, logKey) // a witness that was restarted remembers
	proof := proofOf(t, l, first.Size, second.Size)
	forged := second
	forged.Root[3]++
	for name, c := range map[string]struct {
		head audit.SignedHead
		old  uint64
		path []audit.Hash
		want error
	}{
		"from the beginning again":      {second, 0, nil, &ConflictError{first.Size}},
		"from a size never cosigned":    {second, first.Size - 1, proof, &ConflictError{first.Size}},
		"another history, longer":       {rewritten.Head(), first.Size, proofOf(t, rewritten, first.Size, rewritten.Head().Size), ErrInconsistent},
		"without proof":                 {second, first.Size, nil, ErrInconsistent},
		"with half a proof":             {second, first.Size, proof[1:], ErrInconsistent},
		"root changed after signing":    {forged, first.Size, proof, ErrForeignKey},
		"another log":                   {openLog(t, newKey(t), "2026q4", 1).Head(), 0, nil, ErrForeignKey},
		"a proof where there is no gap": {first, first.Size, proof, ErrInconsistent},
	} {
		_, err := w.Add(c.head, c.old, c.path)
		var conflict *ConflictError
		if errors.As(c.want, &conflict) {
			var got *ConflictError
			if !errors.As(err, &got) || got.Size != conflict.Size {
				t.Errorf("%s: %v", name, err)
			}
		} else if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := w.Add(second, first.Size, proof); err != nil {
		t.Errorf("continued: %v", err)
	}
	if _, err := w.Add(second, second.Size, nil); err != nil {
		t.Errorf("the same once more: %v", err)
	}
	if _, err := w.Add(first, second.Size, nil); !errors.Is(err, ErrInconsistent) {
		t.Errorf("a log that has shrunk: %v", err)
	}
	if _, err := w.Add(openLog(t, logKey, "2027q1", 2).Head(), 0, nil); err != nil {
		t.Errorf("the shard of the next quarter: %v", err)
	}
}

func TestWitnessWithoutItsMemorySaysNothing(t *testing.T) {
	logKey, dir := newKey(t), t.TempDir()
	l := openLog(t, logKey, "2026q4", 3)
	w := newWitness(t, dir, "witness-1", newKey(t), logKey)
	if _, err := w.Add(l.Head(), 0, nil); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"empty": "", "torn": `{"origin":"gw1`, "of another log": `{"origin":"x/2026q4","size":1,"root":""}`} {
		if err := os.WriteFile(w.file(l.Origin()), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if line, err := w.Add(l.Head(), 0, nil); err == nil || line != "" {
			t.Errorf("%s: cosigned", name)
		}
	}
	if _, err := New(Config{Name: "witness-1", Dir: filepath.Join(dir, "gone"), Signer: newKey(t)}); err == nil {
		t.Error("a witness without a directory")
	}
	if _, err := New(Config{Name: "Witness One", Dir: dir, Signer: newKey(t)}); err == nil {
		t.Error("a name that cannot stand in a note")
	}
}

func TestCosignaturesAreOfOneHeadNameAndKey(t *testing.T) {
	l, own := openLog(t, newKey(t), "2026q4", 3), newKey(t)
	at := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	line, err := audit.Cosign("witness-1", own, l.Head().Head, at)
	if err != nil {
		t.Fatal(err)
	}
	right := audit.WitnessKey{Name: "witness-1", Key: own.Public()}
	if got, err := right.Check(l.Head().Head, line); err != nil || !got.Equal(at) {
		t.Fatalf("%v: %v", got, err)
	}
	other := l.Head().Head
	other.Size++
	for name, err := range map[string]error{
		"another head":    second(right.Check(other, line)),
		"another name":    second(audit.WitnessKey{Name: "witness-2", Key: own.Public()}.Check(l.Head().Head, line)),
		"another key":     second(audit.WitnessKey{Name: "witness-1", Key: newKey(t).Public()}.Check(l.Head().Head, line)),
		"the log's line":  second(right.Check(l.Head().Head, strings.Split(note(t, l.Head()), "\n")[6])),
		"a torn line":     second(right.Check(l.Head().Head, line[:len(line)-8])),
		"two lines":       second(right.Check(l.Head().Head, line+"\n"+line)),
		"nothing":         second(right.Check(l.Head().Head, "")),
		"one digit later": second(right.Check(l.Head().Head, strings.Replace(line, "AAAA", "AAAB", 1))),
	} {
		if !errors.Is(err, audit.ErrNotCosigned) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func note(t *testing.T, h audit.SignedHead) string {
	t.Helper()
	b, err := h.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// site is a log with three witnesses behind HTTPS that can be switched off.
type site struct {
	log    *audit.Log
	key    key
	keeper *Keeper
	lies   atomic.Bool // the first witness
	off    [3]atomic.Bool
	now    atomic.Int64
	keys   []audit.WitnessKey
}

func newSite(t *testing.T, need int) *site {
	t.Helper()
	logKey := newKey(t)
	s := &site{key: logKey, log: openLog(t, logKey, "2026q4", 3)}
	c := KeeperConfig{Log: s.log, Need: need, MaxUnwitnessed: time.Hour, File: filepath.Join(t.TempDir(), "witnessed"),
		Now: func() time.Time { return time.Unix(s.now.Load(), 0) }}
	for i, name := range []string{"witness-1", "witness-2", "witness-3"} {
		own := newKey(t)
		h := Server{Witness: newWitness(t, t.TempDir(), name, own, logKey), Logger: slog.New(slog.DiscardHandler)}.Handler()
		srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if s.off[i].Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			if i == 0 && s.lies.Load() {
				w.WriteHeader(http.StatusConflict)
				_, _ = io.WriteString(w, "1000000\n")
				return
			}
			h.ServeHTTP(w, r)
		}))
		t.Cleanup(srv.Close)
		wk := audit.WitnessKey{Name: name, Key: own.Public()}
		s.keys = append(s.keys, wk)
		c.Peers = append(c.Peers, Peer{URL: srv.URL, WitnessKey: wk, HTTP: srv.Client()})
	}
	var err error
	if s.keeper, err = NewKeeper(c); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) append() error {
	_, err := s.log.Append(context.Background(), audit.Entry{Open: audit.Open{Op: audit.OpQuery, Phase: audit.PhaseIntent}})
	return err
}

func TestEnoughWitnessesMakeAWitnessedCheckpoint(t *testing.T) {
	s := newSite(t, 2)
	s.keeper.round(t.Context())
	grow(t, s.log, 9)
	s.off[1].Store(true)
	s.keeper.round(t.Context())
	b, err := os.ReadFile(s.keeper.File)
	if err != nil {
		t.Fatal(err)
	}
	head, err := audit.ParseCheckpoint(b)
	if err != nil || head.Size != s.log.Head().Size {
		t.Fatalf("kept size %d: %v", head.Size, err)
	}
	if by := head.Witnessed(s.keys); len(by) != 2 || by["witness-2"] != (time.Time{}) {
		t.Errorf("witnessed by %v", by)
	}
	grow(t, s.log, 4)
	s.off[1].Store(false) // one that missed a head catches up from where it stands
	s.keeper.round(t.Context())
	if by := s.keeper.Witnessed().Witnessed(s.keys); len(by) != 3 {
		t.Errorf("witnessed by %v", by)
	}
}

func TestLogIsHeldWhenWitnessesAreMissingForTooLong(t *testing.T) {
	s := newSite(t, 2)
	s.keeper.round(t.Context())
	for i := range s.off[:2] {
		s.off[i].Store(true)
	}
	if st := s.keeper.Status(); st.Unwitnessed != 0 || !st.Since.IsZero() || st.Size != s.log.Head().Size || st.At.IsZero() {
		t.Errorf("witnessed: %+v", st)
	}
	grow(t, s.log, 1)
	s.keeper.round(t.Context())
	if st := s.keeper.Status(); st.Unwitnessed != 1 || st.Since.IsZero() || st.Forked {
		t.Errorf("not witnessed: %+v", st)
	}
	if err := s.append(); err != nil {
		t.Fatalf("held at once: %v", err)
	}
	s.now.Add(int64((time.Hour + time.Second) / time.Second))
	s.keeper.round(t.Context())
	if err := s.append(); !errors.Is(err, audit.ErrHeld) || !errors.Is(err, ErrUnwitnessed) {
		t.Fatalf("business goes on: %v", err)
	}
	if _, err := s.log.Append(t.Context(), audit.Entry{Open: audit.Open{Op: audit.OpLogin}}); err != nil {
		t.Fatalf("a login: %v", err)
	}
	s.off[0].Store(false)
	s.keeper.round(t.Context())
	if err := s.append(); err != nil {
		t.Fatalf("witnessed again: %v", err)
	}
}

// Entries do not become younger by a restart.
func TestARestartDoesNotExcuseEntries(t *testing.T) {
	s := newSite(t, 3)
	if err := s.keeper.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.off[0].Store(true)
	grow(t, s.log, 1)
	s.now.Store(time.Now().Add(2 * time.Hour).Unix())
	again, err := NewKeeper(s.keeper.KeeperConfig)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.append(); !errors.Is(err, ErrUnwitnessed) {
		t.Fatalf("after a restart: %v", err)
	}
	s.off[0].Store(false)
	again.round(t.Context())
	if err := s.append(); err != nil {
		t.Fatal(err)
	}
}

// restart begins anew with a log that has the same name and key, and with the
// checkpoint kept in File.
func (s *site) restart(t *testing.T, l *audit.Log) *Keeper {
	t.Helper()
	c := s.keeper.KeeperConfig
	c.Log = l
	k, err := NewKeeper(c)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestALogThatIsNotWhatItWasIsHeldForGood(t *testing.T) {
	for name, more := range map[string]int{"shorter": -3, "as long with another root": 0, "grown past the old size": 20} {
		for from, c := range map[string]struct{ file, witnesses bool }{
			"known from both":          {true, true},
			"known from the kept file": {true, false},
			"known from the witnesses": {false, true},
		} {
			t.Run(name+"/"+from, func(t *testing.T) {
				s := newSite(t, 2)
				grow(t, s.log, 9)
				if err := s.keeper.Begin(t.Context()); err != nil {
					t.Fatal(err)
				}
				other := openLog(t, s.key, "2026q4", 0)
				grow(t, other, int(s.log.Head().Size-other.Head().Size)+more)
				if !c.file {
					s.keeper.File = filepath.Join(t.TempDir(), "witnessed")
				}
				for i := range s.off {
					s.off[i].Store(!c.witnesses)
				}
				k := s.restart(t, other)
				if err := k.Begin(t.Context()); !errors.Is(err, ErrForked) {
					t.Fatalf("begins: %v", err)
				}
				if _, err := other.Append(t.Context(), audit.Entry{Open: audit.Open{Op: audit.OpLogin}}); err != nil {
					t.Fatalf("a login: %v", err)
				}
				k.round(t.Context()) // one entry later
				if _, err := k.Log.Append(t.Context(), audit.Entry{Open: audit.Open{Op: audit.OpQuery}}); !errors.Is(err, audit.ErrHeld) || !errors.Is(err, ErrForked) {
					t.Fatalf("business goes on: %v", err)
				}
			})
		}
	}
}

// The kept file may have been put back together with the log.
func TestBeginAsksTheWitnessesEvenIfTheKeptCheckpointIsTheHead(t *testing.T) {
	s := newSite(t, 3)
	if err := s.keeper.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.restart(t, s.log).Begin(t.Context()); err != nil {
		t.Fatalf("nothing has changed: %v", err)
	}
	s.off[0].Store(true)
	later := s.restart(t, s.log)
	if err := later.Begin(t.Context()); err != nil {
		t.Fatalf("a witness that cannot be reached: %v", err)
	}
	s.off[0].Store(false)
	s.lies.Store(true) // says that it has seen more
	if err := s.restart(t, s.log).Begin(t.Context()); !errors.Is(err, ErrForked) {
		t.Fatalf("begins: %v", err)
	}
	later.round(t.Context())
	if err := s.append(); !errors.Is(err, ErrForked) {
		t.Fatalf("business goes on when the witness is back: %v", err)
	}
}

// One witness of three that says it has seen more cannot stop a log that needs two.
func TestOneLyingWitnessStopsNobody(t *testing.T) {
	s := newSite(t, 2)
	s.lies.Store(true)
	if err := s.keeper.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.append(); err != nil {
		t.Fatal(err)
	}
}

func TestWitnessShowsWhatItHasCosigned(t *testing.T) {
	logKey, own := newKey(t), newKey(t)
	l := openLog(t, logKey, "2026q4", 3)
	w := newWitness(t, t.TempDir(), "witness-1", own, logKey)
	srv := httptest.NewTLSServer(Server{Witness: w, Logger: slog.New(slog.DiscardHandler)}.Handler())
	defer srv.Close()
	get := func(want int) []byte {
		t.Helper()
		resp, err := srv.Client().Get(srv.URL + "/checkpoint/" + l.Origin())
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != want {
			t.Fatalf("%d: %v", resp.StatusCode, err)
		}
		return b
	}
	get(http.StatusNotFound)
	if _, err := w.Add(l.Head(), 0, nil); err != nil {
		t.Fatal(err)
	}
	head, err := audit.ParseCheckpoint(get(http.StatusOK))
	if err != nil || head.Head != l.Head().Head || len(head.Witnessed([]audit.WitnessKey{{Name: "witness-1", Key: own.Public()}})) != 1 {
		t.Errorf("%+v: %v", head, err)
	}
}

func TestTooManyUnwitnessedEntriesHoldTheLogAtOnce(t *testing.T) {
	s := newSite(t, 3)
	s.keeper.MaxEntries = 5
	s.off[2].Store(true)
	s.keeper.round(t.Context())
	grow(t, s.log, 6)
	s.keeper.round(t.Context())
	if err := s.append(); !errors.Is(err, ErrUnwitnessed) {
		t.Fatal(err)
	}
}

func TestWitnessAnswersTheProtocolsCodes(t *testing.T) {
	logKey := newKey(t)
	l := openLog(t, logKey, "2026q4", 3)
	srv := httptest.NewTLSServer(Server{Witness: newWitness(t, t.TempDir(), "witness-1", newKey(t), logKey), Logger: slog.New(slog.DiscardHandler)}.Handler())
	defer srv.Close()
	good, err := request(l.Head(), 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := request(openLog(t, newKey(t), "2026q4", 1).Head(), 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, body string
		status     int
	}{
		{"empty", "", http.StatusBadRequest},
		{"no checkpoint", "old 0\n\n", http.StatusBadRequest},
		{"size with a zero before it", "old 00" + strings.TrimPrefix(string(good), "old 0"), http.StatusBadRequest},
		{"hash that is none", "old 0\nAAAA" + strings.TrimPrefix(string(good), "old 0"), http.StatusBadRequest},
		{"too many hashes", "old 0" + strings.Repeat("\n"+audit.Hash{}.String(), maxPath+1) + strings.TrimPrefix(string(good), "old 0"), http.StatusBadRequest},
		{"too long", strings.Repeat("x", maxBody+1), http.StatusBadRequest},
		{"unknown log", strings.ReplaceAll(string(good), "gw1.", "gw2."), http.StatusNotFound},
		{"foreign key", string(foreign), http.StatusForbidden},
		{"good", string(good), http.StatusOK},
		{"from the beginning again", string(good), http.StatusConflict},
		{"does not continue", "old 4\n" + audit.Hash{}.String() + strings.TrimPrefix(string(good), "old 0"), http.StatusUnprocessableEntity},
	} {
		resp, err := srv.Client().Post(srv.URL+"/add-checkpoint", "text/plain", strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != c.status {
			t.Errorf("%s: %d, want %d", c.name, resp.StatusCode, c.status)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("old 3\n" + audit.Hash{}.String() + "\n\ngw1/2026q4\n1\n"))
	f.Add([]byte("old 0\n\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		head, old, path, err := parse(body)
		if err != nil {
			return
		}
		again, err := request(head, old, path) // signature lines may stand in another order
		if err != nil {
			t.Fatal(err)
		}
		h, o, p, err := parse(again)
		if err != nil || h.Head != head.Head || o != old || !slices.Equal(p, path) {
			t.Fatalf("read %q, wrote %q: %v", body, again, err)
		}
	})
}
