package search

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/audit/index"
)

func TestSearch_FindsByCodesAndRecordsItselfBeforeAnswering(t *testing.T) {
	o := newOffice(t)
	for _, item := range []string{"PRH", "HPW", "PRH"} {
		o.add(o.query(liYu, item))
	}
	before := len(o.entries(audit.OpAuditSearch))
	a, err := o.Search(t.Context(), as("auditor-1"), Ask{Filter: Filter{Item: "PRH", Operator: "clerk-01"}, Proofs: true})
	must(t, err)
	if len(a.Rows) != 2 || !a.Complete || a.Rows[0].Index <= a.Rows[1].Index {
		t.Fatalf("%d rows, complete %v: %+v", len(a.Rows), a.Complete, a.Logs)
	}
	for _, r := range a.Rows {
		must(t, r.Verify(base, o.node.key.Public()))
	}
	records := o.entries(audit.OpAuditSearch)[before:]
	if len(records) != 2 || records[0].Open.Phase != audit.PhaseIntent || records[1].Open.Phase != audit.PhaseDone {
		t.Fatalf("records %+v", records)
	}
	done := records[1]
	if *done.Closed.Rows != 2 || done.Closed.Actor != "auditor-1" || done.Open.Disclose != audit.DiscloseNever || done.Closed.Object != "filter/operator,item" {
		t.Errorf("record %+v", done)
	}
	salt, err := base64.StdEncoding.DecodeString(a.Salt)
	must(t, err)
	want, err := FilterDigest(salt, Filter{Item: "PRH", Operator: "clerk-01"})
	must(t, err)
	if done.Closed.Digests["filter"] != want {
		t.Error("the record does not commit to the filter")
	}
}

func TestSearch_Pages(t *testing.T) {
	o := newOffice(t)
	for range 5 {
		o.add(o.query(liYu, "PRH"))
	}
	seen := map[uint64]bool{}
	ask := Ask{Filter: Filter{Item: "PRH"}, Limit: 2}
	for range 3 {
		a, err := o.Search(t.Context(), as("auditor-1"), ask)
		must(t, err)
		for _, r := range a.Rows {
			seen[r.Index] = true
		}
		ask.Before = a.Next
	}
	if len(seen) != 5 {
		t.Errorf("%d entries on three pages", len(seen))
	}
}

func TestSearch_SaysWhatItDoesNotCover(t *testing.T) {
	o := newOffice(t)
	o.add(o.query(liYu, "PRH"))
	o.Logs.Lack(base+"/2020q1", errors.New("its disk is gone"))
	a, err := o.Search(t.Context(), as("auditor-1"), Ask{Filter: Filter{Item: "PRH"}})
	must(t, err)
	if a.Complete || len(a.Rows) != 1 || a.Logs[0].State != Behind || !strings.Contains(a.Logs[0].Chinese, "结果不完整") {
		t.Errorf("complete %v: %+v", a.Complete, a.Logs)
	}
	if got := o.last(audit.OpAuditSearch).Open.Outcome; got != outcome(false) {
		t.Errorf("recorded as %s", got)
	}
}

func TestSearch_SaysThatAQuarterIsStillBeingOpened(t *testing.T) {
	o := newOffice(t)
	o.Logs.Open(base+"/2020q1", func(ctx context.Context) (index.Shard, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	a, err := o.Search(t.Context(), as("auditor-1"), Ask{Filter: Filter{Item: "PRH"}})
	must(t, err)
	l := a.Logs[0]
	if a.Complete || l.State != Behind || !strings.Contains(l.Chinese, "2020q1 季度的日志正在打开") || !strings.Contains(l.English, "2020q1") || !l.Shards[1].Opening {
		t.Errorf("complete %v: %+v", a.Complete, l)
	}
}

func TestSearch_RefusesWhatIsNoCode(t *testing.T) {
	o := newOffice(t)
	now := time.Now()
	for name, ask := range map[string]Ask{
		"an ID number as case":          {Filter: Filter{Case: liYu}},
		"an ID number as operator":      {Filter: Filter{Operator: "x" + liYu}},
		"an exchange number of no form": {Filter: Filter{Exchange: liYu}},
		"words":                         {Filter: Filter{Item: "two words"}},
		"a period backwards":            {Filter: Filter{From: now, To: now.Add(-time.Hour)}},
		"too many":                      {Limit: 1001},
		"everywhere by position":        {Everywhere: true, Before: &Position{Quarter: "2026q4"}},
		"before a place that is none":   {Before: &Position{Quarter: "../../etc"}},
		"a ticket and a filter":         {Ticket: "x", Filter: Filter{Item: "PRH"}},
	} {
		_, err := o.Search(t.Context(), as("auditor-1"), ask)
		wants(t, name, err, "INVALID_REQUEST")
		if e := o.last(audit.OpAuditSearch); e.Open.Phase != audit.PhaseDenied || e.Open.Outcome != "INVALID_REQUEST" {
			t.Errorf("%s: recorded as %+v", name, e.Open)
		}
	}
	if o.holds(liYu) {
		t.Error("the log holds an ID number")
	}
}

func TestSearch_ShowsNothingWithoutItsRecord(t *testing.T) {
	o := newOffice(t)
	o.add(o.query(liYu, "PRH"))
	o.log().Hold("test", errors.New("held"))
	a, err := o.Search(t.Context(), as("auditor-1"), Ask{Filter: Filter{Item: "PRH"}})
	wants(t, "held log", err, "UNAVAILABLE")
	if len(a.Rows) != 0 {
		t.Error("rows without a record")
	}
}

func TestSearch_IsLimitedForEachPerson(t *testing.T) {
	o := newOffice(t)
	var err error
	for range searchBurst + 5 {
		if err = o.limits.search("auditor-1"); err != nil {
			break
		}
	}
	wants(t, "one person", err, "TOO_MANY_REQUESTS")
	wants(t, "another", o.limits.search("auditor-2"), "")
}
