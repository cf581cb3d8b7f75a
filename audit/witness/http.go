package witness

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"yizheng/audit"
)

// Limits of a request: a note, and a consistency proof, which has at most 63 hashes.
const (
	maxBody = 128 << 10
	maxPath = 63
)

// Server is the witness's HTTP interface. Serve it over TLS.
type Server struct {
	Witness *Witness
	Logger  *slog.Logger
}

// Handler answers POST /add-checkpoint:
//
//	200  the cosignature line
//	400  not of the written form
//	403  not signed by the log's key
//	404  a log that is not watched
//	409  the proof begins elsewhere; the body is the size of the last checkpoint
//	422  the proof does not hold
//
// and GET /checkpoint/<origin>, the last checkpoint cosigned of a shard: 200 or 404.
func (s Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /add-checkpoint", s.add)
	mux.HandleFunc("GET /checkpoint/{origin...}", s.last)
	return mux
}

func (s Server) add(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "cannot be read", http.StatusBadRequest)
		return
	}
	head, old, path, err := parse(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	line, err := s.Witness.Add(head, old, path)
	var conflict *ConflictError
	switch {
	case err == nil:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, line+"\n") // the witness has kept its word, whether it arrives or not
	case errors.As(err, &conflict):
		w.Header().Set("Content-Type", "text/x.tlog.size")
		w.WriteHeader(http.StatusConflict)
		_, _ = fmt.Fprintf(w, "%d\n", conflict.Size)
	case errors.Is(err, ErrUnknownLog):
		http.Error(w, err.Error(), http.StatusNotFound)
	case errors.Is(err, ErrForeignKey):
		s.Logger.Warn("checkpoint refused", "origin", head.Origin, "size", head.Size, "err", err)
		http.Error(w, err.Error(), http.StatusForbidden)
	case errors.Is(err, ErrInconsistent): // what a witness is there for
		s.Logger.Error("log does not continue what it showed before", "origin", head.Origin, "size", head.Size, "old", old)
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
	default:
		s.Logger.Error("checkpoint not cosigned", "origin", head.Origin, "err", err)
		http.Error(w, "state cannot be kept", http.StatusInternalServerError)
	}
}

func (s Server) last(w http.ResponseWriter, r *http.Request) {
	note, err := s.Witness.Last(r.PathValue("origin"))
	switch {
	case errors.Is(err, ErrUnknownLog):
		http.Error(w, "nothing cosigned of this log", http.StatusNotFound)
	case err != nil:
		s.Logger.Error("checkpoint not shown", "err", err)
		http.Error(w, "state cannot be read", http.StatusInternalServerError)
	default:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write(note)
	}
}

var errForm = errors.New("witness: want \"old <size>\", the hashes of the proof, an empty line and a checkpoint")

// parse reads the body of a request.
func parse(body []byte) (head audit.SignedHead, old uint64, path []audit.Hash, err error) {
	proof, note, ok := bytes.Cut(body, []byte("\n\n"))
	if !ok {
		return head, 0, nil, errForm
	}
	lines := strings.Split(string(proof), "\n")
	size, ok := strings.CutPrefix(lines[0], "old ")
	old, numErr := strconv.ParseUint(size, 10, 64)
	if !ok || numErr != nil || strconv.FormatUint(old, 10) != size || len(lines)-1 > maxPath {
		return head, 0, nil, errForm
	}
	for _, l := range lines[1:] {
		b, err := base64.StdEncoding.Strict().DecodeString(l)
		if err != nil || len(b) != len(audit.Hash{}) {
			return head, 0, nil, errForm
		}
		path = append(path, audit.Hash(b))
	}
	head, err = audit.ParseCheckpoint(note)
	return head, old, path, err
}

// request makes the body that parse reads.
func request(head audit.SignedHead, old uint64, path []audit.Hash) ([]byte, error) {
	note, err := head.MarshalText()
	if err != nil {
		return nil, err
	}
	b := strconv.AppendUint([]byte("old "), old, 10)
	for _, h := range path {
		b = append(append(b, '\n'), h.String()...)
	}
	return append(append(b, "\n\n"...), note...), nil
}
