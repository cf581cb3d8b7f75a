package search

import (
	"errors"
	"net/http"
)

// Refusal is why a question is not answered, in both languages.
type Refusal struct {
	Status  int // HTTP
	Code    string
	Where   string // field of the request
	Chinese string
	English string
	Err     error // cause, never shown
}

func (r *Refusal) Error() string { return r.Code + ": " + r.English }

func (r *Refusal) Unwrap() error { return r.Err }

func refuse(status int, code, where, chinese, english string) *Refusal {
	return &Refusal{Status: status, Code: code, Where: where, Chinese: chinese, English: english}
}

func invalid(where, chinese, english string) *Refusal {
	return refuse(http.StatusUnprocessableEntity, "INVALID_REQUEST", where, chinese, english)
}

// unavailable: nothing is shown unless its record is durable.
func unavailable(err error) *Refusal {
	r := refuse(http.StatusServiceUnavailable, "UNAVAILABLE", "", "审计日志暂不可用，未给出任何结果；请稍后重试", "the audit log is not available, nothing was shown; try again later")
	r.Err = err
	return r
}

// codeOf is what the record of a failed search says.
func codeOf(err error) string {
	var r *Refusal
	if errors.As(err, &r) {
		return r.Code
	}
	if errors.Is(err, errAbandoned) {
		return "ABANDONED"
	}
	return "INTERNAL"
}
