package web

import (
	"context"
	"net/http"
	"net/netip"
	"runtime"
	"sync"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"
)

// What strangers may use of a gateway. Each use writes a durable record and may
// cost a verification, so all of it is bounded: per address, in all, in memory
// and in processors. Of a clerk's work only print orders are, with memory of
// their own.
const (
	perAddress      = 5   // uses a second
	burstPerAddress = 200 // a service hall is one address
	perSecond       = 100 // of all addresses together
	burst           = 1000
	uploads         = 96 * mib // bytes of documents in memory at once
	addresses       = 4096     // remembered

	// What clerks may have put together at once, apart from that of strangers. An order
	// is in memory as sent, decoded and bound.
	orders      = 256 * mib
	orderCopies = 4
)

type limits struct {
	all    *rate.Limiter
	memory *semaphore.Weighted
	orders *semaphore.Weighted
	work   *semaphore.Weighted

	mu        sync.Mutex
	addresses map[netip.Prefix]*rate.Limiter
	others    *rate.Limiter // shared by addresses that found the table full
}

func newLimits() *limits {
	return &limits{
		all: rate.NewLimiter(perSecond, burst), memory: semaphore.NewWeighted(uploads), orders: semaphore.NewWeighted(orders), work: semaphore.NewWeighted(int64(runtime.GOMAXPROCS(0))),
		addresses: make(map[netip.Prefix]*rate.Limiter), others: rate.NewLimiter(perAddress, burstPerAddress),
	}
}

// allow takes one use from an address's allowance and from everybody's.
func (l *limits) allow(address string) error {
	if !l.of(address).Allow() || !l.all.Allow() {
		return tooOften()
	}
	return nil
}

// of is the limiter of an address; of IPv6, one household or office is a /64.
func (l *limits) of(address string) *rate.Limiter {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return l.others
	}
	bits := 64
	if ip = ip.Unmap().WithZone(""); ip.Is4() {
		bits = 32
	}
	prefix, err := ip.Prefix(bits)
	if err != nil {
		return l.others
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if known := l.addresses[prefix]; known != nil {
		return known
	}
	if len(l.addresses) >= addresses {
		l.forget()
	}
	if len(l.addresses) >= addresses {
		return l.others
	}
	fresh := rate.NewLimiter(perAddress, burstPerAddress)
	l.addresses[prefix] = fresh
	return fresh
}

// forget drops addresses that have their whole allowance again; the caller holds mu.
func (l *limits) forget() {
	for prefix, r := range l.addresses {
		if r.Tokens() >= burstPerAddress {
			delete(l.addresses, prefix)
		}
	}
}

func tooOften() *problem {
	return newProblem(http.StatusTooManyRequests, "TOO_MANY_REQUESTS", "", "请求过于频繁，请稍后再试", "too many requests; try again later")
}

func busy() *problem {
	return newProblem(http.StatusServiceUnavailable, "BUSY", "", "核验或汇总繁忙，请稍后再试", "verification, or putting documents together, is busy; try again later")
}

// reserve holds a stranger to the limits and sets memory for the body, a stranger's or
// a print order's, aside before a byte of it is read. The caller calls done when the body is wiped.
func (s *Server) reserve(ctx context.Context, rt route, r *request) (done func(), err error) {
	memory, copies := s.limits.memory, int64(1)
	switch {
	case rt.path == printOrderPath:
		memory, copies = s.limits.orders, orderCopies
	case rt.door != anyone || rt.class != recorded:
		return func() {}, nil
	default:
		if err := s.limits.allow(r.who.Address); err != nil {
			return nil, err
		}
	}
	size := rt.limit
	if n := r.ContentLength; n >= 0 {
		size = min(n, rt.limit)
	}
	wait, cancel := context.WithTimeout(ctx, s.times.patience)
	defer cancel()
	size *= copies
	if memory.Acquire(wait, size) != nil {
		return nil, busy()
	}
	return func() { memory.Release(size) }, nil
}

// working runs a verification when a processor is free for it.
func (s *Server) working(ctx context.Context, verify func()) error {
	wait, cancel := context.WithTimeout(ctx, s.times.patience)
	defer cancel()
	if s.limits.work.Acquire(wait, 1) != nil {
		return busy()
	}
	defer s.limits.work.Release(1)
	verify()
	return nil
}
