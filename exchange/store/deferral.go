package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Deferral is one part of an exchange whose department has been given more
// time than a caller waits. Any gateway may finish it: the one that holds its
// lease.
type Deferral struct {
	ExchangeNo string
	Part       string
	Context    string    // what finishing takes, sealed under the fleet's keys
	Legs       int       // how many answers it waits for
	Deadline   time.Time // when those that have not come do not count any more
	Expires    time.Time // of the exchange from now on, not before Deadline
	PostAfter  time.Time // when others send its questions, unless Posted is called; zero: they are sent
}

// PartRef names a part of an exchange.
type PartRef struct{ ExchangeNo, Part string }

// Defer notes a deferred part, and keeps the exchange, its results and its
// tokens until d.Expires. A part that is asked again loses its former result
// and what is left of an earlier deferral: from now on it waits. It returns ErrSuperseded if the exchange is not
// runner's (any more).
func (s *Store) Defer(ctx context.Context, d Deferral, runner string) error {
	if err := errors.Join(checkID("exchange number", d.ExchangeNo), checkID("part", d.Part)); err != nil {
		return err
	}
	if d.Context == "" || d.Legs < 1 || d.Expires.Before(d.Deadline) {
		return fmt.Errorf("%w: deferral without context or legs, or that expires too early", ErrArgument)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	expires := d.Expires.UnixMilli()
	return s.inTx(ctx, "defer", func(tx *sql.Tx) error {
		mine, err := changed(tx.ExecContext(ctx, `UPDATE admission SET expires = CASE WHEN expires < $1 THEN $1 ELSE expires END
			WHERE exchange_no = $2 AND runner = $3`, expires, d.ExchangeNo, runner))
		if err != nil {
			return err
		}
		if !mine {
			return ErrSuperseded
		}
		for _, table := range [...]string{"spent_token", "result"} {
			if _, err := tx.ExecContext(ctx, `UPDATE `+table+` SET expires = $1 WHERE exchange_no = $2 AND expires < $1`, expires, d.ExchangeNo); err != nil {
				return err
			}
		}
		if _, err := endDeferral(ctx, tx, d.ExchangeNo, d.Part); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM result WHERE exchange_no = $1 AND part = $2`, d.ExchangeNo, d.Part); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO deferral (exchange_no, part, context, legs, answered, deadline, leased_by, leased_until, expires, post_after)
			VALUES ($1, $2, $3, $4, 0, $5, '', 0, $6, $7)`,
			d.ExchangeNo, d.Part, d.Context, d.Legs, d.Deadline.UnixMilli(), expires, max(d.PostAfter.UnixMilli(), 0))
		return err
	})
}

// Posted notes that a part's questions have been sent.
func (s *Store) Posted(ctx context.Context, p PartRef) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if _, err := s.db.ExecContext(ctx, `UPDATE deferral SET post_after = 0 WHERE exchange_no = $1 AND part = $2`, p.ExchangeNo, p.Part); err != nil {
		return unavailable("note that questions are sent", err)
	}
	return nil
}

// unposted is said of a deferral whose questions may not have been sent.
const unposted = ` post_after > 0 AND post_after <= $1 AND deadline > $1` + unresolved

// Unposted names parts whose questions should have been sent by now and may not
// have been; at most limit.
func (s *Store) Unposted(ctx context.Context, limit int) ([]PartRef, error) {
	return s.list(ctx, `SELECT exchange_no, part FROM deferral WHERE`+unposted+` ORDER BY post_after LIMIT $2`, limit)
}

// TakePost returns a part of Unposted to the one who will send its questions, and
// to nobody else until then. It returns ErrNotFound if that is no more needed.
func (s *Store) TakePost(ctx context.Context, p PartRef, until time.Time) (Deferral, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	mine, err := changed(s.db.ExecContext(ctx, `UPDATE deferral SET post_after = $2 WHERE exchange_no = $3 AND part = $4 AND`+unposted,
		s.now().UnixMilli(), until.UnixMilli(), p.ExchangeNo, p.Part))
	if err != nil {
		return Deferral{}, unavailable("take over questions to be sent", err)
	}
	if !mine {
		return Deferral{}, ErrNotFound
	}
	return s.Deferral(ctx, p.ExchangeNo, p.Part)
}

// Undefer forgets a deferral whose questions could not be sent.
func (s *Store) Undefer(ctx context.Context, exchangeNo, part string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return s.inTx(ctx, "take a deferral back", func(tx *sql.Tx) error {
		_, err := endDeferral(ctx, tx, exchangeNo, part)
		return err
	})
}

func endDeferral(ctx context.Context, tx *sql.Tx, exchangeNo, part string) (was bool, err error) {
	if was, err = changed(tx.ExecContext(ctx, `DELETE FROM deferral WHERE exchange_no = $1 AND part = $2`, exchangeNo, part)); err != nil {
		return was, err
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM deferred_answer WHERE exchange_no = $1 AND part = $2`, exchangeNo, part)
	return was, err
}

// Deferral returns a part that waits, or ErrNotFound: it has its result, or
// its exchange was deleted.
func (s *Store) Deferral(ctx context.Context, exchangeNo, part string) (Deferral, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	d := Deferral{ExchangeNo: exchangeNo, Part: part}
	var deadline, expires int64
	err := s.db.QueryRowContext(ctx, `SELECT context, legs, deadline, expires FROM deferral WHERE exchange_no = $1 AND part = $2`,
		exchangeNo, part).Scan(&d.Context, &d.Legs, &deadline, &expires)
	if errors.Is(err, sql.ErrNoRows) {
		return d, ErrNotFound
	}
	if err != nil {
		return d, unavailable("read deferral", err)
	}
	d.Deadline, d.Expires = time.UnixMilli(deadline), time.UnixMilli(expires)
	return d, nil
}

// PutAnswer keeps a front's answer, sealed as it came, until the part is
// finished. It returns ErrReplay if the leg has one, and ErrNotFound if the
// part does not wait.
func (s *Store) PutAnswer(ctx context.Context, exchangeNo, part, leg string, sealed []byte) error {
	if err := checkID("leg", leg); err != nil {
		return err
	}
	if len(sealed) == 0 || len(sealed) > maxSealed {
		return fmt.Errorf("%w: answer of %d bytes, want 1 to %d", ErrArgument, len(sealed), maxSealed)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return s.inTx(ctx, "put answer", func(tx *sql.Tx) error {
		waits, err := changed(tx.ExecContext(ctx, `UPDATE deferral SET answered = answered + 1 WHERE exchange_no = $1 AND part = $2`, exchangeNo, part))
		if err != nil {
			return err
		}
		if !waits {
			return ErrNotFound
		}
		fresh, err := changed(tx.ExecContext(ctx, `INSERT INTO deferred_answer (exchange_no, leg, part, answer, expires)
			SELECT exchange_no, $1, part, $2, expires FROM deferral WHERE exchange_no = $3 AND part = $4 ON CONFLICT DO NOTHING`, leg, sealed, exchangeNo, part))
		return replayUnless(fresh, err)
	})
}

// unresolved is said of a deferral whose part has no result: one that could not
// be taken back after its part had ended stays behind until it expires.
const unresolved = ` AND NOT EXISTS (SELECT 1 FROM result r WHERE r.exchange_no = deferral.exchange_no AND r.part = deferral.part)`

// Due names parts that can be finished now, all answers there or the deadline
// over, and that nobody holds; at most limit.
func (s *Store) Due(ctx context.Context, limit int) ([]PartRef, error) {
	return s.list(ctx, `SELECT exchange_no, part FROM deferral
		WHERE (deadline <= $1 OR answered >= legs) AND leased_until <= $1`+unresolved+` ORDER BY deadline LIMIT $2`, limit)
}

// list runs a query whose arguments are the time and limit.
func (s *Store) list(ctx context.Context, query string, limit int) ([]PartRef, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	rows, err := s.db.QueryContext(ctx, query, s.now().UnixMilli(), limit)
	if err != nil {
		return nil, unavailable("list deferrals", err)
	}
	defer rows.Close()
	var parts []PartRef
	for rows.Next() {
		var p PartRef
		if err := rows.Scan(&p.ExchangeNo, &p.Part); err != nil {
			return nil, unavailable("list deferrals", err)
		}
		parts = append(parts, p)
	}
	if err := rows.Err(); err != nil {
		return nil, unavailable("list deferrals", err)
	}
	return parts, nil
}

// Lease takes a part that can be finished, for holder until then, and returns
// what has come, by leg. It returns ErrNotFound if there is nothing to finish,
// or not yet, or another holds it, or the part has its result.
func (s *Store) Lease(ctx context.Context, p PartRef, holder string, until time.Time) (d Deferral, answers map[string][]byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	d = Deferral{ExchangeNo: p.ExchangeNo, Part: p.Part}
	answers = make(map[string][]byte)
	err = s.inTx(ctx, "lease deferral", func(tx *sql.Tx) error {
		mine, err := changed(tx.ExecContext(ctx, `UPDATE deferral SET leased_by = $1, leased_until = $2
			WHERE exchange_no = $3 AND part = $4 AND (deadline <= $5 OR answered >= legs) AND leased_until <= $5`+unresolved,
			holder, until.UnixMilli(), p.ExchangeNo, p.Part, s.now().UnixMilli()))
		if err != nil {
			return err
		}
		if !mine {
			return ErrNotFound
		}
		var deadline, expires int64
		if err := tx.QueryRowContext(ctx, `SELECT context, legs, deadline, expires FROM deferral WHERE exchange_no = $1 AND part = $2`,
			p.ExchangeNo, p.Part).Scan(&d.Context, &d.Legs, &deadline, &expires); err != nil {
			return err
		}
		d.Deadline, d.Expires = time.UnixMilli(deadline), time.UnixMilli(expires)
		return answersOf(ctx, tx, p, answers)
	})
	return d, answers, err
}

func answersOf(ctx context.Context, tx *sql.Tx, p PartRef, into map[string][]byte) error {
	rows, err := tx.QueryContext(ctx, `SELECT leg, answer FROM deferred_answer WHERE exchange_no = $1 AND part = $2`, p.ExchangeNo, p.Part)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var leg string
		var answer []byte
		if err := rows.Scan(&leg, &answer); err != nil {
			return err
		}
		into[leg] = answer
	}
	return rows.Err()
}

// PutDeferred ends a deferral with its result, in one transaction. ErrSuperseded
// means that holder's lease has passed to another, who may have put it already,
// that the part has another result, or that the exchange was deleted: then
// nothing has changed. left says how many parts of the exchange still wait.
func (s *Store) PutDeferred(ctx context.Context, r Result, holder string) (left int, err error) {
	if err := r.check(); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err = s.inTx(ctx, "end deferral", func(tx *sql.Tx) error {
		mine, err := changed(tx.ExecContext(ctx, `UPDATE deferral SET leased_until = leased_until WHERE exchange_no = $1 AND part = $2 AND leased_by = $3`+unresolved,
			r.ExchangeNo, r.Part, holder))
		if err != nil {
			return err
		}
		if !mine {
			return ErrSuperseded
		}
		if _, err := endDeferral(ctx, tx, r.ExchangeNo, r.Part); err != nil {
			return err
		}
		if err := s.put(ctx, tx, r); err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, `SELECT count(*) FROM deferral WHERE exchange_no = $1`, r.ExchangeNo).Scan(&left)
	})
	return left, err
}
