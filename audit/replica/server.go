package replica

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"

	"yizheng/audit"
)

// Limits of a request's body, bytes. A stretch is at most a frame longer than a
// megabyte, and a quarantined file one torn frame.
const (
	maxMeta = 64 << 10
	maxBody = 8 << 20
)

// Server is a replica's HTTPS interface.
type Server struct {
	Logs   []*audit.ReplicaDir
	Logger *slog.Logger
}

// Handler answers the requests of the package's comment.
func (s Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /begin", s.begin)
	mux.HandleFunc("POST /frames", s.frames)
	mux.HandleFunc("POST /quarantine", s.quarantine)
	return mux
}

// begin asks every log whether it is its own: the origin stands in the signed
// text.
func (s Server) begin(w http.ResponseWriter, r *http.Request) {
	meta, ok := body(w, r, maxMeta)
	if !ok {
		return
	}
	var size uint64
	err := audit.ErrForeign
	for _, log := range s.Logs {
		if size, err = log.Begin(r.Context(), meta); !errors.Is(err, audit.ErrForeign) && !errors.Is(err, audit.ErrSignature) {
			break
		}
	}
	s.answer(w, r, size, err)
}

func (s Server) frames(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	offset, err := strconv.ParseInt(q.Get("offset"), 10, 64)
	if err != nil {
		http.Error(w, "offset", http.StatusBadRequest)
		return
	}
	frames, ok := body(w, r, maxBody)
	if !ok {
		return
	}
	var size uint64
	err = audit.ErrForeign
	for _, log := range s.Logs {
		st := audit.Stretch{Origin: q.Get("origin"), Segment: q.Get("segment"), Offset: offset, Frames: frames}
		if size, err = log.Write(r.Context(), st); !errors.Is(err, audit.ErrForeign) {
			break
		}
	}
	s.answer(w, r, size, err)
}

func (s Server) quarantine(w http.ResponseWriter, r *http.Request) {
	content, ok := body(w, r, maxBody)
	if !ok {
		return
	}
	q, err := r.URL.Query(), audit.ErrForeign
	for _, log := range s.Logs {
		if err = log.Keep(r.Context(), q.Get("origin"), q.Get("name"), content); !errors.Is(err, audit.ErrForeign) {
			break
		}
	}
	s.answer(w, r, 0, err)
}

func body(w http.ResponseWriter, r *http.Request, most int64) ([]byte, bool) {
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
	case err != nil:
		http.Error(w, "cannot be read", http.StatusBadRequest)
	}
	return b, err == nil
}

func (s Server) answer(w http.ResponseWriter, r *http.Request, size uint64, err error) {
	if err == nil {
		fmt.Fprintln(w, size)
		return
	}
	status := http.StatusInternalServerError
	for _, k := range statuses() {
		if errors.Is(err, k.err) {
			status = k.status
			break
		}
	}
	s.Logger.WarnContext(r.Context(), "replica refused", "path", r.URL.Path, "status", status, "err", err)
	http.Error(w, err.Error(), status)
}

// known is an error that both sides know by its status.
type known struct {
	err    error
	status int
}

// statuses are looked through in this order.
func statuses() []known {
	return []known{
		{audit.ErrPoisoned, http.StatusServiceUnavailable},
		{audit.ErrForeign, http.StatusNotFound},
		{audit.ErrSignature, http.StatusForbidden},
		{audit.ErrPlace, http.StatusConflict},
		{audit.ErrEntry, http.StatusBadRequest},
		{audit.ErrDamaged, http.StatusUnprocessableEntity},
	}
}
