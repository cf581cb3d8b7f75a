package pseudod

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/identity/jose"
	"yizheng/identity/staff"
)

// keepers are an Office with its persons.
type keepers struct {
	Office
	t    *testing.T
	keys map[string]*jose.Key
}

func newKeepers(t *testing.T) *keepers {
	t.Helper()
	k := &keepers{t: t, keys: map[string]*jose.Key{}}
	var persons []staff.Person
	for name, role := range map[string]staff.Role{"security-1": staff.Security, "security-2": staff.Security, "auditor-1": staff.Auditor} {
		key, err := jose.GenerateKey()
		must(t, err)
		k.keys[name] = key
		persons = append(persons, staff.Person{Name: name, Role: role, Key: key.Public()})
	}
	register, err := staff.NewRegister(persons)
	must(t, err)
	dir := filepath.Join(t.TempDir(), "keys")
	keys, err := audit.OpenPseudonyms(dir)
	must(t, err)
	for _, at := range []time.Time{now, now.AddDate(-1, 0, 0), now.AddDate(-4, 0, 0)} {
		_, err := keys.Of("111", liMing, at)
		must(t, err)
	}
	k.Office = Office{Dir: dir, Keys: keys, Persons: register, Now: func() time.Time { return now }}
	return k
}

// takes signs a step and has it taken.
func (k *keepers) takes(by string, s Step) (*audit.KeyStep, error) {
	k.t.Helper()
	if s.At.IsZero() {
		s.At = now
	}
	statement, err := s.Sign(k.keys[by])
	must(k.t, err)
	return k.Take(statement)
}

// of is the digest of what is pending.
func (k *keepers) of(quarter string) string {
	k.t.Helper()
	p, err := k.Pending(quarter)
	must(k.t, err)
	if p == nil {
		return "nothing"
	}
	return Digest(p.Statement)
}

func TestAQuartersKeysAreDestroyedByTwoPersons(t *testing.T) {
	k := newKeepers(t)
	ask := Step{Action: Ask, Quarter: "2022q4", Reason: ReasonRetention}
	if done, err := k.takes("security-1", ask); err != nil || done != nil {
		t.Fatalf("asking: %+v %v", done, err)
	}
	approve := Step{Action: Approve, Quarter: "2022q4", Of: k.of("2022q4")}
	for name, test := range map[string]struct {
		by   string
		step Step
	}{
		"who asked":           {"security-1", approve},
		"an auditor":          {"auditor-1", approve},
		"of something else":   {"security-2", Step{Action: Approve, Quarter: "2022q4", Of: Digest("x")}},
		"for another quarter": {"security-2", Step{Action: Approve, Quarter: "2025q4", Of: approve.Of}},
		"asking again":        {"security-2", ask},
		"signed long ago":     {"security-2", Step{Action: Approve, Quarter: "2022q4", Of: approve.Of, At: now.Add(-time.Hour)}},
	} {
		if done, err := k.takes(test.by, test.step); !errors.Is(err, audit.ErrKeyStep) || done != nil {
			t.Errorf("%s: %+v %v", name, done, err)
		}
	}
	done, err := k.takes("security-2", approve)
	must(t, err)
	if done.Epoch != "2022q4" || !slices.Equal(done.By, []string{"security-1", "security-2"}) || len(done.Statements) != 2 || done.Before == done.After {
		t.Errorf("done %+v", done)
	}
	known, err := k.Keys.Known("111", liMing, []string{"2022q4", "2025q4", "2026q4"})
	must(t, err)
	if len(known.Subjects) != 2 || !slices.Equal(known.Destroyed, []string{"2022q4"}) {
		t.Errorf("known %+v", known)
	}
	if _, err := k.takes("security-2", approve); !errors.Is(err, audit.ErrKeyStep) {
		t.Errorf("approved twice: %v", err)
	}
}

func TestKeysAreKeptForTheirTimeUnlessThereIsAReason(t *testing.T) {
	for name, test := range map[string]struct {
		quarter, reason string
		good            bool
	}{
		"over three years ago":         {"2023q3", ReasonRetention, true},
		"the quarter three years ago":  {"2023q4", ReasonRetention, false},
		"last year":                    {"2025q4", ReasonRetention, false},
		"last year, by order":          {"2025q4", "AUTHORITY_ORDER", true},
		"last year, without a reason":  {"2025q4", "", false},
		"last year, some reason":       {"2025q4", "TIDY", false},
		"the quarter that runs":        {"2026q4", "AUTHORITY_ORDER", false},
		"one to come":                  {"2027q1", "AUTHORITY_ORDER", false},
		"an epoch within a quarter":    {"2025q4-2", "AUTHORITY_ORDER", false},
		"a path in a quarter's place":  {"../2022q4", ReasonRetention, false},
		"no quarter, with good reason": {"", "AUTHORITY_ORDER", false},
	} {
		k := newKeepers(t)
		if _, err := k.takes("security-1", Step{Action: Ask, Quarter: test.quarter, Reason: test.reason}); (err == nil) != test.good || err != nil && !errors.Is(err, audit.ErrKeyStep) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestARejectedOrForgottenRequestIsOver(t *testing.T) {
	k := newKeepers(t)
	ask := Step{Action: Ask, Quarter: "2022q4", Reason: ReasonRetention}
	_, err := k.takes("security-1", ask)
	must(t, err)
	of := k.of("2022q4")
	if done, err := k.takes("security-2", Step{Action: Reject, Quarter: "2022q4", Of: of}); err != nil || done != nil {
		t.Fatalf("%+v %v", done, err)
	}
	if _, err := k.takes("security-2", Step{Action: Approve, Quarter: "2022q4", Of: of}); err == nil {
		t.Error("approved after it was rejected")
	}
	_, err = k.takes("security-1", ask)
	must(t, err)
	of = k.of("2022q4")
	later := now.Add(askLife + time.Hour)
	k.Now = func() time.Time { return later }
	if _, err := k.takes("security-2", Step{Action: Approve, Quarter: "2022q4", Of: of, At: later}); err == nil {
		t.Error("approved after its time")
	}
}

func TestOneSecurityAdministratorRotatesInAnEmergency(t *testing.T) {
	k := newKeepers(t)
	for name, test := range map[string]struct {
		by   string
		step Step
	}{
		"an auditor":       {"auditor-1", Step{Action: Rotate, Quarter: "2026q4", Reason: "COMPROMISED"}},
		"without a reason": {"security-1", Step{Action: Rotate, Quarter: "2026q4"}},
		"another quarter":  {"security-1", Step{Action: Rotate, Quarter: "2026q3", Reason: "COMPROMISED"}},
	} {
		if done, err := k.takes(test.by, test.step); !errors.Is(err, audit.ErrKeyStep) || done != nil {
			t.Errorf("%s: %+v %v", name, done, err)
		}
	}
	done, err := k.takes("security-1", Step{Action: Rotate, Quarter: "2026q4", Reason: "COMPROMISED"})
	must(t, err)
	if done.Epoch != "2026q4-2" || done.Compromised != "2026q4" {
		t.Errorf("%+v", done)
	}
}
