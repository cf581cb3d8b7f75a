package audittest_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"yizheng/audit"
	"yizheng/audit/audittest"
	"yizheng/identity/jose"
)

// What the tests of other packages rely on: the log stops at that record, and
// only the one way leaves the record on the disk.
func TestALogIsSpoiltAtTheChosenRecord(t *testing.T) {
	for _, way := range audittest.Ways() {
		t.Run(string(way), func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "audit")
			key, err := jose.GenerateKey()
			if err != nil {
				t.Fatal(err)
			}
			signer := audittest.NewSpoiler(key, dir)
			config := audit.Config{AppendTimeout: audittest.Patience, Dir: dir, Origin: "yz.test/audit/2026q4", Signer: signer, SegmentSize: 64 << 10}
			l, err := audit.OpenLog(t.Context(), config)
			if err != nil {
				t.Fatal(err)
			}
			e := audit.Entry{Open: audit.Open{Op: audit.OpAdmin}}
			signer.Spoil(2, way)
			if _, err := l.Append(t.Context(), e); err != nil || signer.Spoilt() {
				t.Fatal("the first:", err)
			}
			if _, err := l.Append(t.Context(), e); !errors.Is(err, audit.ErrPoisoned) || !signer.Spoilt() {
				t.Fatal("the second:", err)
			}
			if _, err := l.Append(t.Context(), e); !errors.Is(err, audit.ErrPoisoned) {
				t.Error("the third:", err)
			}
			if err := l.Close(); !errors.Is(err, audit.ErrPoisoned) {
				t.Error("close:", err)
			}
			if n := admin(t, config, key); (n == 2) != (way == audittest.Unacknowledged) || n == 0 {
				t.Errorf("%d of the records are on the disk", n)
			}
		})
	}
}

// admin counts the records of the test in the log as the next start finds it.
func admin(t *testing.T, config audit.Config, key audit.Signer) (n int) {
	t.Helper()
	segments, err := filepath.Glob(filepath.Join(config.Dir, "wal", "*.seg"))
	for _, name := range segments {
		err = errors.Join(err, os.Chmod(name, 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
	config.Signer = key
	l, err := audit.OpenLog(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	err = l.Read(t.Context(), 0, l.Head().Size, func(_ uint64, e audit.Stored) error {
		if e.Entry.Open.Op == audit.OpAdmin {
			n++
		}
		return nil
	})
	if err = errors.Join(err, l.Close()); err != nil {
		t.Fatal(err)
	}
	return n
}
