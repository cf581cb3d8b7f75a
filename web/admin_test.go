package web_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"yizheng/exchange"
	"yizheng/seal/life"
)

// step signs the register's next step as a person and sends it with their certificate.
func (g *gateway) step(by, id string, a life.Action, reason life.Reason) got {
	g.t.Helper()
	return g.stepKnock(by, id, a, reason).send()
}

func (g *gateway) stepKnock(by, id string, a life.Action, reason life.Reason) knock {
	g.t.Helper()
	s := g.custody.Register().Next(id, a)
	s.Reason = reason
	k, err := g.admin(by)
	ok(g.t, err)
	line, err := s.Sign(k)
	ok(g.t, err)
	return g.as("admin-"+by).knock(http.MethodPost, "/v1/admin/seals/"+id+"/steps", map[string]string{"statement": line})
}

// withdraw signs a statement as a person and sends it with their certificate.
func (g *gateway) withdraw(by string, st exchange.WithdrawalStatement) got {
	g.t.Helper()
	return g.send(by, st.Number, g.statement(by, st))
}

func (g *gateway) statement(by string, st exchange.WithdrawalStatement) string {
	g.t.Helper()
	k, err := g.admin(by)
	ok(g.t, err)
	if st.At.IsZero() {
		st.At = time.Now()
	}
	line, err := st.Sign(k)
	ok(g.t, err)
	return line
}

func (g *gateway) send(by, number, statement string) got {
	g.t.Helper()
	return g.as("admin-"+by).call(http.MethodPost, "/v1/admin/certificates/"+number+"/withdraw", map[string]string{"statement": statement})
}

// sealed exchanges one proof and returns what came.
func (g *gateway) sealed(t *testing.T, clerk *client, a *agent) exchange.Result {
	t.Helper()
	reply := newReplyKey(t)
	var x answer
	clerk.call(http.MethodPost, "/v1/exchanges", question(reply, clerk.read(a).Token), "Prefer", "wait=10").into(t, &x)
	return g.open(reply, x.Results["RE-01"])
}

func TestASuspendedSealSealsNothingFromTheNextRequestOn(t *testing.T) {
	g, clerk, a := desk(t, nil)
	if r := g.sealed(t, clerk, a); r.Code != exchange.Found || len(r.Document) == 0 {
		t.Fatalf("before: %s", r.Code)
	}
	want(t, g.step("security-1", "re", life.Suspend, life.Lost), http.StatusOK, "")
	r := g.sealed(t, clerk, a)
	if r.Code != exchange.SourceError || len(r.Document) != 0 || r.Data != "" || !strings.Contains(r.Sentence, "印章") {
		t.Errorf("suspended: %s %q, %d bytes", r.Code, r.Sentence, len(r.Document))
	}
	want(t, g.step("security-1", "re", life.Resume, life.Found), http.StatusOK, "")
	want(t, g.step("security-1", "re", life.Approve, ""), http.StatusConflict, "SEAL_STEP_REFUSED")
	want(t, g.step("security-2", "re", life.Approve, ""), http.StatusOK, "")
	if r := g.sealed(t, clerk, a); r.Code != exchange.Found || len(r.Document) == 0 {
		t.Errorf("resumed: %s", r.Code)
	}
	admin := g.as("admin-security-2")
	want(t, admin.call(http.MethodGet, "/v1/admin/seals", nil), http.StatusOK, "")
	shown := admin.call(http.MethodGet, "/v1/admin/seals/re", nil)
	want(t, shown, http.StatusOK, "")
	if !strings.Contains(string(shown.body), `"suspend"`) {
		t.Errorf("the seal's steps: %s", shown.body)
	}
	want(t, admin.call(http.MethodGet, "/v1/admin/seals/nosuch", nil), http.StatusNotFound, "NO_SUCH_SEAL")
}

func TestSealSteps_AreTakenFromWhoSignedThemOnly(t *testing.T) {
	g := start(t, nil)
	s := g.custody.Register().Next("re", life.Suspend)
	s.Reason = life.Lost
	k, err := g.admin("security-1")
	ok(t, err)
	line, err := s.Sign(k)
	ok(t, err)
	body := map[string]string{"statement": line}
	want(t, g.as("admin-security-2").call(http.MethodPost, "/v1/admin/seals/re/steps", body), http.StatusUnprocessableEntity, "STATEMENT_INVALID")
	want(t, g.as("admin-security-1").call(http.MethodPost, "/v1/admin/seals/other/steps", body), http.StatusUnprocessableEntity, "STATEMENT_INVALID")
	want(t, g.as("admin-security-1").call(http.MethodPost, "/v1/admin/seals/re/steps", map[string]string{"statement": line + "x"}), http.StatusUnprocessableEntity, "STATEMENT_INVALID")
	want(t, g.as("clerk-01").call(http.MethodPost, "/v1/admin/seals/re/steps", body), http.StatusForbidden, "UNKNOWN_CERTIFICATE")
	want(t, g.as("admin-security-1").call(http.MethodGet, "/v1/items", nil), http.StatusForbidden, "UNKNOWN_CERTIFICATE") // administrators see no data
	want(t, g.as("admin-security-1").call(http.MethodPost, "/v1/admin/seals/re/steps", body), http.StatusOK, "")
	want(t, g.as("admin-security-1").call(http.MethodPost, "/v1/admin/seals/re/steps", body), http.StatusConflict, "REGISTER_MOVED")
}

func TestAWithdrawnDocumentIsSaidToBeSo(t *testing.T) {
	g, clerk, a := desk(t, nil)
	r, other := g.sealed(t, clerk, a), g.sealed(t, clerk, a)
	nobody := g.as("")
	state := func(number, want string) (since time.Time) {
		t.Helper()
		var v struct {
			Record struct {
				State     string    `json:"state"`
				Withdrawn time.Time `json:"withdrawn"`
			} `json:"record"`
		}
		nobody.call(http.MethodGet, "/v1/verify/"+number, nil).into(t, &v)
		if v.Record.State != want || v.Record.Withdrawn.IsZero() != (want != "withdrawn") {
			t.Errorf("%s: %+v, want %s", number, v.Record, want)
		}
		return v.Record.Withdrawn
	}
	asked := func(number string) string {
		t.Helper()
		var v struct{ State, Asked string }
		g.as("admin-security-2").call(http.MethodGet, "/v1/admin/certificates/"+number+"/withdrawal", nil).into(t, &v)
		return v.Asked
	}
	ask := exchange.WithdrawalStatement{Action: exchange.WithdrawAsk, Number: r.Number, Reason: "WRONG_DATA"}
	want(t, g.withdraw("security-1", exchange.WithdrawalStatement{Action: exchange.WithdrawAsk, Number: r.Number, Reason: "because"}), http.StatusConflict, "WITHDRAWAL_REFUSED")
	want(t, g.withdraw("security-1", exchange.WithdrawalStatement{Action: exchange.WithdrawAsk, Number: r.Number, Reason: "WRONG_DATA", At: time.Now().Add(-time.Hour)}), http.StatusConflict, "WITHDRAWAL_REFUSED")
	want(t, g.send("security-2", r.Number, g.statement("security-1", ask)), http.StatusConflict, "WITHDRAWAL_REFUSED")
	want(t, g.withdraw("security-1", ask), http.StatusOK, "")
	state(r.Number, "valid") // one person's word withdraws nothing
	approve := exchange.WithdrawalStatement{Action: exchange.WithdrawApprove, Number: r.Number, Of: asked(r.Number)}
	want(t, g.withdraw("security-1", approve), http.StatusConflict, "WITHDRAWAL_REFUSED") // their own
	approval := g.statement("security-2", approve)
	want(t, g.send("security-2", other.Number, approval), http.StatusConflict, "WITHDRAWAL_REFUSED") // for another document

	want(t, g.withdraw("security-2", exchange.WithdrawalStatement{Action: exchange.WithdrawReject, Number: r.Number, Of: asked(r.Number)}), http.StatusOK, "")
	want(t, g.send("security-2", r.Number, approval), http.StatusConflict, "WITHDRAWAL_REFUSED") // of a request that was rejected
	want(t, g.withdraw("security-1", ask), http.StatusOK, "")
	approve.Of = asked(r.Number)
	want(t, g.withdraw("security-2", approve), http.StatusOK, "")
	since := state(r.Number, "withdrawn")
	if time.Since(since) > time.Minute {
		t.Errorf("withdrawn since %v", since)
	}
	state(other.Number, "valid")
	want(t, g.withdraw("security-1", ask), http.StatusConflict, "WITHDRAWAL_REFUSED") // final

	whole := nobody.call(http.MethodPost, "/v1/verify", r.Document, "Content-Type", "application/pdf")
	if !strings.Contains(string(whole.body), `"state":"withdrawn"`) || !strings.Contains(string(whole.body), `"overall":true`) {
		t.Errorf("the document itself: %.200s", whole.body)
	}
	page := nobody.call(http.MethodGet, "/v/"+r.Number, nil)
	if !strings.Contains(string(page.body), "撤回") || !strings.Contains(string(page.body), "withdrawn by its issuer") {
		t.Errorf("the page does not say so: %s", page.body)
	}
	want(t, g.withdraw("security-1", exchange.WithdrawalStatement{Action: exchange.WithdrawAsk, Number: "690100202611220004K7M2XQ9R1", Reason: "WRONG_DATA"}), http.StatusNotFound, "NO_SUCH_DOCUMENT")
}
