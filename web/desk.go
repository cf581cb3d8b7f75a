package web

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"yizheng/exchange/reading"
	"yizheng/identity/jose"
)

func (s *Server) openSession(ctx context.Context, r *request) (reply, error) {
	var in struct {
		PairingCodes []string `json:"pairing_codes"`
	}
	if err := r.decode(&in); err != nil {
		return reply{}, err
	}
	op, _ := s.operator(r)
	id, ws, err := s.desk.Pair(ctx, op, in.PairingCodes)
	if err != nil {
		return reply{}, err
	}
	return jsonReply(http.StatusCreated, map[string]any{"session": id, "workstations": ws, "operator": r.who.Operator})
}

func (s *Server) closeSession(ctx context.Context, r *request) (reply, error) {
	op, _ := s.operator(r)
	if err := s.desk.End(ctx, op, r.param("id")); err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusNoContent}, nil
}

// connectAgent keeps the agent's stream open: challenges go down, attestations come back as calls of their own.
func (s *Server) connectAgent(_ context.Context, r *request) (reply, error) {
	var in struct {
		PairingCode string `json:"pairing_code"`
	}
	if err := r.decode(&in); err != nil {
		return reply{}, err
	}
	pem, err := jose.MarshalPublicKeyPEM(s.key.Public())
	if err != nil {
		return reply{}, err
	}
	a, err := s.desk.Connect(r.ws, in.PairingCode)
	if err != nil {
		return reply{}, err
	}
	hello := map[string]string{"workstation": string(r.ws), "kid": s.key.ID(), "gateway_key": string(pem)}
	return eventStream(func(ctx context.Context, w *stream) error {
		defer s.desk.Disconnect(a)
		if err := w.send(-1, "hello", hello); err != nil {
			return err
		}
		return s.feed(ctx, w, a)
	}), nil
}

func (s *Server) feed(ctx context.Context, w *stream, a *reading.Agent) error {
	beat := time.NewTicker(s.times.beat)
	defer beat.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.closing:
			return nil
		case <-beat.C:
			err = w.beat()
		case e, ok := <-a.Events:
			if !ok {
				return nil // another connection of this workstation took over
			}
			err = w.send(-1, e.Kind, e)
		}
		if err != nil {
			return err
		}
	}
}

func eventStream(run func(ctx context.Context, w *stream) error) reply {
	return reply{status: http.StatusOK, contentType: "text/event-stream", stream: run}
}

func (s *Server) attest(ctx context.Context, r *request) (reply, error) {
	var in struct {
		Attestation string `json:"attestation"`
		Card        string `json:"card"`
	}
	if err := r.decode(&in); err != nil {
		return reply{}, err
	}
	if err := s.desk.Attest(ctx, r.ws, r.param("id"), in.Attestation, in.Card); err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusNoContent}, nil
}

func (s *Server) readFailed(ctx context.Context, r *request) (reply, error) {
	var in struct {
		Code string `json:"code"`
	}
	if err := r.decode(&in); err != nil {
		return reply{}, err
	}
	if err := s.desk.Fail(ctx, r.ws, r.param("id"), in.Code); err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusNoContent}, nil
}

func (s *Server) startRead(ctx context.Context, r *request) (reply, error) {
	var ask reading.Ask
	if err := r.decode(&ask); err != nil {
		return reply{}, err
	}
	op, _ := s.operator(r)
	v, err := s.desk.Start(ctx, reading.Who{Operator: op, Workstations: r.who.Workstations, Session: r.who.Session,
		Address: r.who.Address, Trace: r.number}, ask)
	if err != nil {
		return reply{}, err
	}
	a, err := jsonReply(http.StatusCreated, v)
	a.header = http.Header{"Location": {"/v1/read-sessions/" + v.ReadSession}}
	return a, err
}

// getRead answers at once, or with Prefer: wait=N when the read has ended or N seconds have passed.
func (s *Server) getRead(ctx context.Context, r *request) (reply, error) {
	v, changed, err := s.desk.Get(r.who.Operator, r.param("id"))
	if err != nil {
		return reply{}, err
	}
	if wait := preferWait(r.Request, 90*time.Second); wait > 0 && v.State == "waiting" {
		s.await(ctx, wait, changed)
		if v, _, err = s.desk.Get(r.who.Operator, r.param("id")); err != nil {
			return reply{}, err
		}
	}
	return jsonReply(http.StatusOK, v)
}

// await returns when changed is closed, the wait is over, or nobody waits any more.
func (s *Server) await(ctx context.Context, wait time.Duration, changed <-chan struct{}) {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-s.closing:
	case <-t.C:
	case <-changed:
	}
}

// preferWait is the caller's "Prefer: wait=N" (RFC 7240), bounded.
func preferWait(r *http.Request, most time.Duration) time.Duration {
	for _, h := range r.Header.Values("Prefer") {
		for p := range strings.SplitSeq(h, ",") {
			if v, ok := strings.CutPrefix(strings.TrimSpace(p), "wait="); ok {
				if n, err := strconv.Atoi(v); err == nil && n > 0 {
					return min(time.Duration(min(n, 3600))*time.Second, most)
				}
			}
		}
	}
	return 0
}
