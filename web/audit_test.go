package web_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/audit/search"
	"yizheng/identity/jose"
)

// apply asks, as an auditor, to look for a person.
func (g *gateway) apply(by, number string) got {
	g.t.Helper()
	return g.applyKnock(by, number).send()
}

func (g *gateway) applyKnock(by, number string) knock {
	g.t.Helper()
	return g.as("admin-"+by).knock(http.MethodPost, "/v1/audit/applications", g.application(by, number))
}

// application is what an auditor sends.
func (g *gateway) application(by, number string) map[string]any {
	g.t.Helper()
	salt := []byte("sixteen salt byt")
	k, err := g.admin(by)
	ok(g.t, err)
	line, err := search.Application{Case: "XF-2026-17", Reason: "COMPLAINT", From: time.Now().Add(-time.Hour), To: time.Now().Add(time.Hour), Max: 100, Persons: 1,
		Subjects: search.Commit(salt, []string{number}), At: time.Now()}.Sign(k)
	ok(g.t, err)
	return map[string]any{"statement": line, "numbers": []string{number}, "salt": base64.StdEncoding.EncodeToString(salt)}
}

// otherGateway is gw01, at which an application for persons was made.
type otherGateway struct {
	*gateway
	key         *jose.Key
	application map[string]any
}

// another puts gw01 on the roster.
func (g *gateway) another(number string) otherGateway {
	g.t.Helper()
	key, err := jose.GenerateKey()
	ok(g.t, err)
	listed, err := search.NewKey(key.Public())
	ok(g.t, err)
	g.search.Roster = &search.Roster{Logs: []search.Listed{{Origin: "gw01.690100.example/audit", Kind: search.KindGateway, Isolated: true, Keys: []string{listed}}}}
	return otherGateway{g, key, g.application("audit", number)}
}

// sendsOn is the application as gw01 sends it on.
func (o otherGateway) sendsOn() knock {
	o.t.Helper()
	return o.as("clerk-02").knock(http.MethodPost, search.ApplicationPath, o.application)
}

// asks is gw01 asking about the persons whom two have approved.
func (o otherGateway) asks(held search.Held) knock {
	o.t.Helper()
	statement := o.application["statement"].(string)
	payload, err := jose.Unverified(statement)
	ok(o.t, err)
	var a search.Application
	ok(o.t, json.Unmarshal(payload, &a))
	now := time.Now().UTC().Truncate(time.Second)
	payload, err = json.Marshal(search.Ticket{V: 1, Ticket: "T1", Origin: "gw01.690100.example/audit", For: "gw00.690100.example/audit", Application: search.ID(statement),
		Applicant: "audit", Case: a.Case, Reason: a.Reason, From: a.From, To: a.To, Max: a.Max, Persons: a.Persons, Issued: now, Expires: now.Add(15 * time.Minute)})
	ok(o.t, err)
	ticket, err := jose.Sign(o.key, search.TypeTicket, payload)
	ok(o.t, err)
	var decisions []string
	for _, by := range []string{"approver-1", "approver-2"} {
		k, err := o.admin(by)
		ok(o.t, err)
		d, err := search.Decision{Action: search.Approve, Of: search.ID(statement), List: "gw01's own", Others: []string{held.List}, At: now}.Sign(k)
		ok(o.t, err)
		decisions = append(decisions, d)
	}
	return o.as("clerk-02").knock(http.MethodPost, search.PersonsPath, map[string]any{"ticket": ticket, "decisions": decisions, "limit": 50})
}

func TestAGatewayAnswersAboutThePersonsOfAnothersApplication(t *testing.T) {
	g, clerk, a := desk(t, nil)
	if r := g.sealed(t, clerk, a); r.Number == "" {
		t.Fatal(r.Code)
	}
	other := g.another(sampleNumber)
	want(t, g.as("clerk-02").call(http.MethodPost, search.PersonsPath, map[string]any{"ticket": "a.b.c", "decisions": []string{}, "limit": 50}), http.StatusForbidden, "TICKET")
	want(t, other.asks(search.Held{}).send(), http.StatusNotFound, "NO_SUCH_APPLICATION")
	var held search.Held
	other.sendsOn().send().into(t, &held)
	want(t, other.sendsOn().send(), http.StatusConflict, "APPLICATION_STATE")
	want(t, other.asks(search.Held{List: "another"}).send(), http.StatusUnprocessableEntity, "STATEMENT_INVALID")
	var found search.PeerPersons
	other.asks(held).send().into(t, &found)
	if search.ListDigest(found.Subjects) != held.List || len(found.Rows) < 3 {
		t.Errorf("%d rows about %v", len(found.Rows), found.Subjects)
	}
	for _, r := range found.Rows {
		ok(t, r.Verify("gw00.690100.example/audit", g.auditor.Public()))
	}
}

func (g *gateway) decide(by string, v search.View, a search.Action) got {
	g.t.Helper()
	return g.decideKnock(by, v, a).send()
}

func (g *gateway) decideKnock(by string, v search.View, a search.Action) knock {
	g.t.Helper()
	k, err := g.admin(by)
	ok(g.t, err)
	line, err := search.Decision{Action: a, Of: v.ID, List: v.List, At: time.Now()}.Sign(k)
	ok(g.t, err)
	return g.as("admin-"+by).knock(http.MethodPost, "/v1/audit/applications/"+v.ID+"/decisions", map[string]string{"statement": line})
}

func TestAnAuditorLooksForAPersonWithTwoOthersApproval(t *testing.T) {
	g, clerk, a := desk(t, nil)
	if r := g.sealed(t, clerk, a); r.Number == "" {
		t.Fatal(r.Code)
	}
	auditor := g.as("admin-audit")
	var v search.View
	g.apply("audit", sampleNumber).into(t, &v)
	var list struct{ Applications []search.View }
	g.as("admin-approver-1").call(http.MethodGet, "/v1/audit/applications", nil).into(t, &list)
	if len(list.Applications) != 1 || list.Applications[0].ID != v.ID {
		t.Fatalf("approvers see %+v", list)
	}
	want(t, g.as("admin-approver-2").call(http.MethodGet, "/v1/audit/applications/"+v.ID, nil), http.StatusOK, "")
	want(t, g.as("admin-approver-2").call(http.MethodGet, "/v1/audit/applications/other", nil), http.StatusNotFound, "NO_SUCH_APPLICATION")
	want(t, g.decide("audit", v, search.Approve), http.StatusConflict, "APPLICATION_STATE")
	want(t, g.decide("approver-1", v, search.Approve), http.StatusOK, "")
	want(t, g.decide("approver-2", v, search.Approve), http.StatusOK, "")
	var ticket struct{ Ticket string }
	auditor.call(http.MethodPost, "/v1/audit/applications/"+v.ID+"/ticket", nil).into(t, &ticket)
	found := auditor.call(http.MethodPost, "/v1/audit/search", map[string]any{"ticket": ticket.Ticket, "proofs": true})
	var rows search.Answer
	found.into(t, &rows)
	if !rows.Complete || len(rows.Rows) < 3 || !strings.Contains(string(found.body), "card.read") {
		t.Errorf("%d rows, complete %v", len(rows.Rows), rows.Complete)
	}
	for _, r := range rows.Rows {
		ok(t, r.Verify("gw00.690100.example/audit", g.auditor.Public()))
	}
	want(t, auditor.call(http.MethodPost, "/v1/audit/search", map[string]any{"ticket": ticket.Ticket, "filter": map[string]string{"item": "PRH"}}), http.StatusUnprocessableEntity, "INVALID_REQUEST")
	want(t, auditor.call(http.MethodPost, "/v1/audit/search", map[string]any{"ticket": "a.b.c"}), http.StatusForbidden, "TICKET")
}

func TestAuditDoorsAreForTheirPersonsOnly(t *testing.T) {
	g := start(t, nil)
	for _, test := range []struct {
		method, path string
		open         []string
	}{
		{http.MethodPost, "/v1/audit/search", []string{"admin-audit"}},
		{http.MethodGet, "/v1/audit/exchanges/20261122008Q2V6JZ4TXQ", []string{"admin-audit"}},
		{http.MethodPost, "/v1/audit/applications", []string{"admin-audit"}},
		{http.MethodGet, "/v1/audit/applications", []string{"admin-audit", "admin-approver-1"}},
		{http.MethodPost, "/v1/audit/peer/search", []string{"clerk-02"}},
		{http.MethodPost, "/v1/audit/peer/applications", []string{"clerk-02"}},
		{http.MethodPost, "/v1/audit/peer/persons", []string{"clerk-02"}},
		{http.MethodGet, "/v1/admin/seals", []string{"admin-security-1"}},
		{http.MethodGet, "/v1/citizen/heartbeat", []string{"clerk-01", "clerk-02"}},
		{http.MethodGet, "/v1/citizen/usagePeriod", []string{"clerk-01", "clerk-02"}},
	} {
		for _, who := range []string{"admin-audit", "admin-approver-1", "admin-security-1", "clerk-01", "clerk-02", "agent-ws-01"} {
			var body any
			if test.method == http.MethodPost {
				body = map[string]string{}
			}
			refused := g.as(who).call(test.method, test.path, body).problem() == "UNKNOWN_CERTIFICATE"
			if open := strings.Contains(strings.Join(test.open, " "), who); refused == open {
				t.Errorf("%s %s: open to %s: %v", test.method, test.path, who, !refused)
			}
		}
	}
}

func TestAResidentSeesWhoAskedAboutThem(t *testing.T) {
	g, clerk, a := desk(t, nil)
	token := clerk.read(a).Token
	var u search.Usages
	ask := func() {
		t.Helper()
		clerk.call(http.MethodPost, "/v1/citizen/findUsage", map[string]any{"subject_token": token, "period": map[string]any{"proofs": true, "limit": 10}}).into(t, &u)
	}
	ask()
	ask() // the card read is shown a day later; one's own view at once
	if u.Total != len(u.Usages) || u.Total < 2 {
		t.Fatalf("%+v", u)
	}
	for _, one := range u.Usages {
		if one.Action != "本人查看使用记录" && one.Action != "本人查看使用记录（发起）" {
			t.Errorf("shown before its time: %s", one.Action)
		}
		receipt, err := audit.ParseReceipt([]byte(one.Evidence.Receipt))
		ok(t, err)
		closed, err := base64.StdEncoding.DecodeString(one.Evidence.Closed)
		ok(t, err)
		ok(t, receipt.Verify(g.auditor.Public(), audit.LeafHashWithheld([]byte(one.Evidence.Open), audit.Hash(closed))))
	}
	if text, _ := json.Marshal(u); strings.Contains(string(text), sampleNumber) || strings.Contains(string(text), "clerk-01") {
		t.Error("the answer names the number or the officer")
	}
	complain := func(reason string, index uint64) got {
		return clerk.call(http.MethodPost, "/v1/citizen/complaints", map[string]any{"subject_token": token,
			"about": map[string]any{"origin": u.Usages[0].Origin, "index": index, "reason": reason}})
	}
	want(t, complain("NO_BASIS", 0), http.StatusNotFound, "NO_SUCH_ENTRY")
	want(t, complain("NO_BASIS", u.Usages[0].Index), http.StatusCreated, "")
	if g.count(audit.OpComplaint) != 1 {
		t.Error("no record of the complaint")
	}
	other := g.login("clerk-02", g.connect("ws-02", "770077"))
	want(t, other.call(http.MethodPost, "/v1/citizen/findUsage", map[string]string{"subject_token": token}), http.StatusForbidden, "SUBJECT_TOKEN_ELSEWHERE")
}
