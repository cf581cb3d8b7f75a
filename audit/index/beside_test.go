package index

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// A full file and its seal stay as they are, and a write-ahead log is laid beside
// them: SQLite would read what that says in the place of what was sealed.
func TestWhatIsLaidBesideAFullFileIsNotRead(t *testing.T) {
	for name, late := range map[string]bool{"while it was closed": false, "while it is used": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := keptIndex(t)
			if !late {
				besides(t, k.dir)
			}
			s := k.open(t, false)
			wait(t, "sound", func() bool { return s.State()[0].Doubt == nil })
			if late {
				besides(t, k.dir)
			}
			for what, q := range asked {
				if same, complete := k.found(t, s, q); !same || !complete {
					t.Errorf("%s: same %v, complete %v", what, same, complete)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = k.open(t, false) // nothing of it got into the file
			wait(t, "sound", func() bool { return s.State()[0].Doubt == nil })
			if len(s.Changes()) > 0 {
				t.Errorf("%+v", s.Changes())
			}
		})
	}
}

// besides lays a write-ahead log beside the full file that takes a row out of it.
func besides(t *testing.T, dir string) {
	t.Helper()
	away := t.TempDir()
	b, err := os.ReadFile(filepath.Join(dir, full))
	if err == nil {
		err = os.WriteFile(filepath.Join(away, full), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	db, err := connect(away, full, "journal_mode(WAL)", "wal_autocheckpoint(0)")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	_, err = db.ExecContext(t.Context(), "DELETE FROM entry WHERE idx IN (13, 15)")
	b, readErr := os.ReadFile(filepath.Join(away, full+"-wal"))
	if err := errors.Join(err, readErr, os.WriteFile(filepath.Join(dir, full+"-wal"), b, 0o600), db.Close()); err != nil || len(b) == 0 {
		t.Fatal(len(b), err)
	}
}
