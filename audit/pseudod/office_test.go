package pseudod

import (
	"errors"
	"os"
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
	must(t, keys.Believe(Proof(register)))
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
	return jose.Digest(p.Statement)
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
		"of something else":   {"security-2", Step{Action: Approve, Quarter: "2022q4", Of: jose.Digest("x")}},
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

// Whoever can write to the directory can write a step there; only one that two
// persons signed is followed.
func TestOnlyAStepThatTwoPersonsSignedIsProven(t *testing.T) {
	k := newKeepers(t)
	sign := func(by string, s Step) string {
		t.Helper()
		statement, err := s.Sign(k.keys[by])
		must(t, err)
		return statement
	}
	at := now.Truncate(time.Second)
	ask := Step{Action: Ask, Quarter: "2022q4", Reason: ReasonRetention, At: at}
	asked := sign("security-1", ask)
	approve := Step{Action: Approve, Quarter: "2022q4", Of: jose.Digest(asked), At: at}
	two := []string{"security-1", "security-2"}
	step := func(change func(*audit.KeyStep)) audit.KeyStep {
		s := audit.KeyStep{Action: audit.KeyDestroy, Epoch: "2022q4", Reason: ReasonRetention, By: two, Statements: []string{asked, sign("security-2", approve)}, At: at}
		change(&s)
		return s
	}
	if err := Proof(k.Persons)(step(func(*audit.KeyStep) {})); err != nil {
		t.Fatal(err)
	}
	of := func(s Step, change func(*Step)) Step { change(&s); return s }
	early := of(ask, func(s *Step) { s.Quarter = "2025q4" })
	earlyAsked := sign("security-1", early)
	for name, s := range map[string]audit.KeyStep{
		"nobody signed": step(func(s *audit.KeyStep) { s.Statements = []string{"nobody signed this"} }),
		"no statement":  step(func(s *audit.KeyStep) { s.Statements, s.By = nil, nil }),
		"one person":    step(func(s *audit.KeyStep) { s.Statements, s.By = s.Statements[:1], two[:1] }),
		"one person, twice": step(func(s *audit.KeyStep) {
			s.Statements[1], s.By = sign("security-1", approve), []string{"security-1", "security-1"}
		}),
		"an auditor": step(func(s *audit.KeyStep) {
			s.Statements[1], s.By = sign("auditor-1", approve), []string{"security-1", "auditor-1"}
		}),
		"says somebody else": step(func(s *audit.KeyStep) { s.By = []string{"security-1", "security-3"} }),
		"another quarter":    step(func(s *audit.KeyStep) { s.Epoch = "2022q3" }),
		"another reason":     step(func(s *audit.KeyStep) { s.Reason = "COMPROMISED" }),
		"another action":     step(func(s *audit.KeyStep) { s.Action = audit.KeyRotate }),
		"of another request": step(func(s *audit.KeyStep) {
			s.Statements[1] = sign("security-2", of(approve, func(s *Step) { s.Of = jose.Digest("x") }))
		}),
		"a rejection": step(func(s *audit.KeyStep) {
			s.Statements[1] = sign("security-2", of(approve, func(s *Step) { s.Action = Reject }))
		}),
		"the other way round": step(func(s *audit.KeyStep) { slices.Reverse(s.Statements); s.By = []string{"security-2", "security-1"} }),
		"taken long after":    step(func(s *audit.KeyStep) { s.At = s.At.Add(time.Hour) }),
		"approved long after": step(func(s *audit.KeyStep) {
			s.At = at.Add(8 * 24 * time.Hour)
			s.Statements[1] = sign("security-2", of(approve, func(a *Step) { a.At = s.At }))
		}),
		"before its time": step(func(s *audit.KeyStep) {
			s.Epoch, s.Statements = "2025q4", []string{earlyAsked, sign("security-2", of(approve, func(s *Step) { s.Quarter, s.Of = "2025q4", jose.Digest(earlyAsked) }))}
		}),
		"a rotation of another quarter": {Action: audit.KeyRotate, Epoch: "2026q3-2", Compromised: "2026q3", Reason: "COMPROMISED", By: two[:1], At: at,
			Statements: []string{sign("security-1", Step{Action: Rotate, Quarter: "2026q4", Reason: "COMPROMISED", At: at})}},
	} {
		if err := Proof(k.Persons)(s); err == nil {
			t.Errorf("%s: proven", name)
		}
	}
}

func TestAHandWrittenDestructionShredsNothing(t *testing.T) {
	k := newKeepers(t)
	forged := filepath.Join(k.Dir, "2025q4.destroyed")
	must(t, os.WriteFile(forged, []byte(`{"action":"destroy","epoch":"2025q4","reason":"COMPROMISED","by":["security-1","security-2"],"statements":["nobody signed this"],"at":"2026-11-01T00:00:00Z"}`), 0o600))
	again, err := audit.OpenPseudonyms(k.Dir)
	must(t, err)
	if err := again.Believe(Proof(k.Persons)); !errors.Is(err, audit.ErrKeyStepUnproven) {
		t.Errorf("believed: %v", err)
	}
	if steps, err := again.Steps(); !errors.Is(err, audit.ErrKeyStepUnproven) || len(steps) > 0 {
		t.Errorf("to be recorded: %v, %v", steps, err)
	}
	must(t, os.Remove(forged))
	known, err := again.Known("111", liMing, []string{"2025q4"})
	must(t, err)
	if len(known.Subjects) != 1 {
		t.Error("the keys are gone")
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
