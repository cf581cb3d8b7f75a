package supervise

import (
	"encoding/base32"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emmansun/gmsm/sm3"

	"yizheng/audit"
)

// Status of a card.
type Status string

// Statuses: a card is raised by the engine, then confirmed or dismissed by a supervisor.
const (
	Raised    Status = "raised"
	Confirmed Status = "confirmed"
	Dismissed Status = "dismissed"
)

// The reasons a card can be dismissed for.
const (
	ReasonLawful    = "LAWFUL"     // the act was right, and the supervisor knows why
	ReasonTechnical = "TECHNICAL"  // a fault of the system, mended
	ReasonRule      = "RULE_WRONG" // the rule should not have fired; change it
	ReasonDuplicate = "DUPLICATE"  // the same as another card
	ReasonDrill     = "DRILL"      // an announced exercise
)

// DismissReasons lists them.
func DismissReasons() []string {
	return []string{ReasonLawful, ReasonTechnical, ReasonRule, ReasonDuplicate, ReasonDrill}
}

// Card is one anomaly: which rule found what, where the evidence is, and whose
// matter it is. It names residents in no way.
type Card struct {
	ID       string     `json:"id"`
	Level    Level      `json:"level"`
	Kind     Kind       `json:"kind"`
	Rule     string     `json:"rule"`
	Version  int        `json:"version"`
	Fault    bool       `json:"fault,omitempty"` // the rule itself failed on the entry
	Time     time.Time  `json:"time"`            // of what it is about
	Evidence []Evidence `json:"evidence"`        // the newest last
	To       string     `json:"to"`              // the party that has to look after it

	Operator   string `json:"operator,omitempty"`
	Department string `json:"department,omitempty"` // that asked
	Provider   string `json:"provider,omitempty"`   // that answers
	System     string `json:"system,omitempty"`
	Item       string `json:"item,omitempty"`
	Proof      string `json:"proof,omitempty"`
	Source     string `json:"source,omitempty"`
	Exchange   string `json:"exchange,omitempty"`
	Leg        string `json:"leg,omitempty"`

	Status Status    `json:"status"`
	By     string    `json:"by,omitempty"`     // supervisor who confirmed or dismissed it
	Reason string    `json:"reason,omitempty"` // of a dismissal
	At     time.Time `json:"at,omitzero"`      // of that
}

// Evidence names an entry of a log.
type Evidence struct {
	Origin string `json:"origin"`
	Index  uint64 `json:"index"`
}

// String is origin:index, as in a pointer.
func (e Evidence) String() string { return e.Origin + ":" + strconv.FormatUint(e.Index, 10) }

func parseEvidence(s string) (Evidence, bool) {
	origin, index, found := strings.Cut(s, ":")
	n, err := strconv.ParseUint(index, 10, 64)
	return Evidence{origin, n}, found && err == nil && origin != ""
}

// cardID is the same whenever the same rule finds the same entry.
func cardID(rule string, version int, at Evidence, leg string) string {
	sum := sm3.Sum(fmt.Appendf(nil, "yizheng-card-v1\n%s\n%d\n%s\n%s", rule, version, at, leg))
	return "K" + base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:10])
}

// entry is the record of one step of a card. The open half says what it is
// about, the closed half whom.
func (c *Card) entry(status Status) audit.Entry {
	e := audit.Entry{
		Open: audit.Open{Op: audit.OpSuperviseCard, Phase: audit.PhaseDone, Status: string(status), Number: c.ID, System: c.System,
			Department: c.Department, Provider: c.Provider, Item: c.Item, Proof: c.Proof, Source: c.Source,
			Exchange: c.Exchange, Leg: c.Leg, Disclose: audit.DiscloseNever},
		Closed: audit.Closed{Rule: c.Rule + "@" + strconv.Itoa(c.Version), Decision: string(c.Level)},
	}
	if c.Operator != "" {
		e.Closed.Object = "operator/" + c.Operator
	}
	if status != Raised {
		return e
	}
	e.Open.Class = string(c.Kind)
	e.Closed.Authority, e.Closed.Before = c.To, strconv.FormatInt(c.Time.UnixMicro(), 10)
	if c.Fault {
		e.Closed.Reason = faultReason
	}
	for _, at := range c.Evidence {
		e.Closed.Evidence = append(e.Closed.Evidence, at.String())
	}
	return e
}

// faultReason marks a card whose rule could not be computed.
const faultReason = "RULE_FAULT"

// readCard is the inverse of entry(Raised); false for an entry that no engine wrote.
func readCard(e *audit.Entry) (*Card, bool) {
	o, cl := &e.Open, &e.Closed
	rule, version, ok := strings.Cut(cl.Rule, "@")
	v, err := strconv.Atoi(version)
	micros, err2 := strconv.ParseInt(cl.Before, 10, 64)
	c := &Card{ID: o.Number, Level: Level(cl.Decision), Kind: Kind(o.Class), Rule: rule, Version: v, Fault: cl.Reason == faultReason,
		Time: time.UnixMicro(micros).UTC(), To: cl.Authority, Operator: strings.TrimPrefix(cl.Object, "operator/"), Department: o.Department,
		Provider: o.Provider, System: o.System, Item: o.Item, Proof: o.Proof, Source: o.Source, Exchange: o.Exchange, Leg: o.Leg, Status: Raised}
	for _, s := range cl.Evidence {
		at, good := parseEvidence(s)
		if !good {
			return nil, false
		}
		c.Evidence = append(c.Evidence, at)
	}
	return c, ok && err == nil && err2 == nil && o.Number != "" && slices.Contains([]Level{Yellow, Red}, c.Level)
}
