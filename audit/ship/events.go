package ship

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"yizheng/audit"
	"yizheng/identity/jose"
)

// TypeEvent is the typ of what Events sends.
const TypeEvent = "yz-supervision-event+jws"

// Events pushes what supervision does, and complaints, to a subscriber: one
// signed HTTPS POST a batch. All other records count as taken.
type Events struct {
	*HTTPS
	key *jose.Key
}

// NewEvents prepares pushing to an https URL, signed with key.
func NewEvents(to string, f Files, key *jose.Key) (*Events, error) {
	h, err := NewHTTPS(to, f)
	if err != nil {
		return nil, err
	}
	return &Events{h, key}, nil
}

// Send pushes the events among the records, if there are any.
func (e *Events) Send(ctx context.Context, records []Record) error {
	var events []Record
	var lines [][]byte
	for _, r := range records {
		if op := r.Entry.Open.Op; op == audit.OpComplaint || strings.HasPrefix(string(op), "supervise.") {
			events, lines = append(events, r), append(lines, r.JSON)
		}
	}
	if len(events) == 0 {
		return nil
	}
	payload := slices.Concat([]byte(`{"v":1,"events":[`), bytes.Join(lines, []byte{','}), []byte("]}")) // the stored bytes as they are
	token, err := jose.Sign(e.key, TypeEvent, payload)
	if err != nil {
		return fmt.Errorf("events: %w", err)
	}
	return e.post(ctx, "application/jose", strings.NewReader(token), events)
}
