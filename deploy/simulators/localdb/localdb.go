// Package localdb makes a department's database for the demo and for tests: a
// SQLite database that exists only in this process's memory, filled with what
// package systems has read. Nothing is written to disk, not even temporary
// files. It is no part of a production gateway.
package localdb

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	_ "modernc.org/sqlite" // database/sql driver "sqlite"

	"yizheng/catalog/beijing"
	"yizheng/deploy/simulators/systems"
)

// LoadMemory makes a database that all connections of the returned pool share
// and can only read. It lasts until the pool is closed. The text "{now}" in a row
// stands for the time of loading, Beijing, YYYYMMDDhhmmss.
func LoadMemory(ctx context.Context, name string, d systems.Database) (*sql.DB, error) {
	if !plainName.MatchString(name) {
		return nil, fmt.Errorf("localdb: %q is not a plain name", name)
	}
	// memdb is SQLite's own memory file system: one database per name and
	// process, there while a connection is open. Those of a pool come and go, so
	// one is kept beside it. The suffix keeps two databases apart.
	dsn := "file:/" + name + "-" + rand.Text() + "?vfs=memdb&_pragma=temp_store(2)"
	writer, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("localdb: %w", err)
	}
	defer writer.Close()
	writer.SetMaxOpenConns(1)
	if err := fill(ctx, writer, d.Tables); err != nil {
		return nil, err
	}
	anchor, err := writer.Driver().Open(dsn)
	if err != nil {
		return nil, fmt.Errorf("localdb: %w", err)
	}
	return sql.OpenDB(connector{writer.Driver(), dsn + "&_pragma=query_only(1)", d.Slow, anchor}), nil
}

var (
	plainName  = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]*$`)
	plainTable = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)
	plainDef   = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*( [A-Z]+(\([0-9, ]+\))?)?$`)
)

// fill creates the tables. Its errors name tables and row numbers, never values.
func fill(ctx context.Context, db *sql.DB, tables map[string]systems.Table) error {
	now := time.Now().In(beijing.Zone()).Format("20060102150405")
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("localdb: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // after Commit this does nothing
	for _, name := range slices.Sorted(maps.Keys(tables)) {
		t := tables[name]
		if !plainTable.MatchString(name) || len(t.Columns) == 0 {
			return fmt.Errorf("localdb: table %q: want a plain name and columns", name)
		}
		for _, c := range t.Columns {
			if !plainDef.MatchString(c) {
				return fmt.Errorf("localdb: table %s: column definition %q", name, c)
			}
		}
		if _, err := tx.ExecContext(ctx, "CREATE TABLE "+name+" ("+strings.Join(t.Columns, ", ")+")"); err != nil {
			return fmt.Errorf("localdb: table %s cannot be created", name)
		}
		insert := "INSERT INTO " + name + " VALUES (?" + strings.Repeat(", ?", len(t.Columns)-1) + ")"
		for i, row := range t.Rows {
			if len(row) != len(t.Columns) {
				return fmt.Errorf("localdb: table %s, row %d: %d values for %d columns", name, i+1, len(row), len(t.Columns))
			}
			values := slices.Clone(row)
			for j, v := range values {
				if s, ok := v.(string); ok {
					values[j] = strings.ReplaceAll(s, "{now}", now)
				}
			}
			if _, err := tx.ExecContext(ctx, insert, values...); err != nil {
				return fmt.Errorf("localdb: table %s, row %d cannot be stored", name, i+1)
			}
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("localdb: %w", err)
	}
	return nil
}
