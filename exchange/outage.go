package exchange

import (
	"maps"
	"sync"
	"time"
)

// outages remembers since when a connection has been down, for the sentence of UNREACHABLE.
type outages struct {
	mu    sync.Mutex
	since map[string]time.Time
}

func (o *outages) down(connection string, now time.Time) time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.since == nil {
		o.since = make(map[string]time.Time)
	}
	if t, ok := o.since[connection]; ok {
		return t
	}
	o.since[connection] = now
	return now
}

func (o *outages) up(connection string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.since, connection)
}

// Outages are the connections (Line) that could not be reached when they were
// asked last, and since when.
func (s *Service) Outages() map[string]time.Time {
	s.outages.mu.Lock()
	defer s.outages.mu.Unlock()
	return maps.Clone(s.outages.since)
}
