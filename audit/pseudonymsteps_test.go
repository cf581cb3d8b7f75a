package audit

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// forget makes a Pseudonyms look at its directory again at once.
func (p *Pseudonyms) forget() { p.looked = time.Time{} }

func TestDestroyedKeysNameNobodyAnyMore(t *testing.T) {
	dir, wrap := filepath.Join(t.TempDir(), "keys"), newWrap(t)
	p, other := openProtected(t, dir, wrap), openProtected(t, dir, wrap)
	old, present := named(t, p, noon.AddDate(-3, 0, 0)), named(t, p, noon)
	saved, err := os.ReadFile(filepath.Join(dir, "idno-2023q4.key"))
	if err != nil {
		t.Fatal(err)
	}
	if got := known(t, p, "2023q4", "2026q4").Subjects; !slices.Equal(got, []SubjectRef{old, present}) {
		t.Fatalf("before: %v", got)
	}
	done, err := p.Destroy(KeyStep{Epoch: "2023q4", Reason: "RETENTION", By: []string{"a", "b"}, At: noon})
	if err != nil || done.Before == done.After || done.Action != KeyDestroy {
		t.Fatalf("%+v %v", done, err)
	}
	// A backup brings the file back.
	if err := os.WriteFile(filepath.Join(dir, "idno-2023q4.key"), saved, 0o600); err != nil {
		t.Fatal(err)
	}
	p.forget()
	other.forget()
	for name, k := range map[string]*Pseudonyms{"the same process": p, "another": other, "a new one": openProtected(t, dir, wrap)} {
		got := known(t, k, "2023q4", "2026q4")
		if !slices.Equal(got.Subjects, []SubjectRef{present}) || !slices.Equal(got.Destroyed, []string{"2023q4"}) {
			t.Errorf("%s: %+v", name, got)
		}
		if _, err := k.Of("111", someNumber, noon.AddDate(-3, 0, 0)); !errors.Is(err, ErrKeysDestroyed) {
			t.Errorf("%s: keyed again: %v", name, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "idno-2023q4.key")); !errors.Is(err, os.ErrNotExist) {
		t.Error("what a backup brought back is still there after a start")
	}
	if _, err := p.Destroy(KeyStep{Epoch: "2023q4"}); !errors.Is(err, ErrKeyStep) {
		t.Errorf("twice: %v", err)
	}
	if steps, err := p.Steps(); err != nil || len(steps) != 1 || steps[0].Before != done.Before || steps[0].After != done.After {
		t.Errorf("steps %+v, %v", steps, err)
	}
}

func TestRotationOpensAnotherEpochAndFindsAll(t *testing.T) {
	p := openPseudonyms(t, filepath.Join(t.TempDir(), "keys"))
	refs := []SubjectRef{named(t, p, noon)}
	for _, want := range []string{"2026q4-2", "2026q4-3"} {
		s, err := p.Rotate(KeyStep{Reason: "COMPROMISED", By: []string{"a"}}, noon)
		if err != nil || s.Epoch != want || s.Compromised != refs[len(refs)-1].Epoch {
			t.Fatalf("%+v %v", s, err)
		}
		p.forget()
		refs = append(refs, named(t, p, noon))
	}
	if refs[1].Epoch != "2026q4-2" || refs[0].P == refs[1].P || refs[1].P == refs[2].P {
		t.Errorf("named %v", refs)
	}
	if got := known(t, p, "2026q4").Subjects; !slices.Equal(got, refs) {
		t.Errorf("known as %v, want all of %v", got, refs)
	}
	if next := named(t, p, noon.AddDate(0, 3, 0)); next.Epoch != "2027q1" {
		t.Errorf("the next quarter is %s", next.Epoch)
	}
	for range maxEpochs - 3 {
		if _, err := p.Rotate(KeyStep{}, noon); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Rotate(KeyStep{}, noon); !errors.Is(err, ErrKeyStep) {
		t.Errorf("a tenth epoch: %v", err)
	}
	if _, err := p.Destroy(KeyStep{Epoch: "2026q4"}); err != nil {
		t.Fatal(err)
	}
	if got := known(t, p, "2026q4"); len(got.Subjects) > 0 || len(got.Destroyed) != 1 {
		t.Errorf("after its end the quarter has %+v", got)
	}
}

func TestEpochQuarter(t *testing.T) {
	for epoch, want := range map[string]string{"2026q4": "2026q4", "2026q4-2": "2026q4", "2026q4-1": "", "2026q5": "", "2026q4-10": "", "": "", "x2026q4": ""} {
		if got := EpochQuarter(epoch); got != want {
			t.Errorf("%q is of %q, want %q", epoch, got, want)
		}
	}
}
