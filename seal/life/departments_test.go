package life_test

import (
	"errors"
	"testing"

	"yizheng/identity/staff"
	"yizheng/seal/life"
)

// TestAppend_AnApplicantActsForTheirOwnDepartments, and who changed departments since
// has still done what they did.
func TestAppend_AnApplicantActsForTheirOwnDepartments(t *testing.T) {
	c := newCity(t)
	r := c.register()
	c.issue(r, "own", "1", 0)
	c.issue(r, "others", "2", 1)
	var persons []staff.Person
	for _, p := range c.persons.Persons() {
		if p.Role == staff.Applicant {
			p.Departments = []string{"0"}
		}
		persons = append(persons, p)
	}
	var err error
	c.persons, err = staff.NewRegister(persons)
	c.ok(err)
	r = c.register()
	refused := func(id string, a life.Action, edits ...func(*life.Step)) {
		t.Helper()
		var no *life.Refusal
		if _, err := r.Append(c.sign(r, "applicant", id, a, edits...)); !errors.As(err, &no) || no.Chinese == "" {
			t.Errorf("%s %s: %v", a, id, err)
		}
	}
	refused("others", life.Suspend)
	refused("others", life.Revoke)
	refused("others", life.Test)
	refused("new", life.Apply, ordered(c.order("3", 2)))
	refused("own", life.Replace, ordered(c.order("3", 2)))
	c.do(r, "security-1", "others", life.Revoke)
	refused("others", life.Reject)
	c.do(r, "security-2", "others", life.Suspend) // a security administrator acts for all
	c.do(r, "applicant", "own", life.Suspend)
	for i, p := range persons {
		if p.Name == "security-1" {
			persons[i].Departments = []string{"1"} // bound to one
		}
	}
	c.persons, err = staff.NewRegister(persons)
	c.ok(err)
	r = c.register()
	var no *life.Refusal
	if _, err := r.Append(c.sign(r, "security-1", "own", life.Resume)); !errors.As(err, &no) {
		t.Errorf("security-1 of another department: %v", err)
	}
	c.do(r, "security-1", "others", life.Reject) // what waits there
	c.do(r, "security-2", "own", life.Resume)    // bound to none
}
