package ferry

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// missedHeartbeats is after how many intervals of silence a front is down.
const missedHeartbeats = 3

// Heartbeat is what a front's replica says of itself on xg.ctl every few
// seconds. Nothing in it is about a person or a request. It is not signed: a
// false one can make a front seem up or down, nothing else.
type Heartbeat struct {
	V        int      `json:"v"` // 1
	Front    string   `json:"front"`
	Instance string   `json:"instance"`           // of this process
	Sent     int64    `json:"sent"`               // Unix time in milliseconds, sender's clock
	Every    int64    `json:"every"`              // interval in milliseconds
	Credits  int      `json:"credits"`            // live requests it takes at once
	InHand   int      `json:"inHand"`             // live requests it has
	Keys     []string `json:"keys,omitempty"`     // key ids requests may be sealed to
	Release  uint64   `json:"release,omitempty"`  // catalogue release it works with
	Can      []string `json:"can,omitempty"`      // capabilities
	Deferred bool     `json:"deferred,omitempty"` // takes deferred requests
}

const maxHeartbeat = 16 << 10 // bytes

func heartbeatKey(front, instance string) []byte {
	return []byte("front/" + front + "/" + instance)
}

// FrontDownError says since when nothing has been heard of a front.
type FrontDownError struct {
	Front string
	Since time.Time
}

// Error says which front, and since when.
func (e *FrontDownError) Error() string {
	return fmt.Sprintf("front %s: nothing heard since %s: %v", e.Front, e.Since.Format(time.RFC3339), ErrFrontDown)
}

// Unwrap returns ErrFrontDown.
func (e *FrontDownError) Unwrap() error { return ErrFrontDown }

// FrontState is what an asker knows of a front.
type FrontState struct {
	Front    string
	Up       bool
	Since    time.Time   // down: last sign of life; up: zero
	InFlight int         // our questions in hand
	Limit    int         // how many there may be
	Replicas []Heartbeat // those alive, by instance
}

// fronts keeps what is known of all fronts.
type fronts struct {
	config   AskerConfig
	mu       sync.Mutex
	known    map[string]*front
	listened time.Time // since when heartbeats are current; zero: not yet
}

type front struct {
	replicas map[string]*replica
	last     time.Time // last sign of life of any replica
	inFlight int
	waiting  []chan struct{} // first come, first served
}

type replica struct {
	Heartbeat
	heard time.Time // our clock
}

func (r *replica) alive(now time.Time) bool {
	return now.Sub(r.heard) <= missedHeartbeats*time.Duration(r.Every)*time.Millisecond
}

func newFronts(c AskerConfig) *fronts { return &fronts{config: c, known: map[string]*front{}} }

func (f *fronts) get(name string) *front {
	if f.known[name] == nil {
		f.known[name] = &front{replicas: map[string]*replica{}}
	}
	return f.known[name]
}

// caughtUp notes that what is heard from now on has just been said.
func (f *fronts) caughtUp(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.listened.IsZero() {
		f.listened = now
	}
}

// hear takes a record of xg.ctl.
func (a *Asker) hear(_ context.Context, m Message) error {
	name, instance, ok := strings.Cut(strings.TrimPrefix(string(m.Key), "front/"), "/")
	if !ok || !frontName.MatchString(name) || len(instance) > 64 || len(m.Body) > maxHeartbeat {
		return nil // some other record
	}
	if m.Body == nil {
		a.fronts.gone(name, instance, m.Time)
		return nil
	}
	var h Heartbeat
	if json.Unmarshal(m.Body, &h) != nil || h.V != 1 || h.Front != name || h.Instance != instance || h.Every < 10 || h.Every > 3600_000 {
		return nil
	}
	a.fronts.alive(h, m.Time, time.Now())
	return nil
}

// alive takes a heartbeat. While the backlog is read, the broker's time of it
// counts; later the time of hearing, which no clock can falsify.
func (f *fronts) alive(h Heartbeat, at, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	heard := now
	if f.listened.IsZero() && at.Before(now) {
		heard = at
	}
	fr := f.get(h.Front)
	fr.replicas[h.Instance] = &replica{h, heard}
	if heard.After(fr.last) {
		fr.last = heard
	}
	for id, r := range fr.replicas { // forget processes that ended long ago
		if now.Sub(r.heard) > 24*time.Hour {
			delete(fr.replicas, id)
		}
	}
	f.wake(fr, now)
}

// gone takes a replica's farewell.
func (f *fronts) gone(name, instance string, at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fr := f.get(name)
	delete(fr.replicas, instance)
	if at.After(fr.last) {
		fr.last = at
	}
}

// down returns *FrontDownError if a front is known to be down.
func (f *fronts) down(name string, now time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if up, since := f.up(name, now); !up {
		return &FrontDownError{Front: name, Since: since}
	}
	return nil
}

func (f *fronts) up(name string, now time.Time) (up bool, since time.Time) {
	fr := f.known[name]
	if fr == nil || fr.last.IsZero() {
		silent := !f.listened.IsZero() && now.Sub(f.listened) > missedHeartbeats*f.config.HeartbeatEvery
		return !silent || !slices.Contains(f.config.Expect, name), f.listened
	}
	for _, r := range fr.replicas {
		if r.alive(now) {
			return true, time.Time{}
		}
	}
	return false, fr.last
}

// limit is how many questions may be in hand for a front.
func (f *fronts) limit(fr *front, now time.Time) int {
	credits := 0
	for _, r := range fr.replicas {
		if r.alive(now) {
			credits += max(0, r.Credits)
		}
	}
	if credits == 0 { // none announced
		return f.config.MaxInFlight
	}
	return min(credits, f.config.MaxInFlight)
}

// enter takes a place at a front, waiting for one until ctx ends.
func (f *fronts) enter(ctx context.Context, name string) (leave func(), err error) {
	leave = sync.OnceFunc(func() { f.leave(name) })
	f.mu.Lock()
	fr := f.get(name)
	if fr.inFlight < f.limit(fr, time.Now()) && len(fr.waiting) == 0 {
		fr.inFlight++
		f.mu.Unlock()
		return leave, nil
	}
	turn := make(chan struct{})
	fr.waiting = append(fr.waiting, turn)
	f.mu.Unlock()
	select {
	case <-turn:
		return leave, nil
	case <-ctx.Done():
		f.giveUp(name, turn)
		return nil, fmt.Errorf("front %s: %w: %w", name, ErrBusy, ctx.Err())
	}
}

// giveUp leaves the queue, or gives back the place that came at the same moment.
func (f *fronts) giveUp(name string, turn chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fr := f.get(name)
	if i := slices.Index(fr.waiting, turn); i >= 0 {
		fr.waiting = slices.Delete(fr.waiting, i, i+1)
		return
	}
	fr.inFlight--
	f.wake(fr, time.Now())
}

func (f *fronts) leave(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fr := f.get(name)
	fr.inFlight--
	f.wake(fr, time.Now())
}

// wake gives free places to those who wait longest.
func (f *fronts) wake(fr *front, now time.Time) {
	limit := f.limit(fr, now)
	for len(fr.waiting) > 0 && fr.inFlight < limit {
		fr.inFlight++
		close(fr.waiting[0])
		fr.waiting = fr.waiting[1:]
	}
}

// Fronts returns what is known of every front that was heard of or asked, by name.
func (a *Asker) Fronts() []FrontState {
	f, now := a.fronts, time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	states := make([]FrontState, 0, len(f.known))
	for name, fr := range f.known {
		s := FrontState{Front: name, InFlight: fr.inFlight, Limit: f.limit(fr, now)}
		s.Up, s.Since = f.up(name, now)
		for _, r := range fr.replicas {
			if r.alive(now) {
				s.Replicas = append(s.Replicas, r.Heartbeat)
			}
		}
		slices.SortFunc(s.Replicas, func(a, b Heartbeat) int { return strings.Compare(a.Instance, b.Instance) })
		states = append(states, s)
	}
	slices.SortFunc(states, func(a, b FrontState) int { return strings.Compare(a.Front, b.Front) })
	return states
}
