package search

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"yizheng/audit/auditor"
)

// carriedCity is a gateway and a front in an isolated network, which hold both
// sides of one leg, and each one leg that the other does not have.
func carriedCity(t *testing.T) (o *office, front *node) {
	t.Helper()
	o, front = newOffice(t), newNode(t, frontBase)
	o.add(leg("hr-source", "HR-01.1", "FOUND"), leg("hr-source", "HR-02.1", "TIMEOUT"))
	front.add(leg("hr-source", "HR-01.1", "FOUND"), leg("hr-source", "HR-03.1", "FOUND"))
	o.roster(listed(t, front, KindFront, "hr-front", frontBase, ""))
	return o, front
}

// export writes what a front hands out of its log.
func (n *node) export(c auditor.Choice) string {
	n.t.Helper()
	text, err := auditor.Export(n.dir, c, n.key.Public())
	must(n.t, err)
	file := filepath.Join(n.t.TempDir(), "subset.json")
	must(n.t, os.WriteFile(file, text, 0o600))
	return file
}

func today(c auditor.Choice) auditor.Choice {
	c.From, c.To = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	return c
}

func TestBothSidesAreHeldAgainstEachOtherFromWhatWasCarried(t *testing.T) {
	o, front := carriedCity(t)
	for name, path := range map[string]string{"a directory": front.dir, "a subset": front.export(today(auditor.Choice{})),
		"a subset without closed halves": front.export(today(auditor.Choice{Withhold: true}))} {
		t.Run(name, func(t *testing.T) {
			a, err := o.Roster.Carried(t.Context(), exchangeNumber, []string{o.node.dir, path})
			must(t, err)
			m := o.Roster.Reconciled(a, o.Front)
			if !a.Complete || len(a.Rows) != 4 || len(m.Both) != 1 || len(m.Unanswered) != 1 || m.Unanswered[0].Leg != "HR-02.1" || len(m.Unasked) != 1 || m.Unasked[0].Leg != "HR-03.1" {
				t.Errorf("%+v: %+v", a.Logs, m)
			}
			online, err := o.Path(t.Context(), as("auditor-1"), exchangeNumber)
			must(t, err)
			if online.Complete || len(online.Reading.Unchecked) != 2 {
				t.Fatalf("without what was carried: %+v", online.Reading)
			}
			carried, err := o.Roster.Carried(t.Context(), exchangeNumber, []string{path}, online.Rows...)
			must(t, err)
			both := online.With(carried)
			if m := o.Roster.Reconciled(both, o.Front); !both.Complete || len(both.Rows) != 4 || len(m.Both) != 1 || len(m.Unanswered) != 1 || len(m.Unasked) != 1 {
				t.Errorf("with the gateway's answer: %+v: %+v", both.Logs, m)
			}
		})
	}
}

func TestWhatWasCarriedAccusesNobodyUnlessItIsWhole(t *testing.T) {
	o, front := carriedCity(t)
	whole := front.export(today(auditor.Choice{}))
	text, err := os.ReadFile(whole)
	must(t, err)
	forged := filepath.Join(t.TempDir(), "forged.json")
	must(t, os.WriteFile(forged, []byte(strings.Replace(string(text), "HR-03.1", "HR-02.1", 1)), 0o600))
	for name, test := range map[string]struct {
		paths []string
		state Answering
	}{
		"nothing":                            {nil, Missing},
		"single entries":                     {[]string{front.export(auditor.Choice{Index: func(i uint64) bool { return i == 1 }})}, Partial},
		"an earlier hour":                    {[]string{front.export(auditor.Choice{From: time.Now().Add(-2 * time.Hour), To: time.Now().Add(-time.Hour)})}, Partial},
		"a changed subset":                   {[]string{forged}, Doubtful},
		"a changed subset beside a good one": {[]string{whole, forged}, Doubtful},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := o.Roster.Carried(t.Context(), exchangeNumber, append(test.paths, o.node.dir))
			must(t, err)
			m := o.Roster.Reconciled(a, o.Front)
			if a.Logs[1].State != test.state || a.Complete || !strings.Contains(a.Logs[1].Chinese, "结果不完整") || len(m.Unanswered) != 0 {
				t.Errorf("%+v: %+v", a.Logs[1], m)
			}
		})
	}
}

func TestOnlyLogsOnTheRosterAreReadOfWhatWasCarried(t *testing.T) {
	o, _ := carriedCity(t)
	stranger := newNode(t, frontBase) // the name, with another key
	for name, path := range map[string]string{"a directory with another key": stranger.dir, "a subset with another key": stranger.export(today(auditor.Choice{})), "no file": "nowhere"} {
		if _, err := o.Roster.Carried(t.Context(), exchangeNumber, []string{path}); err == nil {
			t.Errorf("%s was read", name)
		}
	}
	if _, err := o.Roster.Carried(t.Context(), "1", nil); err == nil {
		t.Error("no exchange's number was taken")
	}
}
