package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// ConsumeNonce marks a card read's nonce as used and moves the read agent's
// sequence number forward, in one transaction. It returns ErrReplay if the
// nonce was used before or seq is not above the last one of this workstation;
// then neither has changed. The nonce is remembered until expires.
func (s *Store) ConsumeNonce(ctx context.Context, nonce, workstation string, seq uint64, expires time.Time) error {
	if err := errors.Join(checkID("nonce", nonce), checkID("workstation", workstation)); err != nil {
		return err
	}
	if seq > math.MaxInt64 {
		return fmt.Errorf("%w: sequence number beyond 2^63-1", ErrArgument)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	digest := s.digest("nonce", nonce)
	hold, err := s.fast.reserve(ctx, nonceKind, []string{digest}, randomOwner())
	if err != nil {
		return err
	}
	err = s.inTx(ctx, "consume nonce", func(tx *sql.Tx) error {
		fresh, err := changed(tx.ExecContext(ctx,
			`INSERT INTO nonce (nonce_digest, expires) VALUES ($1, $2) ON CONFLICT DO NOTHING`,
			digest, expires.UnixMilli()))
		if err != nil || !fresh {
			return replayUnless(fresh, err)
		}
		ahead, err := changed(tx.ExecContext(ctx,
			`INSERT INTO agent_sequence (workstation, seq) VALUES ($1, $2)
			 ON CONFLICT (workstation) DO UPDATE SET seq = excluded.seq WHERE agent_sequence.seq < excluded.seq`,
			workstation, int64(seq)))
		return replayUnless(ahead, err)
	})
	hold.settle(ctx, err, expires.Sub(s.now()))
	return err
}

// Admission is what must hold for one exchange to begin.
type Admission struct {
	Caller        string
	Key           string    // the caller's Idempotency-Key; empty: this request cannot be repeated
	RequestDigest string    // over everything that makes two requests the same request
	TokenIDs      []string  // ids of the subject tokens this exchange spends
	ExchangeNo    string    // the number it gets if it is new
	Expires       time.Time // not before any of the tokens expires
	Runner        string    // the process that will run it
	Ticket        string    // who began it and what for, sealed under the fleet's keys
}

// Begin admits an exchange: it claims the idempotency key and spends every
// token, or does nothing. It returns
//
//   - "", nil: admitted under a.ExchangeNo;
//   - a number, nil: this very request was admitted before under that number;
//   - ErrKeyReuse: the caller used the key with another request;
//   - ErrReplay: one of the tokens belongs to another exchange.
func (s *Store) Begin(ctx context.Context, a Admission) (existing string, err error) {
	if err := errors.Join(checkID("caller", a.Caller), checkID("exchange number", a.ExchangeNo), checkID("request digest", a.RequestDigest)); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	key := s.digest("admission", a.Caller, a.Key)
	if a.Key == "" {
		key = s.digest("admission-once", a.ExchangeNo)
	}
	request := s.digest("request", a.RequestDigest)
	tokens := make([]string, len(a.TokenIDs))
	for i, id := range a.TokenIDs {
		tokens[i] = s.digest("token", id)
	}
	slices.Sort(tokens) // one order for all, so that two exchanges cannot wait for each other

	// The same request comes from the same owner, whichever gateway it reaches.
	hold, err := s.fast.reserve(ctx, tokenKind, tokens, s.digest("owner", key, request))
	if errors.Is(err, ErrReplay) {
		// Whether the token is spent, or the key reused, or the other exchange
		// was abandoned meanwhile, a look at the database tells.
		if existing, err := s.begun(ctx, key, request, tokens); err != nil || existing != "" {
			return existing, err
		}
	} else if err != nil {
		return "", err
	}
	err = s.inTx(ctx, "begin exchange", func(tx *sql.Tx) error {
		existing, err = s.claim(ctx, tx, key, request, a)
		if err != nil || existing != "" {
			return err
		}
		for _, token := range tokens {
			fresh, err := changed(tx.ExecContext(ctx,
				`INSERT INTO spent_token (token_digest, exchange_no, expires) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`,
				token, a.ExchangeNo, a.Expires.UnixMilli()))
			if err != nil || !fresh {
				return replayUnless(fresh, err)
			}
		}
		return nil
	})
	hold.settle(ctx, err, a.Expires.Sub(s.now()))
	if err != nil {
		return "", err
	}
	return existing, nil
}

// claim takes the idempotency key, or returns who has it.
func (s *Store) claim(ctx context.Context, tx *sql.Tx, key, request string, a Admission) (existing string, err error) {
	if _, err := tx.ExecContext(ctx, `DELETE FROM admission WHERE key_digest = $1 AND expires <= $2`, key, s.now().UnixMilli()); err != nil {
		return "", err
	}
	fresh, err := changed(tx.ExecContext(ctx,
		`INSERT INTO admission (key_digest, request_digest, caller, exchange_no, expires, runner, ticket) VALUES ($1, $2, $3, $4, $5, $6, $7)
		 ON CONFLICT (key_digest) DO NOTHING`,
		key, request, a.Caller, a.ExchangeNo, a.Expires.UnixMilli(), a.Runner, a.Ticket))
	if err != nil || fresh {
		return "", err
	}
	var digest string
	err = tx.QueryRowContext(ctx, `SELECT request_digest, exchange_no FROM admission WHERE key_digest = $1`, key).Scan(&digest, &existing)
	if err != nil {
		return "", err
	}
	if digest != request {
		return "", ErrKeyReuse
	}
	return existing, nil
}

// SetTicket replaces the ticket of runner's exchange; of another's it does nothing.
func (s *Store) SetTicket(ctx context.Context, exchangeNo, runner, ticket string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if _, err := s.db.ExecContext(ctx, `UPDATE admission SET ticket = $1 WHERE exchange_no = $2 AND runner = $3`, ticket, exchangeNo, runner); err != nil {
		return unavailable("set ticket", err)
	}
	return nil
}

// TakeOver makes runner the one process whose results of an exchange are kept.
// It returns ErrNotFound for an exchange that has expired or was deleted.
func (s *Store) TakeOver(ctx context.Context, exchangeNo, runner string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	there, err := changed(s.db.ExecContext(ctx, `UPDATE admission SET runner = $1 WHERE exchange_no = $2 AND ticket <> '' AND expires > $3`,
		runner, exchangeNo, s.now().UnixMilli()))
	if err != nil {
		return unavailable("take over", err)
	}
	if !there {
		return ErrNotFound
	}
	return nil
}

// begun looks up what the fast path took for a replay, without a transaction.
// It returns "", nil if the database knows of no reason to refuse.
func (s *Store) begun(ctx context.Context, key, request string, tokens []string) (existing string, err error) {
	var digest string
	err = s.db.QueryRowContext(ctx, `SELECT request_digest, exchange_no FROM admission WHERE key_digest = $1 AND expires > $2`,
		key, s.now().UnixMilli()).Scan(&digest, &existing)
	switch {
	case err == nil && digest != request:
		return "", ErrKeyReuse
	case err == nil:
		return existing, nil
	case !errors.Is(err, sql.ErrNoRows):
		return "", unavailable("begin exchange", err)
	}
	for _, token := range tokens {
		var spent int
		err := s.db.QueryRowContext(ctx, `SELECT count(*) FROM spent_token WHERE token_digest = $1`, token).Scan(&spent)
		if err != nil {
			return "", unavailable("begin exchange", err)
		}
		if spent > 0 {
			return "", ErrReplay
		}
	}
	return "", nil
}

// Abandon undoes runner's admission: its key and tokens are free again and its
// results are gone. It is for an exchange that asked nobody anything; of an
// unknown one, or one that another process has taken over, it does nothing.
func (s *Store) Abandon(ctx context.Context, exchangeNo, runner string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var hold reservation
	mine := false
	err := s.inTx(ctx, "abandon exchange", func(tx *sql.Tx) (err error) {
		if mine, err = changed(tx.ExecContext(ctx, `UPDATE admission SET runner = runner WHERE exchange_no = $1 AND runner = $2`, exchangeNo, runner)); err != nil || !mine {
			return err
		}
		if hold, err = s.held(ctx, tx, exchangeNo); err != nil {
			return err
		}
		for _, statement := range [...]string{
			`DELETE FROM admission WHERE exchange_no = $1`,
			`DELETE FROM spent_token WHERE exchange_no = $1`,
			`DELETE FROM deferral WHERE exchange_no = $1`,
			`DELETE FROM deferred_answer WHERE exchange_no = $1`,
			`DELETE FROM result WHERE exchange_no = $1`,
		} {
			if _, err := tx.ExecContext(ctx, statement, exchangeNo); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && mine {
		hold.settle(ctx, ErrNotFound, 0)
	}
	return err
}

// held is what an exchange holds in Redis.
func (s *Store) held(ctx context.Context, tx *sql.Tx, exchangeNo string) (reservation, error) {
	if s.fast == nil {
		return reservation{}, nil
	}
	hold := reservation{fast: s.fast}
	rows, err := tx.QueryContext(ctx, `SELECT a.key_digest, a.request_digest, t.token_digest
		FROM admission a JOIN spent_token t ON t.exchange_no = a.exchange_no WHERE a.exchange_no = $1`, exchangeNo)
	if err != nil {
		return reservation{}, err
	}
	defer rows.Close()
	for rows.Next() {
		var key, request, token string
		if err := rows.Scan(&key, &request, &token); err != nil {
			return reservation{}, err
		}
		hold.owner = s.digest("owner", key, request)
		hold.keys = append(hold.keys, redisKey(tokenKind, token))
	}
	return hold, rows.Err()
}

// Owner returns the caller to whom an exchange belongs, or ErrNotFound once
// its admission has expired.
func (s *Store) Owner(ctx context.Context, exchangeNo string) (caller string, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err = s.db.QueryRowContext(ctx, `SELECT caller FROM admission WHERE exchange_no = $1 AND expires > $2`,
		exchangeNo, s.now().UnixMilli()).Scan(&caller)
	if errors.Is(err, sql.ErrNoRows) {
		return "", ErrNotFound
	}
	if err != nil {
		return "", unavailable("owner of exchange", err)
	}
	return caller, nil
}

// inTx runs do in one transaction. The package's own refusals pass unchanged;
// everything else means the database could not answer.
func (s *Store) inTx(ctx context.Context, what string, do func(*sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return unavailable(what, err)
	}
	if err := do(tx); err != nil {
		rollback := tx.Rollback()
		if errors.Is(err, ErrReplay) || errors.Is(err, ErrKeyReuse) || errors.Is(err, ErrSuperseded) || errors.Is(err, ErrNotFound) {
			return err
		}
		if errors.Is(rollback, sql.ErrTxDone) { // the context ended it already
			rollback = nil
		}
		return unavailable(what, errors.Join(err, rollback))
	}
	if err := tx.Commit(); err != nil {
		return unavailable(what, err)
	}
	return nil
}

func changed(res sql.Result, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

func replayUnless(fresh bool, err error) error {
	if err != nil {
		return err
	}
	if !fresh {
		return ErrReplay
	}
	return nil
}
