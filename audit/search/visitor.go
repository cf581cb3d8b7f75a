package search

import (
	"context"
	"crypto/ecdsa"
	"fmt"
	"net/http"
	"slices"

	"yizheng/audit/index"
	"yizheng/identity/jose"
	"yizheng/identity/staff"
)

// This file is the side of a gateway that was sent an application which was made at
// another. It believes that gateway nothing: it verifies the auditor's signature
// and the commitment to the numbers, the two approvals (in the vault, which may be
// another process), and the ticket by the roster.

// visitor is an application that was made at another gateway.
type visitor struct {
	application
	shown map[string]bool // entries, of which there are at most Max
}

// TakeApplication holds an application that an auditor made at another gateway.
// in.Numbers are not kept.
func (s *Service) TakeApplication(ctx context.Context, who Who, in PeerApplication) (Held, error) {
	h, err := s.takeApplication(ctx, who, in)
	return h, s.denied(ctx, who, "", err)
}

func (s *Service) takeApplication(ctx context.Context, who Who, in PeerApplication) (Held, error) {
	a, err := s.taken(ctx, in, func(staff.Person) bool { return true })
	if err != nil {
		return Held{}, err
	}
	if err := s.note(ctx, who.on(a), a.entry("apply")); err != nil {
		return Held{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.once(a.id); err != nil {
		return Held{}, err
	}
	s.visiting[a.id] = &visitor{*a, map[string]bool{}}
	return Held{a.list, a.destroyed}, nil
}

// on is the node that asks, on behalf of an application's auditor.
func (w Who) on(a *application) Who {
	w.Actor, w.Role = a.applicant, string(staff.Auditor)
	return w
}

// AnswerPersons tells another gateway what this log holds about the persons of an
// application that was made there, and records it here as that one does there.
func (s *Service) AnswerPersons(ctx context.Context, who Who, in PeerPersonsAsk) (PeerPersons, error) {
	a, id, err := s.answerPersons(ctx, who, in)
	return a, s.denied(ctx, who, id, err)
}

func (s *Service) answerPersons(ctx context.Context, who Who, in PeerPersonsAsk) (answer PeerPersons, id string, err error) {
	t, err := s.foreign(in.Ticket)
	if err != nil {
		return answer, "", err
	}
	if in.Limit < 1 || in.Limit > t.Max || len(in.Known) > maxKnown {
		return answer, t.Application, invalid("limit", "条数不对，或所列日志过多", "limit is wrong, or too many logs are named")
	}
	v, err := s.admitted(ctx, t, in.Decisions)
	if err != nil {
		return answer, t.Application, err
	}
	e := v.entry("search")
	e.Closed.Digests["ticket"] = jose.Digest(in.Ticket)
	rec, err := s.begin(ctx, who.on(&v.application), e)
	if err != nil {
		return answer, t.Application, err
	}
	defer rec.abandoned(ctx)
	answer.Subjects = v.subjects
	answer.PeerAnswer, err = s.forPeer(ctx, index.Query{From: v.From, To: earlier(v.To, in.To), Subjects: v.subjects, Limit: in.Limit}, in.Known)
	if err == nil {
		err = s.show(v, answer.Rows)
	}
	if err := rec.done(ctx, len(answer.Rows), answer.whole(), err); err != nil {
		return PeerPersons{}, t.Application, err
	}
	return answer, t.Application, nil
}

// foreign is a ticket that another gateway of the roster has signed for this one,
// and whose time has not run out.
func (s *Service) foreign(token string) (Ticket, error) {
	var t Ticket
	payload, err := jose.Unverified(token)
	if err != nil || jose.Unmarshal(payload, &t) != nil {
		return Ticket{}, badTicket()
	}
	gateways := s.gateways()
	i := slices.IndexFunc(gateways, func(l Listed) bool { return l.Origin == t.Origin })
	if i < 0 {
		return Ticket{}, badTicket()
	}
	keys, err := gateways[i].PublicKeys()
	if err != nil {
		return Ticket{}, badTicket()
	}
	_, _, err = jose.Verify(token, TypeTicket, func(kid string) *ecdsa.PublicKey {
		if i := slices.IndexFunc(keys, func(k *ecdsa.PublicKey) bool { return jose.KeyID(k) == kid }); i >= 0 {
			return keys[i]
		}
		return nil
	})
	now := s.Now()
	if err != nil || t.V != 1 || t.For != s.Origin || !now.Before(t.Expires) || t.Expires.Sub(t.Issued) > ticketLife || t.Issued.After(now.Add(staleAfter)) {
		return Ticket{}, badTicket()
	}
	return t, nil
}

// admitted is the application that a ticket is of, once its pseudonyms are
// released for the approvers' decisions. One application has one ticket.
func (s *Service) admitted(ctx context.Context, t Ticket, decisions []string) (*visitor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget()
	v := s.visiting[t.Application]
	if v == nil {
		return nil, noApplication()
	}
	if !v.matches(t) || v.ticket != "" && v.ticket != t.Ticket {
		return nil, badTicket()
	}
	if !v.released {
		approvers, err := s.signers(decisions)
		if err != nil {
			return nil, err
		}
		v.approvers, v.decisions = approvers, decisions
		if err := s.release(ctx, &v.application); err != nil {
			return nil, err
		}
	}
	v.ticket, v.expires = t.Ticket, t.Expires
	return v, nil
}

// matches tells whether a ticket says what the auditor has signed.
func (a *application) matches(t Ticket) bool {
	return t.Applicant == a.applicant && t.Case == a.Case && t.Reason == a.Reason && t.From.Equal(a.From) && t.To.Equal(a.To) &&
		t.Max == a.Max && t.Persons == a.Persons
}

// signers are who has signed decisions, for the record; whether these suffice is
// for who holds the pseudonyms to say.
func (s *Service) signers(decisions []string) ([]string, error) {
	if len(decisions) != approvals {
		return nil, notApproved()
	}
	var names []string
	for _, d := range decisions {
		_, p, err := OpenDecision(s.Persons, d)
		if err != nil {
			return nil, badStatement(err)
		}
		names = append(names, p.Name)
	}
	return names, nil
}

// show counts entries that are about to be shown: of one application not more
// than its auditor has signed for, however often it is asked.
func (s *Service) show(v *visitor, rows []Row) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range rows {
		v.shown[fmt.Sprint(r.Origin, ":", r.Index)] = true
	}
	if len(v.shown) > v.Max {
		return refuse(http.StatusForbidden, "TICKET", "ticket", "该申请可查的条数已用尽", "as many entries as were applied for have been shown")
	}
	return nil
}
