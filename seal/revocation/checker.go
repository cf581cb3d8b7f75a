package revocation

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/emmansun/gmsm/smx509"

	"yizheng/seal/reach"
)

// Responder is an OCSP responder.
type Responder struct {
	URL string
	// Issuer is the authority it answers for; nil: any.
	Issuer *smx509.Certificate
	// Ahead says that it makes its answers ahead of time, so that they cannot repeat
	// a question's nonce.
	Ahead bool
}

// Config of a Checker. The zero value uses no network.
type Config struct {
	Policy
	CRLs       []string // addresses of whole lists, http or https
	Responders []Responder
	// Named asks the responder that a certificate names (RFC 5280, 4.2.2.1), too. Check
	// is then for certificates only whose chain to a trusted root holds: its issuer
	// chooses whom this machine calls.
	Named   bool
	RootCAs *x509.CertPool // for https; nil: the machine's
	Timeout time.Duration  // of one call; default 3 s
	MaxAge  time.Duration  // after which what was fetched is asked for again, even if the next update is later; default 1 h
}

const (
	maxCRL     = 64 << 20 // bytes
	maxOCSP    = 64 << 10
	maxAnswers = 1024             // OCSP answers kept
	retryAfter = 30 * time.Second // a failure

	defaultTimeout = 3 * time.Second
	defaultMaxAge  = time.Hour
)

// Checker answers with the information it has or may fetch. It is safe for concurrent
// use once all lists are added.
type Checker struct {
	policy     Policy
	named      *namedResponders // nil: those are not asked
	client     *http.Client
	timeout    time.Duration
	maxAge     time.Duration
	lists      map[string]*List // by the issuer's certificate
	remote     []*remoteList
	responders []*remoteResponder
}

// New checks the configuration's addresses; the error names the faulty one.
func New(c Config) (*Checker, error) {
	k := &Checker{
		policy: c.Policy, client: httpClient(c.RootCAs), lists: map[string]*List{},
		timeout: cmp.Or(max(c.Timeout, 0), defaultTimeout), maxAge: cmp.Or(max(c.MaxAge, 0), defaultMaxAge),
	}
	for _, address := range c.CRLs {
		if err := checkURL(address); err != nil {
			return nil, err
		}
		k.remote = append(k.remote, &remoteList{url: address})
	}
	for _, r := range c.Responders {
		if err := checkURL(r.URL); err != nil {
			return nil, err
		}
		k.responders = append(k.responders, newRemoteResponder(r))
	}
	if c.Named {
		k.named = &namedResponders{by: map[string]*remoteResponder{}}
	}
	return k, nil
}

func checkURL(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
		return fmt.Errorf("revocation: %q is not an http or https address (吊销服务地址有误)", address)
	}
	return nil
}

// httpClient calls the configured address itself: no proxy, no redirection. Calls are
// rare, so no connection is kept.
func httpClient(roots *x509.CertPool) *http.Client {
	return &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Add keeps the newest list of an issuer whose signature the caller has checked.
func (k *Checker) Add(issuer *smx509.Certificate, l *List) {
	if old := k.lists[string(issuer.Raw)]; old == nil || old.crl.ThisUpdate.Before(l.crl.ThisUpdate) {
		k.lists[string(issuer.Raw)] = l
	}
}

// Due is when the next list of an issuer is expected.
type Due struct {
	From string // file or address
	Next time.Time
}

// Dues are the next updates of the lists that were added or fetched; those that name
// none are left out.
func (k *Checker) Dues() (list []Due) {
	add := func(l *List) {
		if l != nil && !l.crl.NextUpdate.IsZero() {
			list = append(list, Due{l.from, l.crl.NextUpdate.UTC()})
		}
	}
	for _, l := range k.lists {
		add(l)
	}
	for _, r := range k.remote {
		r.mu.Lock()
		l := r.list
		r.mu.Unlock()
		add(l)
	}
	return list
}

// Known returns the status of a certificate at a time by the lists that were added.
func (k *Checker) Known(cert, issuer *smx509.Certificate, at, now time.Time) Status {
	if l := k.lists[string(issuer.Raw)]; l != nil {
		return k.policy.judge(l.answer(cert), at, now)
	}
	return Status{State: Unknown, Tolerated: !k.policy.Required}
}

// Check returns the status of a certificate at a time, as known now. It calls the
// configured addresses where what was fetched before does not suffice; a call that
// fails makes the status older or Unknown, never an error.
func (k *Checker) Check(ctx context.Context, cert, issuer *smx509.Certificate, at, now time.Time) Status {
	best := k.Known(cert, issuer, at, now)
	consider := func(a answer) {
		if s := k.policy.judge(a, at, now); best.Source == "" || s.better(best) {
			best = s
		}
	}
	var none Status // what to say when nobody answered
	for _, r := range k.remote {
		l, err := r.get(ctx, k, issuer, now)
		if l != nil {
			consider(l.answer(cert))
		} else if err != nil {
			none.From, none.Fault = r.url, err
		}
	}
	answered := false
	for _, r := range k.whom(cert, issuer) {
		a, known, err := r.get(ctx, k, cert, issuer, now)
		if known {
			answered = true
			consider(a)
		} else {
			none.From, none.Fault = r.URL, err
		}
	}
	if k.policy.Answered && !answered && none.Fault == nil {
		none.Fault = ErrNotNamed
	}
	if best.Source == "" || k.policy.Answered && !answered && best.State == Good {
		none.State, none.Tolerated = Unknown, !k.policy.Required
		return none
	}
	return best
}

// remoteList is one address of a list.
type remoteList struct {
	url   string
	calls calls
	mu    sync.Mutex
	list  *List           // the newest that could be read
	good  map[string]bool // whether it is signed by an issuer (its certificate)
	again time.Time       // when to call next
	fault error           // of the last call
}

// get returns the issuer's list, nil when the address has none, with the reason if the
// address gave no list at all.
func (r *remoteList) get(ctx context.Context, k *Checker, issuer *smx509.Certificate, now time.Time) (*List, error) {
	if r.due(now) {
		r.calls.do(ctx, r.url, func() {
			if r.due(now) { // nobody has just done so
				r.fetch(ctx, k, now)
			}
		})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.list == nil {
		return nil, r.fault
	}
	ok, checked := r.good[string(issuer.Raw)]
	if !checked {
		ok = r.list.SignedBy(issuer)
		r.good[string(issuer.Raw)] = ok
	}
	if !ok {
		return nil, nil // of somebody else
	}
	return r.list, nil
}

func (r *remoteList) due(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !now.Before(r.again)
}

func (r *remoteList) fetch(ctx context.Context, k *Checker, now time.Time) {
	raw, err := k.call(ctx, http.MethodGet, r.url, nil, maxCRL)
	var l *List
	if err == nil {
		l, err = ParseList(raw, r.url)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.again, r.fault = now.Add(retryAfter), err
	if err != nil || l.crl.ThisUpdate.After(now.Add(clockSkew)) || r.list != nil && l.crl.ThisUpdate.Before(r.list.crl.ThisUpdate) {
		return
	}
	r.list, r.good = l, map[string]bool{}
	r.again = now.Add(k.maxAge)
	if next := l.crl.NextUpdate; next.After(now) && next.Before(r.again) {
		r.again = next
	}
}

// call returns the body of a 200 answer of at most limit bytes. It goes on when the
// caller hangs up: others wait for the same answer.
func (k *Checker) call(ctx context.Context, method, address string, body []byte, limit int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), k.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/ocsp-request")
	}
	res, err := k.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, reach.Of(err))
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("revocation: %w", reach.OfStatus(res.StatusCode))
	}
	raw, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, reach.Of(err))
	case int64(len(raw)) > limit:
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrFormat, limit)
	}
	return raw, nil
}
