package fleet

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"yizheng/identity/jose"
)

func open(t *testing.T, dir string) *Keys {
	t.Helper()
	k, err := Open(Config{Dir: dir, Keep: 72 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func current(t *testing.T, k *Keys, now time.Time) *jose.Key {
	t.Helper()
	key, err := k.Current(now)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func TestGatewaysThatNeedTodaysKeyAtOnceGetTheSame(t *testing.T) {
	dir := t.TempDir()
	ids := make(chan string, 8)
	var wg sync.WaitGroup
	for range cap(ids) {
		k := open(t, dir)
		wg.Go(func() {
			key, err := k.Current(noon)
			if err != nil {
				t.Error(err)
				return
			}
			ids <- key.ID()
		})
	}
	wg.Wait()
	close(ids)
	first := <-ids
	for id := range ids {
		if id != first {
			t.Fatal("two gateways have different keys for one day")
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 || files[0].Name() != "2026-11-22.pem" {
		t.Errorf("%v, %v", files, err)
	}
	if info, _ := files[0].Info(); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
}

func TestWhatOneGatewaySealsAnotherOpens(t *testing.T) {
	dir := t.TempDir()
	a, b := open(t, dir), open(t, dir) // b has read the directory before a makes a key
	token, err := a.Seal(noon, "test+jwe", []byte("state"))
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := b.Open("test+jwe", token); err != nil || string(plain) != "state" {
		t.Errorf("%q, %v", plain, err)
	}
	if _, err := b.Open("other+jwe", token); err == nil {
		t.Error("opened as something else")
	}
	if _, err := InMemory().Open("test+jwe", token); err == nil {
		t.Error("opened without the key")
	}
}

func TestAKeyGoesWhenItsLastUseIsOver(t *testing.T) {
	dir := t.TempDir()
	k := open(t, dir)
	old, next := current(t, k, noon), current(t, k, noon.Add(24*time.Hour))
	if old.ID() == next.ID() {
		t.Fatal("the same key on two days")
	}
	for _, step := range []struct {
		after     time.Duration
		old, next bool
	}{{100 * time.Hour, true, true}, {108 * time.Hour, false, true}, {132 * time.Hour, false, false}} {
		if err := k.Sweep(noon.Add(step.after)); err != nil {
			t.Fatal(err)
		}
		again := open(t, dir)
		if (again.Find(old.ID()) != nil) != step.old || (again.Find(next.ID()) != nil) != step.next || (k.Find(old.ID()) != nil) != step.old {
			t.Errorf("after %v: %+v does not hold", step.after, step)
		}
	}
}

func TestKeysAreProtectedByThePassphrase(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(t.TempDir(), "passphrase")
	if err := os.WriteFile(secret, []byte("correct horse\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	k, err := Open(Config{Dir: dir, Passphrase: secret, Keep: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	key := current(t, k, noon)
	if ok, err := jose.IsProtected(filepath.Join(dir, "2026-11-22.pem")); err != nil || !ok {
		t.Fatalf("%v, %v", ok, err)
	}
	if again, err := Open(Config{Dir: dir, Passphrase: secret, Keep: time.Hour}); err != nil || again.Find(key.ID()) == nil {
		t.Errorf("not read back: %v", err)
	}
	if _, err := Open(Config{Dir: dir, Keep: time.Hour}); err == nil {
		t.Error("opened without the passphrase")
	}
}
