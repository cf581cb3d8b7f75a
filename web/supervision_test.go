package web_test

import (
	"bytes"
	"context"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/audit/supervise"
)

// hallDepartment is that of the test city's clerks.
const hallDepartment = "HALL"

// supervise starts the engine with the demo city's rules.
func (g *gateway) supervise(names audit.SubjectNamer) {
	rules, err := supervise.Load("../configs/demo/supervise")
	ok(g.t, err)
	g.supervision, err = supervise.New(supervise.Config{Rules: rules, Facts: supervise.Facts{Version: "1", Systems: map[string]string{"HALL": hallDepartment}},
		Log: g.audit, Names: names, Key: newReplyKey(g.t), Dir: filepath.Join(g.t.TempDir(), "supervise"), Scan: 10 * time.Millisecond})
	ok(g.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = g.supervision.Run(ctx) }) // a test that spoils the log spoils this, too
	g.t.Cleanup(func() { cancel(); wg.Wait() })
}

// raised makes a clerk overreach and returns the card about it, with a supervisor's client.
func (g *gateway) raised(*client) (sup *client, card string) {
	g.t.Helper()
	_, err := g.audit.Append(g.t.Context(), audit.Entry{
		Open:   audit.Open{Op: audit.OpDeny, Phase: audit.PhaseDenied, Outcome: "PROOF_OUTSIDE_ITEM", Department: hallDepartment},
		Closed: audit.Closed{Actor: "clerk-01"}})
	ok(g.t, err)
	sup = g.as("admin-supervisor-1")
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		var list struct{ Cards []supervise.Card }
		sup.call(http.MethodPost, "/v1/supervision/cards", map[string]string{"rule": "YQ-01", "status": "raised"}).into(g.t, &list)
		if len(list.Cards) == 1 {
			return sup, list.Cards[0].ID
		}
	}
	g.t.Fatal("no card was raised")
	return nil, ""
}

func nextWeek() string { return time.Now().AddDate(0, 0, 7).Format(time.DateOnly) }

func (g *gateway) ordered(clerk *client) string {
	g.t.Helper()
	sup, card := g.raised(clerk)
	var o supervise.Order
	sup.call(http.MethodPost, "/v1/supervision/orders", map[string]string{"card": card, "demand": "EXPLAIN", "due": nextWeek(), "text": "请说明情况"}).into(g.t, &o)
	want(g.t, sup.call(http.MethodPost, "/v1/supervision/cards/"+card+"/confirm", nil), http.StatusOK, "")
	return o.ID
}

func (g *gateway) answered(order string) {
	g.t.Helper()
	want(g.t, g.as("admin-respondent-1").call(http.MethodPost, "/v1/orders/"+order+"/answer", map[string]string{"answer": "EXPLAINED", "text": "误操作"}), http.StatusOK, "")
}

func TestSupervisionIsForSupervisorsAndOrdersForThoseWhoMustAnswer(t *testing.T) {
	g := start(t, nil)
	order := g.ordered(nil)
	post, get := http.MethodPost, http.MethodGet
	var first supervise.Order
	g.as("admin-supervisor-1").call(get, "/v1/supervision/orders/"+order, nil).into(t, &first)
	card := first.Card
	for name, c := range map[string]struct {
		as, method, path string
		body             any
		status           int
		code             string
	}{
		"a clerk looks at cards":         {"clerk-01", post, "/v1/supervision/cards", map[string]string{}, 403, "UNKNOWN_CERTIFICATE"},
		"an administrator does":          {"admin-security-1", post, "/v1/supervision/cards", map[string]string{}, 403, "UNKNOWN_CERTIFICATE"},
		"a respondent does":              {"admin-respondent-1", get, "/v1/supervision/orders", nil, 403, "UNKNOWN_CERTIFICATE"},
		"nobody does":                    {"", get, "/v1/supervision", nil, 401, "CERTIFICATE_REQUIRED"},
		"a supervisor looks after seals": {"admin-supervisor-1", get, "/v1/admin/seals", nil, 403, "UNKNOWN_CERTIFICATE"},
		"a supervisor answers":           {"admin-supervisor-1", post, "/v1/orders/" + order + "/answer", map[string]string{"answer": "DONE"}, 403, "UNKNOWN_CERTIFICATE"},
		"another department answers":     {"clerk-01", post, "/v1/orders/" + order + "/answer", map[string]string{"answer": "DONE"}, 403, "NOT_ADDRESSED"},
		"closed before it is answered":   {"admin-supervisor-1", post, "/v1/supervision/orders/" + order + "/close", nil, 409, "SETTLED"},
		"an unknown card":                {"admin-supervisor-1", get, "/v1/supervision/cards/KNONE", nil, 404, "NO_SUCH_CARD"},
		"an ID number in a text":         {"admin-respondent-1", post, "/v1/orders/" + order + "/answer", map[string]string{"answer": "DONE", "text": "690102198503120016"}, 422, "TEXT_REFUSED"},
		"an unknown answer":              {"admin-respondent-1", post, "/v1/orders/" + order + "/answer", map[string]string{"answer": "MAYBE"}, 422, "INVALID_REQUEST"},
		"an unknown department":          {"admin-supervisor-1", post, "/v1/supervision/orders", map[string]string{"card": "K", "demand": "STOP", "due": nextWeek(), "department": "D"}, 422, "INVALID_REQUEST"},
		"an ID number as the account":    {"admin-supervisor-1", post, "/v1/supervision/orders", map[string]string{"card": card, "demand": "STOP", "due": nextWeek(), "person": "690102198806140030"}, 422, "INVALID_REQUEST"},
		"an account of nobody":           {"admin-supervisor-1", post, "/v1/supervision/orders", map[string]string{"card": card, "demand": "STOP", "due": nextWeek(), "person": "clerk-9999"}, 422, "INVALID_REQUEST"},
		"a clerk's account":              {"admin-supervisor-1", post, "/v1/supervision/orders", map[string]string{"card": card, "demand": "STOP", "due": nextWeek(), "person": "clerk-02"}, 200, ""},
		"an account of the register":     {"admin-supervisor-1", post, "/v1/supervision/orders", map[string]string{"card": card, "demand": "STOP", "due": nextWeek(), "person": "approver-1"}, 200, ""},
		"cards of no status":             {"admin-supervisor-1", post, "/v1/supervision/cards", map[string]string{"status": "nonsense"}, 422, "INVALID_REQUEST"},
		"cards of no level":              {"admin-supervisor-1", post, "/v1/supervision/cards", map[string]string{"level": "blue"}, 422, "INVALID_REQUEST"},
		"cards of no day":                {"admin-supervisor-1", post, "/v1/supervision/cards", map[string]string{"from": "2026/99/99"}, 422, "INVALID_REQUEST"},
		"cards of days out of order":     {"admin-supervisor-1", post, "/v1/supervision/cards", map[string]string{"from": "2026-11-02", "to": "2026-11-01"}, 422, "INVALID_REQUEST"},
		"statistics of nothing":          {"admin-supervisor-1", post, "/v1/supervision/statistics", map[string]string{"by": "moon", "from": "2026-01-01", "to": "2026-01-02", "period": "day"}, 422, "INVALID_REQUEST"},
		"statistics of ten years":        {"admin-supervisor-1", post, "/v1/supervision/statistics", map[string]string{"by": "item", "from": "2016-01-01", "to": "2026-01-02", "period": "day"}, 422, "INVALID_REQUEST"},
		"status":                         {"admin-supervisor-1", get, "/v1/supervision", nil, 200, ""},
		"rules":                          {"admin-supervisor-1", get, "/v1/supervision/rules", nil, 200, ""},
		"one order":                      {"admin-supervisor-1", get, "/v1/supervision/orders/" + order, nil, 200, ""},
		"statistics as a picture":        {"admin-supervisor-1", post, "/v1/supervision/statistics", map[string]string{"by": "item", "from": "2026-01-01", "to": "2026-01-02", "period": "day", "format": "gif"}, 422, "INVALID_REQUEST"},
		"a spreadsheet":                  {"admin-supervisor-1", post, "/v1/supervision/statistics", map[string]string{"by": "operator", "from": "2026-01-01", "to": "2026-12-31", "period": "day", "format": "xlsx"}, 200, ""},
		"statistics":                     {"admin-supervisor-1", post, "/v1/supervision/statistics", map[string]string{"by": "operator", "from": "2026-01-01", "to": "2026-12-31", "period": "month"}, 200, ""},
	} {
		t.Run(name, func(t *testing.T) { want(t, g.as(c.as).call(c.method, c.path, c.body), c.status, c.code) })
	}
	var mine struct{ Orders []supervise.Order }
	g.as("admin-respondent-1").call(get, "/v1/orders", nil).into(t, &mine)
	if len(mine.Orders) != 1 || mine.Orders[0].ID != order || !strings.Contains(mine.Orders[0].Steps[0].Said, "说明") {
		t.Errorf("the respondent sees %+v", mine.Orders)
	}
	g.as("clerk-01").call(get, "/v1/orders", nil).into(t, &mine)
	if len(mine.Orders) != 0 {
		t.Errorf("another department sees %+v", mine.Orders)
	}
}

func relativesOf(operator string, numbers ...string) map[string]any {
	return map[string]any{"operator": operator, "numbers": append([]string{}, numbers...)}
}

// sameNumbers is what an approver of the list that proposed enters sends.
func sameNumbers(numbers ...string) map[string]any {
	return map[string]any{"numbers": append([]string{}, numbers...)}
}

// proposed enters a clerk's relatives and returns the list that waits.
func (g *gateway) proposed() string {
	g.t.Helper()
	var p supervise.Proposal
	g.as("admin-supervisor-1").call(http.MethodPost, "/v1/supervision/relatives", relativesOf("clerk-01", sampleNumber)).into(g.t, &p)
	return p.ID
}

func TestRelativesAreEnteredByOneAndApprovedByAnother(t *testing.T) {
	g := start(t, nil)
	id := g.proposed()
	const base = "/v1/supervision/relatives"
	post, get := http.MethodPost, http.MethodGet
	for name, c := range map[string]struct {
		as, method, path string
		body             any
		status           int
		code, where      string
	}{
		"a clerk enters them":           {"clerk-01", post, base, relativesOf("clerk-01"), 403, "UNKNOWN_CERTIFICATE", ""},
		"an approver enters them":       {"admin-approver-1", post, base, relativesOf("clerk-01"), 403, "UNKNOWN_CERTIFICATE", ""},
		"a supervisor approves":         {"admin-supervisor-1", post, base + "/" + id + "/approve", sameNumbers(sampleNumber), 403, "UNKNOWN_CERTIFICATE", ""},
		"an administrator approves":     {"admin-security-1", post, base + "/" + id + "/approve", sameNumbers(sampleNumber), 403, "UNKNOWN_CERTIFICATE", ""},
		"of an account of nobody":       {"admin-supervisor-1", post, base, relativesOf("clerk-9999"), 422, "INVALID_REQUEST", "operator"},
		"of oneself":                    {"admin-supervisor-1", post, base, relativesOf("supervisor-1"), 403, "CONCERNED", ""},
		"a wrong check digit":           {"admin-supervisor-1", post, base, relativesOf("clerk-01", sampleNumber, "690102198503120017"), 422, "INVALID_REQUEST", "numbers[1]"},
		"a list that nobody entered":    {"admin-approver-1", post, base + "/RNONE/approve", sameNumbers(), 404, "NO_SUCH_CARD", ""},
		"approved blindly":              {"admin-approver-1", post, base + "/" + id + "/approve", map[string]any{}, 422, "INVALID_REQUEST", "numbers"},
		"approved with a wrong digit":   {"admin-approver-1", post, base + "/" + id + "/approve", sameNumbers("690102198503120017"), 422, "INVALID_REQUEST", "numbers[0]"},
		"without numbers":               {"admin-supervisor-1", post, base, map[string]any{"operator": "clerk-01"}, 422, "INVALID_REQUEST", "numbers"},
		"an approver looks at it":       {"admin-approver-1", get, base + "/" + id, nil, 200, "", ""},
		"a supervisor looks at all":     {"admin-supervisor-1", get, base, nil, 200, "", ""},
		"a respondent looks at all":     {"admin-respondent-1", get, base, nil, 403, "UNKNOWN_CERTIFICATE", ""},
		"a number in place of the name": {"admin-supervisor-1", post, base, relativesOf(sampleNumber), 422, "INVALID_REQUEST", "operator"},
	} {
		t.Run(name, func(t *testing.T) {
			got := g.as(c.as).call(c.method, c.path, c.body)
			want(t, got, c.status, c.code)
			if c.where != "" && !strings.Contains(string(got.body), `"`+c.where+`"`) || strings.Contains(string(got.body), "690102198503120017") {
				t.Errorf("it says %s", got.body)
			}
		})
	}
	var d supervise.Relatives
	g.as("admin-approver-1").call(post, base+"/"+id+"/approve", sameNumbers(sampleNumber, sampleNumber)).into(t, &d)
	if d.Operator != "clerk-01" || d.Persons != 1 || d.By != "supervisor-1" || d.Approver != "approver-1" || d.Stale {
		t.Errorf("in force: %+v", d)
	}
	want(t, g.as("admin-approver-2").call(post, base+"/"+id+"/approve", sameNumbers(sampleNumber)), http.StatusNotFound, "NO_SUCH_CARD")
}

func TestRelativesThatDifferAreVoidAndRefusalsAreOnRecord(t *testing.T) {
	g := start(t, nil)
	const base = "/v1/supervision/relatives"
	approve := func(as, id string, numbers ...string) got {
		return g.as(as).call(http.MethodPost, base+"/"+id+"/approve", sameNumbers(numbers...))
	}
	var about supervise.Proposal // an approver
	g.as("admin-supervisor-1").call(http.MethodPost, base, relativesOf("approver-1")).into(t, &about)
	id := g.proposed()
	for _, c := range []struct {
		what    string
		do      func() got
		status  int
		code    string
		phase   audit.Phase
		actor   string
		subject string // its number in the log
	}{
		{"a list about oneself", func() got { return approve("admin-approver-1", about.ID) }, 403, "CONCERNED", audit.PhaseFailed, "approver-1", about.ID},
		{"of oneself", func() got { return g.as("admin-supervisor-1").call(http.MethodPost, base, relativesOf("supervisor-1")) }, 403, "CONCERNED", audit.PhaseFailed, "supervisor-1", ""},
		{"a number in place of a list's", func() got { return approve("admin-approver-1", sampleNumber) }, 404, "NO_SUCH_CARD", audit.PhaseFailed, "approver-1", ""},
		{"an empty list", func() got { return approve("admin-approver-1", id) }, 409, "LISTS_DIFFER", audit.PhaseDenied, "approver-1", id},
		{"the right one afterwards", func() got { return approve("admin-approver-2", id, sampleNumber) }, 404, "NO_SUCH_CARD", audit.PhaseFailed, "approver-2", id},
	} {
		before := g.count(audit.OpSuperviseRelatives)
		a := c.do()
		want(t, a, c.status, c.code)
		if bytes.Contains(a.body, []byte(sampleNumber)) {
			t.Errorf("%s: the answer holds a number: %s", c.what, a.body)
		}
		if n := g.count(audit.OpSuperviseRelatives) - before; n != 1 {
			t.Errorf("%s: %d records", c.what, n)
		}
		if e := g.last(audit.OpSuperviseRelatives); e.Open.Phase != c.phase || e.Open.Outcome != c.code || e.Open.Number != c.subject || e.Closed.Actor != c.actor || e.Closed.Role == "" {
			t.Errorf("%s: the record: %+v", c.what, e)
		}
	}
}

// last is the newest entry of an operation.
func (g *gateway) last(op audit.Op) (last audit.Entry) {
	g.t.Helper()
	ok(g.t, g.audit.Read(g.t.Context(), 0, g.audit.Head().Size, func(_ uint64, e audit.Stored) error {
		if e.Entry.Open.Op == op {
			last = e.Entry
		}
		return nil
	}))
	return last
}
