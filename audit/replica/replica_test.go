package replica

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"yizheng/audit"
	"yizheng/audit/audittest"
)

const origin = "gw1.example.gov.cn/audit"

type key struct{ *sm2.PrivateKey }

func newKey(t *testing.T) key {
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

// serve starts a replica of the logs of these keys, each with an origin of its own.
func serve(t *testing.T, dir string, logs map[string]key) *httptest.Server {
	t.Helper()
	s := Server{Logger: slog.New(slog.DiscardHandler)}
	for name, k := range logs {
		in := filepath.Join(dir, filepath.Base(filepath.Dir(name)))
		if err := os.MkdirAll(in, 0o700); err != nil {
			t.Fatal(err)
		}
		d, err := audit.OpenReplicaDir(audit.ReplicaConfig{Dir: in, Origin: name, Keys: []*ecdsa.PublicKey{k.Public()}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = d.Close() })
		s.Logs = append(s.Logs, d)
	}
	srv := httptest.NewServer(s.Handler())
	t.Cleanup(srv.Close)
	return srv
}

func open(t *testing.T, k key, to audit.Replica) *audit.Log {
	t.Helper()
	l, err := audit.OpenLog(t.Context(), audit.Config{Dir: t.TempDir(), Origin: origin + "/2026q4", Signer: k, SegmentSize: 64 << 10, MinFree: 1,
		AppendTimeout: 20 * time.Second, Replica: to})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func TestALogAndItsReplicaOnAnotherMachineAreTheSame(t *testing.T) {
	k, other, dir := newKey(t), newKey(t), t.TempDir()
	srv := serve(t, dir, map[string]key{"gw2.example.gov.cn/audit": other, origin: k})
	l := open(t, k, Client{URL: srv.URL, HTTP: srv.Client()})
	for range 20 {
		if _, err := l.Append(t.Context(), audit.Entry{Open: audit.Open{Op: audit.OpQuery, Phase: audit.PhaseDone}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := audit.VerifyDir(t.Context(), filepath.Join(dir, "gw1.example.gov.cn", "2026q4"), audit.VerifyOptions{Keys: []*ecdsa.PublicKey{k.Public()}})
	if err != nil || r.Head.Head != l.Head().Head {
		t.Errorf("replica of %d entries: %v", r.Entries, err)
	}
}

func TestTheClientKnowsWhyItWasRefused(t *testing.T) {
	k := newKey(t)
	srv := serve(t, t.TempDir(), map[string]key{origin: k})
	c := Client{URL: srv.URL, HTTP: srv.Client()}
	meta := func(k key, origin string) []byte {
		dir := t.TempDir()
		l, err := audit.OpenLog(t.Context(), audit.Config{AppendTimeout: audittest.Patience, Dir: dir, Origin: origin, Signer: k, SegmentSize: 64 << 10, MinFree: 1})
		if err == nil {
			err = l.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(dir, "log.json"))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if n, err := c.Begin(t.Context(), meta(k, origin+"/2026q4")); err != nil || n != 0 {
		t.Fatalf("begin: %d, %v", n, err)
	}
	first := "000000000000.seg"
	for name, test := range map[string]struct {
		do   func() error
		want error
	}{
		"another key":      {func() error { _, err := c.Begin(t.Context(), meta(newKey(t), origin+"/2026q4")); return err }, audit.ErrSignature},
		"another log":      {func() error { _, err := c.Begin(t.Context(), meta(k, "gw9.example.gov.cn/audit/2026q4")); return err }, audit.ErrForeign},
		"no quarter":       {func() error { _, err := c.Begin(t.Context(), meta(k, origin+"/..")); return err }, audit.ErrForeign},
		"another log.json": {func() error { _, err := c.Begin(t.Context(), meta(k, origin+"/2026q4")); return err }, audit.ErrForeign},
		"not a log.json":   {func() error { _, err := c.Begin(t.Context(), []byte("x")); return err }, audit.ErrDamaged},
		"shard not begun": {func() error {
			_, err := c.Write(t.Context(), audit.Stretch{Origin: origin + "/2027q1", Segment: first})
			return err
		}, audit.ErrForeign},
		"rubbish": {func() error {
			_, err := c.Write(t.Context(), audit.Stretch{Origin: origin + "/2026q4", Segment: first, Frames: []byte("rubbish")})
			return err
		}, audit.ErrDamaged},
		"name of a file": {func() error { return c.Keep(t.Context(), origin+"/2026q4", "../x", nil) }, audit.ErrEntry},
	} {
		if err := test.do(); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
	for path, want := range map[string]int{"/frames?offset=x": http.StatusBadRequest, "/frames?offset=0": http.StatusRequestEntityTooLarge} {
		resp, err := srv.Client().Post(srv.URL+path, "", bytes.NewReader(make([]byte, maxBody+1)))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, resp.StatusCode, want)
		}
	}
	srv.Close()
	if _, err := c.Begin(context.Background(), nil); err == nil {
		t.Error("no error without a server")
	}
}
