package adapters

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"yizheng/catalog"
	"yizheng/deploy/simulators/localdb"
	"yizheng/deploy/simulators/systems"
)

func memory(t *testing.T, c SQLConfig) *SQL {
	t.Helper()
	db, err := localdb.LoadMemory(t.Context(), "fund", systems.Database{Tables: conformanceTables})
	if err != nil {
		t.Fatal(err)
	}
	c.Driver, c.DB = "sqlite", db
	return newSQL(t, c)
}

func fundSQL(text string) catalog.Source {
	return catalog.Source{ID: "fund", Query: catalog.Query{SQL: text}, Answer: catalog.Mapping{
		NotFoundWhen: ".data == []", FoundWhen: "true", Records: ".data", DataTime: ".time", Fields: map[string]string{"v": ".v"}}}
}

func TestSQL_TimeOfAskingIsTheDataTime(t *testing.T) {
	now := time.Date(2026, 11, 22, 2, 0, 0, 0, time.UTC)
	s := memory(t, SQLConfig{Now: func() time.Time { return now }})
	a, err := s.Query(t.Context(), askFor(t, fundSQL(`SELECT je AS v FROM account WHERE asked = :number`), liMing))
	if err != nil || !a.DataTime.Equal(now) {
		t.Errorf("%v, %v", a.DataTime, err)
	}
}

func TestSQL_OldNumberFindsOldRowsAndIsNullForTheYoung(t *testing.T) {
	s := memory(t, SQLConfig{})
	src := fundSQL(`SELECT :number15 AS v WHERE :number <> ''`)
	for number, want := range map[string]any{liMing: "690102850312001", "69010420000704001X": nil} {
		a, err := s.Query(t.Context(), askFor(t, src, number))
		if err != nil || a.Records[0].Fields["v"] != want {
			t.Errorf("%v", err)
		}
	}
}

func TestSQL_ParametersAreNeverText(t *testing.T) {
	s := memory(t, SQLConfig{})
	ask := askFor(t, fundSQL(`SELECT :name AS v FROM account WHERE asked = :number`), liMing)
	ask.Subject.Name = person(t, liMing, `'; DROP TABLE account; --`).Name
	a, err := s.Query(t.Context(), ask)
	if err != nil || a.Records[0].Fields["v"] != ask.Subject.Name.Reveal() {
		t.Errorf("%v", err)
	}
}

func TestSQL_WritesAreImpossible(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fund.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`CREATE TABLE account (n TEXT); INSERT INTO account VALUES ('1')`); err != nil {
		t.Fatal(err)
	}
	given, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]*SQL{
		"by path":        newSQL(t, SQLConfig{Driver: "sqlite", DSN: path}),
		"given database": newSQL(t, SQLConfig{Driver: "sqlite", DB: given}),
	} {
		// WITH may introduce a write in SQLite; the parser cannot tell.
		src := fundSQL(`WITH x AS (SELECT 1) DELETE FROM account WHERE n <> :number`)
		if _, err := s.Query(t.Context(), askFor(t, src, liMing)); err == nil {
			t.Errorf("%s: a write was accepted", name)
		}
	}
	var rows int
	if err := db.QueryRow(`SELECT count(*) FROM account`).Scan(&rows); err != nil || rows != 1 {
		t.Errorf("%d rows left, %v", rows, err)
	}
}

func TestSQL_BadResultsAreErrors(t *testing.T) {
	s := memory(t, SQLConfig{MaxRows: 5, MaxAnswer: 1000})
	for name, test := range map[string]struct {
		sql  string
		kind error
	}{
		"too many rows":       {`SELECT a.je AS v FROM account a, account b WHERE :number <> ''`, ErrAnswer},
		"too large":           {`SELECT hex(zeroblob(1000)) AS v WHERE :number <> ''`, ErrAnswer},
		"blob":                {`SELECT x'ff00' AS v WHERE :number <> ''`, ErrAnswer},
		"two columns as one":  {`SELECT je, code AS je FROM account WHERE asked = :number`, ErrAnswer},
		"no such table":       {`SELECT v FROM nowhere WHERE n = :number`, nil},
		"quotes what it got":  {`SELECT json_extract(:number || '{', '$') AS v`, nil},
		"not a SELECT at all": {`PRAGMA table_list`, ErrSource},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.Query(t.Context(), askFor(t, fundSQL(test.sql), liMing))
			if err == nil {
				t.Fatal("accepted")
			}
			wantKind(t, err, test.kind)
		})
	}
}

func TestSQL_WaitingForAConnectionEndsWithTheDeadline(t *testing.T) {
	s := memory(t, SQLConfig{MaxOpen: 1})
	held, err := s.db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	_, err = s.Query(ctx, askFor(t, fundSQL(`SELECT 1 AS v WHERE :number <> ''`), liMing))
	wantKind(t, err, context.DeadlineExceeded)
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Query(t.Context(), askFor(t, fundSQL(`SELECT 1 AS v WHERE :number <> ''`), liMing)); err != nil {
		t.Error(err)
	}
}

func TestNewSQL_RefusesConfigurations(t *testing.T) {
	for name, c := range map[string]SQLConfig{
		"no place":        {Driver: "pgx"},
		"two places":      {Driver: "pgx", DSN: "a", DSNFile: "b"},
		"no such file":    {Driver: "pgx", DSNFile: filepath.Join(t.TempDir(), "dsn")},
		"unknown driver":  {Driver: "mysql", DSN: "a"},
		"driver of given": {DB: new(sql.DB)},
	} {
		t.Run(name, func(t *testing.T) {
			if s, err := NewSQL(c); err == nil {
				t.Error(errors.Join(errors.New("accepted"), s.Close()))
			}
		})
	}
	if s, err := NewSQL(SQLConfig{Driver: "pgx", DSN: "postgres://a:secret@[::1"}); err == nil {
		_, err = s.Query(t.Context(), askFor(t, fundSQL(`SELECT 1 WHERE :number <> ''`), liMing))
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("error tells the password: %v", err)
		}
	} else if strings.Contains(err.Error(), "secret") {
		t.Errorf("error tells the password: %v", err)
	}
}
