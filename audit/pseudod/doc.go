// Package pseudod computes pseudonyms in a process of its own, so that neither
// the gateway nor whoever reads its log or database has the keys
// (`gateway pseudod`; docs/protocol/pseudod.md).
//
// The service listens on a Unix socket and asks the kernel who is calling
// (SO_PEERCRED): other users are cut off before anything is read. It answers for
// the quarter that runs to whoever may call at all. Pseudonyms of past quarters
// it gives for an auditor's application that two approvers have signed, whose
// signatures it verifies itself; and, so many an hour, for residents who ask about
// themselves. So a gateway that somebody else has taken over cannot turn the old
// log into a list of persons.
//
// Numbers are in the memory of one request, whose bytes are wiped behind it;
// they are never logged, and errors do not hold them. The client fails closed: no
// pseudonym, no record, no business.
package pseudod

import (
	"time"
)

// What the service bounds.
const (
	maxBody     = 64 << 10
	maxAtOnce   = 64
	maxQuarters = 64
	callLife    = 5 * time.Second
	// grace is how far from now a moment of "the quarter that runs" may be: a call
	// crosses midnight, and clocks differ a little.
	grace = 10 * time.Minute
)

// Paths of the calls; all are POST.
const (
	pathOf      = "/v1/of"
	pathOwn     = "/v1/own"
	pathHold    = "/v1/hold"
	pathRelease = "/v1/release"
	pathSteps   = "/v1/steps"
)

// ofCall asks for a pseudonym. Type and number are as audit.Pseudonyms.Of takes them.
type ofCall struct {
	Type   string    `json:"type"`
	Number string    `json:"number"`
	At     time.Time `json:"at"`
}

// ownCall asks for those of a resident who asks about themself.
type ownCall struct {
	Type     string      `json:"type"`
	Number   string      `json:"number"`
	Quarters []time.Time `json:"quarters"`
}

// releaseCall brings the approvers' signed decisions.
type releaseCall struct {
	Application string   `json:"application"`
	Decisions   []string `json:"decisions"`
}

// Codes of refusals that are the service's own.
const (
	codeRequest  = "CALL"
	codeNumber   = "NUMBER"       // no such number can have a pseudonym
	codeGone     = "DESTROYED"    // the quarter's keys have been destroyed
	codeStep     = "KEY_STEP"     // the directory of keys holds a step that is not proven
	codeQuarter  = "PAST_QUARTER" // needs an approved application
	codeLimit    = "TOO_MANY_REQUESTS"
	codeBusy     = "BUSY"
	codeInternal = "INTERNAL"
)

// refusal is how the service says no.
type refusal struct {
	Code    string `json:"code"`
	Where   string `json:"where,omitempty"`
	Chinese string `json:"zh"`
	English string `json:"en"`
}
