package staff_test

import (
	"errors"
	"testing"
	"time"

	"yizheng/identity/jose"
	"yizheng/identity/staff"
)

func key(t *testing.T) *jose.Key {
	t.Helper()
	k, err := jose.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestNewRegister_TwoPersonsAreTwoPeople(t *testing.T) {
	a, b := key(t).Public(), key(t).Public()
	for name, persons := range map[string][]staff.Person{
		"one key, two names":      {{Name: "a", Role: staff.Security, Key: a}, {Name: "b", Role: staff.Security, Key: a}},
		"one name, two keys":      {{Name: "a", Role: staff.Security, Key: a}, {Name: "a", Role: staff.Applicant, Key: b}},
		"one certificate for two": {{Name: "a", Role: staff.Security, Key: a, Certificate: "c"}, {Name: "b", Role: staff.Security, Key: b, Certificate: "c"}},
		"unknown role":            {{Name: "a", Role: "root", Key: a}},
		"no key":                  {{Name: "a", Role: staff.Security}},
		"a name with spaces":      {{Name: "a b", Role: staff.Security, Key: a}},
		"answers for nobody":      {{Name: "a", Role: staff.Respondent, Key: a}},
		"answers for two":         {{Name: "a", Role: staff.Respondent, Key: a, Departments: []string{"x", "y"}}},
	} {
		if _, err := staff.NewRegister(persons); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestVerify_KnowsWhoSignedAndWhen(t *testing.T) {
	a, gone, stranger := key(t), key(t), key(t)
	end := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	r, err := staff.NewRegister([]staff.Person{{Name: "a", Role: staff.Security, Key: a.Public(), Certificate: "c1"},
		{Name: "gone", Role: staff.Maker, Key: gone.Public(), Certificate: "c2", Until: end}})
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		key  *jose.Key
		typ  string
		at   time.Time
		want string
		err  error
	}{
		"registered":         {a, "x+jws", end.AddDate(1, 0, 0), "a", nil},
		"before they left":   {gone, "x+jws", end, "gone", nil},
		"after they left":    {gone, "x+jws", end.Add(time.Second), "", staff.ErrStranger},
		"a stranger":         {stranger, "x+jws", end, "", staff.ErrStranger},
		"for something else": {a, "y+jws", end, "", jose.ErrToken},
	} {
		token, err := jose.Sign(tt.key, tt.typ, []byte("{}"))
		if err != nil {
			t.Fatal(err)
		}
		_, p, err := r.Verify(token, "x+jws", func([]byte) (time.Time, error) { return tt.at, nil })
		if p.Name != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%s: %q, %v", name, p.Name, err)
		}
	}
	if _, found := r.ByCertificate("c2", end.Add(time.Hour)); found {
		t.Error("somebody who left is still let in")
	}
	if p, found := r.ByCertificate("c1", end); !found || p.Name != "a" {
		t.Error("a person's certificate is not known")
	}
	if _, found := (*staff.Register)(nil).ByCertificate("c1", end); found {
		t.Error("without a register somebody is let in")
	}
}
