package web

import (
	"encoding/json"
	"errors"
	"net/http"

	"yizheng/audit"
	"yizheng/audit/search"
	"yizheng/exchange"
	"yizheng/exchange/reading"
	"yizheng/exchange/store"
)

// problem is an RFC 9457 problem in both languages: what, where, what to do.
type problem struct {
	Type     string `json:"type"`
	Title    string `json:"title"` // Chinese
	TitleEN  string `json:"title_en"`
	Status   int    `json:"status"`
	Code     string `json:"code"`
	Where    string `json:"where,omitempty"` // field of the request
	Instance string `json:"instance"`
	Request  string `json:"request"` // request number, to quote when asking for help
}

func (p *problem) Error() string { return p.Code + ": " + p.TitleEN }

func newProblem(status int, code, where, chinese, english string) *problem {
	return &problem{Type: "urn:yizheng:problem:" + code, Status: status, Code: code, Where: where, Title: chinese, TitleEN: english}
}

// statuses maps each reason for a refusal to HTTP, once.
var statuses = map[exchange.Reason]int{
	exchange.ReasonInvalid:        http.StatusUnprocessableEntity,
	exchange.ReasonUnknownItem:    http.StatusNotFound,
	exchange.ReasonPurpose:        http.StatusForbidden,
	exchange.ReasonOutsideItem:    http.StatusForbidden,
	exchange.ReasonOutsideGrant:   http.StatusForbidden,
	exchange.ReasonNoGrant:        http.StatusForbidden,
	exchange.ReasonToken:          http.StatusUnprocessableEntity,
	exchange.ReasonTokenElsewhere: http.StatusForbidden,
	exchange.ReasonTokenSpent:     http.StatusConflict,
	exchange.ReasonRole:           http.StatusUnprocessableEntity,
	exchange.ReasonReplyKey:       http.StatusUnprocessableEntity,
	exchange.ReasonKeyReuse:       http.StatusUnprocessableEntity,
	exchange.ReasonQuota:          http.StatusTooManyRequests,
	exchange.ReasonGone:           http.StatusConflict,
	exchange.ReasonNotFound:       http.StatusNotFound,
	exchange.ReasonNotRetryable:   http.StatusConflict,
	exchange.ReasonStatement:      http.StatusUnprocessableEntity,
	exchange.ReasonNoDocument:     http.StatusNotFound,
	exchange.ReasonWithdrawal:     http.StatusConflict,
	exchange.ReasonPickup:         http.StatusForbidden,
	exchange.ReasonNotice:         http.StatusConflict,
	exchange.ReasonReprint:        http.StatusConflict,
	exchange.ReasonForeign:        http.StatusUnprocessableEntity,
	exchange.ReasonUnsealed:       http.StatusUnprocessableEntity,
	exchange.ReasonWithdrawn:      http.StatusConflict,
	exchange.ReasonUnavailable:    http.StatusServiceUnavailable,
}

// held says that the log takes no business now (audit.Log.Hold): for too long
// nobody outside has seen it, or got a copy, as the configuration demands, or its
// pseudonym keys are not as they were left.
func held() *problem {
	return newProblem(http.StatusServiceUnavailable, "AUDIT_HELD", "", "审计日志长时间未获见证或未送达，或假名密钥有待查明，已暂停办理业务，未放行任何结果；请联系系统管理员，恢复后重试",
		"for too long nobody outside has witnessed or received the audit log, or its pseudonym keys have to be looked into: no business is taken and nothing was released; tell the system administrator, try again once it is mended")
}

// asProblem turns any error into what a caller may know; internals stay inside.
func asProblem(err error) *problem {
	if errors.Is(err, audit.ErrHeld) {
		return held()
	}
	if errors.Is(err, audit.ErrPersonal) {
		return newProblem(http.StatusUnprocessableEntity, "INVALID_REQUEST", "", "请求中有疑似身份证件号码，审计日志不得记载，未办理、未放行；请改用编号或账号",
			"the request holds what looks like an ID number, which the audit log must not hold: nothing was done or released; use a case number or an account instead")
	}
	var p *problem
	if errors.As(err, &p) {
		return p
	}
	var r *exchange.Refusal
	if errors.As(err, &r) {
		p := newProblem(statuses[r.Reason], string(r.Reason), r.Where, r.Chinese, r.English)
		if p.Status == 0 {
			p.Status = http.StatusInternalServerError
		}
		return p
	}
	var d *reading.Refusal
	if errors.As(err, &d) {
		return newProblem(d.Status, d.Code, d.Where, d.Chinese, d.English)
	}
	var q *search.Refusal
	if errors.As(err, &q) {
		return newProblem(q.Status, q.Code, q.Where, q.Chinese, q.English)
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		return newProblem(http.StatusNotFound, "NO_RESULT", "", "没有这份结果：尚未放行、已删除或已过期", "no such result: not released yet, deleted or expired")
	case errors.Is(err, store.ErrUnavailable):
		return newProblem(http.StatusServiceUnavailable, "UNAVAILABLE", "", "状态库暂不可用，请稍后重试", "the state store is not available; try again later")
	}
	return newProblem(http.StatusInternalServerError, "INTERNAL", "", "系统内部错误，请凭请求号联系管理员", "internal error; quote the request number to the administrator")
}

func (p *problem) reply(request string) reply {
	q := *p
	q.Instance, q.Request = "urn:yizheng:request:"+request, request
	body, err := json.Marshal(q)
	if err != nil { // only strings and numbers: cannot happen
		body = []byte(`{"status":500}`)
	}
	r := reply{status: p.Status, contentType: "application/problem+json; charset=utf-8", body: body, header: http.Header{}}
	if p.Status == http.StatusServiceUnavailable || p.Status == http.StatusTooManyRequests {
		r.header.Set("Retry-After", "2")
	}
	return r
}
