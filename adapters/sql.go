package adapters

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	_ "github.com/jackc/pgx/v5/stdlib" // database/sql driver "pgx"
	"github.com/sony/gobreaker/v2"
	_ "modernc.org/sqlite" // database/sql driver "sqlite"

	"yizheng/catalog"
	"yizheng/catalog/beijing"
	"yizheng/exchange"
)

// SQLConfig is one connection to a department's database or view. Give the
// account SELECT on what the catalogue asks and nothing else: the adapter's own
// read-only transactions are the second lock, not the first.
type SQLConfig struct {
	// Driver is pgx (PostgreSQL and its kin) or sqlite.
	Driver string `yaml:"driver"`
	// DSNFile holds the connection string (pgx) and is the place for one with
	// a password. DSN gives it directly; for sqlite it is the database's file.
	DSNFile string `yaml:"dsn_file"`
	DSN     string `yaml:"dsn"`
	// MaxOpen bounds connections. Default 8.
	MaxOpen int `yaml:"max_open"`
	// MaxRows bounds an answer; more is an error, not a cut. Default 1000.
	MaxRows int `yaml:"max_rows"`
	// MaxAnswer is the largest answer taken, in bytes as JSON. Default 1 MiB.
	MaxAnswer int64 `yaml:"max_answer"`
	// After BreakAfter failures to connect in a row the database counts as
	// down for BreakFor, and questions end at once. Defaults 3 and 5s.
	BreakAfter uint32           `yaml:"break_after"`
	BreakFor   catalog.Duration `yaml:"break_for"`

	// DB is an opened database to use in place of DSN; the adapter closes it.
	DB *sql.DB `yaml:"-"`
	// Now is the clock; nil means time.Now.
	Now func() time.Time `yaml:"-"`
}

// SQL is an exchange.Source of one database. An answer's JSON form, which the
// catalogue's expressions see, is
//
//	{"time": "2026-11-22T10:00:00+08:00", "data": [{"column": value, …}, …]}
//
// where time is when it was asked. Numbers are exact; dates are
// "2006-01-02"; times are RFC 3339, in Beijing time where the column has no zone.
type SQL struct {
	config  SQLConfig
	db      *sql.DB
	breaker *gobreaker.CircuitBreaker[[]byte]
	sources compiled[*sqlPlan]
}

var _ exchange.Source = (*SQL)(nil)

// sqlPlan is one source's entry made ready.
type sqlPlan struct {
	statement
	mapping *mapping
}

// NewSQL opens a pool; it connects at the first question.
func NewSQL(c SQLConfig) (*SQL, error) {
	c.MaxOpen = orDefault(c.MaxOpen, 8)
	c.MaxRows = orDefault(c.MaxRows, maxRecords)
	c.MaxAnswer = orDefault(c.MaxAnswer, 1<<20)
	c.BreakAfter = orDefault(c.BreakAfter, 3)
	c.BreakFor = orDefault(c.BreakFor, catalog.Duration(5*time.Second))
	if c.Now == nil {
		c.Now = time.Now
	}
	db := c.DB
	if db == nil {
		var err error
		if db, err = openSQL(c); err != nil {
			return nil, err
		}
	} else if c.Driver != "sqlite" && c.Driver != "pgx" {
		return nil, fmt.Errorf("sql: driver %q, want pgx or sqlite", c.Driver)
	}
	db.SetMaxOpenConns(c.MaxOpen)
	db.SetMaxIdleConns(c.MaxOpen)
	return &SQL{config: c, db: db, breaker: newBreaker("sql", c.BreakAfter, time.Duration(c.BreakFor))}, nil
}

func openSQL(c SQLConfig) (*sql.DB, error) {
	dsn := c.DSN
	if (dsn == "") == (c.DSNFile == "") {
		return nil, errors.New("sql: exactly one of dsn and dsn_file is needed")
	}
	if c.DSNFile != "" {
		b, err := os.ReadFile(c.DSNFile)
		if err != nil {
			return nil, fmt.Errorf("sql: dsn_file: %w", err)
		}
		dsn = strings.TrimSpace(string(b))
	}
	switch c.Driver {
	case "pgx":
	case "sqlite":
		abs, err := filepath.Abs(dsn)
		if err != nil {
			return nil, fmt.Errorf("sql: %w", err)
		}
		u := url.URL{Scheme: "file", OmitHost: true, Path: abs}
		dsn = u.String() + "?mode=ro&_pragma=busy_timeout(1000)&_pragma=query_only(1)"
	default:
		return nil, fmt.Errorf("sql: driver %q, want pgx or sqlite", c.Driver)
	}
	db, err := sql.Open(c.Driver, dsn)
	if err != nil {
		return nil, errors.New("sql: connection string is malformed") // the driver's words may quote it
	}
	return db, nil
}

// Close ends the connections.
func (s *SQL) Close() error { return s.db.Close() }

// Prepare checks that a source's catalogue entry can be asked here: one SELECT
// about one number, expressions that compile.
func (s *SQL) Prepare(src catalog.Source) error {
	_, err := s.sources.get(src, s.prepare)
	return err
}

func (s *SQL) prepare(src catalog.Source) (*sqlPlan, error) {
	st, err := parseStatement(src.Query.SQL)
	if err != nil {
		return nil, fmt.Errorf("%w: query.sql: %w", ErrSource, err)
	}
	m, err := compileMapping(src.Answer)
	if err != nil {
		return nil, err
	}
	return &sqlPlan{st, m}, nil
}

// Query asks about one person in one read-only transaction.
func (s *SQL) Query(ctx context.Context, ask exchange.Ask) (exchange.Answer, error) {
	plan, err := s.sources.get(ask.Source, s.prepare)
	if err != nil {
		return exchange.Answer{}, err
	}
	args := make([]any, len(plan.params))
	for i, p := range plan.params {
		if v, ok := p.of(ask.Subject); ok {
			args[i] = v // otherwise NULL, which equals nothing
		}
	}
	raw, err := s.breaker.Execute(func() ([]byte, error) { return s.ask(ctx, plan.text, args) })
	if err != nil {
		return exchange.Answer{}, fmt.Errorf("sql source %s: %w", ask.Source.ID, broken(err))
	}
	answer, err := plan.mapping.apply(ctx, raw)
	if err != nil {
		return exchange.Answer{}, fmt.Errorf("sql source %s: %w", ask.Source.ID, err)
	}
	answer.Authenticity = catalog.AuthChannel
	return answer, nil
}

func (s *SQL) ask(ctx context.Context, text string, args []any) (raw []byte, err error) {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return nil, sqlError(ctx, "connect", err, true)
	}
	defer conn.Close()
	if s.config.Driver == "sqlite" {
		if _, err := conn.ExecContext(ctx, `PRAGMA query_only = 1`); err != nil {
			return nil, sqlError(ctx, "set read-only", err, true)
		}
	}
	asked := s.config.Now()
	tx, err := conn.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, sqlError(ctx, "begin", err, true)
	}
	defer func() { _ = tx.Rollback() }() // there is nothing to commit
	rows, err := tx.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, sqlError(ctx, "query", err, errors.Is(err, driver.ErrBadConn))
	}
	defer rows.Close()
	data, err := s.collect(rows)
	if err == nil {
		err = rows.Err()
	}
	if err != nil {
		return nil, sqlError(ctx, "read rows", err, false)
	}
	raw, err = json.Marshal(map[string]any{"time": asked.In(beijing.Zone()).Format(time.RFC3339), "data": data})
	if err != nil {
		return nil, fmt.Errorf("%w: rows have no JSON form", ErrAnswer)
	}
	if int64(len(raw)) > s.config.MaxAnswer {
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrAnswer, s.config.MaxAnswer)
	}
	return raw, nil
}

func (s *SQL) collect(rows *sql.Rows) ([]map[string]any, error) {
	columns, err := rows.ColumnTypes()
	if err != nil {
		return nil, err
	}
	data := []map[string]any{} // no rows is [], not null
	cells, pointers := make([]any, len(columns)), make([]any, len(columns))
	for i := range cells {
		pointers[i] = &cells[i]
	}
	for i, c := range columns {
		for _, other := range columns[:i] {
			if c.Name() == other.Name() {
				return nil, fmt.Errorf("%w: two columns named %s", ErrAnswer, c.Name())
			}
		}
	}
	for rows.Next() {
		if len(data) == s.config.MaxRows {
			return nil, fmt.Errorf("%w: more than %d rows", ErrAnswer, s.config.MaxRows)
		}
		if err := rows.Scan(pointers...); err != nil {
			return nil, err
		}
		row := make(map[string]any, len(columns))
		for i, column := range columns {
			if row[column.Name()], err = cell(cells[i], column.DatabaseTypeName()); err != nil {
				return nil, fmt.Errorf("column %s: %w", column.Name(), err)
			}
		}
		data = append(data, row)
	}
	return data, nil
}

// sqlError keeps of a driver's error only what cannot hold a value: whose
// words they are and PostgreSQL's SQLSTATE.
func sqlError(ctx context.Context, what string, err error, connecting bool) error {
	if errors.Is(err, ErrAnswer) {
		return err
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s: no answer in time: %w", what, ctx.Err())
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		what = fmt.Sprintf("%s: SQLSTATE %s", what, pg.Code)
	}
	if connecting {
		return fmt.Errorf("%w: %s failed", exchange.ErrUnreachable, what)
	}
	return fmt.Errorf("%s failed", what)
}
