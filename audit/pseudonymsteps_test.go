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

// believing follows every step; who signs is package pseudod's.
func believing(t *testing.T, p *Pseudonyms) *Pseudonyms {
	t.Helper()
	if err := p.Believe(func(KeyStep) error { return nil }); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAStepThatNobodyProvesIsNotFollowed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	p := believing(t, openPseudonyms(t, dir))
	named(t, p, noon.AddDate(-1, 0, 0))
	name := filepath.Join(dir, "2025q4.destroyed")
	for text, believed := range map[string]bool{
		`{"action":"destroy","epoch":"2025q4","by":["a","b"],"statements":["nobody signed this"]}`: false,
		`{"action":"destroy","epoch":"2025q3"}`:                                                    true, // another than its name says
		`{"action":"rotate","epoch":"2025q4"}`:                                                     true,
		`{`:                                                                                        true,
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, k := range []*Pseudonyms{p, openPseudonyms(t, dir)} {
			err := k.Believe(func(KeyStep) error {
				if !believed {
					return errors.New("not signed")
				}
				return nil
			})
			_, steps := k.Steps()
			_, known := k.Known("111", someNumber, []string{"2025q4"})
			k.forget()
			_, of := k.Of("111", someNumber, noon)
			for _, err := range []error{err, steps, known, of} {
				if !errors.Is(err, ErrKeyStepUnproven) {
					t.Errorf("%s: %v", text, err)
				}
			}
		}
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if k := known(t, p, "2025q4"); len(k.Subjects) != 1 {
		t.Error("the keys are gone all the same")
	}
	if _, err := openPseudonyms(t, dir).Destroy(KeyStep{Epoch: "2025q4"}); !errors.Is(err, ErrKeyStepUnproven) {
		t.Errorf("destroyed without a proof: %v", err)
	}
}

func TestAStatementIsForOneStepOnly(t *testing.T) {
	p := believing(t, openPseudonyms(t, filepath.Join(t.TempDir(), "keys")))
	for range 2 {
		if _, err := p.Rotate(KeyStep{Statements: []string{"s"}}, noon); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Steps(); !errors.Is(err, ErrKeyStepUnproven) {
		t.Errorf("one statement for two steps: %v", err)
	}
}

func TestDestroyedKeysNameNobodyAnyMore(t *testing.T) {
	dir, wrap := filepath.Join(t.TempDir(), "keys"), newWrap(t)
	p, other := believing(t, openProtected(t, dir, wrap)), believing(t, openProtected(t, dir, wrap))
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
	for name, k := range map[string]*Pseudonyms{"the same process": p, "another": other, "a new one": believing(t, openProtected(t, dir, wrap))} {
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
	p := believing(t, openPseudonyms(t, filepath.Join(t.TempDir(), "keys")))
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

// Half a backup was put back: the keys of an epoch, not the step that opened it.
func TestRotationOpensNoEpochThatHasKeys(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	p := believing(t, openPseudonyms(t, dir))
	if _, err := p.Rotate(KeyStep{}, noon); err != nil {
		t.Fatal(err)
	}
	named(t, p, noon)
	if err := os.Remove(filepath.Join(dir, "2026q4-2.opened")); err != nil {
		t.Fatal(err)
	}
	if s, err := p.Rotate(KeyStep{}, noon); !errors.Is(err, ErrKeyStep) {
		t.Errorf("opened %s: %v", s.Epoch, err)
	}
}

func TestEpochQuarter(t *testing.T) {
	for epoch, want := range map[string]string{"2026q4": "2026q4", "2026q4-2": "2026q4", "2026q4-1": "", "2026q5": "", "2026q4-10": "", "": "", "x2026q4": ""} {
		if got := EpochQuarter(epoch); got != want {
			t.Errorf("%q is of %q, want %q", epoch, got, want)
		}
	}
}
