package exchange

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"yizheng/audit"
	"yizheng/catalog"
	"yizheng/exchange/certificate"
	"yizheng/exchange/fleet"
	"yizheng/exchange/store"
	"yizheng/identity/jose"
	"yizheng/seal"
	"yizheng/seal/pdf"
)

// Config is what a Service is made of. All of it is required but Earlier, LegEnded,
// Now, Logger and, where the gateway holds all seals, Trust.
type Config struct {
	Slot       string // two digits, this gateway's
	Key        *jose.Key
	TokenKey   func(kid string) []byte // fleet keys of subject tokens
	Release    *catalog.Release
	Sources    map[string]Source // by Line
	Seals      *seal.Registry
	Renderer   *pdf.Renderer
	Trust      *seal.Trust // of seals that fronts hold
	Audit      *audit.Log
	Earlier    []*audit.Archive // earlier quarters of Audit, whose documents can still be looked up
	Pseudonyms audit.SubjectNamer
	Store      *store.Store
	Lifetime   time.Duration // how long a result can be fetched and a leg retried
	Fleet      *fleet.Keys   // shared by all gateways; nil: this process's own, so that nothing outlives it
	// LegEnded, if set, is told of every leg that has ended what the open half of its
	// record says: of a sensitive proof the outcome is ANSWERED.
	LegEnded func(department, route, outcome string)
	Now      func() time.Time
	Logger   *slog.Logger
}

// Service runs exchanges. It is safe for concurrent use; Close waits for all it has started.
type Service struct {
	slot       string
	key        *jose.Key
	tokenKey   func(kid string) []byte
	release    *catalog.Release
	sources    map[string]Source
	press      certificate.Press
	examiner   *certificate.Examiner
	audit      *audit.Log
	pseudonyms audit.SubjectNamer
	store      *store.Store
	lifetime   time.Duration
	fleet      *fleet.Keys
	runner     string // this process, as the store knows it
	legEnded   func(department, route, outcome string)
	now        func() time.Time
	log        *slog.Logger
	post       time.Duration // how long the questions of a deferred part may take to be sent

	base   context.Context // ends when Close gives up waiting
	stop   context.CancelFunc
	work   sync.WaitGroup // calls from outside and the exchanges they began
	asking sync.WaitGroup // questions to sources, which may outlive their leg, and the sweep

	outages   outages
	documents documents

	mu        sync.Mutex
	closing   bool
	exchanges map[string]*Exchange
	keys      map[string]*begun // by caller and idempotency key
	limits    map[catalog.CallerID]*rate.Limiter
}

// New makes a Service and reads the issue leaves of the log and its earlier
// quarters, so that documents issued before a restart can still be looked up.
func New(ctx context.Context, c Config) (*Service, error) {
	if len(c.Slot) != 2 || strings.Trim(c.Slot, "0123456789") != "" {
		return nil, errors.New("exchange: slot must be two digits")
	}
	if c.Key == nil || c.TokenKey == nil || c.Release == nil || c.Seals == nil || c.Renderer == nil || c.Audit == nil || c.Pseudonyms == nil || c.Store == nil {
		return nil, errors.New("exchange: configuration is not complete")
	}
	for _, sl := range c.Release.Catalogue.Seals {
		if sl.Front != "" && c.Trust == nil {
			return nil, fmt.Errorf("exchange: seal %s is held at front %s; its documents cannot be verified without trust", sl.ID, sl.Front)
		}
	}
	s := &Service{
		slot: c.Slot, key: c.Key, tokenKey: c.TokenKey, release: c.Release, sources: c.Sources,
		press:    certificate.Press{Key: c.Key, Renderer: c.Renderer, Seals: c.Seals},
		examiner: certificate.NewExaminer(c.Trust, c.Renderer), audit: c.Audit, pseudonyms: c.Pseudonyms, store: c.Store, lifetime: c.Lifetime,
		legEnded: c.LegEnded, now: c.Now, log: c.Logger, exchanges: make(map[string]*Exchange), keys: make(map[string]*begun),
		limits: make(map[catalog.CallerID]*rate.Limiter), fleet: c.Fleet, runner: c.Slot + "-" + rand.Text(), post: postTime,
	}
	if s.fleet == nil {
		s.fleet = fleet.InMemory()
	}
	if s.legEnded == nil {
		s.legEnded = func(string, string, string) {}
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.lifetime <= 0 {
		s.lifetime = 10 * time.Minute
	}
	if err := s.documents.load(ctx, s.audit, c.Earlier); err != nil {
		return nil, fmt.Errorf("exchange: read issued documents: %w", err)
	}
	s.base, s.stop = context.WithCancel(context.Background())
	s.asking.Go(s.sweep)
	return s, nil
}

// stragglers is how long Close waits for sources that ignore their context.
const stragglers = 5 * time.Second

// Close takes no new exchange and waits for the running ones; when ctx ends it
// cuts them off: their open legs end as TIMEOUT, with a record. It returns an
// error only if a source ignores that its time is over.
func (s *Service) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	worked := after(&s.work)
	select {
	case <-worked:
	case <-ctx.Done():
	}
	s.stop()
	<-worked // log, store and seals bound their own time
	select {
	case <-after(&s.asking):
		return nil
	case <-time.After(stragglers):
		return errors.New("exchange: a source still runs after its deadline")
	}
}

func after(g *sync.WaitGroup) <-chan struct{} {
	done := make(chan struct{})
	go func() { g.Wait(); close(done) }()
	return done
}

func (s *Service) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return refuse(ReasonUnavailable, "", "本网关正在停机，请重试", "this gateway is shutting down; try again")
	}
	s.work.Add(1)
	return nil
}

func (s *Service) leave() { s.work.Done() }

// quota takes one exchange from the caller's allowance.
func (s *Service) quota(who Principal) error {
	c, ok := s.release.Catalogue.Caller(who.Caller)
	if !ok {
		return refuse(ReasonNoGrant, "", "未登记的调用方", "caller is not registered")
	}
	s.mu.Lock()
	l := s.limits[who.Caller]
	if l == nil {
		l = rate.NewLimiter(rate.Limit(float64(c.PerMinute)/60), max(1, c.PerMinute))
		s.limits[who.Caller] = l
	}
	s.mu.Unlock()
	if !l.AllowN(s.now(), 1) {
		return refuse(ReasonQuota, "", "超过每分钟查询上限，请稍后再试", "quota per minute exceeded; try again later")
	}
	return nil
}

// admit numbers the exchange and spends tokens and idempotency key in one transaction.
func (s *Service) admit(ctx context.Context, who Principal, req Request, key string, p *plan) (*Exchange, error) {
	digest, err := requestDigest(req)
	if err != nil {
		return nil, err
	}
	number, err := newNumber("", s.slot, s.now())
	if err != nil {
		return nil, err
	}
	now := s.now()
	if err := s.order(p); err != nil {
		return nil, err
	}
	x := &Exchange{Number: number, Request: req, Began: now, Expires: now.Add(s.lifetime), who: who, plan: p,
		changed: make(chan struct{}), running: 1, key: keyOf(who, key)}
	x.Request.Subjects = nil // the tokens are opened; no need to keep them
	var tokens []string
	spent := x.Expires
	for _, sub := range x.subjects() {
		tokens = append(tokens, sub.claims.JTI)
		if end := time.UnixMilli(sub.claims.Expires); end.After(spent) {
			spent = end // forgotten earlier, the token could be spent again
		}
	}
	ticket, err := s.sealTicket(x)
	if err != nil {
		return nil, err
	}
	existing, err := s.store.Begin(ctx, store.Admission{Caller: string(who.Caller), Key: key, RequestDigest: digest,
		TokenIDs: tokens, ExchangeNo: number, Expires: spent, Runner: s.runner, Ticket: ticket})
	if err != nil {
		return nil, s.storeRefusal(err)
	}
	if existing != "" { // begun at another gateway or before a restart
		if x, err = s.repeat(ctx, who, x, existing); err != nil || x.found {
			return x, err
		}
	}
	p.bind(x.Number, req, s.release.Number)
	s.put(x)
	return x, nil
}

func (s *Service) put(x *Exchange) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.exchanges[x.Number] = x
}

// storeRefusal tells replay from misuse from a store that is down. It fails closed.
func (s *Service) storeRefusal(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrReplay):
		return refuse(ReasonTokenSpent, "subjects", "读卡凭据已用过，请重新刷证", "subject token already spent; read the card again")
	case errors.Is(err, store.ErrKeyReuse):
		return refuse(ReasonKeyReuse, "Idempotency-Key", "同一幂等键用于不同请求，请换新键", "idempotency key was used for another request; use a new one")
	default:
		return &Refusal{Reason: ReasonUnavailable, Chinese: "状态库暂不可用，请稍后重试", English: "state store not available; try again later", Err: err}
	}
}

// abandon undoes an admission whose intent could not be recorded: nothing was
// asked, so the card need not be read again.
func (s *Service) abandon(ctx context.Context, x *Exchange) {
	s.drop(x)
	if x.repeated { // it was asked elsewhere
		return
	}
	if err := s.store.Abandon(context.WithoutCancel(ctx), x.Number, s.runner); err != nil {
		s.log.Warn("admission not undone", "exchange", x.Number, "err", err)
	}
}

// drop forgets an exchange and the persons in it.
func (s *Service) drop(x *Exchange) {
	s.mu.Lock()
	delete(s.exchanges, x.Number)
	if b := s.keys[x.key]; b != nil && b.number == x.Number {
		delete(s.keys, x.key)
	}
	s.mu.Unlock()
	x.forget()
}

// Find returns the caller's own exchange; anybody else's does not exist for
// them. At a window the clerk who began it is its owner, elsewhere the system.
// An exchange of another gateway, or of before a restart, is found in the store.
func (s *Service) Find(ctx context.Context, who Principal, number string) (*Exchange, error) {
	s.mu.Lock()
	x := s.exchanges[number]
	s.mu.Unlock()
	if x == nil {
		var err error
		if x, err = s.restore(ctx, number); err != nil {
			return nil, err
		}
	}
	if x == nil || !s.owns(who, x) || !s.now().Before(x.expires()) {
		return nil, noSuchExchange()
	}
	if x.found {
		s.put(x)
	}
	return x, s.Refresh(ctx, x)
}

func noSuchExchange() error {
	return refuse(ReasonNotFound, "exchange", "没有这个交换号，或已过期", "no such exchange, or it has expired")
}

func (s *Service) owns(who Principal, x *Exchange) bool {
	if x.who.Caller != who.Caller {
		return false
	}
	c, ok := s.release.Catalogue.Caller(who.Caller)
	return ok && (c.Kind != catalog.CallerWindow || x.who.Operator == who.Operator)
}

// Sealed returns a released part as ciphertext for the caller's reply key.
func (s *Service) Sealed(ctx context.Context, x *Exchange, partID string) ([]byte, error) {
	return s.store.GetResult(ctx, x.Number, partID)
}

// Forget deletes an exchange with its results, at the caller's wish. What still
// runs ends without a result.
func (s *Service) Forget(ctx context.Context, x *Exchange) error {
	s.drop(x)
	return s.store.DeleteExchange(ctx, x.Number)
}

// sweep forgets expired exchanges and purges expired ciphertext and keys, and
// finishes deferred parts that nobody else has.
func (s *Service) sweep() {
	expire, due := time.NewTicker(10*time.Second), time.NewTicker(dueEvery)
	defer expire.Stop()
	defer due.Stop()
	for {
		select {
		case <-s.base.Done():
			return
		case <-due.C:
			s.finishDue(s.base)
			s.postDue(s.base)
		case <-expire.C:
			s.expire(s.now())
		}
	}
}

func (s *Service) expire(now time.Time) {
	for _, x := range s.expired(now) {
		s.drop(x)
	}
	ctx, cancel := context.WithTimeout(s.base, 5*time.Second)
	defer cancel()
	if _, err := s.store.Purge(ctx, now); err != nil && s.base.Err() == nil {
		s.log.Warn("expired results not purged", "err", err)
	}
	if err := s.fleet.Sweep(now); err != nil {
		s.log.Warn("fleet keys not swept", "err", err)
	}
}

func (s *Service) expired(now time.Time) []*Exchange {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*Exchange
	for _, x := range s.exchanges {
		if x.Quiet() && now.After(x.expires()) {
			list = append(list, x)
		}
	}
	return list
}
