package search

import (
	"encoding/base64"
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/catalog/beijing"
)

func (o *office) about(number, item, disclose string) audit.Entry {
	e := o.query(number, item)
	e.Open.Disclose = disclose
	return e
}

func items(u Usages) (list []string) {
	for _, one := range u.Usages {
		if one.Item != "" {
			list = append(list, one.Item)
		}
	}
	return list
}

func TestFindUsage_ShowsWhatMayBeShownNow(t *testing.T) {
	o := newOffice(t)
	today := o.now.In(beijing.Zone()).Format(time.DateOnly)
	tomorrow := o.now.In(beijing.Zone()).AddDate(0, 0, 1).Format(time.DateOnly)
	o.add(o.about(liYu, "AT-ONCE", audit.DiscloseNow), o.about(liYu, "NEVER", audit.DiscloseNever), o.about(liYu, "TODAY", today),
		o.about(liYu, "TOMORROW", tomorrow), o.about(liYu, "NOT-A-DAY", "soon"), o.about(liYu, "USUAL", ""), o.about(liMing, "SOMEBODY", audit.DiscloseNow))
	ask := func() Usages {
		t.Helper()
		u, err := o.FindUsage(t.Context(), as("clerk-01"), person(t, liYu), "", Period{})
		must(t, err)
		return u
	}
	if got := items(ask()); !slices.Equal(got, []string{"TODAY", "AT-ONCE"}) {
		t.Errorf("at once: %v", got)
	}
	o.now = o.now.Add(o.Delay + time.Minute)
	u := ask()
	if got := items(u); !slices.Equal(got, []string{"USUAL", "TOMORROW", "TODAY", "AT-ONCE"}) {
		t.Errorf("a day later: %v", got)
	}
	if u.Total != len(u.Usages) || !u.Complete {
		t.Errorf("%d in all, %d shown, complete %v", u.Total, len(u.Usages), u.Complete)
	}
	e := o.last(audit.OpCitizenView)
	if e.Open.Phase != audit.PhaseDone || e.Open.Subjects[0].P != o.ref(liYu).P || e.Open.Disclose != audit.DiscloseNow || *e.Closed.Rows != len(u.Usages) {
		t.Errorf("recorded as %+v", e)
	}
	if o.holds(liYu) {
		t.Error("the log holds the number")
	}
}

func TestFindUsage_RefusesAnOffsetBeyondWhatItReads(t *testing.T) {
	o := newOffice(t)
	for _, offset := range []int{maxUsages, math.MaxInt} {
		var r *Refusal
		if _, err := o.FindUsage(t.Context(), as("clerk-01"), person(t, liYu), "", Period{Offset: offset}); !errors.As(err, &r) || r.Where != "offset" {
			t.Errorf("offset %d: %v", offset, err)
		}
	}
}

func TestFindUsage_ProvesWithoutTheClosedHalf(t *testing.T) {
	o := newOffice(t)
	o.add(o.about(liYu, "PRH", audit.DiscloseNow))
	u, err := o.FindUsage(t.Context(), as("clerk-01"), person(t, liYu), "", Period{Proofs: true})
	must(t, err)
	one := u.Usages[slices.IndexFunc(u.Usages, func(u Usage) bool { return u.Item == "PRH" })]
	receipt, err := audit.ParseReceipt([]byte(one.Evidence.Receipt))
	must(t, err)
	closed, err := base64.StdEncoding.DecodeString(one.Evidence.Closed)
	must(t, err)
	must(t, receipt.Verify(o.node.key.Public(), audit.LeafHashWithheld([]byte(one.Evidence.Open), audit.Hash(closed))))
	if one.Action != "查询（发起）" || one.ReceiverCode != "11690100MB69001143" || one.Purpose != "P-1" || one.Basis != "LB-1" {
		t.Errorf("%+v", one)
	}
}

func TestFindUsage_PagesAndPeriods(t *testing.T) {
	o := newOffice(t)
	for _, item := range []string{"A", "B", "C"} {
		o.add(o.about(liYu, item, audit.DiscloseNow))
	}
	for name, test := range map[string]struct {
		p    Period
		want []string
	}{
		"first":   {Period{Limit: 2, End: o.now.Add(time.Minute)}, nil},
		"past":    {Period{End: o.now.Add(-time.Hour)}, nil},
		"beyond":  {Period{Offset: 1000}, nil},
		"present": {Period{Start: o.now.Add(-time.Hour), Limit: 1000}, []string{"C", "B", "A"}},
	} {
		u, err := o.FindUsage(t.Context(), as("clerk-01"), person(t, liYu), "", test.p)
		must(t, err)
		if got := items(u); test.want != nil && !slices.Equal(got, test.want) || name == "first" && len(u.Usages) != 2 || (name == "past" || name == "beyond") && len(got) != 0 {
			t.Errorf("%s: %v", name, got)
		}
	}
	for name, p := range map[string]Period{"offset": {Offset: -1}, "limit": {Limit: 1001}, "backwards": {Start: o.now, End: o.now.Add(-time.Second)}} {
		_, err := o.FindUsage(t.Context(), as("clerk-01"), person(t, liYu), "", p)
		wants(t, name, err, "INVALID_REQUEST")
	}
}

func TestUsagePeriod_BeginsWithTheOldestQuarter(t *testing.T) {
	o := newOffice(t)
	o.Logs.Lack(base+"/2025q3", audit.ErrDamaged)
	if got, want := o.UsagePeriod().Start, time.Date(2025, 7, 1, 0, 0, 0, 0, beijing.Zone()); !got.Equal(want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestComplain_IsAboutAnEntryThatTheResidentMaySee(t *testing.T) {
	o := newOffice(t)
	shown := o.add(o.about(liYu, "PRH", audit.DiscloseNow))
	hidden := o.add(o.about(liYu, "PRH", audit.DiscloseNever))
	others := o.add(o.about(liMing, "PRH", audit.DiscloseNow))
	origin := o.log().Origin()
	for name, test := range map[string]struct {
		c    Complaint
		code string
	}{
		"withheld":          {Complaint{origin, hidden, "NO_BASIS"}, "NO_SUCH_ENTRY"},
		"somebody else's":   {Complaint{origin, others, "NO_BASIS"}, "NO_SUCH_ENTRY"},
		"behind the end":    {Complaint{origin, 1 << 40, "NO_BASIS"}, "NO_SUCH_ENTRY"},
		"another log":       {Complaint{"elsewhere/2026q4", shown, "NO_BASIS"}, "NO_SUCH_ENTRY"},
		"no log":            {Complaint{"elsewhere", shown, "NO_BASIS"}, "NO_SUCH_ENTRY"},
		"without a reason":  {Complaint{origin, shown, "because"}, "INVALID_REQUEST"},
		"shown, for reason": {Complaint{origin, shown, "NO_BASIS"}, ""},
	} {
		_, err := o.Complain(t.Context(), as("clerk-01"), person(t, liYu), test.c)
		wants(t, name, err, test.code)
	}
	list := o.entries(audit.OpComplaint)
	if len(list) != 1 || list[0].Open.Outcome != "NO_BASIS" || *list[0].Open.Prev != shown || list[0].Open.Item != "PRH" || list[0].Open.Subjects[0].P != o.ref(liYu).P {
		t.Errorf("recorded as %+v", list)
	}
}
