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
	"crypto/ecdsa"
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
	Pseudonyms     audit.SubjectNamer
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
	lockFor       = time.Minute // after maxGuesses wrong pairing codes
)

const maxGuesses = 5

// Desk is safe for concurrent use.
type Desk struct {
	Config
	mu       sync.Mutex
	agents   map[catalog.WorkstationID]*Agent
	sessions map[string]*session
	reads    map[string]*read
	guesses  map[catalog.OperatorID]*guesses
}

// New makes a Desk.
func New(c Config) *Desk {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Desk{Config: c, agents: make(map[catalog.WorkstationID]*Agent), sessions: make(map[string]*session),
		reads: make(map[string]*read), guesses: make(map[catalog.OperatorID]*guesses)}
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
