package web

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"yizheng/audit"
)

// numbered gives every request its number, those included that end in a 404 or a panic.
func numbered(c *gin.Context) {
	n := rand.Text()[:16]
	c.Set(numberHeader, n)
	c.Header(numberHeader, n)
}

const numberHeader = "Request-Number"

// recovered turns a panic into a problem. The panic's value stays unsaid: it may hold data.
func (s *Server) recovered(c *gin.Context, value any) {
	s.log.Error("handler panicked", "request", c.GetString(numberHeader), "route", c.FullPath(), "type", fmt.Sprintf("%T", value), "at", frames())
	c.Abort()
	s.refuse(c, errors.New("panic"))
}

// frames names the functions on the stack, without their arguments.
func frames() string {
	var pcs [24]uintptr
	n := runtime.Callers(4, pcs[:])
	list := runtime.CallersFrames(pcs[:n])
	var b strings.Builder
	for more := n > 0; more; {
		var f runtime.Frame
		f, more = list.Next()
		fmt.Fprintf(&b, "%s:%d ", f.Function, f.Line)
	}
	return b.String()
}

// handle is the only code that writes to a client.
func (s *Server) handle(rt route) gin.HandlerFunc {
	return func(c *gin.Context) {
		r := &request{Request: c.Request, number: c.GetString(numberHeader), params: c.Params}
		ctx, cancel := c.Request.Context(), context.CancelFunc(func() {})
		if rt.timeout > 0 {
			ctx, cancel = context.WithTimeout(ctx, rt.timeout)
		}
		defer cancel()
		answer, err := s.answer(ctx, rt, r, c.Writer)
		if err != nil {
			if asProblem(err).Status >= http.StatusInternalServerError {
				s.log.Error("request failed", "request", r.number, "route", rt.path, "err", err)
			}
			s.refuse(c, err)
			return
		}
		s.write(ctx, c, answer)
		if answer.personal {
			clear(answer.body)
		}
	}
}

// answer admits, handles and records; an error means that nothing but the error may leave.
// Once the audit log has stopped, every answer of a recorded route is an error.
func (s *Server) answer(ctx context.Context, rt route, r *request, w http.ResponseWriter) (reply, error) {
	if err := s.proper(rt, r); err != nil {
		return reply{}, err
	}
	if err := s.admit(rt, r); err != nil {
		return reply{}, err
	}
	done, err := s.reserve(ctx, rt, r)
	if err != nil {
		return reply{}, err
	}
	defer done()
	if err := r.read(rt.limit, w); err != nil {
		return reply{}, err
	}
	broke := true
	if rt.class == recorded {
		defer func() {
			if broke { // the handler panicked, which goes on
				_ = s.record(ctx, rt, r, reply{}, errBroke)
			}
		}()
	}
	a, err := rt.do(ctx, r)
	broke = false
	if rt.class == nothing {
		return a, err
	}
	if rt.class == recorded {
		if recErr := s.record(ctx, rt, r, a, err); recErr != nil {
			clear(a.body)
			return reply{}, errors.Join(unrecorded(), recErr)
		}
	}
	// Whatever the handler made of it: when the log has stopped meanwhile, there is nothing more to say.
	if failed := s.audit.Err(); failed != nil {
		clear(a.body)
		return reply{}, errors.Join(unrecorded(), failed)
	}
	return a, err
}

var errBroke = errors.New("handler panicked")

func unrecorded() *problem {
	return newProblem(http.StatusServiceUnavailable, "UNAVAILABLE", "", "审计日志暂不可写，未放行任何结果；请稍后重试", "the audit log cannot be written, nothing was released; try again later")
}

// record makes the use of a recorded route durable, failed uses included.
func (s *Server) record(ctx context.Context, rt route, r *request, a reply, err error) error {
	e := a.subject
	e.Open.Op, e.Open.Phase = rt.op, audit.PhaseDone
	if err != nil {
		e.Open.Phase, e.Open.Outcome = audit.PhaseFailed, asProblem(err).Code
	}
	e.Open.System = string(r.who.Caller)
	e.Closed.Actor, e.Closed.CertSN, e.Closed.Session = string(r.who.Operator), r.who.Certificate, r.who.Session
	e.Closed.IP, e.Closed.Trace = r.who.Address, r.number
	_, err = s.audit.Append(context.WithoutCancel(ctx), e)
	return err
}

// read takes the whole body in, at most limit bytes, while the server's
// ReadTimeout runs. From then on the connection may stay silent: a wait or a
// stream must not look like a slow sender.
func (r *request) read(limit int64, w http.ResponseWriter) error {
	body := http.MaxBytesReader(w, r.Body, limit)
	if n := r.ContentLength; n > 0 && n <= limit {
		r.body = make([]byte, n)
		if _, err := io.ReadFull(body, r.body); err != nil {
			return incomplete()
		}
	} else {
		b, err := io.ReadAll(body)
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return newProblem(http.StatusRequestEntityTooLarge, "BODY_TOO_LARGE", "", fmt.Sprintf("请求体过大，此接口最多接受 %d 字节", limit),
				fmt.Sprintf("the body is too large; this call takes at most %d bytes", limit))
		}
		if err != nil {
			return incomplete()
		}
		r.body = b
	}
	if err := http.NewResponseController(w).SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return incomplete()
	}
	return nil
}

func incomplete() *problem {
	return newProblem(http.StatusBadRequest, "MALFORMED_BODY", "", "请求体未完整收到，请重发", "the body did not arrive whole; send it again")
}

// refuse says no.
func (s *Server) refuse(c *gin.Context, err error) {
	s.write(c.Request.Context(), c, asProblem(err).reply(c.GetString(numberHeader)))
}

func (s *Server) write(ctx context.Context, c *gin.Context, a reply) {
	if c.Writer.Written() { // a stream that failed midway just ends
		return
	}
	h := c.Writer.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("Strict-Transport-Security", "max-age=31536000")
	for k, v := range a.header {
		h[k] = v
	}
	if a.contentType != "" {
		h.Set("Content-Type", a.contentType)
	}
	if a.stream == nil {
		if a.status != http.StatusNoContent {
			h.Set("Content-Length", strconv.Itoa(len(a.body)))
		}
		c.Status(a.status)
		c.Writer.WriteHeaderNow()
		if _, err := c.Writer.Write(a.body); err != nil {
			s.log.Debug("client gone", "err", err)
		}
		return
	}
	c.Status(a.status)
	c.Writer.WriteHeaderNow()
	if err := a.stream(ctx, newStream(c.Writer, s.times.event)); err != nil && ctx.Err() == nil {
		s.log.Debug("stream ended", "err", err)
	}
}
