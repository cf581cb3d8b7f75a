package web_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/audit/audittest"
	"yizheng/audit/search"
	"yizheng/exchange"
	"yizheng/identity/jose"
	"yizheng/seal/life"
)

// The log is spoilt at each record of each request, in both ways, and the bytes
// that come back are read from under HTTP.

// scene is a gateway and what a request needs to be a good one.
type scene struct {
	*gateway
	clerk *client
	agent *agent
	reply *jose.Key
	held  []string // what must not be told any more
}

func newScene(t *testing.T) *scene {
	s := &scene{gateway: start(t, nil), reply: newReplyKey(t), held: []string{sampleName, sampleNumber, "690102001001GB00012F00030301", "%PDF"}}
	s.agent = s.connect("ws-01", "381204")
	return s
}

// desk is a clerk who is paired.
func (s *scene) desk() *client {
	if s.clerk == nil {
		s.clerk = s.login("clerk-01", s.agent)
	}
	return s.clerk
}

func (s *scene) token() string { return s.desk().read(s.agent).Token }

// released is an exchange that has ended, and its result, opened.
func (s *scene) released() (answer, exchange.Result) {
	var x answer
	token := s.token()
	s.clerk.call(http.MethodPost, "/v1/exchanges", question(s.reply, token), "Prefer", "wait=10").into(s.t, &x)
	r := s.open(s.reply, x.Results["RE-01"])
	if len(r.Document) == 0 {
		s.t.Fatal("no document:", r.Code)
	}
	s.held = append(s.held, x.Results["RE-01"], r.Data, string(r.Seed), r.Sentence)
	return x, r
}

// number is that of a released document.
func (s *scene) number() string {
	_, r := s.released()
	return r.Number
}

// exchanged is the path of an exchange that has ended.
func (s *scene) exchanged(rest string) string {
	x, _ := s.released()
	return "/v1/exchanges/" + x.Exchange + rest
}

// reading is a card read that waits for its agent.
func (s *scene) reading() string {
	var v struct {
		ID string `json:"read_session"`
	}
	s.desk().call(http.MethodPost, "/v1/read-sessions", ask).into(s.t, &v)
	return v.ID
}

// applied is an application that so many have approved.
func (s *scene) applied(approvers ...string) search.View {
	var v search.View
	s.apply("audit", sampleNumber).into(s.t, &v)
	for _, who := range approvers {
		want(s.t, s.decide(who, v, search.Approve), http.StatusOK, "")
	}
	return v
}

func (s *scene) raisedCard() string {
	_, card := s.raised(nil)
	return card
}

// bytes sends the request and returns all that comes back until the connection ends.
func (k knock) bytes(t *testing.T) []byte {
	t.Helper()
	raw, err := net.Dial("tcp", k.req.URL.Host)
	ok(t, err)
	conf := k.who.http.Transport.(*http.Transport).TLSClientConfig.Clone()
	conf.ServerName = "127.0.0.1"
	conn := tls.Client(raw, conf)
	defer conn.Close()
	ok(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
	k.req.Close = true
	ok(t, k.req.Write(conn))
	got, err := io.ReadAll(conn)
	ok(t, err)
	return got
}

// recording is a request that must be on record before it is answered.
type recording struct {
	route string
	op    audit.Op // without which nothing leaves; "": what it shows is on record
	times int      // how often; 0: once
	ask   func(s *scene) knock
}

// recordings are good requests to every route that is recorded.
func recordings() []recording {
	const get, post, del = http.MethodGet, http.MethodPost, http.MethodDelete
	staff := func(name, method, path string, body any) func(s *scene) knock {
		return func(s *scene) knock { return s.as("admin-"+name).knock(method, path, body) }
	}
	return []recording{
		{"GET /v/:number", audit.OpVerify, 0, func(s *scene) knock { return s.as("").knock(get, "/v/"+s.number(), nil) }},
		{"POST /v1/verify", audit.OpVerify, 0, func(s *scene) knock {
			_, r := s.released()
			return s.as("").knock(post, "/v1/verify", r.Document, "Content-Type", "application/pdf")
		}},
		{"GET /v1/verify/:number", audit.OpVerify, 0, func(s *scene) knock { return s.as("").knock(get, "/v1/verify/"+s.number(), nil) }},

		{"POST /v1/sessions", audit.OpLogin, 0, func(s *scene) knock {
			return s.as("clerk-01").knock(post, "/v1/sessions", map[string]any{"pairing_codes": []string{s.agent.code}})
		}},
		{"DELETE /v1/sessions/:id", audit.OpLogout, 0, func(s *scene) knock { return s.desk().knock(del, "/v1/sessions/"+s.desk().session, nil) }},
		{"POST /v1/read-sessions/:id/attestation", audit.OpCardRead, 0, func(s *scene) knock {
			s.reading()
			return s.agent.attestation()
		}},
		{"POST /v1/read-sessions/:id/failure", audit.OpCardRead, 0, func(s *scene) knock {
			return s.agent.knock(post, "/v1/read-sessions/"+s.reading()+"/failure", map[string]string{"code": "NO_CARD"})
		}},
		{"GET /v1/read-sessions/:id", "", 0, func(s *scene) knock {
			return s.desk().knock(get, "/v1/read-sessions/"+s.desk().read(s.agent).ReadSession, nil)
		}},

		{"POST /v1/exchanges", audit.OpRelease, 0, func(s *scene) knock {
			return s.desk().knock(post, "/v1/exchanges", question(s.reply, s.token()), "Prefer", "wait=10")
		}},
		{"GET /v1/exchanges/:no", "", 0, func(s *scene) knock { return s.desk().knock(get, s.exchanged(""), nil) }},
		{"GET /v1/exchanges/:no/events", "", 0, func(s *scene) knock { return s.desk().knock(get, s.exchanged("/events"), nil) }},
		{"GET /v1/exchanges/:no/results/:part", audit.OpDocView, 0, func(s *scene) knock { return s.desk().knock(get, s.exchanged("/results/RE-01"), nil) }},
		{"POST /v1/exchanges/:no/parts/:part/prints", audit.OpDocPrint, 0, func(s *scene) knock {
			return s.desk().knock(post, s.exchanged("/parts/RE-01/prints"), map[string]string{})
		}},
		{"POST /v1/exchanges/:no/parts/:part/prints", audit.OpDocReprint, 0, func(s *scene) knock {
			return s.desk().knock(post, s.exchanged("/parts/RE-01/prints"), map[string]string{"reason": "PAPER_JAM"})
		}},
		{"POST /v1/exchanges/:no/print-order", audit.OpDocPrint, 3, func(s *scene) knock {
			x, r := s.released()
			return s.desk().knock(post, "/v1/exchanges/"+x.Exchange+"/print-order", map[string]any{"documents": [][]byte{r.Document}})
		}},
		{"POST /v1/exchanges/:no/legs/:leg/retry", audit.OpDeny, 0, func(s *scene) knock { return s.desk().knock(post, s.exchanged("/legs/RE-01.1/retry"), nil) }},
		{"DELETE /v1/exchanges/:no", audit.OpAdmin, 0, func(s *scene) knock { return s.desk().knock(del, s.exchanged(""), nil) }},

		{"GET /v1/admin/seals", audit.OpAdmin, 0, staff("security-1", get, "/v1/admin/seals", nil)},
		{"GET /v1/admin/seals/:id", audit.OpAdmin, 0, staff("security-1", get, "/v1/admin/seals/re", nil)},
		{"POST /v1/admin/seals/:id/steps", audit.OpSealStep, 0, func(s *scene) knock { return s.stepKnock("security-1", "re", life.Suspend, life.Lost) }},
		{"GET /v1/admin/certificates/:number/withdrawal", audit.OpAdmin, 0, func(s *scene) knock {
			return s.as("admin-security-1").knock(get, "/v1/admin/certificates/"+s.number()+"/withdrawal", nil)
		}},
		{"POST /v1/admin/certificates/:number/withdraw", audit.OpWithdraw, 0, func(s *scene) knock {
			n := s.number()
			line := s.statement("security-1", exchange.WithdrawalStatement{Action: exchange.WithdrawAsk, Number: n, Reason: "WRONG_DATA"})
			return s.as("admin-security-1").knock(post, "/v1/admin/certificates/"+n+"/withdraw", map[string]string{"statement": line})
		}},

		{"POST /v1/audit/search", audit.OpAuditSearch, 2, func(s *scene) knock {
			s.released()
			return s.as("admin-audit").knock(post, "/v1/audit/search", map[string]any{"filter": map[string]string{"item": "PRH"}})
		}},
		{"GET /v1/audit/exchanges/:no", audit.OpAuditSearch, 2, func(s *scene) knock {
			x, _ := s.released()
			return s.as("admin-audit").knock(get, "/v1/audit/exchanges/"+x.Exchange, nil)
		}},
		{"POST /v1/audit/peer/search", audit.OpAuditSearch, 1, func(s *scene) knock {
			x, _ := s.released()
			return s.as("clerk-02").knock(post, "/v1/audit/peer/search", map[string]any{"filter": map[string]string{"exchange": x.Exchange}, "limit": 10, "by": "auditor-9"})
		}},
		{"POST /v1/audit/peer/usages", audit.OpCitizenView, 2, func(s *scene) knock {
			return s.as("clerk-02").knock(post, "/v1/audit/peer/usages", map[string]any{"subject_token": s.token(), "limit": 10})
		}},
		{"POST /v1/audit/peer/applications", audit.OpAuditSearch, 0, func(s *scene) knock { return s.another(sampleNumber).sendsOn() }},
		{"POST /v1/audit/peer/persons", audit.OpAuditSearch, 2, func(s *scene) knock {
			s.released()
			other := s.another(sampleNumber)
			var held search.Held
			other.sendsOn().send().into(s.t, &held)
			return other.asks(held)
		}},
		{"POST /v1/audit/applications", audit.OpAuditSearch, 0, func(s *scene) knock { return s.applyKnock("audit", sampleNumber) }},
		{"GET /v1/audit/applications", audit.OpAdmin, 0, func(s *scene) knock {
			s.applied()
			return s.as("admin-approver-1").knock(get, "/v1/audit/applications", nil)
		}},
		{"GET /v1/audit/applications/:id", audit.OpAdmin, 0, func(s *scene) knock {
			return s.as("admin-approver-1").knock(get, "/v1/audit/applications/"+s.applied().ID, nil)
		}},
		{"POST /v1/audit/applications/:id/decisions", audit.OpAuditSearch, 0, func(s *scene) knock { return s.decideKnock("approver-1", s.applied(), search.Approve) }},
		{"POST /v1/audit/applications/:id/ticket", audit.OpAuditSearch, 0, func(s *scene) knock {
			return s.as("admin-audit").knock(post, "/v1/audit/applications/"+s.applied("approver-1", "approver-2").ID+"/ticket", nil)
		}},

		{"POST /v1/citizen/findUsage", audit.OpCitizenView, 2, func(s *scene) knock {
			return s.desk().knock(post, "/v1/citizen/findUsage", map[string]string{"subject_token": s.token()})
		}},
		{"POST /v1/citizen/complaints", audit.OpComplaint, 0, func(s *scene) knock {
			token := s.token()
			var u search.Usages
			for range 2 { // one's own view is shown at once, to the next
				s.desk().call(post, "/v1/citizen/findUsage", map[string]any{"subject_token": token, "period": map[string]any{"proofs": true, "limit": 10}}).into(s.t, &u)
			}
			about := map[string]any{"origin": u.Usages[0].Origin, "index": u.Usages[0].Index, "reason": "NO_BASIS"}
			return s.desk().knock(post, "/v1/citizen/complaints", map[string]any{"subject_token": token, "about": about})
		}},

		{"GET /v1/supervision", audit.OpAdmin, 0, staff("supervisor-1", get, "/v1/supervision", nil)},
		{"GET /v1/supervision/rules", audit.OpAdmin, 0, staff("supervisor-1", get, "/v1/supervision/rules", nil)},
		{"POST /v1/supervision/cards", audit.OpAdmin, 0, staff("supervisor-1", post, "/v1/supervision/cards", map[string]string{})},
		{"GET /v1/supervision/cards/:id", audit.OpAdmin, 0, func(s *scene) knock {
			return s.as("admin-supervisor-1").knock(get, "/v1/supervision/cards/"+s.raisedCard(), nil)
		}},
		{"POST /v1/supervision/cards/:id/confirm", audit.OpSuperviseCard, 0, func(s *scene) knock {
			return s.as("admin-supervisor-1").knock(post, "/v1/supervision/cards/"+s.raisedCard()+"/confirm", nil)
		}},
		{"POST /v1/supervision/cards/:id/dismiss", audit.OpSuperviseCard, 0, func(s *scene) knock {
			return s.as("admin-supervisor-1").knock(post, "/v1/supervision/cards/"+s.raisedCard()+"/dismiss", map[string]string{"reason": "DRILL"})
		}},
		{"GET /v1/supervision/orders", audit.OpAdmin, 0, staff("supervisor-1", get, "/v1/supervision/orders", nil)},
		{"POST /v1/supervision/orders", audit.OpSuperviseOrder, 0, func(s *scene) knock {
			return s.as("admin-supervisor-1").knock(post, "/v1/supervision/orders", map[string]string{"card": s.raisedCard(), "demand": "EXPLAIN", "due": nextWeek(), "text": "请说明情况"})
		}},
		{"GET /v1/supervision/orders/:id", audit.OpAdmin, 0, func(s *scene) knock {
			return s.as("admin-supervisor-1").knock(get, "/v1/supervision/orders/"+s.ordered(nil), nil)
		}},
		{"POST /v1/supervision/orders/:id/return", audit.OpSuperviseOrder, 0, func(s *scene) knock {
			order := s.ordered(nil)
			s.answered(order)
			return s.as("admin-supervisor-1").knock(post, "/v1/supervision/orders/"+order+"/return", map[string]string{"due": nextWeek()})
		}},
		{"POST /v1/supervision/orders/:id/close", audit.OpSuperviseOrder, 0, func(s *scene) knock {
			order := s.ordered(nil)
			s.answered(order)
			return s.as("admin-supervisor-1").knock(post, "/v1/supervision/orders/"+order+"/close", nil)
		}},
		{"GET /v1/supervision/relatives", audit.OpAdmin, 0, staff("supervisor-1", get, "/v1/supervision/relatives", nil)},
		{"POST /v1/supervision/relatives", audit.OpSuperviseRelatives, 0, staff("supervisor-1", post, "/v1/supervision/relatives", relativesOf("clerk-01", sampleNumber))},
		{"GET /v1/supervision/relatives/:id", audit.OpAdmin, 0, func(s *scene) knock {
			return s.as("admin-approver-1").knock(get, "/v1/supervision/relatives/"+s.proposed(), nil)
		}},
		{"POST /v1/supervision/relatives/:id/approve", audit.OpSuperviseRelatives, 0, func(s *scene) knock {
			return s.as("admin-approver-1").knock(post, "/v1/supervision/relatives/"+s.proposed()+"/approve", sameNumbers(sampleNumber))
		}},
		{"POST /v1/supervision/statistics", audit.OpAuditExport, 0, staff("supervisor-1", post, "/v1/supervision/statistics",
			map[string]string{"by": "operator", "from": "2026-01-01", "to": "2026-12-31", "period": "month"})},
		{"GET /v1/orders", audit.OpAdmin, 0, staff("respondent-1", get, "/v1/orders", nil)},
		{"POST /v1/orders/:id/answer", audit.OpSuperviseOrder, 0, func(s *scene) knock {
			return s.as("admin-respondent-1").knock(post, "/v1/orders/"+s.ordered(nil)+"/answer", map[string]string{"answer": "EXPLAINED", "text": "误操作"})
		}},
	}
}

func TestEveryRecordedRouteIsAskedWithASpoiltLog(t *testing.T) {
	asked := make(map[string]bool)
	for _, r := range recordings() {
		asked[r.route] = true
	}
	g := start(t, nil)
	for _, rt := range g.server.RouteTable() {
		if name := rt.Method + " " + rt.Path; asked[name] == (rt.Class == "nothing") {
			t.Errorf("%s, class %s: among the requests with a spoilt log: %v", name, rt.Class, asked[name])
		}
	}
}

// What matters most, in the quick tier; the integration tier asks every route.
func TestNothingLeavesWithoutItsRecord(t *testing.T) {
	t.Parallel()
	for _, r := range recordings() {
		if r.op == audit.OpRelease || r.op == audit.OpDocView {
			spoilAll(t, r)
		}
	}
}

func spoilAll(t *testing.T, r recording) {
	for _, way := range audittest.Ways() {
		t.Run(strings.ReplaceAll(r.route, "/", "_")+" "+string(r.op)+" "+string(way), func(t *testing.T) {
			t.Parallel()
			for k := 1; spoil(t, r, k, way); k++ {
				if k > 20 {
					t.Fatal("so many records of one request?")
				}
			}
		})
	}
}

// spoil sends the request, spoils the log at the k-th batch that is written
// meanwhile, and reports whether there was one. If not, the request must be
// answered, and be on record.
func spoil(t *testing.T, r recording, k int, way audittest.Way) (spoilt bool) {
	s := newScene(t)
	req := r.ask(s)
	before := s.count("")
	s.spoiler.Spoil(k, way)
	raw := req.bytes(t)
	spoilt = s.spoiler.Spoilt()
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(raw)), req.req)
	ok(t, err)
	body, err := io.ReadAll(resp.Body)
	ok(t, err)
	a := got{resp, body}
	if a.problem() != "UNAVAILABLE" {
		s.api.check(t, req.req.Method, req.req.URL.Path, resp, body)
		if n := s.acknowledged(before, r.op); n < max(r.times, 1) && r.op != "" {
			t.Errorf("batch %d spoilt: %v; answered %d %s with %d records %s:\n%.300s", k, spoilt, resp.StatusCode, a.problem(), n, r.op, body)
		}
		return spoilt
	}
	if !spoilt {
		t.Fatalf("a good request got %d: %s", resp.StatusCode, body)
	}
	s.bareProblem(t, raw, body)
	s.stopped(t)
	return true
}

// acknowledged counts the entries of an operation, from index on, that the log
// has said to be durable.
func (g *gateway) acknowledged(from int, op audit.Op) (n int) {
	ok(g.t, g.audit.Read(g.t.Context(), uint64(from), g.audit.Head().Size, func(_ uint64, e audit.Stored) error {
		if e.Entry.Open.Op == op {
			n++
		}
		return nil
	}))
	return n
}

// bareProblem fails if the answer is more than a problem.
func (s *scene) bareProblem(t *testing.T, raw, body []byte) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	var p struct {
		Type, Title, Code, Where, Instance, Request string
		TitleEN                                     string `json:"title_en"`
		Status                                      int
	}
	if err := d.Decode(&p); err != nil || d.More() || p.Status != http.StatusServiceUnavailable || p.Where != "" || len(raw) > 2<<10 {
		t.Errorf("not a bare problem of 503: %v\n%s", err, raw)
	}
	for _, secret := range s.held {
		if secret != "" && bytes.Contains(raw, []byte(secret)) {
			t.Errorf("the answer holds what was not to be told:\n%s", raw)
		}
	}
}

// stopped fails unless the log says that it is over, which ends the process,
// and nothing is answered until then.
func (s *scene) stopped(t *testing.T) {
	t.Helper()
	select {
	case <-s.audit.Failed():
	default:
		t.Error("the log has not failed: the process would go on")
	}
	for what, a := range map[string]got{
		"a look-up": s.as("").call(http.MethodGet, "/v1/verify/690100202611220004K7M2XQ9R1", nil),
		"a login":   s.as("clerk-01").call(http.MethodPost, "/v1/sessions", map[string]any{"pairing_codes": []string{s.agent.code}}),
	} {
		if a.StatusCode != http.StatusServiceUnavailable || a.problem() != "UNAVAILABLE" {
			t.Errorf("%s is answered: %d %s", what, a.StatusCode, a.body)
		}
	}
}
