package web

import (
	"net/http"
	"slices"
	"time"

	"yizheng/audit"
	"yizheng/audit/search"
)

const (
	kib = 1 << 10
	mib = 1 << 20
)

// routes is the whole API. Everything a route may do is decided here and visible at a glance.
func (s *Server) routes() []route {
	return slices.Concat(s.mainRoutes(), s.supervisionRoutes(), s.relativesRoutes(), s.healthRoutes())
}

// mainRoutes are all but those of supervision (supervision.go, relatives.go) and health (health.go).
func (s *Server) mainRoutes() []route {
	const get, post, del = http.MethodGet, http.MethodPost, http.MethodDelete
	quick := 10 * time.Second
	return []route{
		{get, "/", anyone, nothing, "", 0, quick, s.startPage},
		{get, "/assets/:name", anyone, nothing, "", 0, quick, s.asset},
		{get, "/openapi.json", anyone, nothing, "", 0, quick, s.openAPIDocument},
		{get, "/v/:number", anyone, recorded, audit.OpVerify, 0, quick, s.paperPage},

		{post, "/v1/sessions", clerk, inside, "", 4 * kib, quick, s.openSession},
		{del, "/v1/sessions/:id", clerk, inside, "", 0, quick, s.closeSession},

		{post, "/v1/agents/connect", agent, nothing, "", 4 * kib, 0, s.connectAgent},
		{post, "/v1/read-sessions/:id/attestation", agent, inside, "", 64 * kib, quick, s.attest},
		{post, "/v1/read-sessions/:id/failure", agent, inside, "", 4 * kib, quick, s.readFailed},
		{post, "/v1/read-sessions", desk, nothing, "", 4 * kib, quick, s.startRead},
		{get, "/v1/read-sessions/:id", desk, inside, "", 0, 2 * time.Minute, s.getRead},

		{get, "/v1/items", clerk, nothing, "", 0, quick, s.listItems},
		{get, "/v1/items/:code", clerk, nothing, "", 0, quick, s.getItem},

		{post, "/v1/exchanges", desk, inside, "", 256 * kib, 150 * time.Second, s.startExchange},
		{get, "/v1/exchanges/:no", clerk, inside, "", 0, quick, s.getExchange},
		{get, "/v1/exchanges/:no/events", clerk, inside, "", 0, 0, s.exchangeEvents},
		{get, "/v1/exchanges/:no/results/:part", clerk, recorded, audit.OpDocView, 0, quick, s.getResult},
		{post, "/v1/exchanges/:no/parts/:part/prints", clerk, inside, "", kib, quick, s.printResult},
		{post, printOrderPath, clerk, inside, "", maxOrder, time.Minute, s.printOrder},
		{post, "/v1/exchanges/:no/legs/:leg/retry", clerk, inside, "", 0, quick, s.retryLeg},
		{del, "/v1/exchanges/:no", clerk, recorded, audit.OpAdmin, 0, quick, s.forgetExchange},

		{post, "/v1/verify", anyone, recorded, audit.OpVerify, 20 * mib, 30 * time.Second, s.verifyDocument},
		{get, "/v1/verify/:number", anyone, recorded, audit.OpVerify, 0, quick, s.verifyNumber},

		{get, "/v1/admin/seals", administrator, recorded, audit.OpAdmin, 0, quick, s.listSeals},
		{get, "/v1/admin/seals/:id", administrator, recorded, audit.OpAdmin, 0, quick, s.showSeal},
		{post, "/v1/admin/seals/:id/steps", administrator, inside, "", mib, quick, s.sealStep},
		{get, "/v1/admin/certificates/:number/withdrawal", administrator, recorded, audit.OpAdmin, 0, quick, s.showWithdrawal},
		{post, "/v1/admin/certificates/:number/withdraw", administrator, inside, "", 16 * kib, quick, s.withdraw},

		{get, "/v1/audit/checkpoint", anyone, nothing, "", 0, quick, s.checkpoint},
		{post, "/v1/audit/search", auditor, inside, "", 64 * kib, time.Minute, s.searchAudit},
		{get, "/v1/audit/exchanges/:no", auditor, inside, "", 0, time.Minute, s.auditPath},
		{post, "/v1/audit/applications", auditor, inside, "", 16 * kib, time.Minute, s.applyForSubjects},
		{get, "/v1/audit/applications", approver, recorded, audit.OpAdmin, 0, quick, s.listApplications},
		{get, "/v1/audit/applications/:id", approver, recorded, audit.OpAdmin, 0, quick, s.showApplication},
		{post, "/v1/audit/applications/:id/decisions", approver, inside, "", 16 * kib, quick, s.decideApplication},
		{post, "/v1/audit/applications/:id/ticket", auditor, inside, "", 0, quick, s.issueTicket},
		{post, search.PeerPath, peer, inside, "", 64 * kib, time.Minute, s.answerPeer},
		{post, search.ApplicationPath, peer, inside, "", 16 * kib, quick, s.takeApplication},
		{post, search.PersonsPath, peer, inside, "", 64 * kib, time.Minute, s.answerPersons},
		{post, search.UsagePath, peer, inside, "", 80 * kib, time.Minute, s.answerUsages},

		{post, "/v1/citizen/findUsage", desk, inside, "", 80 * kib, time.Minute, s.findUsage},
		{get, "/v1/citizen/usagePeriod", clerk, nothing, "", 0, quick, s.usagePeriod},
		{get, "/v1/citizen/heartbeat", clerk, nothing, "", 0, quick, s.heartbeat},
		{post, "/v1/citizen/complaints", desk, inside, "", 80 * kib, quick, s.complain},
	}
}
