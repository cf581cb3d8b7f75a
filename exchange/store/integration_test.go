//go:build integration

package store

import (
	"crypto/rand"
	"database/sql"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// needed returns an environment variable that `make test` sets. Without it
// this tier could not run, which is a failure and not a skip.
func needed(t *testing.T, name string) string {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		t.Fatalf("%s is not set: run this tier with `make test`", name)
	}
	return v
}

// schemaDSN gives every test a schema of its own in the one database.
func schemaDSN(t *testing.T) string {
	t.Helper()
	dsn := needed(t, "YIZHENG_TEST_POSTGRES_DSN")
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	schema := "store_" + strings.ToLower(rand.Text())
	if _, err := db.ExecContext(t.Context(), `CREATE SCHEMA `+schema); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := db.Exec(`DROP SCHEMA ` + schema + ` CASCADE`); err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	if u, err := url.Parse(dsn); err == nil && u.Scheme != "" {
		q := u.Query()
		q.Set("search_path", schema)
		u.RawQuery = q.Encode()
		return u.String()
	}
	return dsn + " search_path=" + schema
}

func TestStore_PostgreSQL(t *testing.T) {
	conform(t, func(t *testing.T, c *clock) *Store {
		return openWith(t, Config{Driver: "pgx", DSN: schemaDSN(t)}, c)
	})
}

func TestStore_PostgreSQLBehindRedis(t *testing.T) {
	addr := needed(t, "YIZHENG_TEST_REDIS_ADDR")
	conform(t, func(t *testing.T, c *clock) *Store {
		s := openWith(t, Config{Driver: "pgx", DSN: schemaDSN(t), Redis: &redis.Options{Addr: addr}}, c)
		s.key = []byte(rand.Text()) // tests share one Redis
		return s
	})
}

func TestStore_TwoGatewaysShareOneDatabase(t *testing.T) {
	dsn, addr, c := schemaDSN(t), needed(t, "YIZHENG_TEST_REDIS_ADDR"), newClock()
	key := []byte(rand.Text())
	opened := make(chan *Store, 2)
	for range 2 { // both migrate at once
		go func() {
			s, err := Open(t.Context(), Config{Driver: "pgx", DSN: dsn, DigestKey: key, Redis: &redis.Options{Addr: addr}, Now: c.Now})
			if err != nil {
				t.Error(err)
			}
			opened <- s
		}()
	}
	a, b := <-opened, <-opened
	if a == nil || b == nil {
		t.FailNow()
	}
	defer a.Close()
	defer b.Close()
	begin(t, a, admission(c, "k", "r", "E1", "t1"), "", nil)
	begin(t, b, admission(c, "k", "r", "E2", "t1"), "E1", nil)
	begin(t, b, admission(c, "k2", "r", "E2", "t1"), "", ErrReplay)
	want(t, a.ConsumeNonce(t.Context(), "n", "w", 1, c.Now().Add(time.Hour)), nil)
	want(t, b.ConsumeNonce(t.Context(), "n", "w", 2, c.Now().Add(time.Hour)), ErrReplay)
}

// A transaction that failed must not make its retry look like a replay.
func TestStore_RedisForgetsWhatTheDatabaseRefused(t *testing.T) {
	addr, c := needed(t, "YIZHENG_TEST_REDIS_ADDR"), newClock()
	s := openWith(t, Config{Driver: "pgx", DSN: schemaDSN(t), Redis: &redis.Options{Addr: addr}}, c)
	s.key = []byte(rand.Text())
	if _, err := s.db.Exec(`ALTER TABLE nonce RENAME TO nonce_gone`); err != nil {
		t.Fatal(err)
	}
	want(t, s.ConsumeNonce(t.Context(), "n", "w", 1, c.Now().Add(time.Hour)), ErrUnavailable)
	if _, err := s.db.Exec(`ALTER TABLE nonce_gone RENAME TO nonce`); err != nil {
		t.Fatal(err)
	}
	want(t, s.ConsumeNonce(t.Context(), "n", "w", 1, c.Now().Add(time.Hour)), nil)
	want(t, s.ConsumeNonce(t.Context(), "n", "w", 2, c.Now().Add(time.Hour)), ErrReplay)
}
