package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"yizheng/audit"
	"yizheng/catalog"
	"yizheng/exchange"
)

// Who may use a route.
type door int

const (
	anyone        door = iota // public: nothing about a resident leaves without their document or its secret
	clerk                     // a registered operator's or system's certificate
	desk                      // clerk with a session whose workstation is paired
	agent                     // a registered read agent's certificate
	supervisor                // the certificate of a supervisor (监察员)
	addressee                 // that of a department's respondent, or of a clerk, who may have to answer an order
	administrator             // the certificate of a person who administers seals and withdrawals
	auditor                   // of a person who searches the audit log
	approver                  // of a person who decides about looking for somebody in it: an approver, or another auditor
	peer                      // of another node on the roster of logs
	monitor                   // of a system that watches the gateway, or of a person who looks after it
)

// class says how a route's use gets into the audit log. Every route has one; a
// test walks the table.
type class string

const (
	inside   class = "inside"   // what the handler calls records it, before it returns
	recorded class = "recorded" // the middleware records the route's op durably before the first byte
	nothing  class = "nothing"  // public facts only: catalogue, OpenAPI, checkpoints
)

// route is one row of the API. Handlers return what they want to say; only the
// middleware holds the socket, and it writes after the record is durable.
type route struct {
	method, path string
	door         door
	class        class
	op           audit.Op // for recorded
	limit        int64    // bytes of body; 0: none accepted
	timeout      time.Duration
	do           func(ctx context.Context, r *request) (reply, error)
}

// request is what a handler sees.
type request struct {
	*http.Request
	number string // request number, printed in problems
	who    exchange.Principal
	role   string                // of a person of the staff register
	peer   string                // of another node: its name
	ws     catalog.WorkstationID // for agents
	params gin.Params
	body   []byte // whole, at most the route's limit
}

func (r *request) param(name string) string { return r.params.ByName(name) }

// reply is what a handler wants said. stream, if set, is called with the
// writer after the record is durable and the header is sent.
type reply struct {
	status      int
	contentType string
	header      http.Header
	body        []byte
	stream      func(ctx context.Context, w *stream) error
	subject     audit.Entry // for recorded: what the handler knows of the record
	personal    bool        // the body is wiped once it is sent
}

func jsonReply(status int, v any) (reply, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return reply{}, fmt.Errorf("encode answer: %w", err)
	}
	return reply{status: status, contentType: "application/json; charset=utf-8", body: body}, nil
}
