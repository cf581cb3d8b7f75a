package web_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/audit/search"
	"yizheng/exchange"
	"yizheng/seal/life"
)

// TestRoutesThatRecordInsideDoSo makes one good call to each route of class
// "inside" that does something, and looks for what it promises in the log. The
// routes that only show progress are below.
func TestRoutesThatRecordInsideDoSo(t *testing.T) {
	g := start(t, nil)
	a := g.connect("ws-01", "381204")
	var clerk *client
	var token, number, read, order string
	var other otherGateway
	var held search.Held
	var document []byte
	reply := newReplyKey(t)
	called := map[string]bool{}
	for _, step := range []struct {
		route string
		op    audit.Op
		call  func()
	}{
		{"POST /v1/sessions", audit.OpLogin, func() { clerk = g.login("clerk-01", a) }},
		{"POST /v1/read-sessions/:id/failure", audit.OpCardRead, func() {
			var v struct {
				ID string `json:"read_session"`
			}
			clerk.call(http.MethodPost, "/v1/read-sessions", ask).into(t, &v)
			<-a.challenges
			want(t, a.call(http.MethodPost, "/v1/read-sessions/"+v.ID+"/failure", map[string]string{"code": "NO_CARD"}), http.StatusNoContent, "")
		}},
		{"POST /v1/read-sessions/:id/attestation", audit.OpCardRead, func() {
			v := clerk.read(a)
			token, read = v.Token, v.ReadSession
		}},
		{"POST /v1/exchanges", audit.OpRelease, func() {
			var x answer
			clerk.call(http.MethodPost, "/v1/exchanges", question(reply, token), "Prefer", "wait=10").into(t, &x)
			number, document = x.Exchange, g.open(reply, x.Results["RE-01"]).Document
		}},
		{"POST /v1/exchanges/:no/parts/:part/prints", audit.OpDocPrint, func() {
			want(t, clerk.call(http.MethodPost, "/v1/exchanges/"+number+"/parts/RE-01/prints", map[string]string{}), http.StatusOK, "")
		}},
		{"POST /v1/exchanges/:no/parts/:part/prints", audit.OpDeny, func() {
			want(t, clerk.call(http.MethodPost, "/v1/exchanges/"+number+"/parts/RE-01/prints", map[string]string{}), http.StatusConflict, "REPRINT_REASON")
		}},
		{"POST /v1/exchanges/:no/parts/:part/prints", audit.OpDocReprint, func() {
			want(t, clerk.call(http.MethodPost, "/v1/exchanges/"+number+"/parts/RE-01/prints", map[string]string{"reason": "PAPER_JAM"}), http.StatusOK, "")
		}},
		{"POST /v1/exchanges/:no/print-order", audit.OpDocReprint, func() { // intent, outcome and the one print
			want(t, clerk.call(http.MethodPost, "/v1/exchanges/"+number+"/print-order", map[string]any{"documents": [][]byte{document}, "reason": "DAMAGED"}), http.StatusOK, "")
		}},
		{"POST /v1/exchanges", audit.OpDeny, func() {
			clerk.call(http.MethodPost, "/v1/exchanges", question(reply, token))
		}},
		{"POST /v1/exchanges/:no/legs/:leg/retry", audit.OpDeny, func() {
			want(t, clerk.call(http.MethodPost, "/v1/exchanges/"+number+"/legs/RE-01.1/retry", nil), http.StatusConflict, "NOT_RETRYABLE")
		}},
		{"POST /v1/admin/seals/:id/steps", audit.OpSealStep, func() {
			want(t, g.step("security-1", "re", life.Suspend, life.Lost), http.StatusOK, "")
		}},
		{"POST /v1/admin/certificates/:number/withdraw", audit.OpWithdraw, func() {
			var v struct {
				Parts []struct{ Number string } `json:"parts"`
			}
			clerk.call(http.MethodGet, "/v1/exchanges/"+number, nil).into(t, &v)
			want(t, g.withdraw("security-1", exchange.WithdrawalStatement{Action: exchange.WithdrawAsk, Number: v.Parts[0].Number, Reason: "WRONG_DATA", At: time.Now()}), http.StatusOK, "")
		}},
		{"POST /v1/audit/search", audit.OpAuditSearch, func() {
			want(t, g.as("admin-audit").call(http.MethodPost, "/v1/audit/search", map[string]any{"filter": map[string]string{"item": "PRH"}}), http.StatusOK, "")
		}},
		{"GET /v1/audit/exchanges/:no", audit.OpAuditSearch, func() {
			want(t, g.as("admin-audit").call(http.MethodGet, "/v1/audit/exchanges/"+number, nil), http.StatusOK, "")
		}},
		{"POST /v1/audit/peer/search", audit.OpAuditSearch, func() {
			want(t, g.as("clerk-02").call(http.MethodPost, "/v1/audit/peer/search", map[string]any{"filter": map[string]string{"exchange": number}, "limit": 10, "by": "auditor-9"}), http.StatusOK, "")
		}},
		{"POST /v1/audit/peer/applications", audit.OpAuditSearch, func() {
			other = g.another(sampleNumber)
			other.sendsOn().send().into(t, &held)
		}},
		{"POST /v1/audit/peer/persons", audit.OpAuditSearch, func() { want(t, other.asks(held).send(), http.StatusOK, "") }},
		{"POST /v1/audit/applications", audit.OpAuditSearch, func() {
			want(t, g.apply("audit", sampleNumber), http.StatusOK, "")
		}},
		{"POST /v1/audit/applications/:id/decisions", audit.OpAuditSearch, func() {
			want(t, g.decide("approver-1", g.search.Applications()[0], search.Approve), http.StatusOK, "")
		}},
		{"POST /v1/audit/applications/:id/ticket", audit.OpAuditSearch, func() {
			want(t, g.as("admin-audit").call(http.MethodPost, "/v1/audit/applications/"+g.search.Applications()[0].ID+"/ticket", nil), http.StatusConflict, "APPLICATION_STATE")
		}},
		{"POST /v1/citizen/findUsage", audit.OpCitizenView, func() {
			want(t, clerk.call(http.MethodPost, "/v1/citizen/findUsage", map[string]string{"subject_token": token}), http.StatusOK, "")
		}},
		{"POST /v1/audit/peer/usages", audit.OpCitizenView, func() {
			want(t, g.as("clerk-02").call(http.MethodPost, "/v1/audit/peer/usages", map[string]any{"subject_token": token, "limit": 10}), http.StatusOK, "")
			want(t, g.as("clerk-02").call(http.MethodPost, "/v1/audit/peer/usages", map[string]any{"subject_token": "none", "limit": 10}), http.StatusUnprocessableEntity, "SUBJECT_TOKEN_INVALID")
		}},
		{"POST /v1/citizen/complaints", audit.OpDeny, func() {
			want(t, clerk.call(http.MethodPost, "/v1/citizen/complaints", map[string]any{"subject_token": "none",
				"about": map[string]any{"origin": g.audit.Origin(), "index": 0, "reason": "NO_BASIS"}}), http.StatusUnprocessableEntity, "SUBJECT_TOKEN_INVALID")
		}},
		{"POST /v1/supervision/cards/:id/confirm", audit.OpSuperviseCard, func() {
			sup, card := g.raised(clerk)
			want(t, sup.call(http.MethodPost, "/v1/supervision/cards/"+card+"/confirm", nil), http.StatusOK, "")
		}},
		{"POST /v1/supervision/cards/:id/dismiss", audit.OpSuperviseCard, func() {
			sup, card := g.raised(clerk)
			want(t, sup.call(http.MethodPost, "/v1/supervision/cards/"+card+"/dismiss", map[string]string{"reason": "DRILL"}), http.StatusOK, "")
		}},
		{"POST /v1/supervision/orders", audit.OpSuperviseOrder, func() { order = g.ordered(clerk) }},
		{"POST /v1/orders/:id/answer", audit.OpSuperviseOrder, func() { g.answered(order) }},
		{"POST /v1/supervision/orders/:id/return", audit.OpSuperviseOrder, func() {
			want(t, g.as("admin-supervisor-1").call(http.MethodPost, "/v1/supervision/orders/"+order+"/return", map[string]string{"due": nextWeek()}), http.StatusOK, "")
			g.answered(order)
		}},
		{"POST /v1/supervision/orders/:id/close", audit.OpSuperviseOrder, func() {
			want(t, g.as("admin-supervisor-1").call(http.MethodPost, "/v1/supervision/orders/"+order+"/close", nil), http.StatusOK, "")
		}},
		{"POST /v1/supervision/relatives", audit.OpSuperviseRelatives, func() { order = g.proposed() }},
		{"POST /v1/supervision/relatives/:id/approve", audit.OpSuperviseRelatives, func() {
			want(t, g.as("admin-approver-1").call(http.MethodPost, "/v1/supervision/relatives/"+order+"/approve", sameNumbers(sampleNumber)), http.StatusOK, "")
		}},
		{"DELETE /v1/sessions/:id", audit.OpLogout, func() {
			want(t, clerk.call(http.MethodDelete, "/v1/sessions/"+clerk.session, nil), http.StatusNoContent, "")
		}},
	} {
		before := g.count(step.op)
		step.call()
		if got := g.count(step.op) - before; got != 1 && (got != 3 || !strings.HasSuffix(step.route, "/print-order")) && (got != 2 || step.op != audit.OpAuditSearch && step.op != audit.OpCitizenView) && (got < 1 || !strings.HasPrefix(string(step.op), "supervise.")) { // intent and outcome
			t.Errorf("%s: no record %s", step.route, step.op)
		}
		called[step.route] = true
	}
	if read == "" || number == "" {
		t.Error("a call gave nothing")
	}
	// These show what is in the log already: the card read to who asked for it,
	// and progress, of sensitive proofs with a record of its own (exchange.Service.RecordView).
	for _, rt := range []string{"GET /v1/read-sessions/:id", "GET /v1/exchanges/:no", "GET /v1/exchanges/:no/events"} {
		called[rt] = true
	}
	for _, rt := range g.server.RouteTable() {
		if name := rt.Method + " " + rt.Path; rt.Class == "inside" && !called[name] {
			t.Errorf("%s: nobody looked for its record", name)
		}
	}
}

// count is how many entries of an operation, of all if op is empty, the log has, once all that was queued is durable.
func (g *gateway) count(op audit.Op) int {
	_, err := g.audit.Append(g.t.Context(), audit.Entry{Open: audit.Open{Op: audit.OpAdmin}})
	ok(g.t, err)
	n := 0
	ok(g.t, g.audit.Read(g.t.Context(), 0, g.audit.Head().Size, func(_ uint64, e audit.Stored) error {
		if op == "" || e.Entry.Open.Op == op {
			n++
		}
		return nil
	}))
	return n
}
