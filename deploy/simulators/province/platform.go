package main

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/emmansun/gmsm/sm3"
)

const maxRequest = 64 << 10

type platformConfig struct {
	rid, appKey, prefix string
	secretLife, window  time.Duration
	services            map[string]service
	now                 func() time.Time
	logger              *slog.Logger
}

// platform answers /token and /query.
type platform struct {
	platformConfig
	secrets *secrets
	seen    *replays
}

func newPlatform(c platformConfig) http.Handler {
	p := &platform{c, newSecrets(), newReplays(2 * c.window)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", p.handle(p.token))
	mux.HandleFunc("POST /query", p.handle(p.query))
	return mux
}

// refusal is an answer that tells the requester what is wrong with the request.
type refusal struct {
	status  int
	code    string
	message string
}

func (r *refusal) Error() string { return r.code }

// request is one whose rid, sid and time have been checked, its signature not yet.
type request struct {
	sid, rtime, sign string
	service          service
	body             []byte
}

// reply is what goes back; key signs it.
type reply struct {
	status int
	body   []byte
	key    string
}

func (p *platform) handle(f func(ctx context.Context, r request) (reply, *refusal)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		started := time.Now()
		outcome, sid := "OK", "-"
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		req, wrong := p.read(w, r)
		var rep reply
		if wrong == nil {
			sid = req.sid
			rep, wrong = f(r.Context(), req)
		}
		if wrong != nil {
			outcome = wrong.code
			rep.status = wrong.status
			rep.body, _ = json.Marshal(map[string]string{"code": wrong.code, "message": wrong.message})
		} else {
			mac := signature(rep.key, req.sid, p.rid, req.rtime, sm3Hex(rep.body))
			w.Header().Set(p.prefix+"answer_sign", mac)
		}
		w.WriteHeader(rep.status)
		_, err := w.Write(rep.body)
		p.logger.Info("request", "path", r.URL.Path, "sid", sid, "outcome", outcome, "status", rep.status,
			"ms", time.Since(started).Milliseconds(), "sent", err == nil)
	}
}

// read checks everything that needs no key, in the order of the protocol's description.
func (p *platform) read(w http.ResponseWriter, r *http.Request) (request, *refusal) {
	head := func(name string) string { return r.Header.Get(p.prefix + name) }
	req := request{sid: head("sid"), rtime: head("rtime"), sign: head("sign")}
	rid := head("rid")
	if rid == "" || req.sid == "" || req.rtime == "" || req.sign == "" {
		return req, &refusal{401, "HEADER_MISSING", "rid, sid, rtime and sign are required"}
	}
	if rid != p.rid {
		return req, &refusal{403, "RID_UNKNOWN", "requester is not registered"}
	}
	known := false
	if req.service, known = p.services[req.sid]; !known {
		return request{}, &refusal{403, "SID_UNKNOWN", "service is not registered or not granted"}
	}
	ms, err := strconv.ParseInt(req.rtime, 10, 64)
	if err != nil || strconv.FormatInt(ms, 10) != req.rtime {
		return req, &refusal{401, "RTIME_INVALID", "rtime is not milliseconds since 1970"}
	}
	if d := p.now().Sub(time.UnixMilli(ms)); d > p.window || d < -p.window {
		return req, &refusal{401, "RTIME_OUTSIDE", fmt.Sprintf("rtime is more than %v from our clock", p.window)}
	}
	if req.body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest)); err != nil {
		return req, &refusal{413, "BODY_TOO_LARGE", "request is too large or broke off"}
	}
	return req, nil
}

// once records a request whose signature has been found good.
func (p *platform) once(req request) *refusal {
	if !p.seen.add(p.rid+"\x00"+req.sid+"\x00"+req.rtime+"\x00"+req.sign, p.now()) {
		return &refusal{401, "REPLAYED", "this very request was made before"}
	}
	return nil
}

// token gives a secret for the app key.
func (p *platform) token(_ context.Context, req request) (reply, *refusal) {
	if !signed(req, p.appKey, p.rid) {
		return reply{}, &refusal{401, "SIGN_INVALID", "sign is not that of sid, rid, rtime under the app key"}
	}
	if wrong := p.once(req); wrong != nil {
		return reply{}, wrong
	}
	ends := p.now().Add(p.secretLife)
	value := rand.Text()
	p.secrets.add(req.sid, value, ends)
	body, err := json.Marshal(map[string]any{"code": "00", "message": "成功", "secret": value, "secretEndTime": ends.UnixMilli()})
	if err != nil {
		return reply{}, &refusal{500, "INTERNAL", "internal error"}
	}
	return reply{http.StatusOK, body, p.appKey}, nil
}

// query answers about one number.
func (p *platform) query(ctx context.Context, req request) (reply, *refusal) {
	key, live := p.secrets.find(req.sid, p.now(), func(value string) bool { return signed(req, value, p.rid) })
	if key == "" {
		return reply{}, &refusal{401, "SIGN_INVALID", "sign is not that of sid, rid, rtime under a secret of ours"}
	}
	if !live {
		return reply{}, &refusal{401, "SECRET_EXPIRED", "secret has expired; get another"}
	}
	if wrong := p.once(req); wrong != nil {
		return reply{}, wrong
	}
	var fields map[string]string
	if json.Unmarshal(req.body, &fields) != nil || fields[req.service.key] == "" {
		return reply{}, &refusal{400, "BODY_INVALID", "body is not an object of texts with " + req.service.key}
	}
	rec, known := req.service.records[fields[req.service.key]]
	if !known {
		return reply{http.StatusOK, at(req.service.notFound, p.now()), key}, nil
	}
	if rec.delay > 0 {
		select {
		case <-time.After(rec.delay):
		case <-ctx.Done():
		}
	}
	status := http.StatusOK
	if rec.status != 0 {
		status = rec.status
	}
	return reply{status, at(rec.body, p.now()), key}, nil
}

func signed(req request, key, rid string) bool {
	return hmac.Equal([]byte(req.sign), []byte(signature(key, req.sid, rid, req.rtime)))
}

// signature is Base64(HMAC-SHA256(key, parts in order)).
func signature(key string, parts ...string) string {
	mac := hmac.New(sha256.New, []byte(key))
	for _, part := range parts {
		_, _ = io.WriteString(mac, part)
	}
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func sm3Hex(b []byte) string {
	sum := sm3.Sum(b)
	return hex.EncodeToString(sum[:])
}
