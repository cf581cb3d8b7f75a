package search

import (
	"slices"
	"strings"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/catalog/beijing"
)

// destroys has the keys of 2022q4, of which there is a log, destroyed.
func (o *office) destroys() {
	o.t.Helper()
	o.Logs.Lack(base+"/2022q4", audit.ErrDamaged)
	keys := o.Pseudonyms.(*Vault).keys
	must(o.t, keys.Believe(func(audit.KeyStep) error { return nil })) // who signs is package pseudod's
	_, err := keys.Destroy(audit.KeyStep{Epoch: "2022q4", Reason: "RETENTION"})
	must(o.t, err)
}

func TestFindUsage_NamesTheQuartersWhoseKeysAreDestroyed(t *testing.T) {
	o := newOffice(t)
	o.destroys()
	o.add(o.about(liYu, "PRH", audit.DiscloseNow))
	u, err := o.FindUsage(t.Context(), as("clerk-01"), person(t, liYu), "", Period{})
	must(t, err)
	if got := items(u); !slices.Equal(got, []string{"PRH"}) {
		t.Errorf("the other quarters show %v", got)
	}
	if l := u.Logs[0]; u.Complete || l.State != Destroyed || !strings.Contains(l.Chinese, "这一季度的对照已按期销毁") || !strings.Contains(l.English, "2022q4") {
		t.Errorf("complete %v, %+v", u.Complete, l)
	}
}

func TestATicketNamesTheQuartersWhoseKeysAreDestroyed(t *testing.T) {
	o := newOffice(t)
	o.destroys()
	o.add(o.query(liYu, "PRH"))
	apply := func(from, to time.Time) (View, error) {
		t.Helper()
		salt := newSalt()
		return o.Apply(t.Context(), as("auditor-1"), o.signed("auditor-1", Application{Case: "XF-2026-17", Reason: "COMPLAINT", From: from, To: to, Max: 100,
			Persons: 1, Subjects: Commit(salt, []string{liYu}), At: o.now}), []string{liYu}, salt)
	}
	old := time.Date(2022, 11, 1, 0, 0, 0, 0, beijing.Zone())
	_, err := apply(old, old.AddDate(0, 0, 5))
	wants(t, "nothing but that quarter", err, "APPLICATION_STATE")
	if !strings.Contains(err.Error(), "2022q4") {
		t.Errorf("the refusal does not name the quarter: %v", err)
	}
	v, err := apply(old, o.now.Add(time.Hour))
	must(t, err)
	if !slices.Equal(v.Destroyed, []string{"2022q4"}) {
		t.Errorf("the approvers are told of %v", v.Destroyed)
	}
	must(t, o.decides("approver-1", v, Approve))
	must(t, o.decides("auditor-2", v, Approve))
	ticket, err := o.Issue(t.Context(), as("auditor-1"), v.ID)
	must(t, err)
	a, err := o.Search(t.Context(), as("auditor-1"), Ask{Ticket: ticket})
	must(t, err)
	if a.Complete || a.Logs[0].State != Destroyed || !slices.ContainsFunc(a.Rows, func(r Row) bool { return r.Entry.Open.Item == "PRH" }) {
		t.Errorf("complete %v, %+v, %d rows", a.Complete, a.Logs[0], len(a.Rows))
	}
}
