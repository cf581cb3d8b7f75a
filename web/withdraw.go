package web

import (
	"context"
	"net/http"
	"time"

	"yizheng/audit"
	"yizheng/exchange"
)

// withdrawalState is what an administrator sees of a withdrawal.
type withdrawalState struct {
	Number    string    `json:"number"`
	State     string    `json:"state"` // issued, asked, withdrawn
	Asked     string    `json:"asked,omitempty"`
	By        string    `json:"by,omitempty"`
	Reason    string    `json:"reason,omitempty"`
	Withdrawn time.Time `json:"withdrawn,omitzero"`
}

func stateOf(w exchange.Withdrawal) withdrawalState {
	v := withdrawalState{Number: w.Number, State: "issued", Asked: w.Asked, By: w.By, Reason: w.Reason, Withdrawn: w.Since}
	switch {
	case !w.Since.IsZero():
		v.State = "withdrawn"
	case w.Asked != "":
		v.State = "asked"
	}
	return v
}

// showWithdrawal tells what is pending, so that a second person can approve it.
func (s *Server) showWithdrawal(_ context.Context, r *request) (reply, error) {
	number := r.param("number")
	if !certificateNumber(number) {
		return reply{}, badNumber()
	}
	w, ok := s.exchanges.Withdrawal(number)
	if !ok {
		return reply{}, newProblem(http.StatusNotFound, "NO_SUCH_DOCUMENT", "number", "本网关没有签发过这个编号；请到编号所示的网关办理", "this gateway has issued no such number; ask the gateway that the number names")
	}
	a, err := jsonReply(http.StatusOK, stateOf(w))
	a.subject = audit.Entry{Closed: audit.Closed{Object: number}}
	return a, err
}

// withdraw takes one person's signed statement; the exchange records it.
func (s *Server) withdraw(ctx context.Context, r *request) (reply, error) {
	var in struct {
		Statement string `json:"statement"`
	}
	if err := r.decode(&in); err != nil {
		return reply{}, err
	}
	if !certificateNumber(r.param("number")) {
		return reply{}, badNumber()
	}
	w, err := s.exchanges.Withdraw(ctx, s.persons, string(r.who.Operator), r.param("number"), in.Statement, r.who)
	if err != nil {
		return reply{}, err
	}
	return jsonReply(http.StatusOK, stateOf(w))
}
