package store

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"
)

const (
	redisTimeout   = 150 * time.Millisecond // of all Redis work before a call's transaction
	settleTimeout  = 80 * time.Millisecond  // of tidying up after it
	reservationTTL = 30 * time.Second       // longer than any transaction here may take
	breakerPause   = 2 * time.Second
	breakerTrips   = 3 // failures in a row
)

// reserveScript sets a key for its owner, or says whose it is: 1 set now,
// 2 already this owner's (its earlier reply was lost), 0 somebody else's.
// Plain SET NX would call the second of these a replay.
var reserveScript = redis.NewScript(`
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
if redis.call('GET', KEYS[1]) == ARGV[1] then return 2 end
return 0`)

// settleScript lengthens the owner's reservation, or drops it if no time is given.
var settleScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if tonumber(ARGV[2]) > 0 then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return redis.call('DEL', KEYS[1])`)

// fastPath turns replays away before the database is asked. A reservation is
// short until the transaction has committed, so that what a crash leaves
// behind refuses nobody for long.
type fastPath struct {
	client  *redis.Client
	breaker *gobreaker.CircuitBreaker[int64]
}

func newFastPath(o *redis.Options) *fastPath {
	options := *o
	options.ContextTimeoutEnabled = true
	options.MaxRetries = -1
	options.DialerRetries = 1
	options.DialTimeout = redisTimeout
	options.ReadTimeout = redisTimeout
	options.WriteTimeout = redisTimeout
	options.PoolTimeout = redisTimeout
	return &fastPath{
		client: redis.NewClient(&options),
		breaker: gobreaker.NewCircuitBreaker[int64](gobreaker.Settings{
			Name:        "redis",
			Timeout:     breakerPause,
			ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= breakerTrips },
			// A caller who hangs up says nothing about Redis.
			IsExcluded: func(err error) bool { return errors.Is(err, context.Canceled) },
		}),
	}
}

func (f *fastPath) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, redisTimeout)
	defer cancel()
	if err := f.client.Ping(ctx).Err(); err != nil {
		return unavailable("ping redis", err)
	}
	return nil
}

// run is one script call through the breaker, tried a second time with the
// same owner if the first reply was lost.
func (f *fastPath) run(ctx context.Context, script *redis.Script, key, owner string, ttl time.Duration) (int64, error) {
	return f.breaker.Execute(func() (int64, error) {
		n, err := script.Run(ctx, f.client, []string{key}, owner, ttl.Milliseconds()).Int64()
		if err != nil && ctx.Err() == nil {
			n, err = script.Run(ctx, f.client, []string{key}, owner, ttl.Milliseconds()).Int64()
		}
		return n, err
	})
}

// Kinds of keys in Redis.
const (
	nonceKind = "nonce:"
	tokenKind = "token:"
)

func redisKey(kind, digest string) string { return "yizheng:" + kind + digest }

// reservation is what one call holds in Redis. The zero value holds nothing.
type reservation struct {
	fast  *fastPath
	keys  []string // set by this call
	owner string
}

// reserve takes every digest for owner. It returns ErrReplay if one is
// somebody else's and ErrUnavailable if Redis does not answer; what it had
// taken is then given back. Without Redis it holds nothing and succeeds.
func (f *fastPath) reserve(ctx context.Context, kind string, digests []string, owner string) (reservation, error) {
	if f == nil {
		return reservation{}, nil
	}
	bounded, cancel := context.WithTimeout(ctx, redisTimeout)
	defer cancel()
	hold := reservation{fast: f, owner: owner}
	for _, digest := range digests {
		key := redisKey(kind, digest)
		got, err := f.run(bounded, reserveScript, key, owner, reservationTTL)
		if err != nil {
			err = unavailable("redis", err)
		} else if got == 0 {
			err = ErrReplay
		}
		if err != nil {
			hold.settle(ctx, err, 0)
			return reservation{}, err
		}
		if got == 1 {
			hold.keys = append(hold.keys, key)
		}
	}
	return hold, nil
}

// settle ends a reservation after the transaction: kept for ttl if it has
// committed, dropped if it has not. Errors are of no
// consequence: the database has decided, and the reservation ends by itself.
func (h reservation) settle(ctx context.Context, outcome error, ttl time.Duration) {
	if len(h.keys) == 0 {
		return
	}
	if outcome != nil {
		ttl = 0
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	for _, key := range h.keys {
		_, _ = h.fast.run(ctx, settleScript, key, h.owner, ttl)
	}
}

func randomOwner() string { return rand.Text() }
