// Package reading turns a card on a reader into a subject token: the only way
// into an exchange.
//
// A read agent connects from its workstation and shows a pairing code; a clerk
// who enters it binds their session to that workstation and to no other. A
// read session sends the agent a challenge, signed by the gateway and naming
// workstation, operator, item, case, purpose and role. What comes back is an
// attestation by the agent's registered key and the card's text, encrypted.
// Both are checked here once: key, SAM, time, nonce, sequence, and that the
// text is the one attested. Only then, and after the read is durable in the
// audit log, a token is minted.
//
// State is in memory: a restart ends sessions and reads, never tokens or exchanges.
package reading

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"yizheng/audit"
	"yizheng/catalog"
	"yizheng/exchange/store"
	"yizheng/identity/jose"
)

// Refusal is an error for a person: what, where, what to do. It never holds card data.
type Refusal struct {
	Status  int // HTTP status
	Code    string
	Where   string
	Chinese string
	English string
	Err     error // for the log
}

func (r *Refusal) Error() string {
	if r.Err != nil {
		return r.Code + ": " + r.Err.Error()
	}
	return r.Code + ": " + r.English
}

func (r *Refusal) Unwrap() error { return r.Err }

func refuse(status int, code, where, chinese, english string) *Refusal {
	return &Refusal{Status: status, Code: code, Where: where, Chinese: chinese, English: english}
}

// Config is what a Desk is made of; Now and Logger may be nil.
type Config struct {
	Origin         string    // this gateway's name in challenges
	Key            *jose.Key // signs challenges, opens card texts
	TokenKeyID     string    // of the fleet key that tokens are minted with
	TokenKey       []byte
	Catalogue      *catalog.Catalogue
	Store          *store.Store
	Audit          *audit.Log
	Pseudonyms     *audit.Pseudonyms
	AllowSimulated bool // never in production
	Now            func() time.Time
	Logger         *slog.Logger
}

// Times of the desk.
const (
	challengeLife = 60 * time.Second
	tokenLife     = 10 * time.Minute
	sessionIdle   = 15 * time.Minute
	maxSkew       = 30 * time.Second
)

// Desk is safe for concurrent use.
type Desk struct {
	Config
	mu       sync.Mutex
	agents   map[catalog.WorkstationID]*Agent
	sessions map[string]*session
	reads    map[string]*read
}

// New makes a Desk.
func New(c Config) *Desk {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Desk{Config: c, agents: make(map[catalog.WorkstationID]*Agent), sessions: make(map[string]*session), reads: make(map[string]*read)}
}

// Agent is one connected read agent. Its Events are for the agent's stream.
type Agent struct {
	Workstation catalog.WorkstationID
	Events      chan AgentEvent // closed when a newer connection of the workstation takes over
	code        string
}

// AgentEvent is sent to an agent: a challenge to answer, or that its session ended.
type AgentEvent struct {
	Kind        string `json:"-"` // challenge, unpaired
	ReadSession string `json:"read_session,omitempty"`
	Challenge   string `json:"challenge,omitempty"`
}

// Connect registers an agent and the code it shows. The workstation's earlier connection ends.
func (d *Desk) Connect(ws catalog.WorkstationID, code string) (*Agent, error) {
	if len(code) != 6 || slices.ContainsFunc([]byte(code), func(b byte) bool { return b < '0' || b > '9' }) {
		return nil, refuse(http.StatusUnprocessableEntity, "PAIRING_CODE", "pairing_code", "配对码须为 6 位数字", "the pairing code must be six digits")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, a := range d.agents {
		if a.code == code && id != ws {
			return nil, refuse(http.StatusConflict, "PAIRING_CODE", "pairing_code", "配对码重复，请重新生成", "the pairing code is in use; make a new one")
		}
	}
	if old := d.agents[ws]; old != nil {
		d.unpair(old)
	}
	a := &Agent{Workstation: ws, Events: make(chan AgentEvent, 16), code: code}
	d.agents[ws] = a
	return a, nil
}

// Disconnect forgets an agent whose connection ended; sessions lose its workstation.
func (d *Desk) Disconnect(a *Agent) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.agents[a.Workstation] == a {
		d.unpair(a)
		delete(d.agents, a.Workstation)
	}
}

// unpair ends an agent's connection and takes its workstation out of every session.
func (d *Desk) unpair(a *Agent) {
	close(a.Events)
	for _, s := range d.sessions {
		s.workstations = slices.DeleteFunc(s.workstations, func(w catalog.WorkstationID) bool { return w == a.Workstation })
	}
}

type session struct {
	operator     catalog.OperatorID
	workstations []catalog.WorkstationID
	used         time.Time
}

// Pair opens a session of an operator with the workstations whose agents show
// the codes. A code works once; it must belong to a workstation of the operator's own caller.
func (d *Desk) Pair(ctx context.Context, op catalog.Operator, codes []string) (id string, ws []catalog.WorkstationID, err error) {
	if len(codes) == 0 || len(codes) > 4 {
		return "", nil, refuse(http.StatusUnprocessableEntity, "PAIRING_CODE", "pairing_codes", "请输入 1–4 个配对码", "enter one to four pairing codes")
	}
	ws, err = d.take(op, codes)
	outcome, phase := "", audit.PhaseDone
	if err != nil {
		outcome, phase = "PAIRING_CODE", audit.PhaseDenied
	}
	id = rand.Text()
	e := audit.Entry{Open: audit.Open{Op: audit.OpLogin, Phase: phase, Outcome: outcome, System: string(op.Caller)},
		Closed: audit.Closed{Actor: string(op.ID), CertSN: op.Certificate, Session: id}}
	if len(ws) > 0 {
		e.Closed.Workstation = string(ws[0])
	}
	if _, recErr := d.Audit.Append(context.WithoutCancel(ctx), e); recErr != nil {
		return "", nil, unavailable(recErr)
	}
	if err != nil {
		return "", nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for s, old := range d.sessions { // an account is at one place at a time
		if old.operator == op.ID || d.Now().Sub(old.used) > sessionIdle {
			delete(d.sessions, s)
		}
	}
	d.sessions[id] = &session{operator: op.ID, workstations: ws, used: d.Now()}
	return id, ws, nil
}

// take uses up the codes.
func (d *Desk) take(op catalog.Operator, codes []string) ([]catalog.WorkstationID, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var taken []*Agent
	for _, code := range codes {
		found := false
		for _, a := range d.agents {
			w, ok := d.Catalogue.Workstation(a.Workstation)
			if a.code == code && ok && w.Caller == op.Caller {
				taken, found = append(taken, a), true
			}
		}
		if !found {
			return nil, refuse(http.StatusForbidden, "PAIRING_CODE", "pairing_codes", "配对码不对或已用过，请看读卡代理上的新码", "the pairing code is wrong or used; look at the agent for the current one")
		}
	}
	var ws []catalog.WorkstationID
	for _, a := range taken {
		a.code = "used"
		ws = append(ws, a.Workstation)
	}
	return ws, nil
}

// Workstations are those a live session is paired with; using it keeps it alive.
func (d *Desk) Workstations(op catalog.OperatorID, id string) []catalog.WorkstationID {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.sessions[id]
	if s == nil || s.operator != op || d.Now().Sub(s.used) > sessionIdle {
		return nil
	}
	s.used = d.Now()
	return slices.Clone(s.workstations)
}

// End closes a session.
func (d *Desk) End(ctx context.Context, op catalog.Operator, id string) error {
	d.mu.Lock()
	s := d.sessions[id]
	if s != nil && s.operator == op.ID {
		delete(d.sessions, id)
	}
	d.mu.Unlock()
	_, err := d.Audit.Append(context.WithoutCancel(ctx), audit.Entry{
		Open:   audit.Open{Op: audit.OpLogout, Phase: audit.PhaseDone, System: string(op.Caller)},
		Closed: audit.Closed{Actor: string(op.ID), CertSN: op.Certificate, Session: id}})
	if err != nil {
		return unavailable(err)
	}
	return nil
}

func unavailable(err error) *Refusal {
	return &Refusal{Status: http.StatusServiceUnavailable, Code: "UNAVAILABLE", Chinese: "服务暂不可用，未放行任何结果；请稍后重试",
		English: "not available, nothing was released; try again later", Err: err}
}

func (d *Desk) agentKey(ws, kid string) *ecdsa.PublicKey {
	pub := d.Catalogue.AgentKey(catalog.WorkstationID(ws))
	if pub == nil || jose.KeyID(pub) != kid {
		return nil
	}
	return pub
}

func (d *Desk) samAllowed(ws, sam string) bool {
	w, ok := d.Catalogue.Workstation(catalog.WorkstationID(ws))
	return ok && slices.Contains(w.SAMs, sam)
}
