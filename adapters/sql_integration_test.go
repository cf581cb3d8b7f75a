//go:build integration

package adapters

import (
	"crypto/rand"
	"database/sql"
	"net/url"
	"os"
	"strings"
	"testing"

	"yizheng/catalog"
)

// postgres makes a schema with the conformance suite's table and a role that
// may only read it, and returns that role's connection string.
func postgres(t *testing.T) (dsn string, admin *sql.DB, schema string) {
	t.Helper()
	dsn = os.Getenv("YIZHENG_TEST_POSTGRES_DSN")
	if dsn == "" {
		t.Fatal("YIZHENG_TEST_POSTGRES_DSN is not set: run this tier with `make test`")
	}
	admin, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	schema = "adapter_" + strings.ToLower(rand.Text())
	password := rand.Text()
	exec := func(statement string, args ...any) {
		t.Helper()
		if _, err := admin.Exec(statement, args...); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, statement := range []string{`DROP SCHEMA IF EXISTS ` + schema + ` CASCADE`, `DROP ROLE IF EXISTS ` + schema} {
			if _, err := admin.Exec(statement); err != nil {
				t.Error(err)
			}
		}
		if err := admin.Close(); err != nil {
			t.Error(err)
		}
	})
	exec(`CREATE SCHEMA ` + schema)
	exec(`CREATE ROLE ` + schema + ` LOGIN PASSWORD '` + password + `'`)
	account := conformanceTables["account"]
	exec(`CREATE TABLE ` + schema + `.account (` + strings.Join(account.Columns, ", ") + `)`)
	for _, row := range account.Rows {
		exec(`INSERT INTO `+schema+`.account VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`, row...)
	}
	exec(`GRANT USAGE ON SCHEMA ` + schema + ` TO ` + schema)
	exec(`GRANT SELECT ON ` + schema + `.account TO ` + schema)
	u, err := url.Parse(dsn)
	if err != nil || u.Scheme == "" {
		t.Fatal("YIZHENG_TEST_POSTGRES_DSN must be a postgres:// URL")
	}
	u.User = url.UserPassword(schema, password)
	q := u.Query()
	q.Set("search_path", schema)
	u.RawQuery = q.Encode()
	return u.String(), admin, schema
}

func TestSQL_PostgreSQLConforms(t *testing.T) {
	dsn, _, _ := postgres(t)
	entry := catalog.Source{ID: "fund-pg", Answer: mappingOver(".data"), Query: catalog.Query{SQL: conformanceSQL}}
	slow, wrong := entry, entry
	slow.ID, slow.Query.SQL = "slow-pg", `SELECT pg_sleep(120)::text AS code WHERE :number <> ''`
	wrong.ID, wrong.Query.SQL = "wrong-pg", `SELECT 1; SELECT :number`
	down := newSQL(t, SQLConfig{Driver: "pgx", DSN: "postgres://u:p@" + closedPort(t) + "/x"})
	source := newSQL(t, SQLConfig{Driver: "pgx", DSNFile: write(t, t.TempDir(), "dsn", []byte(dsn+"\n"))})
	conform(t, rig{source, entry, slow, down, catalog.AuthChannel, wrong})
}

func TestSQL_PostgreSQLTypesKeepTheirValues(t *testing.T) {
	dsn, _, _ := postgres(t)
	s := newSQL(t, SQLConfig{Driver: "pgx", DSN: dsn})
	src := fundSQL(`SELECT 984.50::numeric(18,2) AS n, 12345678901234567.89::numeric AS big, 7::int AS i, true AS b, NULL::text AS z,
		date '2026-11-22' AS d, timestamp '2026-11-22 10:00:00' AS ts, timestamptz '2026-11-22 10:00:00+08' AS tz,
		'李𬸚'::varchar AS s, '{"a": 1.10}'::jsonb AS j WHERE :number <> ''`)
	src.Answer.Fields = map[string]string{"v": `[.n, .big, .i, .b, .z, .d, .ts, .tz, .s] | tojson`}
	a, err := s.Query(t.Context(), askFor(t, src, liMing))
	if err != nil {
		t.Fatal(err)
	}
	want := `[984.50,12345678901234567.89,7,true,null,"2026-11-22","2026-11-22T10:00:00+08:00","2026-11-22T10:00:00+08:00","李𬸚"]`
	if got := a.Records[0].Fields["v"]; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestSQL_PostgreSQLCannotWrite(t *testing.T) {
	dsn, admin, schema := postgres(t)
	write := fundSQL(`WITH x AS (DELETE FROM account WHERE asked <> :number RETURNING code) SELECT code AS v FROM x`)
	reader := newSQL(t, SQLConfig{Driver: "pgx", DSN: dsn})
	_, err := reader.Query(t.Context(), askFor(t, write, liMing))
	if err == nil || !strings.Contains(err.Error(), "SQLSTATE") {
		t.Errorf("a role that may only read: %v", err)
	}
	// Even an account that may write is held by the read-only transaction.
	if _, err := admin.Exec(`GRANT ALL ON ` + schema + `.account TO ` + schema); err != nil {
		t.Fatal(err)
	}
	_, err = reader.Query(t.Context(), askFor(t, write, liMing))
	if err == nil || !strings.Contains(err.Error(), "SQLSTATE 25006") {
		t.Errorf("a read-only transaction: %v", err)
	}
	var rows int
	if err := admin.QueryRow(`SELECT count(*) FROM ` + schema + `.account`).Scan(&rows); err != nil || rows != len(conformanceTables["account"].Rows) {
		t.Errorf("%d rows left, %v", rows, err)
	}
}

func TestSQL_PostgreSQLErrorsTellNoValues(t *testing.T) {
	dsn, _, _ := postgres(t)
	s := newSQL(t, SQLConfig{Driver: "pgx", DSN: dsn})
	for name, text := range map[string]string{
		"value in a cast error": `SELECT ('x' || :number::text)::int AS v`,
		"division by zero":      `SELECT 1 / length(left(:number::text, 0)) AS v`,
		"no such table":         `SELECT v FROM nowhere WHERE n = :number`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.Query(t.Context(), askFor(t, fundSQL(text), liMing))
			if err == nil {
				t.Fatal("accepted")
			}
			wantKind(t, err, nil)
		})
	}
}
