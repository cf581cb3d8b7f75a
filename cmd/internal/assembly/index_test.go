package assembly

import (
	"database/sql"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/audit/index"
	"yizheng/identity/jose"
)

// Somebody takes a row out of the index while the gateway is down.
func TestAnIndexThatWasChangedRaisesAnAlarmInTheLog(t *testing.T) {
	key, err := jose.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	log, err := audit.OpenLog(t.Context(), audit.Config{Dir: filepath.Join(dir, "2026q4"), Origin: "gw1.example.gov.cn/audit/2026q4", Signer: key, SegmentSize: 64 << 10, MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	conf := AuditConfig{Dir: dir, Index: filepath.Join(t.TempDir(), "index")}
	open := func() *index.Shards {
		return OpenIndex(conf, NewArchives(dir, key.Public()), key, log, slog.New(slog.DiscardHandler))
	}
	wait := func(done func() bool) {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("not in time")
			}
		}
	}
	x := open()
	wait(func() bool {
		st := x.State()[0]
		return st.Err == nil && st.Doubt == nil && st.Indexed == st.Size
	})
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	live := filepath.Join(conf.Index, "2026q4", "live.db")
	if _, err := os.Stat(live); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", live)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), "UPDATE entry SET op = NULL"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	x = open()
	defer x.Close()
	wait(func() bool {
		found := false
		r := log.NewReader(0)
		defer r.Close()
		_, err := r.Next(t.Context(), func(s audit.Stored) error {
			found = found || s.Entry.Open.Op == audit.OpAlarm && s.Entry.Open.Outcome == "INDEX_CHANGED" && s.Entry.Closed.Object == "index/2026q4/live.db"
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return found
	})
}
