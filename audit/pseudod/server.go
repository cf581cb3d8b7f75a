package pseudod

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"yizheng/audit"
	"yizheng/audit/search"
	"yizheng/identity/jose"
)

// Server answers calls. Its fields are set once, before Serve.
type Server struct {
	Pseudonyms search.Pseudonyms // who has the keys
	UIDs       []uint32          // users whose processes may call
	// ResidentsPerHour is how many residents a gateway may ask about their own past.
	ResidentsPerHour int
	Logger           *slog.Logger
	Now              func() time.Time // default time.Now
}

// Serve answers on l until ctx ends, then lets running calls end.
func (s Server) Serve(ctx context.Context, l *Socket) error {
	if s.Now == nil {
		s.Now = time.Now
	}
	server := &http.Server{Handler: s.handler(), ReadHeaderTimeout: callLife, ReadTimeout: callLife, WriteTimeout: 2 * callLife,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 4 << 10, ErrorLog: slog.NewLogLogger(s.Logger.Handler(), slog.LevelDebug)}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(known{Socket: l, uids: s.UIDs, log: s.Logger}) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*callLife)
	defer cancel()
	err := server.Shutdown(stop)
	<-ended
	return err
}

// handler is the service without its listener.
func (s Server) handler() http.Handler {
	residents := rate.NewLimiter(rate.Limit(float64(s.ResidentsPerHour)/3600), s.ResidentsPerHour)
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+pathOf, answer(s, func(_ context.Context, c ofCall) (audit.SubjectRef, error) {
		if d := c.At.Sub(s.Now()); d.Abs() > grace && audit.Quarter(c.At) != audit.Quarter(s.Now()) {
			return audit.SubjectRef{}, refuse(http.StatusForbidden, codeQuarter, "at", "往季假名须凭两人批准的检索申请", "pseudonyms of another quarter need an application that two persons approved")
		}
		return s.Pseudonyms.Of(c.Type, c.Number, c.At)
	}))
	mux.HandleFunc("POST "+pathOwn, answer(s, func(ctx context.Context, c ownCall) (audit.Known, error) {
		if err := s.quarters(c.Quarters); err != nil {
			return audit.Known{}, err
		}
		if !residents.AllowN(s.Now(), 1) {
			return audit.Known{}, refuse(http.StatusTooManyRequests, codeLimit, "", "本小时查询已达上限，请稍后再试", "as many as may be asked about this hour; try again later")
		}
		s.Logger.Info("a resident's own pseudonyms given", "quarters", len(c.Quarters))
		return s.Pseudonyms.Own(ctx, c.Type, c.Number, c.Quarters)
	}))
	mux.HandleFunc("POST "+pathHold, answer(s, func(ctx context.Context, c search.Sought) (search.Held, error) {
		if err := s.quarters(c.Quarters); err != nil {
			return search.Held{}, err
		}
		return s.Pseudonyms.Hold(ctx, c)
	}))
	mux.HandleFunc("POST "+pathSteps, answer(s, func(ctx context.Context, _ struct{}) ([]audit.KeyStep, error) {
		return s.Pseudonyms.Steps(ctx)
	}))
	mux.HandleFunc("POST "+pathRelease, answer(s, func(ctx context.Context, c releaseCall) ([]audit.SubjectRef, error) {
		refs, err := s.Pseudonyms.Release(ctx, c.Application, c.Decisions)
		if err == nil {
			s.Logger.Info("an approved search's pseudonyms given", "application", c.Application, "count", len(refs))
		}
		return refs, err
	}))
	return limited(mux)
}

// quarters bounds what a call asks for, so that no key is made for a quarter to come.
func (s Server) quarters(list []time.Time) error {
	future := slices.ContainsFunc(list, func(at time.Time) bool { return audit.Quarter(at) > audit.Quarter(s.Now().Add(grace)) })
	if len(list) == 0 || len(list) > maxQuarters || future {
		return refuse(http.StatusUnprocessableEntity, codeRequest, "quarters", "须列 1–64 个季度，不得晚于当季", "give 1 to 64 quarters, none of them to come")
	}
	return nil
}

// limited answers so many calls at once; more are told so at once.
func limited(next http.Handler) http.Handler {
	slots := make(chan struct{}, maxAtOnce)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
			next.ServeHTTP(w, r)
		default:
			tell(w, refuse(http.StatusServiceUnavailable, codeBusy, "", "假名服务繁忙，请稍后重试", "the pseudonym service is busy; try again later"))
		}
	})
}

// answer reads a call strictly, and wipes the bytes it came in.
func answer[In, Out any](s Server, do func(context.Context, In) (Out, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), callLife)
		defer cancel()
		body := make([]byte, max(0, min(r.ContentLength, maxBody)))
		defer clear(body)
		_, err := io.ReadFull(r.Body, body)
		var in In
		if err != nil || jose.Unmarshal(body, &in) != nil || r.ContentLength != int64(len(body)) {
			tell(w, refuse(http.StatusBadRequest, codeRequest, "", "请求读不懂或过大", "the call cannot be read, or is too large"))
			return
		}
		out, err := do(ctx, in)
		if err != nil {
			no := refused(err)
			if no.Code == codeInternal || no.Code == codeStep {
				s.Logger.Error("call failed", "path", r.URL.Path, "err", err) // errors of audit hold no numbers
			}
			tell(w, no)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(out) // whoever asked may be gone
	}
}

func refuse(status int, code, where, zh, en string) *search.Refusal {
	return &search.Refusal{Status: status, Code: code, Where: where, Chinese: zh, English: en}
}

// refused is what a caller is told of an error.
func refused(err error) *search.Refusal {
	var r *search.Refusal
	switch {
	case errors.As(err, &r):
		return r
	case errors.Is(err, audit.ErrNumber):
		return refuse(http.StatusUnprocessableEntity, codeNumber, "number", "号码为空或无法处理", "a number is empty or cannot be used")
	case errors.Is(err, audit.ErrKeysDestroyed):
		return refuse(http.StatusConflict, codeGone, "at", "这一季度的对照已按期销毁", "the pseudonym keys of this quarter have been destroyed")
	case errors.Is(err, audit.ErrKeyStepUnproven):
		return refuse(http.StatusServiceUnavailable, codeStep, "", "密钥目录中有一步未经证实，请看假名服务的运行日志", "the directory of keys holds a step that is not proven; see the service's own messages")
	}
	return refuse(http.StatusInternalServerError, codeInternal, "", "假名服务出错，请管理员查看其运行日志", "the pseudonym service failed; its administrator should look at its own messages")
}

func tell(w http.ResponseWriter, r *search.Refusal) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(r.Status)
	_ = json.NewEncoder(w).Encode(refusal{r.Code, r.Where, r.Chinese, r.English}) // whoever asked may be gone
}
