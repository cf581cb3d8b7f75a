package web_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/audit/index"
	"yizheng/audit/ship"
	"yizheng/audit/witness"
	"yizheng/web/health"
)

// Who looks after the gateway sees everything, a probe yes or no, a clerk
// nothing; and a monitor's questions do not fill the log.
func TestHealthIsForThoseWhoLookAfterTheGateway(t *testing.T) {
	g := start(t, nil)
	g.condition.Index = &health.Index{Lag: index.Lag{Lost: []string{}, Changed: []index.Change{{Origin: "gw00.690100.example/audit/2026q4", File: "live.db", Next: 9, What: "缺行 / a row is missing", At: time.Now().UTC().Truncate(time.Second)}}}}
	g.condition.Witness = &health.Witness{Status: witness.Status{Need: 1, Of: 1, Size: 3, At: time.Now()}}
	g.condition.Stamps, g.condition.Authority = &health.Stamps{}, &health.Authority{}
	g.condition.Copies = []health.Copy{{Status: ship.Status{Name: "siem", Error: "refused"}}}
	g.condition.Lines = []health.Line{{Name: "front:re", Since: time.Now()}}
	g.condition.Ends = []health.End{{What: "tls.certificate", Name: "gateway.crt", Until: time.Now(), Days: 5, Within: 7}}
	before := g.audit.Head().Size
	for who, want := range map[string]int{"": 401, "clerk-01": 403, "agent-ws-01": 403, "admin-approver-1": 403, "clerk-02": 200, "admin-security-1": 200, "admin-audit": 200} {
		for _, path := range []string{"/v1/admin/health", "/metrics"} {
			if a := g.as(who).call(http.MethodGet, path, nil); a.StatusCode != want {
				t.Errorf("%s to %s: %d, want %d", path, who, a.StatusCode, want)
			}
		}
	}
	var r health.Report
	g.as("clerk-02").call(http.MethodGet, "/v1/admin/health", nil).into(t, &r) // clerk-02 stands for a monitor here
	if !r.Ready || len(r.Findings) != 4 || r.Findings[0].Level != health.Alarm || r.Log.Origin != g.audit.Origin() {
		t.Errorf("report %+v", r)
	}
	if a := g.as("").call(http.MethodGet, "/v1/health", nil); string(a.body) != `{"ready":true}` {
		t.Errorf("a probe is told %s", a.body)
	}
	metrics := string(g.as("admin-security-1").call(http.MethodGet, "/metrics", nil).body)
	for _, line := range []string{"yizheng_ready 1\n", `yizheng_line_up{line="front:re"} 0` + "\n", `yizheng_days_left{name="gateway.crt",what="tls.certificate"} 5` + "\n"} {
		if !strings.Contains(metrics, line) {
			t.Errorf("the metrics lack %s", line)
		}
	}
	for _, op := range entriesFrom(t, g, before) {
		if op != audit.OpLogin && op != audit.OpSuperviseCard { // of and about those who were turned away
			t.Errorf("recorded: %s", op)
		}
	}
}

// entriesFrom are the operations in the log from an entry on.
func entriesFrom(t *testing.T, g *gateway, from uint64) (ops []audit.Op) {
	ok(t, g.audit.Read(t.Context(), from, g.audit.Head().Size, func(_ uint64, e audit.Stored) error {
		ops = append(ops, e.Entry.Open.Op)
		return nil
	}))
	return ops
}

func TestAGatewayWhoseLogIsHeldIsNotReady(t *testing.T) {
	g := start(t, nil)
	g.audit.Hold("witness", errors.New("for too long"))
	want(t, g.as("").call(http.MethodGet, "/v1/health", nil), http.StatusServiceUnavailable, "NOT_READY")
	var r health.Report
	g.as("admin-audit").call(http.MethodGet, "/v1/admin/health", nil).into(t, &r)
	if r.Ready || len(r.Findings) != 1 || r.Findings[0].Code != "LOG_HELD" || r.Findings[0].About != "witness" {
		t.Errorf("report %+v", r)
	}
}
