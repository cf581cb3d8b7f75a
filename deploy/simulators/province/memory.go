package main

import (
	"sync"
	"time"
)

// keptSecrets bounds what is remembered of each service's secrets, so that an
// expired one can be told from an invented one.
const keptSecrets = 64

type issued struct {
	value string
	ends  time.Time
}

// secrets remembers the secrets given out for each service. Several serve at
// once: a requester may have several gateways.
type secrets struct {
	mu    sync.Mutex
	bySID map[string][]issued
}

func newSecrets() *secrets { return &secrets{bySID: make(map[string][]issued)} }

func (s *secrets) add(sid, value string, ends time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := append(s.bySID[sid], issued{value, ends})
	if len(all) > keptSecrets {
		all = all[len(all)-keptSecrets:]
	}
	s.bySID[sid] = all
}

// find returns the secret that fits, and whether it still serves at now.
func (s *secrets) find(sid string, now time.Time, fits func(value string) bool) (value string, live bool) {
	s.mu.Lock()
	all := append([]issued(nil), s.bySID[sid]...)
	s.mu.Unlock()
	for i := len(all) - 1; i >= 0; i-- {
		if fits(all[i].value) {
			return all[i].value, now.Before(all[i].ends)
		}
	}
	return "", false
}

// replays remembers requests for as long as their rtime could be accepted again.
type replays struct {
	keep  time.Duration
	mu    sync.Mutex
	until map[string]time.Time
	swept time.Time
}

func newReplays(keep time.Duration) *replays {
	return &replays{keep: keep, until: make(map[string]time.Time)}
}

// add reports whether key is new.
func (r *replays) add(key string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.swept) > r.keep/4 {
		for k, until := range r.until {
			if now.After(until) {
				delete(r.until, k)
			}
		}
		r.swept = now
	}
	if _, seen := r.until[key]; seen {
		return false
	}
	r.until[key] = now.Add(r.keep)
	return true
}
