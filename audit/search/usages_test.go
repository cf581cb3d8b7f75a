package search

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"yizheng/audit"
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

func last(a *PeerUsages) *PeerUsage { return &a.Usages[len(a.Usages)-1] }
