package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// stream writes server-sent events (WHATWG HTML, section 9.2).
type stream struct {
	w  http.ResponseWriter
	rc *http.ResponseController
	// patience is how long the client may take for one event.
	patience time.Duration
}

func newStream(w http.ResponseWriter, patience time.Duration) *stream {
	return &stream{w: w, rc: http.NewResponseController(w), patience: patience}
}

// send writes one event; id < 0 leaves the id out.
func (s *stream) send(id int, event string, data any) error {
	body, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	var b strings.Builder
	if id >= 0 {
		fmt.Fprintf(&b, "id: %d\n", id)
	}
	fmt.Fprintf(&b, "event: %s\ndata: %s\n\n", event, body)
	return s.put(b.String())
}

// beat keeps the connection from looking dead.
func (s *stream) beat() error { return s.put(": hb\n\n") }

func (s *stream) put(text string) error {
	if err := s.rc.SetWriteDeadline(time.Now().Add(s.patience)); err != nil {
		return fmt.Errorf("stream: %w", err)
	}
	if _, err := s.w.Write([]byte(text)); err != nil {
		return fmt.Errorf("stream: %w", err)
	}
	if err := s.rc.Flush(); err != nil {
		return fmt.Errorf("stream: %w", err)
	}
	// Over HTTP/2 a deadline that passes ends the stream even if nothing is being written.
	if err := s.rc.SetWriteDeadline(time.Time{}); err != nil {
		return fmt.Errorf("stream: %w", err)
	}
	return nil
}
