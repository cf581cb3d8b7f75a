package seal

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestReloadStatus_ASuspensionHoldsFromTheNextSignatureOn(t *testing.T) {
	c := newCity(t)
	trust := c.trust()
	r := c.registry(RegistryOptions{Trust: trust})
	check := func(want error) {
		t.Helper()
		if err := r.Check(t.Context(), "mz", signed); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	list := func(number uint64, issued time.Time, events ...Event) {
		c.write("seals-status.json", c.ok2(SignStatusList(c.maker, StatusList{Number: number, Issued: issued, Next: now.AddDate(0, 0, 1), Events: events})))
	}
	check(nil)
	list(1, born.AddDate(0, 1, 0))
	c.ok(trust.ReloadStatus())
	check(nil)
	list(2, born.AddDate(0, 1, 0), Event{esid, Suspended, born.AddDate(0, 0, 1), ""})
	c.ok(trust.ReloadStatus())
	check(ErrSealNotValid)

	list(1, born.AddDate(0, 1, 1)) // a later time of issue does not help an older number
	if err := trust.ReloadStatus(); !errors.Is(err, ErrListWentBack) {
		t.Errorf("an older list: %v", err)
	}
	check(ErrSealNotValid)
	c.ok(os.Remove(filepath.Join(c.trustDir, "seals-status.json")))
	if err := trust.ReloadStatus(); !errors.Is(err, ErrListWentBack) {
		t.Errorf("no list any more: %v", err)
	}
	check(ErrSealNotValid)
	c.write("seals-status.json", []byte("{}"))
	if err := trust.ReloadStatus(); !errors.Is(err, ErrMaterial) {
		t.Errorf("a list that is none: %v", err)
	}
	check(ErrSealNotValid)
	list(3, born.AddDate(0, 1, 2), Event{esid, Suspended, born.AddDate(0, 0, 1), ""}, Event{esid, Issued, born.AddDate(0, 0, 2), ""})
	c.ok(trust.ReloadStatus())
	check(nil)
}

func TestRegistry_AReloadNeverDelaysASignature(t *testing.T) {
	c := newCity(t)
	r := c.registry(RegistryOptions{})
	opened := r.held()["mz"].key
	c.ok(os.WriteFile(filepath.Join(c.dir, "mz", statusName), []byte(`{"state":"suspended","since":"2026-02-01T00:00:00Z"}`), 0o600))
	c.ok(r.Reload())
	if err := r.Check(t.Context(), "mz", signed); !errors.Is(err, ErrSealNotValid) {
		t.Errorf("suspended: %v", err)
	}
	if r.held()["mz"].key != opened {
		t.Error("a key that has not changed was opened again")
	}
	c.ok(os.WriteFile(filepath.Join(c.dir, "mz", sealFile), []byte("x"), 0o600))
	if err := r.Reload(); !errors.Is(err, ErrMaterial) {
		t.Errorf("a seal that is none: %v", err)
	}
	if err := r.Check(t.Context(), "mz", signed); !errors.Is(err, ErrSealNotValid) {
		t.Errorf("a faulty seal: %v", err)
	}
}
