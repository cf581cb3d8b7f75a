package search

import (
	"context"
	"encoding/base64"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"yizheng/audit"
	"yizheng/audit/index"
	"yizheng/identity/jose"
	"yizheng/identity/staff"
)

// Config is what a Service is made of.
type Config struct {
	Node
	Origin     string          // of this gateway's log, without the quarter
	Key        *jose.Key       // the log's own: signs tickets, which other gateways verify by the roster
	Persons    *staff.Register // auditors and approvers
	Pseudonyms Pseudonyms
	Roster     *Roster      // nil: there is no other log
	Peers      *http.Client // asks the logs on the roster
	Heads      *Heads       // that they have shown; nil: remembered until the end
	// Front is the front processor (its id in the catalogue) that a source is
	// asked through, "" if the gateway asks it itself.
	Front func(source string) string
	// Department is the name of a department, "" if it is not known.
	Department func(id string) string
	Delay      time.Duration // from an entry to its being shown to the resident; default 24 h
	Now        func() time.Time
}

// Service answers questions to the audit logs. It may be used by many goroutines.
type Service struct {
	Config
	limits *limits

	mu           sync.Mutex
	applications map[string]*application
	tickets      map[string]*application // by the ticket's own number
	visiting     map[string]*visitor     // made at other gateways, by id
}

// New makes a Service. Applications and tickets live in its memory: what is
// pending when the gateway stops has to be applied for again.
func New(c Config) *Service {
	if c.Delay == 0 {
		c.Delay = 24 * time.Hour
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Peers == nil {
		c.Peers = &http.Client{}
	}
	if c.Heads == nil {
		c.Heads = newHeads()
	}
	return &Service{Config: c, limits: newLimits(), applications: make(map[string]*application), tickets: make(map[string]*application),
		visiting: make(map[string]*visitor)}
}

// Answer is one page of entries, newest first.
type Answer struct {
	Rows []Row `json:"rows"`
	Logs []Log `json:"logs"` // every log that had to be asked, and what came of it
	// Complete: every log answered, and all it had when the question came was searched.
	Complete bool      `json:"complete"`
	Next     *Position `json:"next,omitempty"`        // older ones: ask again with this as before
	NextTo   time.Time `json:"next_to,omitzero"`      // likewise, of a search everywhere: with this as filter.to
	Salt     string    `json:"filter_salt,omitempty"` // standard base64; see FilterDigest
	Record   string    `json:"record"`                // this search's own entry, origin:index
	Reading  *Match    `json:"reading,omitempty"`     // of a path: what the logs say of each other
}

// Search answers one page. The intent is durable before anything is looked at,
// and the number of hits before anything is shown.
func (s *Service) Search(ctx context.Context, who Who, ask Ask) (Answer, error) {
	a, err := s.search(ctx, who, ask)
	return a, s.denied(ctx, who, "", err)
}

func (s *Service) search(ctx context.Context, who Who, ask Ask) (Answer, error) {
	if err := ask.check(); err != nil {
		return Answer{}, err
	}
	if ask.Ticket != "" {
		return s.byTicket(ctx, who, ask)
	}
	if err := s.limits.search(who.Actor); err != nil {
		return Answer{}, err
	}
	return s.recorded(ctx, who, ask, func(ctx context.Context) (Answer, error) {
		if ask.Everywhere {
			return s.everywhere(ctx, who, ask)
		}
		return s.here(ctx, ask.query(), ask.Proofs)
	})
}

// recorded does a search between its two records.
func (s *Service) recorded(ctx context.Context, who Who, ask Ask, do func(context.Context) (Answer, error)) (Answer, error) {
	salt := newSalt()
	filter, err := FilterDigest(salt, ask.Filter)
	if err != nil {
		return Answer{}, err
	}
	e := searchEntry(ask.Filter)
	e.Closed.Digests = map[string]string{"filter": filter}
	rec, err := s.begin(ctx, who, e)
	if err != nil {
		return Answer{}, err
	}
	defer rec.abandoned(ctx)
	a, err := do(ctx)
	if err := rec.done(ctx, len(a.Rows), a.Complete, err); err != nil {
		return Answer{}, err
	}
	a.Salt, a.Record = base64.StdEncoding.EncodeToString(salt), rec.intent.Pointer().String()
	return a, nil
}

// searchEntry is the record of a search by codes. An exchange is named, since
// its number is no secret of anybody's and its path is what auditors ask for most.
func searchEntry(f Filter) audit.Entry {
	return audit.Entry{Open: audit.Open{Op: audit.OpAuditSearch, Disclose: audit.DiscloseNever},
		Closed: audit.Closed{Object: strings.TrimSpace("filter/" + f.names() + " " + f.Exchange)}}
}

// here searches this gateway's own log.
func (s *Service) here(ctx context.Context, q index.Query, proofs bool) (Answer, error) {
	sizes, err := s.ready(ctx)
	if err != nil {
		return Answer{}, unavailable(err)
	}
	f, err := s.find(ctx, q, sizes)
	if err != nil {
		return Answer{}, err
	}
	a := Answer{Next: f.next, Logs: []Log{s.own(f.shards)}}
	a.Complete = a.Logs[0].whole()
	a.Rows, err = s.rows(f.hits, proofs)
	return a, err
}

// own is this gateway's log in an answer.
func (s *Service) own(shards []Shard) Log {
	l := Log{Origin: s.Origin, Kind: KindGateway, State: Answered, Shards: shards}
	if s.Roster != nil {
		if i := slices.IndexFunc(s.Roster.Logs, func(l Listed) bool { return l.Origin == s.Origin }); i >= 0 {
			l.Kind, l.Name, l.Department = s.Roster.Logs[i].Kind, s.Roster.Logs[i].Name, s.Roster.Logs[i].Department
		}
	}
	if !slices.ContainsFunc(shards, func(sh Shard) bool { return !sh.whole() }) {
		return l
	}
	l.State = Behind
	return l.explained()
}

// quarters are those that this gateway's log has, one moment of each.
func (s *Service) quarters() []time.Time {
	var list []time.Time
	for _, st := range s.Logs.State() {
		if at, ok := within(path.Base(st.Origin)); ok && !slices.Contains(list, at) {
			list = append(list, at)
		}
	}
	return list
}

// baseOf is a shard's origin without the quarter.
func baseOf(origin string) string { return path.Dir(origin) }

// within is a moment of a shard's quarter, "2026q4" or "2026q4-2".
func within(shard string) (time.Time, bool) {
	quarter := audit.EpochQuarter(shard)
	if quarter == "" {
		return time.Time{}, false
	}
	at, err := time.Parse("2006", quarter[:4])
	return at.AddDate(0, 3*int(quarter[5]-'1'), 40), err == nil
}

// What one person may ask of a gateway.
const (
	searchesPerSecond = 2
	searchBurst       = 60
	applyEvery        = 5 * time.Minute
	applyBurst        = 6
)

// limits are by person.
type limits struct {
	mu       sync.Mutex
	searches map[string]*rate.Limiter
	applies  map[string]*rate.Limiter
}

func newLimits() *limits {
	return &limits{searches: make(map[string]*rate.Limiter), applies: make(map[string]*rate.Limiter)}
}

func (l *limits) search(person string) error {
	return l.allow(l.searches, person, searchesPerSecond, searchBurst)
}

func (l *limits) apply(person string) error {
	return l.allow(l.applies, person, rate.Every(applyEvery), applyBurst)
}

// allow: persons are those of the register, so that the maps stay small.
func (l *limits) allow(of map[string]*rate.Limiter, person string, every rate.Limit, burst int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if of[person] == nil {
		of[person] = rate.NewLimiter(every, burst)
	}
	if !of[person].Allow() {
		return refuse(http.StatusTooManyRequests, "TOO_MANY_REQUESTS", "", "请求过于频繁，请稍后再试", "too many requests; try again later")
	}
	return nil
}
