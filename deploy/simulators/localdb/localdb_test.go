package localdb

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"yizheng/deploy/simulators/systems"
)

var sample = map[string]systems.Table{
	"refreshed": {Columns: []string{"sjsj TEXT"}, Rows: [][]any{{"{now}"}}},
	"account":   {Columns: []string{"zjhm TEXT", "balance REAL", "note TEXT"}, Rows: [][]any{{"690102198503120016", 12.5, nil}}},
}

func TestLoadMemory_SharedByConnectionsAndReadOnly(t *testing.T) {
	db, err := LoadMemory(t.Context(), "fund", systems.Database{Tables: sample})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			var n int
			var time string
			err := db.QueryRow(`SELECT count(*), max(sjsj) FROM account JOIN refreshed`).Scan(&n, &time)
			if err != nil || n != 1 || len(time) != 14 {
				t.Errorf("%d rows, time %q, %v", n, time, err)
			}
		})
	}
	wg.Wait()
	if _, err := db.Exec(`DELETE FROM account`); err == nil {
		t.Error("rows could be deleted")
	}
}

func TestLoadMemory_LastsWhenAllConnectionsOfThePoolAreClosed(t *testing.T) {
	db, err := LoadMemory(t.Context(), "fund", systems.Database{Tables: sample})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxIdleConns(-1)
	for range 2 {
		var n int
		if err := db.QueryRow(`SELECT count(*) FROM account`).Scan(&n); err != nil || n != 1 {
			t.Errorf("%d rows, %v", n, err)
		}
	}
}

func TestLoadMemory_SameNameTwiceIsTwoDatabases(t *testing.T) {
	a, err := LoadMemory(t.Context(), "fund", systems.Database{Tables: sample})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := LoadMemory(t.Context(), "fund", systems.Database{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if _, err := b.Exec(`SELECT 1 FROM account`); err == nil {
		t.Error("one database sees the other's tables")
	}
}

func TestLoadMemory_RefusesWhatIsNotATable(t *testing.T) {
	for name, tables := range map[string]map[string]systems.Table{
		"injected column": {"a": {Columns: []string{"x TEXT); DROP TABLE b; --"}}},
		"injected table":  {"a; b": {Columns: []string{"x TEXT"}}},
		"short row":       {"a": {Columns: []string{"x TEXT", "y TEXT"}, Rows: [][]any{{"690102198503120016"}}}},
		"no columns":      {"a": {}},
	} {
		t.Run(name, func(t *testing.T) {
			db, err := LoadMemory(t.Context(), "fund", systems.Database{Tables: tables})
			if err == nil {
				db.Close()
				t.Fatal("accepted")
			}
			if strings.Contains(err.Error(), "690102198503120016") {
				t.Errorf("error tells a value: %v", err)
			}
		})
	}
}

func TestLoadMemory_DemoCityLoads(t *testing.T) {
	city, err := systems.Read(filepath.Join("..", "..", "..", "configs", "demo", "systems"))
	if err != nil {
		t.Fatal(err)
	}
	if len(city.Databases) == 0 {
		t.Fatal("no connections")
	}
	for name, d := range city.Databases {
		db, err := LoadMemory(t.Context(), name, d)
		if err != nil {
			t.Fatal(err)
		}
		db.Close()
	}
}

func TestLoadMemory_SlowNumbersTakeTheirTime(t *testing.T) {
	db, err := LoadMemory(t.Context(), "fund", systems.Database{Tables: sample, Slow: map[string]time.Duration{"69010219700101004X": 30 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	took := func(ctx context.Context, number string) (time.Duration, error) {
		began, n := time.Now(), 0
		err := db.QueryRowContext(ctx, `SELECT count(*) FROM account WHERE zjhm = :number`, sql.Named("number", number)).Scan(&n)
		return time.Since(began), err
	}
	if d, err := took(t.Context(), "69010219700101004X"); err != nil || d < 30*time.Millisecond {
		t.Errorf("slow one took %v, %v", d, err)
	}
	if d, err := took(t.Context(), "690102198503120016"); err != nil || d > 25*time.Millisecond {
		t.Errorf("any other took %v, %v", d, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := took(ctx, "69010219700101004X"); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
}
