package web

import (
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"yizheng/audit"
	"yizheng/catalog"
	"yizheng/exchange"
)

func (s *Server) listItems(context.Context, *request) (reply, error) {
	return jsonReply(http.StatusOK, map[string]any{"items": s.catalogue.Items})
}

func (s *Server) getItem(_ context.Context, r *request) (reply, error) {
	item, ok := s.catalogue.Item(catalog.ItemCode(r.param("code")))
	if !ok {
		return reply{}, newProblem(http.StatusNotFound, "UNKNOWN_ITEM", "code", "没有这个事项，请核对事项编码", "no such item; check the item code")
	}
	return jsonReply(http.StatusOK, item)
}

// answer of POST and GET /v1/exchanges: progress, and each released result as ciphertext.
type exchangeAnswer struct {
	exchange.View
	Results map[string]string `json:"results"` // part -> JWE for the reply key
}

var plainKey = regexp.MustCompile(`^[!-~]{1,128}$`)

func (s *Server) startExchange(ctx context.Context, r *request) (reply, error) {
	var in exchange.Request
	if err := r.decode(&in); err != nil {
		return reply{}, err
	}
	keys := r.Header.Values("Idempotency-Key")
	key := r.Header.Get("Idempotency-Key")
	if len(keys) > 1 || key != "" && !plainKey.MatchString(key) {
		return reply{}, newProblem(http.StatusUnprocessableEntity, "INVALID_REQUEST", "Idempotency-Key", "幂等键只能有一个，须为 1–128 个可见 ASCII 字符", "send one idempotency key of 1 to 128 visible ASCII characters")
	}
	x, err := s.exchanges.Exchange(ctx, r.who, in, key)
	if err != nil {
		return reply{}, err
	}
	wait := preferWait(r.Request, time.Duration(s.catalogue.Deadlines.SyncWait))
	s.awaitEnd(ctx, x, wait)
	return s.exchangeReply(ctx, r, x, true)
}

// awaitEnd waits for the exchange to end, for at most wait.
func (s *Server) awaitEnd(ctx context.Context, x *exchange.Exchange, wait time.Duration) {
	until := time.Now().Add(wait)
	for {
		_, changed, _ := x.Events(0)
		left := time.Until(until)
		if x.Quiet() || left <= 0 || ctx.Err() != nil { // for what is deferred nobody waits here
			return
		}
		s.await(ctx, min(left, look), changed)
		if err := s.exchanges.Refresh(ctx, x); err != nil {
			return // the answer will say so
		}
	}
}

// look is how often the store is asked what other gateways have done for an
// exchange that somebody watches here.
const look = time.Second

// exchangeReply is the state of an exchange. To the asker who waits it is 200
// with all results when it has ended, else 202 with where to ask.
func (s *Server) exchangeReply(ctx context.Context, r *request, x *exchange.Exchange, withResults bool) (reply, error) {
	a := exchangeAnswer{View: s.exchanges.View(x), Results: map[string]string{}}
	if err := s.exchanges.RecordView(ctx, r.who, x, a.View); err != nil {
		return reply{}, err
	}
	status := http.StatusOK
	if withResults && a.State != "ended" {
		status = http.StatusAccepted
	}
	for _, p := range a.Parts {
		if !withResults || p.State != "released" {
			continue
		}
		sealed, err := s.exchanges.Sealed(ctx, x, p.Part)
		if err != nil {
			return reply{}, err
		}
		a.Results[p.Part] = string(sealed)
	}
	body, err := json.Marshal(a)
	if err != nil {
		return reply{}, err
	}
	return reply{status: status, contentType: "application/json; charset=utf-8", body: body,
		header: http.Header{"Location": {"/v1/exchanges/" + x.Number}}}, nil
}

func (s *Server) getExchange(ctx context.Context, r *request) (reply, error) {
	x, err := s.exchanges.Find(ctx, r.who, r.param("no"))
	if err != nil {
		return reply{}, err
	}
	return s.exchangeReply(ctx, r, x, false)
}

// exchangeEvents streams progress until the exchange ends; Last-Event-ID resumes.
func (s *Server) exchangeEvents(ctx context.Context, r *request) (reply, error) {
	x, err := s.exchanges.Find(ctx, r.who, r.param("no"))
	if err != nil {
		return reply{}, err
	}
	next := 0
	if last, err := strconv.Atoi(r.Header.Get("Last-Event-ID")); err == nil && !x.Found() {
		next = last + 1 // another gateway numbers its events anew
	}
	return eventStream(func(ctx context.Context, w *stream) error { return s.follow(ctx, w, r.who, x, next) }), nil
}

func (s *Server) follow(ctx context.Context, w *stream, who exchange.Principal, x *exchange.Exchange, next int) error {
	all, _, _ := x.Events(0)
	next = min(max(next, 0), len(all))
	for beat := time.Now(); ; {
		events, changed, ended := x.Events(next)
		for _, e := range events {
			if err := s.audit.Err(); err != nil {
				return err
			}
			now, err := s.progress(ctx, who, x, e)
			if err != nil {
				return err
			}
			if err := w.send(e.Seq, e.Kind, now); err != nil {
				return err
			}
			next = e.Seq + 1
		}
		if len(events) > 0 {
			continue
		}
		if last, _, _ := x.Events(next - 1); ended && len(last) > 0 && last[0].Kind == "exchange.ended" {
			return nil // not before that event: it comes a moment after the end itself
		}
		s.await(ctx, min(s.times.beat, look), changed)
		if err := s.exchanges.Refresh(ctx, x); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.closing:
			return nil
		case <-changed:
		default:
			if time.Since(beat) < s.times.beat {
				continue
			}
			beat = time.Now()
			if err := w.beat(); err != nil {
				return err
			}
		}
	}
}

// progress is an event with the view of its part as it is now, which for an
// event sent again may be later, so that a page need not ask again.
func (s *Server) progress(ctx context.Context, who exchange.Principal, x *exchange.Exchange, e exchange.Event) (any, error) {
	v := s.exchanges.View(x)
	for i, p := range v.Parts {
		if p.Part != e.Part {
			continue
		}
		v.Parts = v.Parts[i : i+1]
		if err := s.exchanges.RecordView(ctx, who, x, v); err != nil {
			return nil, err
		}
		return struct {
			exchange.Event
			Now exchange.PartView `json:"now"`
		}{e, p}, nil
	}
	return e, nil
}

// getResult hands one result over as ciphertext; the middleware records the view first.
func (s *Server) getResult(ctx context.Context, r *request) (reply, error) {
	x, err := s.exchanges.Find(ctx, r.who, r.param("no"))
	if err != nil {
		return reply{}, err
	}
	sealed, err := s.exchanges.Sealed(ctx, x, r.param("part"))
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusOK, contentType: "application/jose", body: sealed,
		subject: audit.Entry{Open: audit.Open{Exchange: x.Number, Leg: r.param("part"), Item: string(x.Request.Item), Case: x.Request.Case}}}, nil
}

// printResult records a print before the client prints.
func (s *Server) printResult(ctx context.Context, r *request) (reply, error) {
	var in struct {
		Reason string `json:"reason"` // only of a further print
	}
	if err := r.decode(&in); err != nil {
		return reply{}, err
	}
	x, err := s.exchanges.Find(ctx, r.who, r.param("no"))
	if err != nil {
		return reply{}, err
	}
	p, err := s.exchanges.Print(ctx, r.who, x, r.param("part"), in.Reason)
	if err != nil {
		return reply{}, err
	}
	return jsonReply(http.StatusOK, p)
}

func (s *Server) retryLeg(ctx context.Context, r *request) (reply, error) {
	x, err := s.exchanges.Retry(ctx, r.who, r.param("no"), r.param("leg"))
	if err != nil {
		return reply{}, err
	}
	a, err := s.exchangeReply(ctx, r, x, false)
	a.status = http.StatusAccepted
	return a, err
}

func (s *Server) forgetExchange(ctx context.Context, r *request) (reply, error) {
	x, err := s.exchanges.Find(ctx, r.who, r.param("no"))
	if err != nil {
		return reply{}, err
	}
	if err := s.exchanges.Forget(ctx, x); err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusNoContent, subject: audit.Entry{Open: audit.Open{Exchange: x.Number}, Closed: audit.Closed{Object: "exchange.deleted"}}}, nil
}
