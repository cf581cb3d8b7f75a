package web

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
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
	anyone door = iota // public: nothing about a resident leaves without their document or its secret
	clerk              // a registered operator's or system's certificate
	desk               // clerk with a session whose workstation is paired
	agent              // a registered read agent's certificate
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
	ws     catalog.WorkstationID // for agents
	params gin.Params
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
}

func jsonReply(status int, v any) (reply, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return reply{}, fmt.Errorf("encode answer: %w", err)
	}
	return reply{status: status, contentType: "application/json; charset=utf-8", body: body}, nil
}

// decode reads a bounded JSON body strictly: an unknown member is an error, so
// that a client's mistake (or an ID number typed into a made-up parameter) is refused.
func (r *request) decode(into any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil {
		if _, err = d.Token(); errors.Is(err, io.EOF) {
			return nil
		}
		err = errors.New("more than one JSON value")
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return newProblem(http.StatusRequestEntityTooLarge, "BODY_TOO_LARGE", "", "请求体过大", fmt.Sprintf("body exceeds %d bytes", tooLarge.Limit))
	}
	return newProblem(http.StatusBadRequest, "MALFORMED_BODY", "", "请求体不是合法的 JSON，或含有未定义的成员；请对照 /openapi.json", "body is not the expected JSON or has an undefined member; see /openapi.json")
}

// handle is the only code that writes to a client.
func (s *Server) handle(rt route) gin.HandlerFunc {
	return func(c *gin.Context) {
		r := &request{Request: c.Request, number: rand.Text()[:16], params: c.Params}
		c.Header("Request-Number", r.number)
		ctx, cancel := c.Request.Context(), context.CancelFunc(func() {})
		if rt.timeout > 0 {
			ctx, cancel = context.WithTimeout(ctx, rt.timeout)
		}
		defer cancel()
		r.Body = http.MaxBytesReader(c.Writer, c.Request.Body, rt.limit)
		answer, err := s.answer(ctx, rt, r)
		if err != nil {
			p := asProblem(err)
			if p.Status >= 500 {
				s.log.Error("request failed", "request", r.number, "route", rt.path, "err", err)
			}
			answer = p.reply(r.number)
		}
		s.write(ctx, c, answer)
	}
}

// answer admits, handles and records; an error means that nothing but the error may leave.
func (s *Server) answer(ctx context.Context, rt route, r *request) (reply, error) {
	if len(r.URL.RawQuery) > 0 && rt.method != http.MethodGet {
		return reply{}, newProblem(http.StatusBadRequest, "UNKNOWN_PARAMETER", "query", "此接口不接受查询参数", "this call takes no query parameters")
	}
	if err := s.admit(ctx, rt, r); err != nil {
		return reply{}, err
	}
	a, err := rt.do(ctx, r)
	if rt.class != recorded {
		return a, err
	}
	e := a.subject
	e.Open.Op, e.Open.Phase = rt.op, audit.PhaseDone
	if err != nil {
		e.Open.Phase, e.Open.Outcome = audit.PhaseFailed, asProblem(err).Code
	}
	e.Open.System = string(r.who.Caller)
	e.Closed.Actor, e.Closed.CertSN, e.Closed.Session = string(r.who.Operator), r.who.Certificate, r.who.Session
	e.Closed.IP, e.Closed.Trace = r.who.Address, r.number
	if _, recErr := s.audit.Append(context.WithoutCancel(ctx), e); recErr != nil {
		clear(a.body)
		p := newProblem(http.StatusServiceUnavailable, "UNAVAILABLE", "", "审计日志暂不可写，未放行任何结果；请稍后重试", "the audit log cannot be written, nothing was released; try again later")
		p.retry = true
		return reply{}, errors.Join(p, recErr)
	}
	return a, err
}

func (s *Server) write(ctx context.Context, c *gin.Context, a reply) {
	h := c.Writer.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'")
	h.Set("Strict-Transport-Security", "max-age=31536000")
	for k, v := range a.header {
		h[k] = v
	}
	if a.contentType != "" {
		h.Set("Content-Type", a.contentType)
	}
	c.Status(a.status)
	if a.stream == nil {
		if _, err := c.Writer.Write(a.body); err != nil {
			s.log.Debug("client gone", "err", err)
		}
		return
	}
	c.Writer.WriteHeaderNow()
	if err := a.stream(ctx, newStream(c.Writer)); err != nil && ctx.Err() == nil {
		s.log.Debug("stream ended", "err", err)
	}
}

// admit finds out who knocks and whether this door is theirs.
func (s *Server) admit(ctx context.Context, rt route, r *request) error {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	r.who.Address, r.who.Trace = host, r.number
	for name := range r.Header { // TLS ends here and nowhere else: a certificate in a header is a forgery
		switch name {
		case "X-Client-Cert", "X-Forwarded-Client-Cert", "X-Ssl-Client-Cert", "X-Ssl-Client-Verify", "Client-Cert":
			return newProblem(http.StatusBadRequest, "FORWARDED_CERTIFICATE", name, "不接受转发的证书头", "forwarded certificate headers are refused")
		}
	}
	if rt.door == anyone {
		return nil
	}
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return newProblem(http.StatusUnauthorized, "CERTIFICATE_REQUIRED", "", "须使用已登记的客户端证书", "a registered client certificate is required")
	}
	r.who.Certificate = catalog.KeyDigest(r.TLS.PeerCertificates[0].RawSubjectPublicKeyInfo)
	if rt.door == agent {
		w, ok := s.catalogue.WorkstationByCertificate(r.who.Certificate)
		if !ok {
			return s.unknownCertificate(r)
		}
		r.ws = w.ID
		return nil
	}
	o, ok := s.operator(r)
	if !ok {
		return s.unknownCertificate(r)
	}
	r.who.Operator, r.who.Caller = o.ID, o.Caller
	r.who.Session = r.Header.Get(sessionHeader)
	if r.who.Session != "" {
		r.who.Workstations = s.desk.Workstations(o.ID, r.who.Session)
	}
	if rt.door == desk && len(r.who.Workstations) == 0 {
		return newProblem(http.StatusForbidden, "NOT_PAIRED", sessionHeader, "会话未与读卡代理配对或已失效，请输入代理显示的配对码", "the session is not paired with a read agent, or has ended; enter the code the agent shows")
	}
	return nil
}

// operator is the account behind a certificate: a clerk, or a system that acts under its own name.
func (s *Server) operator(r *request) (catalog.Operator, bool) {
	if o, ok := s.catalogue.Operator(r.who.Certificate); ok {
		return o, true
	}
	c, ok := s.catalogue.CallerByCertificate(r.who.Certificate)
	return catalog.Operator{ID: catalog.OperatorID(c.ID), Caller: c.ID, Certificate: r.who.Certificate}, ok
}

const sessionHeader = "Yizheng-Session"

// unknownCertificate records a failed login and refuses.
func (s *Server) unknownCertificate(r *request) error {
	e := audit.Entry{Open: audit.Open{Op: audit.OpLogin, Phase: audit.PhaseDenied, Outcome: "UNKNOWN_CERTIFICATE"},
		Closed: audit.Closed{CertSN: r.who.Certificate, IP: r.who.Address, Trace: r.number}}
	if err := s.audit.AppendAsync(e); err != nil {
		s.log.Error("failed login not recorded", "request", r.number, "err", err)
	}
	return newProblem(http.StatusForbidden, "UNKNOWN_CERTIFICATE", "", "证书未登记或不适用于此接口", "the certificate is not registered, or not for this call")
}
