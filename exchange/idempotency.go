package exchange

import (
	"context"
	"encoding/json"

	"github.com/emmansun/gmsm/sm3"

	"yizheng/exchange/store"
)

// begun is what an idempotency key began at this gateway.
type begun struct {
	digest  string        // of the request
	number  string        // of the exchange, once settled; empty if there is none
	settled chan struct{} // closed when number is known
}

// requestDigest is what an idempotency key is bound to.
func requestDigest(req Request) (string, error) {
	b, err := json.Marshal(req)
	if err != nil {
		return "", refuse(ReasonInvalid, "", "请求无法解析", "request cannot be encoded")
	}
	d := sm3.Sum(b)
	return b64(d[:]), nil
}

func keyOf(who Principal, key string) string {
	if key == "" {
		return ""
	}
	return string(who.Caller) + "\x00" + key
}

// once makes the same key with the same request one exchange, however often
// and however concurrently it is sent: the first goes ahead and calls settle
// with what came of it, the others wait and get its exchange, even after its
// tokens have expired. If nothing came of it, the next one goes ahead.
func (s *Service) once(ctx context.Context, who Principal, req Request, key string) (x *Exchange, settle func(*Exchange), err error) {
	id := keyOf(who, key)
	if id == "" {
		return nil, func(*Exchange) {}, nil
	}
	digest, err := requestDigest(req)
	if err != nil {
		return nil, nil, err
	}
	for {
		s.mu.Lock()
		b := s.keys[id]
		if b == nil {
			b = &begun{digest: digest, settled: make(chan struct{})}
			s.keys[id] = b
			s.mu.Unlock()
			return nil, func(x *Exchange) { s.settle(id, b, x) }, nil
		}
		s.mu.Unlock()
		if b.digest != digest {
			return nil, nil, s.storeRefusal(store.ErrKeyReuse)
		}
		select {
		case <-b.settled:
		case <-ctx.Done():
			return nil, nil, s.storeRefusal(ctx.Err())
		}
		if b.number != "" {
			x, err := s.mine(ctx, who, b.number)
			return x, nil, err
		}
	}
}

func (s *Service) settle(id string, b *begun, x *Exchange) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x != nil {
		b.number = x.Number
	} else {
		delete(s.keys, id)
	}
	close(b.settled)
}

// mine is Find for an exchange that a key says was begun here.
func (s *Service) mine(ctx context.Context, who Principal, number string) (*Exchange, error) {
	x, err := s.Find(ctx, who, number)
	if err != nil {
		return nil, refuse(ReasonGone, "Idempotency-Key", "原请求已不在本网关，请重新刷证并换用新的幂等键", "the exchange of this key is no longer here; read the card again and use a new key")
	}
	return x, nil
}
