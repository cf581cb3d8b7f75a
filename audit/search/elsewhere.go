package search

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"yizheng/audit"
	"yizheng/audit/index"
)

// An application for persons that was made at one gateway is good at all gateways
// on the roster. This file is the side of the gateway where it was made.

// Where a gateway takes an application from another, and where it answers about
// the persons of one.
const (
	ApplicationPath = "/v1/audit/peer/applications"
	PersonsPath     = "/v1/audit/peer/persons"
)

// PeerApplication is an application with what it commits to. It does not print
// itself: it holds ID numbers.
type PeerApplication struct {
	Statement string   `json:"statement"`
	Numbers   []string `json:"numbers"`
	Salt      []byte   `json:"salt"`
}

const withheld = "[application with numbers]"

// Format implements fmt.Formatter.
func (PeerApplication) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(withheld)) }

// LogValue implements slog.LogValuer.
func (PeerApplication) LogValue() slog.Value { return slog.StringValue(withheld) }

// Elsewhere is another gateway, and what came of sending an application on to it.
type Elsewhere struct {
	Origin string    `json:"origin"`
	State  Answering `json:"state"` // answered: it holds the application
	Held
}

// sendOn has the other gateways hold an application.
func (s *Service) sendOn(ctx context.Context, in PeerApplication) []Elsewhere {
	return askAll(s.gateways(), func(l Listed) Elsewhere {
		if l.Isolated {
			return Elsewhere{Origin: l.Origin, State: Isolated}
		}
		ctx, cancel := context.WithTimeout(ctx, peerWait)
		defer cancel()
		held, err := call[Held](ctx, s.Peers, l, ApplicationPath, in)
		odd := slices.ContainsFunc(held.Destroyed, func(q string) bool { return audit.EpochQuarter(q) != q })
		if err == nil && (odd || !plainID.MatchString(held.List)) {
			err = errDoubtful
		}
		if err != nil {
			return Elsewhere{Origin: l.Origin, State: stateOf(err)}
		}
		return Elsewhere{Origin: l.Origin, State: Answered, Held: held}
	})
}

// PeerPersonsAsk asks another gateway about the persons of an application that it holds.
type PeerPersonsAsk struct {
	Ticket    string            `json:"ticket"`      // made out for that gateway (Ticket.For)
	Decisions []string          `json:"decisions"`   // the approvers' signed statements
	To        time.Time         `json:"to,omitzero"` // exclusive; the ticket's if zero or later
	Limit     int               `json:"limit"`       // the newest so many
	Known     map[string]uint64 `json:"known,omitempty"`
}

// PeerPersons is what it says. The pseudonyms come first: every row is about one of them.
type PeerPersons struct {
	Subjects []audit.SubjectRef `json:"subjects"`
	PeerAnswer
}

// about is a question about the persons of an application.
type about struct {
	PeerPersonsAsk
	list string // what the other gateway said it holds, and two approvers have signed
}

// askAbout asks all other logs on the roster about a ticket's persons. Fronts and
// departments take no applications, and are named.
func (s *Service) askAbout(ctx context.Context, a *application, t Ticket, q index.Query) []said {
	in := PeerAsk{Filter: Filter{From: q.From, To: q.To}, Limit: q.Limit}
	return askAll(s.listed(), func(l Listed) said {
		if l.Kind != KindGateway {
			return said{log: l.answer(OtherKeys)}
		}
		if l.Isolated {
			return said{log: l.answer(Isolated)}
		}
		i := slices.IndexFunc(a.elsewhere, func(e Elsewhere) bool { return e.Origin == l.Origin && e.List != "" })
		if i < 0 {
			return said{log: l.answer(NotHeld)}
		}
		t.For = l.Origin
		ticket, err := sign(s.Key, TypeTicket, t)
		if err != nil {
			return said{log: l.answer(Unreachable)}
		}
		said := s.askOne(ctx, l, question{ask: in, about: &about{PeerPersonsAsk{Ticket: ticket, Decisions: a.decisions}, a.elsewhere[i].List}})
		if said.log.Told {
			said.log = said.log.lacking(a.elsewhere[i].Destroyed)
		}
		return said
	})
}

// subjects reads the pseudonyms that an answer's rows are about, and holds them
// against the digest that the approvers have signed.
func (c *question) subjects(d *json.Decoder) error {
	var subjects []audit.SubjectRef
	if err := d.Decode(&subjects); err != nil {
		return err
	}
	if c.about == nil || len(subjects) == 0 || ListDigest(subjects) != c.about.list {
		return errors.New("other pseudonyms than those approved")
	}
	c.query.Subjects = subjects
	return nil
}
