package audit

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"yizheng/catalog/beijing"
)

var noon = time.Date(2026, 11, 1, 12, 0, 0, 0, beijing.Zone())

func openPseudonyms(t *testing.T, dir string) *Pseudonyms {
	t.Helper()
	p, err := OpenPseudonyms(dir)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func pseudonym(t *testing.T, p *Pseudonyms, kind, number string, at time.Time) SubjectRef {
	t.Helper()
	ref, err := p.Of(kind, number, at)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func TestPseudonymIsTheSameWithinAQuarterAndAnotherInTheNext(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	p := openPseudonyms(t, dir)
	first := pseudonym(t, p, "111", "690101199003075114", noon)
	if first.Type != SubjectIDNumber || first.Epoch != "2026q4" || len(first.P) != 24 {
		t.Errorf("pseudonym %+v", first)
	}
	for name, same := range map[string]SubjectRef{
		"later in the quarter":  pseudonym(t, p, "111", "690101199003075114", noon.AddDate(0, 1, 29)),
		"another process":       pseudonym(t, openPseudonyms(t, dir), "idno", "690101199003075114", noon),
		"old number of 15":      pseudonym(t, p, "", "690101900307511", noon),
		"full width and spaces": pseudonym(t, p, "idno", "６９０１０１ 19900307 ５１１4", noon),
	} {
		if same != first {
			t.Errorf("%s: another pseudonym", name)
		}
	}
	for name, other := range map[string]SubjectRef{
		"next quarter":      pseudonym(t, p, "111", "690101199003075114", noon.AddDate(0, 2, 0)),
		"another type":      pseudonym(t, p, "phone", "690101199003075114", noon),
		"wrong check digit": pseudonym(t, p, "111", "690101199003075115", noon),
		"another directory": pseudonym(t, openPseudonyms(t, t.TempDir()+"/k"), "111", "690101199003075114", noon),
	} {
		if other.P == first.P {
			t.Errorf("%s: the same pseudonym", name)
		}
	}
}

func TestQuartersAreReckonedInChinaTime(t *testing.T) {
	for at, want := range map[string]string{
		"2026-12-31T15:59:59Z": "2026q4", "2026-12-31T16:00:00Z": "2027q1",
		"2026-03-31T16:00:00Z": "2026q2", "2026-09-30T23:59:59+08:00": "2026q3",
	} {
		when, err := time.Parse(time.RFC3339, at)
		if err != nil || Quarter(when) != want {
			t.Errorf("%s is in %s, want %s", at, Quarter(when), want)
		}
	}
}

func TestConcurrentProcessesAgreeOnANewKey(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	refs := make([]SubjectRef, 8)
	var wg sync.WaitGroup
	for i := range refs {
		p := openPseudonyms(t, dir)
		wg.Go(func() {
			var err error
			if refs[i], err = p.Of("idno", "690101199003075114", noon); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, r := range refs {
		if r != refs[0] {
			t.Fatal("two keys for one quarter")
		}
	}
}

func TestPseudonymKeysMustBePrivateAndWhole(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	p := openPseudonyms(t, dir)
	pseudonym(t, p, "idno", "690101199003075114", noon)
	key := filepath.Join(dir, "idno-2026q4.key")
	if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v %v", info, err)
	}
	for name, harm := range map[string]func() error{
		"readable by others": func() error { return os.Chmod(key, 0o640) },
		"cut short":          func() error { return os.Truncate(key, 20) },
	} {
		if err := harm(); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenPseudonyms(dir); err == nil {
			t.Errorf("%s: key accepted", name)
		}
		if _, err := p.Known("idno", "690101199003075114", []string{"2026q4"}); err == nil || strings.Contains(err.Error(), "690101") {
			t.Errorf("%s: %v", name, err)
		}
		os.Chmod(key, 0o600)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenPseudonyms(dir); err == nil {
		t.Error("directory open to others accepted")
	}
	if _, err := p.Of("../x", "1", noon); err == nil {
		t.Error("subject type with a path accepted")
	}
}
