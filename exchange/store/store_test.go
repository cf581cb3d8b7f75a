package store

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func openWith(t *testing.T, c Config, clock *clock) *Store {
	t.Helper()
	c.DigestKey, c.Now = testKey, clock.Now
	s, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestStore_SQLiteInMemory(t *testing.T) {
	conform(t, func(t *testing.T, c *clock) *Store {
		return openWith(t, Config{Driver: "sqlite", DSN: Memory}, c)
	})
}

func TestStore_SQLiteFile(t *testing.T) {
	conform(t, func(t *testing.T, c *clock) *Store {
		return openWith(t, Config{Driver: "sqlite", DSN: filepath.Join(t.TempDir(), "a b?c.db")}, c)
	})
}

func TestStore_RemembersAcrossRestarts(t *testing.T) {
	path, c := filepath.Join(t.TempDir(), "store.db"), newClock()
	for i, expected := range []error{nil, ErrReplay} {
		s, err := Open(t.Context(), Config{Driver: "sqlite", DSN: path, DigestKey: testKey, Now: c.Now})
		if err != nil {
			t.Fatal(err)
		}
		want(t, s.ConsumeNonce(t.Context(), "n", "w", uint64(i+1), c.Now().Add(time.Hour)), expected)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestStore_FilesAreTheOwnersAlone(t *testing.T) {
	dir, c := t.TempDir(), newClock()
	path := filepath.Join(dir, "store.db")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	s := openWith(t, Config{Driver: "sqlite", DSN: path}, c)
	want(t, s.ConsumeNonce(t.Context(), "n", "w", 1, c.Now().Add(time.Hour)), nil)
	files, err := os.ReadDir(dir)
	if err != nil || len(files) < 2 {
		t.Fatalf("want database and WAL, got %v, %v", files, err)
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", f.Name(), info.Mode().Perm())
		}
	}
}

// What callers choose freely might hold an ID number; it must not be found in the file.
func TestStore_KeepsNoCallerChosenText(t *testing.T) {
	dir, c := t.TempDir(), newClock()
	s := openWith(t, Config{Driver: "sqlite", DSN: filepath.Join(dir, "store.db")}, c)
	const canary = "690102198503120016"
	begin(t, s, admission(c, canary, canary, "E1", canary), "", nil)
	want(t, s.ConsumeNonce(t.Context(), canary, "w", 1, c.Now().Add(time.Hour)), nil)
	want(t, s.PutResult(t.Context(), Result{ExchangeNo: "E1", Part: "planted", Sealed: []byte("planted-" + canary),
		Expires: c.Now().Add(time.Hour), Manual: Manual{Number: canary, Holder: canary, Expires: c.Now().Add(time.Hour)}}, "gateway-a"), nil)
	found := 0
	for _, name := range []string{"store.db", "store.db-wal"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		planted := bytes.Count(b, []byte("planted-"+canary))
		if all := bytes.Count(b, []byte(canary)); all != planted {
			t.Errorf("%s: %d traces", name, all-planted)
		}
		found += planted
	}
	if found == 0 {
		t.Error("the planted trace was not found: this search sees nothing")
	}
}

func TestOpen_RefusesWhatItCannotKeepSafe(t *testing.T) {
	for name, c := range map[string]Config{
		"file without digest key": {Driver: "sqlite", DSN: filepath.Join(t.TempDir(), "x.db")},
		"short digest key":        {Driver: "sqlite", DSN: Memory, DigestKey: []byte("short")},
		"no file":                 {Driver: "sqlite", DigestKey: testKey},
		"unknown driver":          {Driver: "oracle", DSN: "x", DigestKey: testKey},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Open(t.Context(), c)
			want(t, err, ErrArgument)
		})
	}
}

func TestStore_ClosedDatabaseAdmitsNothing(t *testing.T) {
	c := newClock()
	s, err := Open(t.Context(), Config{Driver: "sqlite", DSN: Memory, Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	want(t, s.ConsumeNonce(t.Context(), "n", "w", 1, c.Now().Add(time.Hour)), ErrUnavailable)
	begin(t, s, admission(c, "k", "r", "E"), "", ErrUnavailable)
}

func TestStore_DeadRedisFailsClosedAtOnce(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close() // accepts in the kernel, never answers
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	for name, addr := range map[string]string{"hung": silent.Addr().String(), "port closed": gone.Addr().String()} {
		t.Run(name, func(t *testing.T) {
			c := newClock()
			s := openWith(t, Config{Driver: "sqlite", DSN: Memory, Redis: &redis.Options{Addr: addr}}, c)
			for i := range breakerTrips + 2 {
				started := time.Now()
				err := s.ConsumeNonce(context.Background(), "n", "w", uint64(i+1), c.Now().Add(time.Hour))
				took := time.Since(started)
				want(t, err, ErrUnavailable)
				if took > 250*time.Millisecond {
					t.Errorf("call %d refused after %v", i, took)
				}
				if i >= breakerTrips && took > 50*time.Millisecond {
					t.Errorf("call %d: breaker is not open, took %v", i, took)
				}
			}
			want(t, s.Ping(t.Context()), ErrUnavailable)
		})
	}
}
