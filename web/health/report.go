// Package health tells those who run a gateway how it is, before its users do.
//
// A [Report] holds what is known of every part that a gateway depends on: its
// audit log, index, witnesses, replica and copies, the pseudonym service, the
// state store, time stamps, departments' lines, certificates and catalogue. It
// is judged by fixed rules into [Finding]s, each with what to do, and into one
// word: ready, or not. [Metrics] gives the same figures, and two counts of what
// the gateway does, to a Prometheus server.
//
// Nothing here is about a person. Labels are names from configuration and
// catalogue; of a sensitive proof there is no outcome but ANSWERED. What each
// figure means and what to do about it stands in docs/OPERATIONS.md.
package health

import (
	"context"
	"sync"
	"time"

	"yizheng/audit"
	"yizheng/audit/index"
	"yizheng/audit/ship"
	"yizheng/audit/stamp"
	"yizheng/audit/witness"
)

// Report is how a gateway is. Parts that it does not have are nil.
type Report struct {
	Ready    bool      `json:"ready"` // business is taken
	At       time.Time `json:"at"`
	Findings []Finding `json:"findings"` // the worst first

	Origin     string     `json:"origin"`
	Slot       string     `json:"slot"`
	Mode       string     `json:"mode"`
	Started    time.Time  `json:"started"`
	Log        Log        `json:"audit_log"`
	Index      *Index     `json:"index,omitempty"`
	Witness    *Witness   `json:"witness,omitempty"`
	Stamps     *Stamps    `json:"timestamps,omitempty"` // of the audit log
	Copies     []Copy     `json:"copies"`
	Pseudonyms Pseudonyms `json:"pseudonyms"`
	Store      Store      `json:"store"`
	Authority  *Authority `json:"seal_timestamps,omitempty"` // whom documents' time stamps come from
	Lines      []Line     `json:"lines"`
	Catalogue  Catalogue  `json:"catalogue"`
	Ends       []End      `json:"ends"` // the soonest first
}

// Log is the audit log.
type Log struct {
	audit.Status
	CheckpointSeconds int64 `json:"checkpoint_seconds"` // age of the last checkpoint; -1: none yet
}

// Index of the log.
type Index struct {
	index.Lag
	Seconds int64 `json:"seconds"` // age of the oldest entry that searches do not find yet
}

// Witness of the log.
type Witness struct {
	witness.Status
	Seconds    int64 `json:"unwitnessed_seconds"` // how long the oldest entry has been without
	MaxSeconds int64 `json:"max_unwitnessed_seconds"`
}

// Stamps of the log.
type Stamps struct {
	stamp.Status
	Seconds    int64 `json:"unstamped_seconds"`
	MaxSeconds int64 `json:"max_unstamped_seconds,omitempty"` // 0: for ever
	Down       bool  `json:"authority_down"`                  // could not be reached when it was asked last
}

// Copy of the log, or of what supervision does, at somebody else's.
type Copy struct {
	ship.Status
	Events bool `json:"events"` // of supervision only
}

// Pseudonyms are computed here, or by a service.
type Pseudonyms struct {
	InProcess bool `json:"in_process"`
	Reachable bool `json:"reachable"`
	// Unread are shards that could not be read for what was done to the keys.
	Unread []string `json:"unread,omitempty"`
}

// Store of what waits for its callers.
type Store struct {
	Reachable bool `json:"reachable"`
}

// Authority gives time stamps.
type Authority struct {
	Down     bool `json:"down"`     // could not be reached when it was asked last
	Required bool `json:"required"` // without it there is no document
}

// Line leads to one or more departments' systems.
type Line struct {
	Name  string    `json:"name"`           // of the connection, or front: and the front processor's
	Up    bool      `json:"up"`             // as far as known: of a front by its heartbeat, else by the last question
	Since time.Time `json:"since,omitzero"` // down since
}

// Catalogue release that the gateway works with.
type Catalogue struct {
	Number  uint64    `json:"number"`
	Expires time.Time `json:"expires"`
}

// End is something that ends by its date: a certificate, a seal, the catalogue's release.
type End struct {
	What   string    `json:"what"` // the key of the configuration, or seal, seal.certificate, seal.maker, catalogue, or trust. with what of the trust directory
	Name   string    `json:"name,omitempty"`
	Until  time.Time `json:"until"`
	Days   int       `json:"days"`             // whole days left, negative when it has ended
	Within int       `json:"within,omitempty"` // 60, 30 or 7 days; 0: later, or ended
}

// Watch looks after a gateway for whoever asks, but not for each of them anew.
type Watch struct {
	look func(context.Context) Report

	mu   sync.Mutex
	last Report
	at   time.Time
}

const (
	fresh    = 2 * time.Second // how long a report is good
	lookTime = 6 * time.Second // how long finding out may take: a service that hangs is given up by then
)

// NewWatch makes a Watch. look finds out everything but Ready, At, Findings and
// ages; it is called by one goroutine at a time.
func NewWatch(look func(context.Context) Report) *Watch { return &Watch{look: look} }

// Report is how the gateway is, or was two seconds ago. A caller who hangs up
// does not spoil it for the others.
func (w *Watch) Report(ctx context.Context) Report {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.at.IsZero() || time.Since(w.at) > fresh {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTime)
		defer cancel()
		w.last = w.look(ctx)
		w.at = time.Now()
		w.last.judge(w.at)
	}
	return w.last
}
