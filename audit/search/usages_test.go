package search

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/catalog/beijing"
)

const otherBase = "gw01.690100.example/audit"

// another is a second gateway of the fleet, with a log and pseudonym keys of its
// own, which opens the token "token" as liYu's; change may falsify what it says.
func (o *office) another(change func(*PeerUsages)) *office {
	o.t.Helper()
	b := newOffice(o.t)
	b.node = newNode(o.t, otherBase)
	b.Service.Node, b.Service.Origin, b.now = b.node.Node, otherBase, o.now
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in PeerUsageAsk
		if r.URL.Path != UsagePath || json.NewDecoder(r.Body).Decode(&in) != nil || in.Subject != "token" {
			w.WriteHeader(http.StatusUnprocessableEntity)
			return
		}
		a, err := b.AnswerUsages(r.Context(), Who{Actor: "clerk-01", Node: "gw00"}, person(o.t, liYu), in)
		var no *Refusal
		if errors.As(err, &no) {
			w.WriteHeader(no.Status)
			return
		}
		change(&a)
		_ = json.NewEncoder(w).Encode(a) // whoever asked may be gone
	}))
	o.t.Cleanup(s.Close)
	o.Peers = s.Client()
	front := newNode(o.t, frontBase)
	o.roster(listed(o.t, b.node, KindGateway, "", otherBase, s.URL), listed(o.t, front, KindFront, "hr-front", frontBase, ""))
	return b
}

func TestFindUsage_IsAnsweredByAllGatewaysOfTheFleet(t *testing.T) {
	o := newOffice(t)
	b := o.another(func(*PeerUsages) {})
	o.add(o.about(liYu, "A-1", audit.DiscloseNow))
	b.add(b.about(liYu, "B-1", audit.DiscloseNow), b.about(liYu, "B-NEVER", audit.DiscloseNever), b.about(liMing, "B-OTHER", audit.DiscloseNow))
	o.add(o.about(liYu, "A-2", audit.DiscloseNow))
	before := time.Now().Add(time.Millisecond) // of the resident's own views
	time.Sleep(time.Until(before))
	u, err := o.FindUsage(t.Context(), as("clerk-01"), person(t, liYu), "token", Period{Proofs: true})
	must(t, err)
	if got := items(u); !slices.Equal(got, []string{"A-2", "B-1", "A-1"}) || !u.Complete || len(u.Logs) != 2 || u.Total != len(u.Usages) {
		t.Fatalf("%v of %d, complete %v, %+v", got, u.Total, u.Complete, u.Logs)
	}
	for _, one := range u.Usages {
		key := o.node.key
		if strings.HasPrefix(one.Origin, otherBase) {
			key = b.node.key
		}
		receipt, err := audit.ParseReceipt([]byte(one.Evidence.Receipt))
		must(t, err)
		must(t, receipt.Head.Verify(key.Public()))
	}
	if e := b.last(audit.OpCitizenView); e.Open.Phase != audit.PhaseDone || e.Closed.Node != "gw00" || e.Open.Subjects[0].P != b.ref(liYu).P || e.Open.Subjects[0].P == o.ref(liYu).P {
		t.Errorf("the other gateway recorded %+v", e)
	}
	if b.holds(liYu) {
		t.Error("the other log holds the number")
	}
	var paged []string
	for offset := range 3 { // pages fit together over both logs
		u, err := o.FindUsage(t.Context(), as("clerk-01"), person(t, liYu), "token", Period{End: before, Offset: offset, Limit: 1})
		must(t, err)
		if len(u.Usages) != 1 || u.Usages[0].Evidence != nil || u.Total != 3 {
			t.Errorf("page %d of %d: %+v", offset, u.Total, u.Usages)
		}
		paged = append(paged, items(u)...)
	}
	if !slices.Equal(paged, []string{"A-2", "B-1", "A-1"}) {
		t.Errorf("pages: %v", paged)
	}
}

func TestFindUsage_NamesAGatewayThatDoesNotAnswerAsItMust(t *testing.T) {
	o, answer := newOffice(t), func(*PeerUsages) {}
	b := o.another(func(a *PeerUsages) { answer(a) })
	b.add(b.about(liYu, "B-1", audit.DiscloseNow))
	o.add(o.about(liYu, "A-1", audit.DiscloseNow))
	whole := *o.Roster
	for name, test := range map[string]struct {
		token  string
		answer func(*PeerUsages)
		change func(o *office)
		state  Answering
	}{
		"unreachable":         {"token", func(*PeerUsages) {}, func(o *office) { o.Roster.Logs[1].URL = "https://127.0.0.1:1" }, Unreachable},
		"isolated":            {"token", func(*PeerUsages) {}, func(o *office) { o.Roster.Logs[1].URL, o.Roster.Logs[1].Isolated = "", true }, Isolated},
		"token not of there":  {"another", func(*PeerUsages) {}, func(*office) {}, Refused},
		"index behind":        {"token", func(a *PeerUsages) { a.Shards[0].CompleteTo-- }, func(*office) {}, Behind},
		"another key":         {"token", func(*PeerUsages) {}, func(o *office) { o.Roster.Logs[1].Keys = []string{listKey(t, newKey(t))} }, Doubtful},
		"another log's":       {"token", func(*PeerUsages) {}, func(o *office) { o.Roster.Logs[1].Origin = "gw02.690100.example/audit" }, Doubtful},
		"a changed entry":     {"token", func(a *PeerUsages) { last(a).Open = strings.Replace(last(a).Open, "B-1", "B-2", 1) }, func(*office) {}, Doubtful},
		"one twice":           {"token", func(a *PeerUsages) { a.Usages = append(a.Usages, a.Usages...); a.Total *= 2 }, func(*office) {}, Doubtful},
		"fewer than it says":  {"token", func(a *PeerUsages) { a.Usages = a.Usages[1:] }, func(*office) {}, Doubtful},
		"without a proof":     {"token", func(a *PeerUsages) { last(a).Receipt = "" }, func(*office) {}, Doubtful},
		"no closed half":      {"token", func(a *PeerUsages) { last(a).Closed = "" }, func(*office) {}, Doubtful},
		"silent about shards": {"token", func(a *PeerUsages) { a.Shards = nil }, func(*office) {}, Doubtful},
	} {
		t.Run(name, func(t *testing.T) {
			o.Roster = &Roster{Logs: slices.Clone(whole.Logs)}
			answer = test.answer
			test.change(o)
			u, err := o.FindUsage(t.Context(), as("clerk-01"), person(t, liYu), test.token, Period{})
			must(t, err)
			if u.Complete || u.Logs[1].State != test.state || !strings.HasPrefix(u.Logs[1].Chinese, "结果不完整") {
				t.Errorf("complete %v, %+v", u.Complete, u.Logs[1])
			}
			if got := items(u); !slices.Contains(got, "A-1") || slices.Contains(got, "B-1") != (test.state == Behind) {
				t.Errorf("shown: %v", got)
			}
		})
	}
}

// finds is what came of the second gateway when the resident asks for one page.
func (o *office) finds(p Period) (u Usages, second Log) {
	o.t.Helper()
	u, err := o.FindUsage(o.t.Context(), as("clerk-01"), person(o.t, liYu), "token", p)
	must(o.t, err)
	return u, u.Logs[1]
}

func TestFindUsage_BelievesAnotherGatewayNoMoreThanItsLogShows(t *testing.T) {
	o, answer := newOffice(t), func(*PeerUsages) {}
	b := o.another(func(a *PeerUsages) { answer(a) })
	b.add(b.about(liYu, "B-1", audit.DiscloseNow))
	past := o.now.Add(time.Hour) // pages of one entry, of a log that does not hold 500
	one := Period{Limit: 1, End: past}
	for name, test := range map[string]struct {
		lie  func(*PeerUsages)
		want Answering
	}{
		"the truth":              {func(*PeerUsages) {}, Answered},
		"nothing, of a made-up":  {func(a *PeerUsages) { *a = PeerUsages{Shards: []PeerShard{{Shard: Shard{Origin: "x"}}}} }, Doubtful},
		"nothing, of its own":    {func(a *PeerUsages) { *a = PeerUsages{Shards: []PeerShard{{Shard: a.Shards[0].Shard}}} }, Doubtful},
		"a shard of another":     {func(a *PeerUsages) { a.Shards[0].Origin = base + "/2026q4" }, Doubtful},
		"a shard twice":          {func(a *PeerUsages) { a.Shards = append(a.Shards, a.Shards[0]) }, Doubtful},
		"rows of no shard":       {func(a *PeerUsages) { a.Shards[0].Lost = true }, Doubtful},
		"no growth":              {func(a *PeerUsages) { a.Shards[0].Growth = nil }, Rewound},
		"more than the log has":  {func(a *PeerUsages) { a.Total = 500 }, Doubtful},
		"more than anybody asks": {func(a *PeerUsages) { a.Total = 4_000_000 }, Doubtful},
		"fewer than none":        {func(a *PeerUsages) { a.Total, a.Usages = -1, nil }, Doubtful},
	} {
		answer = func(*PeerUsages) {}
		o.finds(one) // what is known of the log
		answer = test.lie
		u, second := o.finds(one)
		if second.State != test.want || u.Complete != (test.want == Answered) || second.Told != (test.want == Answered) {
			t.Errorf("%s: complete %v, %+v", name, u.Complete, second)
		}
		if second.Told && !strings.Contains(second.Chinese, "对方声明") {
			t.Errorf("%s: shown as more than a statement: %+v", name, second)
		}
		if own := len(o.entries(audit.OpCitizenView)) - 1; test.want != Answered && u.Total != own {
			t.Errorf("%s: %d in all, %d of this gateway", name, u.Total, own)
		}
	}
}

func TestFindUsage_NoticesALogThatWasBegunAnew(t *testing.T) {
	o := newOffice(t)
	b := o.another(func(*PeerUsages) {})
	anew := newNode(t, otherBase)
	o.Roster.Logs[1].Keys = append(o.Roster.Logs[1].Keys, listKey(t, anew.key))
	old := b.Service.Node
	for i, test := range []struct {
		of   Node
		want Answering
	}{{old, Answered}, {anew.Node, Rewound}, {old, Answered}} {
		b.Service.Node = test.of
		if u, second := o.finds(Period{}); second.State != test.want || u.Complete != (test.want == Answered) {
			t.Errorf("question %d: complete %v, %+v", i, u.Complete, second)
		}
	}
}

func TestFindUsage_ShowsNothingThatAnotherGatewayShouldHaveWithheld(t *testing.T) {
	for name, test := range map[string]struct {
		disclose string
		change   func(b *office)
	}{
		"until a day":     {"2099-01-01", func(b *office) { b.now = time.Date(2099, 1, 2, 0, 0, 0, 0, beijing.Zone()) }},
		"until the delay": {"", func(b *office) { b.Delay = -time.Hour }},
	} {
		o := newOffice(t)
		b := o.another(func(*PeerUsages) {})
		b.add(b.about(liYu, "B-1", test.disclose))
		test.change(b)
		u, second := o.finds(Period{})
		if second.State != Doubtful || slices.Contains(items(u), "B-1") {
			t.Errorf("%s: %v, %+v", name, items(u), second)
		}
	}
}

func TestALogThatPassesOverAQuarterItHasShownIsRewound(t *testing.T) {
	o := newOffice(t)
	b := o.another(func(*PeerUsages) {})
	start, ok := quarterStart(path.Base(b.node.Log.Origin()))
	if !ok {
		t.Fatal(b.node.Log.Origin())
	}
	earlier := audit.ShardOrigin(otherBase, start.Add(-time.Hour))
	o.Heads.heads[earlier] = audit.SignedHead{} // shown before
	s := b.node.serve(honest)
	for name, test := range map[string]struct {
		from, to time.Time
		want     Answering
	}{
		"all there is":             {time.Time{}, time.Time{}, Rewound},
		"from that quarter":        {start.Add(-time.Hour), time.Time{}, Rewound},
		"from the one after":       {start, time.Time{}, Answered},
		"until before the two":     {time.Time{}, start.AddDate(0, -3, 0), Answered},
		"until that quarter began": {time.Time{}, start.AddDate(0, -3, 0).Add(time.Second), Rewound},
	} {
		if u, second := o.finds(Period{Start: test.from, End: test.to}); second.State != test.want || u.Complete != (test.want == Answered) {
			t.Errorf("%s, a resident: complete %v, %+v", name, u.Complete, second)
		}
		residents := o.Roster.Logs[1].URL
		o.Roster.Logs[1].URL = s.URL
		a, err := o.Search(t.Context(), as("auditor-1"), Ask{Filter: Filter{From: test.from, To: test.to}, Everywhere: true})
		must(t, err)
		o.Roster.Logs[1].URL = residents
		if a.Logs[1].State != test.want {
			t.Errorf("%s, an auditor: %+v", name, a.Logs[1])
		}
	}
}

func TestAnAnswerWithMoreToComeNamesTheShardsDownToItsLast(t *testing.T) {
	shards := []PeerShard{{Shard: Shard{Origin: otherBase + "/2026q4"}}, {Shard: Shard{Origin: otherBase + "/2026q2"}}}
	for known, want := range map[string]string{"2026q1": "", "2026q2": "", "2026q3": otherBase + "/2026q3", "2027q1": otherBase + "/2027q1"} {
		h, err := Listed{Origin: otherBase}.holds(Filter{})
		must(t, err)
		c := question{holding: h, known: map[string]audit.Head{otherBase + "/" + known: {}}}
		if got := c.passedOver(shards, true); got != want {
			t.Errorf("%s: %q", known, got)
		}
	}
}

func last(a *PeerUsages) *PeerUsage { return &a.Usages[len(a.Usages)-1] }
