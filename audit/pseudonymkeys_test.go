package audit

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"yizheng/identity/jose"
)

const someNumber = "690101199003075114" // fictional: region 69 does not exist

// newWrap is one as pseudod.Wrap, which this package cannot import, makes.
func newWrap(t *testing.T) KeyWrap {
	t.Helper()
	k, err := jose.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	const typ = "yz-pseudonym-key+jwe"
	return KeyWrap{
		Seal: func(text []byte) (string, error) { return jose.EncryptSM2(k.Public(), typ, text) },
		Open: func(sealed string) ([]byte, error) { return jose.DecryptSM2(k, typ, sealed) },
	}
}

func openProtected(t *testing.T, dir string, wrap KeyWrap) *Pseudonyms {
	t.Helper()
	p, err := OpenProtectedPseudonyms(dir, wrap)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func known(t *testing.T, p *Pseudonyms, quarters ...string) Known {
	t.Helper()
	k, err := p.Known("111", someNumber, quarters)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestKnownMakesNoKey(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	p := openPseudonyms(t, dir)
	old := named(t, p, noon.AddDate(-1, 0, 0))
	present := named(t, p, noon)
	pseudonym(t, p, "phone", "13900000000", noon.AddDate(0, -3, 0))
	before, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := known(t, p, "2026q4", "2026q3", "2025q4", "2024q1").Subjects; !slices.Equal(got, []SubjectRef{old, present}) {
		t.Errorf("known as %v, want %v and %v", got, old, present)
	}
	if got := known(t, p, "2026q3").Subjects; len(got) > 0 {
		t.Errorf("a quarter without such a key: %v", got)
	}
	after, err := os.ReadDir(dir)
	if err != nil || len(after) != len(before) {
		t.Errorf("%d files, before %d, %v", len(after), len(before), err)
	}
	if _, err := p.Known("111", " ", []string{"2026q4"}); !errors.Is(err, ErrNumber) {
		t.Errorf("an empty number: %v", err)
	}
}

func TestProtectedKeysLieEncrypted(t *testing.T) {
	dir, wrap := filepath.Join(t.TempDir(), "keys"), newWrap(t)
	first := named(t, openProtected(t, dir, wrap), noon)
	if again := named(t, openProtected(t, dir, wrap), noon); again != first {
		t.Error("another pseudonym after the keys were opened again")
	}
	text, err := os.ReadFile(filepath.Join(dir, "idno-2026q4.key"))
	if err != nil || !strings.HasPrefix(string(text), "ey") {
		t.Errorf("key file %q, %v", text, err)
	}
	if _, err := OpenPseudonyms(dir); !errors.Is(err, ErrKeysProtected) {
		t.Errorf("without the key that protects them: %v", err)
	}
	if _, err := OpenProtectedPseudonyms(dir, newWrap(t)); !errors.Is(err, jose.ErrUnknownKey) {
		t.Errorf("with another: %v", err)
	}
}

func TestProtectKeepsThePseudonyms(t *testing.T) {
	dir, wrap := filepath.Join(t.TempDir(), "keys"), newWrap(t)
	plain := openPseudonyms(t, dir)
	first, old := named(t, plain, noon), named(t, plain, noon.AddDate(-1, 0, 0))
	if _, err := OpenProtectedPseudonyms(dir, wrap); !errors.Is(err, ErrKeysPlain) {
		t.Errorf("keys in clear: %v", err)
	}
	for _, want := range []int{2, 0} {
		if n, err := ProtectPseudonyms(dir, wrap); n != want || err != nil {
			t.Errorf("protected %d, %v, want %d", n, err, want)
		}
	}
	if got := known(t, openProtected(t, dir, wrap), "2025q4", "2026q4").Subjects; !slices.Equal(got, []SubjectRef{old, first}) {
		t.Errorf("other pseudonyms: %v", got)
	}
}

func TestAHarmedProtectedKeyIsNoticedAtTheStart(t *testing.T) {
	wrap := newWrap(t)
	for name, harm := range map[string]func(key string) error{
		"one byte changed": func(key string) error {
			text, err := os.ReadFile(key)
			text[len(text)-10] ^= 1
			return errors.Join(err, os.WriteFile(key, text, 0o600))
		},
		"cut short": func(key string) error { return os.Truncate(key, 40) },
		"empty":     func(key string) error { return os.Truncate(key, 0) },
		"renamed": func(key string) error {
			return os.Rename(key, filepath.Join(filepath.Dir(key), "idno-2025q1.key"))
		},
		"readable by others": func(key string) error { return os.Chmod(key, 0o640) },
	} {
		dir := filepath.Join(t.TempDir(), "keys")
		named(t, openProtected(t, dir, wrap), noon)
		if err := harm(filepath.Join(dir, "idno-2026q4.key")); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenProtectedPseudonyms(dir, wrap); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// named is that of someNumber in the quarter of a moment.
func named(t *testing.T, p *Pseudonyms, at time.Time) SubjectRef {
	t.Helper()
	return pseudonym(t, p, "111", someNumber, at)
}
