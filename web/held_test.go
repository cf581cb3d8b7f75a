package web_test

import (
	"errors"
	"net/http"
	"testing"
)

// While the log is held, whoever does business is told so; logins go on.
func TestALogThatIsHeldTakesLoginsOnly(t *testing.T) {
	g := start(t, nil)
	a := g.connect("ws-01", "381204")
	clerk := g.login("clerk-01", a)
	token := clerk.read(a).Token
	reply := newReplyKey(t)
	g.audit.Hold("test", errors.New("no witness"))
	want(t, clerk.call(http.MethodPost, "/v1/exchanges", question(reply, token)), http.StatusServiceUnavailable, "AUDIT_HELD")
	want(t, g.as("").call(http.MethodPost, "/v1/verify", "%PDF-1.7"), http.StatusServiceUnavailable, "AUDIT_HELD")
	want(t, clerk.call(http.MethodDelete, "/v1/sessions/"+clerk.session, nil), http.StatusNoContent, "")
	g.audit.Hold("test", nil)
	want(t, g.as("").call(http.MethodPost, "/v1/verify", "%PDF-1.7"), http.StatusOK, "")
}
