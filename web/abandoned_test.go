package web_test

import (
	"net/http"
	"testing"

	"yizheng/audit"
	"yizheng/web"
)

// A handler that panics after its intent was recorded: 500, nothing else, and
// the log has the outcome.
func TestAHandlerThatPanicsLeavesNoIntentOpen(t *testing.T) {
	g := start(t, nil)
	logs := g.search.Logs
	g.search.Logs = nil
	want(t, g.as("admin-audit").call(http.MethodPost, "/v1/audit/search", map[string]any{"filter": map[string]any{"case": "XF-2026-17"}}), http.StatusInternalServerError, "INTERNAL")
	g.search.Logs = logs
	list := g.recorded(audit.OpAuditSearch)
	if len(list) != 2 || list[0].Open.Phase != audit.PhaseIntent || list[1].Open.Phase != audit.PhaseFailed || list[1].Open.Outcome != "ABANDONED" {
		t.Errorf("%+v", list)
	}
}

// So does a print order, whose intent was recorded before its documents were looked at.
func TestAPrintOrderThatPanicsLeavesNoIntentOpen(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	x, r := s.released()
	s.server.ExplodeOrders()
	want(t, s.desk().call(http.MethodPost, "/v1/exchanges/"+x.Exchange+"/print-order", map[string]any{"documents": [][]byte{r.Document}}), http.StatusInternalServerError, "INTERNAL")
	list := s.recorded(audit.OpDocPrint)
	if len(list) != 2 || list[0].Open.Phase != audit.PhaseIntent || list[1].Open.Phase != audit.PhaseFailed || list[1].Open.Outcome != "ABANDONED" || list[1].Open.Prev == nil {
		t.Errorf("%+v", list)
	}
}

// A route with one record has it, too.
func TestARecordedHandlerThatPanicsIsRecorded(t *testing.T) {
	g := startWith(t, nil, (*web.Server).ExplodeSeals)
	want(t, g.as("admin-security-1").call(http.MethodGet, "/v1/admin/seals", nil), http.StatusInternalServerError, "INTERNAL")
	list := g.recorded(audit.OpAdmin)
	if n := len(list); n == 0 || list[n-1].Open.Phase != audit.PhaseFailed || list[n-1].Open.Outcome != "INTERNAL" {
		t.Errorf("%+v", list)
	}
}

// recorded are all entries of an operation.
func (g *gateway) recorded(op audit.Op) (list []audit.Entry) {
	g.t.Helper()
	ok(g.t, g.audit.Read(g.t.Context(), 0, g.audit.Head().Size, func(_ uint64, s audit.Stored) error {
		if s.Entry.Open.Op == op {
			list = append(list, s.Entry)
		}
		return nil
	}))
	return list
}
