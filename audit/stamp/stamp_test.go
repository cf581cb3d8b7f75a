package stamp

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"yizheng/audit"
	"yizheng/audit/auditor"
	"yizheng/audit/audittest"
	"yizheng/seal/tsp"
	"yizheng/seal/tsp/tsptest"
)

const origin = "gw1.example.gov.cn/audit"

type key struct{ *sm2.PrivateKey }

func (k key) Public() *ecdsa.PublicKey { return &k.PublicKey }
func (k key) SignMessage(msg []byte) ([]byte, error) {
	return k.Sign(rand.Reader, msg, sm2.DefaultSM2SignerOpts)
}

// site is a log, an authority, and their common clock, which stands until moved.
type site struct {
	*testing.T
	dir  string // logs and stamps
	key  key
	now  time.Time
	tsa  *tsptest.Authority
	said bytes.Buffer
	conf Config
}

func newSite(t *testing.T) *site {
	k, err := sm2.GenerateKey(rand.Reader)
	s := &site{T: t, dir: t.TempDir(), key: key{k}, now: time.Date(2026, 12, 31, 12, 0, 0, 0, time.UTC), tsa: tsptest.New(t)}
	s.must(err)
	s.tsa.GenTime = func() time.Time { return s.now }
	client, err := tsp.NewClient(tsp.Config{URL: s.tsa.URL, RootCAs: s.tsa.RootCAs, Timeout: 20 * time.Second, Pause: time.Nanosecond})
	s.must(err)
	t.Cleanup(client.Close)
	s.conf = Config{Dir: filepath.Join(s.dir, "stamps"), Client: client, Every: time.Hour,
		Now: func() time.Time { return s.now }, Logger: slog.New(slog.NewTextHandler(&s.said, nil))}
	return s
}

func (s *site) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *site) open(quarter string, previous []byte) *audit.Log {
	s.Helper()
	l, err := audit.OpenLog(s.Context(), audit.Config{AppendTimeout: audittest.Patience, Dir: filepath.Join(s.dir, "audit", quarter), Origin: origin + "/" + quarter, Signer: s.key,
		SegmentSize: 16 << 10, MinFree: 1, Previous: previous, Now: func() time.Time { return s.now }})
	s.must(err)
	s.Cleanup(func() { l.Close() })
	return l
}

func (s *site) stamper(l *audit.Log) *Stamper {
	s.Helper()
	c := s.conf
	c.Log = l
	k, err := New(s.Context(), c)
	s.must(err)
	return k
}

func (s *site) issue(l *audit.Log) error {
	_, err := l.Append(s.Context(), audit.Entry{Open: audit.Open{Op: audit.OpIssue, Phase: audit.PhaseDone}})
	return err
}

// lines is how many stamps there are of a quarter.
func (s *site) lines(quarter string) int {
	s.Helper()
	b, err := os.ReadFile(filepath.Join(s.conf.Dir, quarter))
	if errors.Is(err, os.ErrNotExist) {
		return 0
	}
	s.must(err)
	return bytes.Count(b, []byte("\n"))
}

// verify is gateway audit verify -stamps.
func (s *site) verify() (said string, good bool) {
	s.Helper()
	roots := filepath.Join(s.dir, "tsa.pem")
	s.must(os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.tsa.Root.Raw}), 0o600))
	tokens, err := Tokens(roots)
	s.must(err)
	dirs, err := auditor.Dirs(filepath.Join(s.dir, "audit"))
	s.must(err)
	o := auditor.Options{Keys: []*ecdsa.PublicKey{s.key.Public()}, Stamps: auditor.Stamps{Dir: s.conf.Dir, Verify: tokens}}
	var out strings.Builder
	good, err = auditor.VerifyChain(s.Context(), dirs, o, func(r auditor.Shard) error { r.Print(&out); return nil })
	s.must(err)
	return out.String(), good
}

func TestStamper_StampsEveryHourAndAcrossTheTurn(t *testing.T) {
	s := newSite(t)
	l := s.open("2026q4", nil)
	k := s.stamper(l)
	for range 5 {
		s.must(s.issue(l))
		k.round(s.Context(), false)
		s.now = s.now.Add(30 * time.Minute)
		k.round(s.Context(), false)
		s.now = s.now.Add(30 * time.Minute)
	}
	if n := s.lines("2026q4"); n != 5 {
		t.Errorf("%d stamps in five hours", n)
	}
	_, err := l.Turn(func(previous []byte) (*audit.Log, error) { return s.open("2027q1", previous), nil })
	s.must(err)
	k.round(s.Context(), false)
	if old, young := s.lines("2026q4"), s.lines("2027q1"); old != 6 || young != 1 {
		t.Errorf("after the turn: %d stamps of the old quarter, %d of the new one", old, young)
	}
	for range 3 {
		s.now = s.now.Add(time.Hour)
		k.round(s.Context(), false)
	}
	if n := s.lines("2027q1"); n != 1 {
		t.Errorf("%d stamps of a log that has not grown", n)
	}
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	s.must(s.issue(l))
	k.Run(ctx) // ends with the last head
	if n := s.lines("2027q1"); n != 2 {
		t.Errorf("%d stamps at the end", n)
	}
	s.must(l.Close())
	if said, good := s.verify(); !good || strings.Count(said, "time stamps") != 2 {
		t.Error(said)
	}
}

func TestStamper_AuthorityDown(t *testing.T) {
	s := newSite(t)
	l := s.open("2026q4", nil)
	patient := s.stamper(l)
	s.tsa.Code = 503
	for range 10 {
		patient.round(s.Context(), false)
		s.must(s.issue(l)) // goes on for ever
		s.now = s.now.Add(time.Hour)
	}
	if st := patient.Status(); st.Size != 0 || st.Since.IsZero() || st.Every != time.Hour {
		t.Errorf("status %+v", st)
	}
	if !strings.Contains(s.said.String(), "not stamped") {
		t.Error("nobody was told")
	}
	s.conf.MaxUnstamped = 2 * time.Hour
	k := s.stamper(l) // a restart makes no entry younger
	k.round(s.Context(), false)
	if err := s.issue(l); !errors.Is(err, audit.ErrHeld) || !errors.Is(err, ErrUnstamped) {
		t.Errorf("entries wait for ten hours: %v", err)
	}
	s.tsa.Code = 0
	k.round(s.Context(), false)
	s.must(s.issue(l))
	s.now = s.now.Add(61 * time.Minute)
	s.tsa.Code = 503
	k.round(s.Context(), false)
	s.must(s.issue(l))
	s.tsa.Code = 0
	k.round(s.Context(), false)
	s.must(l.Close())
	if said, good := s.verify(); good || !strings.Contains(said, "had no time stamp for 10h0m0s") || strings.Count(said, "✗") != 1 {
		t.Error(said)
	}
}

// The process that sealed a quarter did not come to its stamp: the next one does.
func TestStamper_EndOfTheQuarterBefore(t *testing.T) {
	s := newSite(t)
	l := s.open("2026q4", nil)
	s.must(s.issue(l))
	s.stamper(l).round(s.Context(), false)
	head, err := l.Seal()
	s.must(err)
	previous, err := head.MarshalText()
	s.must(err)
	next := s.open("2027q1", previous)
	s.conf.Before = head
	for range 2 { // the second has nothing to do
		s.stamper(next).round(s.Context(), false)
		if old, young := s.lines("2026q4"), s.lines("2027q1"); old != 2 || young != 1 {
			t.Errorf("%d stamps of the old quarter, %d of the new one", old, young)
		}
	}
	s.must(next.Close())
	if said, good := s.verify(); !good {
		t.Error(said)
	}
}

func TestStamper_TornLineAndWrongClock(t *testing.T) {
	s := newSite(t)
	l := s.open("2026q4", nil)
	s.must(os.MkdirAll(s.conf.Dir, 0o700))
	s.must(os.WriteFile(filepath.Join(s.conf.Dir, "2026q4"), []byte(`{"checkpoint":"gw1`), 0o600))
	s.stamper(l).round(s.Context(), false)
	s.must(l.Close())
	said, good := s.verify()
	if !good || !strings.Contains(said, "line 1 of the time stamps cannot be read") {
		t.Error(said)
	}
	if strings.Contains(s.said.String(), "disagree") {
		t.Error(s.said.String())
	}
	s.tsa.GenTime = func() time.Time { return s.now.Add(-5 * time.Minute) }
	l = s.open("2026q4", nil)
	s.stamper(l).round(s.Context(), false)
	s.must(l.Close())
	if !strings.Contains(s.said.String(), "disagree") {
		t.Error("a clock that is five minutes ahead was not noticed")
	}
	if said, good := s.verify(); good || !strings.Contains(said, "the log's clock was ahead by 5m0s") {
		t.Error(said)
	}
}
