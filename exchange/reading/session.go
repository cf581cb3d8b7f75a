package reading

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"net/http"
	"slices"
	"time"

	"yizheng/audit"
	"yizheng/catalog"
)

// session is a clerk at one or two workstations. It begins with the codes that
// their agents show and ends with logout, with the clerk's next session, when
// it is idle too long, or when the agents go.
type session struct {
	operator     catalog.OperatorID
	workstations []catalog.WorkstationID
	used         time.Time
}

// guesses counts an operator's wrong pairing codes in a row.
type guesses struct {
	wrong  int
	locked time.Time // until when no code is taken
}

// Pair opens a session of an operator with the workstations whose agents show
// the codes. A code works once; it must belong to a workstation of the
// operator's own caller. After maxGuesses wrong ones in a row the operator has
// to wait; every attempt is recorded. A failed attempt ends the operator's
// earlier session, so that its agents show new codes.
func (d *Desk) Pair(ctx context.Context, op catalog.Operator, codes []string) (id string, ws []catalog.WorkstationID, err error) {
	ws, refusal := d.take(op, codes)
	id = rand.Text()
	e := audit.Entry{Open: audit.Open{Op: audit.OpLogin, Phase: audit.PhaseDone, System: string(op.Caller)},
		Closed: audit.Closed{Actor: string(op.ID), CertSN: op.Certificate, Session: id}}
	if refusal != nil {
		e.Open.Phase, e.Open.Outcome, e.Closed.Session = audit.PhaseDenied, refusal.Code, ""
	}
	if len(ws) > 0 {
		e.Closed.Workstation = string(ws[0])
	}
	_, err = d.Audit.Append(context.WithoutCancel(ctx), e)
	d.mu.Lock()
	defer d.mu.Unlock()
	for s, old := range d.sessions { // an account is at one place at a time
		if old.operator == op.ID || d.Now().Sub(old.used) > sessionIdle {
			d.close(s)
		}
	}
	switch {
	case err != nil:
		d.release(ws)
		return "", nil, unavailable(err)
	case refusal != nil:
		return "", nil, refusal
	}
	d.sessions[id] = &session{operator: op.ID, workstations: slices.Clone(ws), used: d.Now()}
	return id, ws, nil
}

// take uses up the codes.
func (d *Desk) take(op catalog.Operator, codes []string) ([]catalog.WorkstationID, *Refusal) {
	codes = slices.Compact(slices.Sorted(slices.Values(codes)))
	if len(codes) == 0 || len(codes) > 4 {
		return nil, refuse(http.StatusUnprocessableEntity, "PAIRING_CODE", "pairing_codes", "请输入 1–4 个配对码", "enter one to four pairing codes")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	g := d.guesses[op.ID]
	if g == nil {
		g = &guesses{}
		d.guesses[op.ID] = g
	}
	if d.Now().Before(g.locked) {
		return nil, refuse(http.StatusTooManyRequests, "PAIRING_LOCKED", "pairing_codes", "配对码连续输错，请一分钟后再试", "too many wrong pairing codes; try again in a minute")
	}
	var taken []*Agent
	for _, code := range codes {
		a := d.showing(op.Caller, code)
		if a == nil {
			if g.wrong++; g.wrong >= maxGuesses {
				g.wrong, g.locked = 0, d.Now().Add(lockFor)
			}
			return nil, refuse(http.StatusForbidden, "PAIRING_CODE", "pairing_codes", "配对码不对或已用过，请看读卡代理上的新码", "the pairing code is wrong or used; look at the agent for the current one")
		}
		taken = append(taken, a)
	}
	delete(d.guesses, op.ID)
	var ws []catalog.WorkstationID
	for _, a := range taken {
		a.code = "" // used: no code is empty
		ws = append(ws, a.Workstation)
	}
	return ws, nil
}

// showing is the agent of one of the caller's workstations that shows the code.
func (d *Desk) showing(caller catalog.CallerID, code string) *Agent {
	if code == "" {
		return nil
	}
	for _, a := range d.agents {
		w, ok := d.Catalogue.Workstation(a.Workstation)
		if ok && w.Caller == caller && subtle.ConstantTimeCompare([]byte(a.code), []byte(code)) == 1 {
			return a
		}
	}
	return nil
}

// close ends a session; the caller holds mu.
func (d *Desk) close(id string) {
	d.release(d.sessions[id].workstations)
	delete(d.sessions, id)
}

// release tells agents that their session is over, so that they show new codes.
// One that does not listen loses its connection, which comes to the same.
func (d *Desk) release(workstations []catalog.WorkstationID) {
	for _, ws := range workstations {
		a := d.agents[ws]
		if a == nil {
			continue
		}
		select {
		case a.Events <- AgentEvent{Kind: "unpaired"}:
		default:
			d.unpair(a)
			delete(d.agents, ws)
		}
	}
}

// Workstations are those a live session is paired with; using it keeps it alive.
func (d *Desk) Workstations(op catalog.OperatorID, id string) []catalog.WorkstationID {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.sessions[id]
	if s == nil || s.operator != op {
		return nil
	}
	if d.Now().Sub(s.used) > sessionIdle {
		d.close(id)
		return nil
	}
	s.used = d.Now()
	return slices.Clone(s.workstations)
}

// End closes a session. Anybody else's stays as it is.
func (d *Desk) End(ctx context.Context, op catalog.Operator, id string) error {
	d.mu.Lock()
	s := d.sessions[id]
	mine := s != nil && s.operator == op.ID
	if mine {
		d.close(id)
	}
	d.mu.Unlock()
	e := audit.Entry{Open: audit.Open{Op: audit.OpLogout, Phase: audit.PhaseDone, System: string(op.Caller)},
		Closed: audit.Closed{Actor: string(op.ID), CertSN: op.Certificate}}
	if mine { // what is no session of ours is the caller's text: not for the log
		e.Closed.Session = id
	} else {
		e.Open.Phase, e.Open.Outcome = audit.PhaseDenied, "NO_SUCH_SESSION"
	}
	if _, err := d.Audit.Append(context.WithoutCancel(ctx), e); err != nil {
		return unavailable(err)
	}
	return nil
}
