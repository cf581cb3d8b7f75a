// Package store remembers what must not happen twice, and keeps encrypted
// answers until their caller fetches them.
//
// It holds six things, each with an expiry: nonces of card reads (with the
// last sequence number of every read agent), admissions of exchanges
// (idempotency), spent subject tokens, results, deferrals, and numbers of manual
// checks. Results are ciphertext that only the caller's reply key opens. What
// gateways need to show an exchange, or to finish a deferred part of it, is
// ciphertext under the fleet's keys, which are not in the database either and
// are destroyed soon after; nothing else about a request is kept, and what a
// caller chose freely (idempotency keys, token ids, nonces) is kept only as an
// HMAC-SM3 under a key that is not in the database. No identifier of a resident
// is ever passed in.
//
// The SQL database is the authority: SQLite for one machine, PostgreSQL for
// several gateways. Redis, when configured, stands in front of it and turns
// away a replay early; it never admits anything by itself. When the database
// or a configured Redis cannot answer, calls fail with ErrUnavailable and
// nothing is admitted.
package store

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"database/sql"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/emmansun/gmsm/sm3"
	_ "github.com/jackc/pgx/v5/stdlib" // database/sql driver "pgx"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	"github.com/redis/go-redis/v9"
	_ "modernc.org/sqlite" // database/sql driver "sqlite"
)

// Errors on which a caller branches. Everything else that goes wrong is
// wrapped in ErrUnavailable: nothing was admitted, and trying again is safe.
var (
	ErrReplay      = errors.New("store: already used")
	ErrKeyReuse    = errors.New("store: idempotency key used with another request")
	ErrNotFound    = errors.New("store: no such result")
	ErrSuperseded  = errors.New("store: another process has it now")
	ErrUnavailable = errors.New("store: unavailable")
	ErrArgument    = errors.New("store: argument refused")
)

// Memory is the DSN of a SQLite database that lives only in this process.
const Memory = ":memory:"

const (
	callTimeout = 5 * time.Second // of one call, if its context allows more
	maxSealed   = 32 << 20        // bytes of one stored part
	maxID       = 256             // bytes of an exchange number, part, caller, workstation
)

//go:embed migrations/*.sql
var migrations embed.FS

// Config says where the store lives.
type Config struct {
	// Driver is "sqlite" or "pgx" (PostgreSQL).
	Driver string
	// DSN is a file path or ":memory:" for sqlite, a connection string or URL
	// for pgx. A SQLite file is created with mode 0600.
	DSN string
	// DigestKey keys the digests that are stored, at least 16 bytes. All
	// gateways of one database share it; it is kept apart from the database.
	// It may be empty only with ":memory:", which then draws its own.
	DigestKey []byte
	// Redis is the optional fast path. Timeouts, retries and pool waits are
	// overruled so that a dead server costs at most 250 ms.
	Redis *redis.Options
	// MaxOpen bounds connections to PostgreSQL; 0 means 16. SQLite has one.
	MaxOpen int
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Store is safe for use by many goroutines.
type Store struct {
	db   *sql.DB
	key  []byte
	fast *fastPath // nil without Redis
	now  func() time.Time
}

// Open connects and brings the schema up to date. Several gateways may open
// the same PostgreSQL database at once. Redis is not contacted: that it is
// down must not stop a gateway from starting and saying so.
func Open(ctx context.Context, c Config) (*Store, error) {
	s := &Store{key: c.DigestKey, now: c.Now}
	if s.now == nil {
		s.now = time.Now
	}
	if len(s.key) == 0 && c.Driver == "sqlite" && c.DSN == Memory {
		s.key = make([]byte, 32)
		if _, err := rand.Read(s.key); err != nil {
			return nil, fmt.Errorf("store: digest key: %w", err)
		}
	}
	if len(s.key) < 16 {
		return nil, fmt.Errorf("%w: DigestKey needs at least 16 bytes, it has %d", ErrArgument, len(s.key))
	}
	db, dialect, err := openDB(c)
	if err != nil {
		return nil, err
	}
	if err := migrate(ctx, db, dialect); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	s.db = db
	if c.Redis != nil {
		s.fast = newFastPath(c.Redis)
	}
	return s, nil
}

// Close releases the connections.
func (s *Store) Close() error {
	err := s.db.Close()
	if s.fast != nil {
		err = errors.Join(err, s.fast.client.Close())
	}
	return err
}

// Ping reports whether the database, and Redis if configured, answer.
func (s *Store) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := s.db.PingContext(ctx); err != nil {
		return unavailable("ping database", err)
	}
	if s.fast != nil {
		return s.fast.ping(ctx)
	}
	return nil
}

// Purge removes what expired at or before now and returns how many rows went.
// Sequence numbers of read agents never expire.
func (s *Store) Purge(ctx context.Context, now time.Time) (int64, error) {
	var total int64
	for _, statement := range [...]string{
		`DELETE FROM nonce WHERE expires <= $1`,
		`DELETE FROM spent_token WHERE expires <= $1`,
		`DELETE FROM admission WHERE expires <= $1`,
		`DELETE FROM result WHERE expires <= $1`,
		`DELETE FROM deferral WHERE expires <= $1`,
		`DELETE FROM deferred_answer WHERE expires <= $1`,
		`DELETE FROM manual WHERE expires <= $1`,
	} {
		res, err := s.db.ExecContext(ctx, statement, now.UnixMilli())
		if err != nil {
			return total, unavailable("purge", err)
		}
		n, err := res.RowsAffected()
		if err != nil {
			return total, unavailable("purge", err)
		}
		total += n
	}
	return total, nil
}

func openDB(c Config) (*sql.DB, goose.Dialect, error) {
	switch c.Driver {
	case "sqlite":
		dsn, err := sqliteDSN(c.DSN)
		if err != nil {
			return nil, "", err
		}
		db, err := sql.Open("sqlite", dsn)
		if err != nil {
			return nil, "", fmt.Errorf("store: open sqlite: %w", err)
		}
		// SQLite has one writer anyway, and a memory database is its connection.
		db.SetMaxOpenConns(1)
		db.SetConnMaxLifetime(0)
		return db, goose.DialectSQLite3, nil
	case "pgx":
		db, err := sql.Open("pgx", c.DSN)
		if err != nil {
			return nil, "", fmt.Errorf("store: open postgresql: %w", err)
		}
		db.SetMaxOpenConns(c.MaxOpen)
		if c.MaxOpen == 0 {
			db.SetMaxOpenConns(16)
		}
		db.SetMaxIdleConns(8)
		return db, goose.DialectPostgres, nil
	}
	return nil, "", fmt.Errorf("%w: driver %q, want sqlite or pgx", ErrArgument, c.Driver)
}

// sqliteDSN makes the file, so that no moment exists in which others can read
// it (SQLite gives -wal and -shm the mode of the database), and names the
// pragmas each connection starts with.
func sqliteDSN(path string) (string, error) {
	const pragmas = "_txlock=immediate&_pragma=busy_timeout(2000)&_pragma=secure_delete(1)"
	if path == Memory {
		return "file::memory:?" + pragmas, nil
	}
	if path == "" {
		return "", fmt.Errorf("%w: no SQLite file named", ErrArgument)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("store: %w", err)
	}
	f, err := os.OpenFile(abs, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", fmt.Errorf("store: create database: %w", err)
	}
	if err := errors.Join(f.Chmod(0o600), f.Close()); err != nil {
		return "", fmt.Errorf("store: create database: %w", err)
	}
	u := url.URL{Scheme: "file", OmitHost: true, Path: abs}
	return u.String() + "?" + pragmas + "&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)", nil
}

func migrate(ctx context.Context, db *sql.DB, dialect goose.Dialect) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("store: migrations: %w", err)
	}
	options := []goose.ProviderOption{goose.WithDisableGlobalRegistry(true)}
	if dialect == goose.DialectPostgres {
		locker, err := lock.NewPostgresSessionLocker()
		if err != nil {
			return fmt.Errorf("store: migration lock: %w", err)
		}
		options = append(options, goose.WithSessionLocker(locker))
	}
	provider, err := goose.NewProvider(dialect, db, files, options...)
	if err != nil {
		return fmt.Errorf("store: migrations: %w", err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return unavailable("migrate", err)
	}
	return nil
}

// digest separates its uses by domain, and its parts by their lengths.
func (s *Store) digest(domain string, parts ...string) string {
	h := hmac.New(sm3.New, s.key)
	for _, p := range append([]string{domain}, parts...) {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func unavailable(what string, err error) error {
	return fmt.Errorf("%w: %s: %w", ErrUnavailable, what, err)
}

// checkID refuses identifiers that are empty or absurdly long.
func checkID(what, id string) error {
	if id == "" || len(id) > maxID {
		return fmt.Errorf("%w: %s has %d bytes, want 1 to %d", ErrArgument, what, len(id), maxID)
	}
	return nil
}
