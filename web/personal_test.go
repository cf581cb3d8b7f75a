package web

import (
	"errors"
	"net/http"
	"testing"

	"yizheng/audit"
	"yizheng/exchange"
)

func TestWhatTheLogRefusesForAnIDNumberIsTheRequestsFault(t *testing.T) {
	refused := &exchange.Refusal{Reason: exchange.ReasonUnavailable, Err: audit.ErrPersonal}
	if p := asProblem(errors.Join(errors.New("not recorded"), refused)); p.Status != http.StatusUnprocessableEntity || p.Code != "INVALID_REQUEST" {
		t.Errorf("%d %s: trying again cannot help", p.Status, p.Code)
	}
}
