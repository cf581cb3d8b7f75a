package revocation

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/emmansun/gmsm/smx509"
)

// whom lists the responders to ask about a certificate.
func (k *Checker) whom(cert, issuer *smx509.Certificate) (list []*remoteResponder) {
	for _, r := range k.responders {
		if r.Issuer == nil || r.Issuer.Equal(issuer) {
			list = append(list, r)
		}
	}
	if r := k.named.of(cert); r != nil {
		list = append(list, r)
	}
	return list
}

// remoteResponder is one OCSP responder and the answers it gave.
type remoteResponder struct {
	Responder
	calls calls
	mu    sync.Mutex
	kept  map[string]keptAnswer // by certificate
	again time.Time             // when it could not be reached, not before
	fault error                 // of the last call that did not reach it
}

func newRemoteResponder(r Responder) *remoteResponder {
	return &remoteResponder{Responder: r, kept: map[string]keptAnswer{}}
}

// keptAnswer is the last answer about a certificate.
type keptAnswer struct {
	answer
	known bool      // there is one
	again time.Time // when to ask next
	fault error     // why the last answer is not believed
}

// get returns the responder's answer, and whether there is one, else why not. A responder that
// cannot be reached is left alone for a while; one that answers badly about a
// certificate is so about that certificate.
func (r *remoteResponder) get(ctx context.Context, k *Checker, cert, issuer *smx509.Certificate, now time.Time) (a answer, known bool, why error) {
	id := string(cert.Raw)
	kept, due := r.look(id, now)
	if due {
		r.calls.do(ctx, id, func() {
			if _, due := r.look(id, now); due { // nobody has just asked
				a, err := r.ask(ctx, k, newOCSPQuery(cert, issuer, r.Ahead), now)
				r.keep(id, a, err, now, k.maxAge)
			}
		})
		kept, _ = r.look(id, now)
	}
	return kept.answer, kept.known, cmp.Or(kept.fault, r.unreached())
}

// unreached is why nobody has answered, if nobody did.
func (r *remoteResponder) unreached() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fault == nil { // who waited for another's call has gone
		return ErrUnreachable
	}
	return r.fault
}

// look returns the last answer, and whether it is time to ask.
func (r *remoteResponder) look(id string, now time.Time) (k keptAnswer, due bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k = r.kept[id]
	return k, !now.Before(k.again) && !now.Before(r.again)
}

func (r *remoteResponder) keep(id string, a answer, err error, now time.Time, maxAge time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if errors.Is(err, ErrUnreachable) {
		r.again, r.fault = now.Add(retryAfter), err
		return
	}
	k := r.kept[id]
	k.fault = err
	if k.again = now.Add(retryAfter); err == nil {
		k = keptAnswer{answer: a, known: true, again: a.due()}
		if latest := now.Add(maxAge); k.again.After(latest) {
			k.again = latest
		}
	}
	if len(r.kept) >= maxAnswers {
		r.kept = map[string]keptAnswer{}
	}
	r.kept[id] = k
}

func (r *remoteResponder) ask(ctx context.Context, k *Checker, q ocspQuery, now time.Time) (answer, error) {
	body, err := q.encode()
	if err != nil {
		return answer{}, err
	}
	raw, err := k.call(ctx, http.MethodPost, r.URL, body, maxOCSP)
	if err != nil {
		return answer{}, err
	}
	return q.read(raw, r.URL, now)
}

// namedResponders are those that certificates name, found as they are needed. A
// directory of trust has few authorities, and each names one.
type namedResponders struct {
	mu sync.Mutex
	by map[string]*remoteResponder // by address
}

// of returns the responder that a certificate names, nil when it names none with an
// address that can be called, or there were too many already.
func (n *namedResponders) of(cert *smx509.Certificate) *remoteResponder {
	if n == nil {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, address := range cert.OCSPServer {
		if checkURL(address) != nil {
			continue
		}
		if r, ok := n.by[address]; ok {
			return r
		}
		if len(n.by) == maxNamed {
			return nil
		}
		n.by[address] = newRemoteResponder(Responder{URL: address})
		return n.by[address]
	}
	return nil
}

// maxNamed responders.
const maxNamed = 64
