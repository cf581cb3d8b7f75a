package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Result is one part of an exchange's answer (usually a proof's).
type Result struct {
	ExchangeNo string
	Part       string
	// Sealed must be ciphertext for the caller's reply key: the store cannot
	// tell, and whoever reads the database will see these bytes.
	Sealed  []byte
	View    string // what progress may show of it, sealed under the fleet's keys
	Expires time.Time
	Manual  Manual // the number by which its holder may ask again; zero: none
}

func (r Result) check() error {
	if err := errors.Join(checkID("exchange number", r.ExchangeNo), checkID("part", r.Part)); err != nil {
		return err
	}
	if len(r.Sealed) == 0 || len(r.Sealed) > maxSealed {
		return fmt.Errorf("%w: part of %d bytes, want 1 to %d", ErrArgument, len(r.Sealed), maxSealed)
	}
	return nil
}

// PutResult keeps a result until it expires. A part put again replaces the
// former one. It returns ErrSuperseded if the exchange is not runner's (any
// more): another gateway has taken it over, or it was deleted.
func (s *Store) PutResult(ctx context.Context, r Result, runner string) error {
	if err := r.check(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return s.inTx(ctx, "put result", func(tx *sql.Tx) error {
		// The row is locked, so that nobody takes the exchange over meanwhile.
		mine, err := changed(tx.ExecContext(ctx, `UPDATE admission SET runner = runner WHERE exchange_no = $1 AND runner = $2`, r.ExchangeNo, runner))
		if err != nil {
			return err
		}
		if !mine {
			return ErrSuperseded
		}
		return s.put(ctx, tx, r)
	})
}

func (s *Store) put(ctx context.Context, tx *sql.Tx, r Result) error {
	_, err := tx.ExecContext(ctx,
		`INSERT INTO result (exchange_no, part, sealed, view, expires) VALUES ($1, $2, $3, $4, $5)
		 ON CONFLICT (exchange_no, part) DO UPDATE SET sealed = excluded.sealed, view = excluded.view, expires = excluded.expires`,
		r.ExchangeNo, r.Part, r.Sealed, r.View, r.Expires.UnixMilli())
	if err != nil || r.Manual.Number == "" {
		return err
	}
	_, err = tx.ExecContext(ctx,
		`INSERT INTO manual (number_digest, holder_digest, exchange_no, expires) VALUES ($1, $2, $3, $4)
		 ON CONFLICT (number_digest) DO UPDATE SET expires = excluded.expires`,
		s.digest("manual", r.Manual.Number), s.digest("holder", r.Manual.Number, r.Manual.Holder), r.ExchangeNo, r.Manual.Expires.UnixMilli())
	return err
}

// Manual is a number under which a department checks something by hand. The
// store keeps keyed digests of it, and the exchange it came from.
type Manual struct {
	Number string
	// Holder digests whose it is and what for. It is digested again, with the
	// number and a key that is not in the database.
	Holder  string
	Expires time.Time
}

// HeldBy returns the exchange in which a number was given to this holder, or
// ErrNotFound: no such number, another holder, or too late.
func (s *Store) HeldBy(ctx context.Context, number, holder string) (exchangeNo string, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err = s.db.QueryRowContext(ctx, `SELECT exchange_no FROM manual WHERE number_digest = $1 AND holder_digest = $2 AND expires > $3`,
		s.digest("manual", number), s.digest("holder", number, holder), s.now().UnixMilli()).Scan(&exchangeNo)
	if errors.Is(err, sql.ErrNoRows) {
		return "", ErrNotFound
	}
	if err != nil {
		return "", unavailable("look up manual number", err)
	}
	return exchangeNo, nil
}

// Ticket is what every gateway can know of an exchange.
type Ticket struct {
	Sealed   string            // who and what for, under the fleet's keys; empty once the caller has deleted it
	Expires  time.Time         //
	Views    map[string]string // of the parts that have a result, by part
	Deferred map[string]time.Time
}

// Ticket reads it, or returns ErrNotFound.
func (s *Store) Ticket(ctx context.Context, exchangeNo string) (Ticket, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	t := Ticket{Views: make(map[string]string), Deferred: make(map[string]time.Time)}
	var expires int64
	err := s.db.QueryRowContext(ctx, `SELECT ticket, expires FROM admission WHERE exchange_no = $1 AND expires > $2`,
		exchangeNo, s.now().UnixMilli()).Scan(&t.Sealed, &expires)
	if errors.Is(err, sql.ErrNoRows) || err == nil && t.Sealed == "" {
		return t, ErrNotFound
	}
	if err != nil {
		return t, unavailable("read ticket", err)
	}
	t.Expires = time.UnixMilli(expires)
	// Results after deferrals: a part that moves from one to the other meanwhile is in both, never in neither.
	deadlines := make(map[string]int64)
	if err := s.byPart(ctx, `SELECT part, deadline FROM deferral WHERE exchange_no = $1`, exchangeNo, func(scan func(...any) error) error {
		var part string
		var at int64
		err := scan(&part, &at)
		deadlines[part] = at
		return err
	}); err != nil {
		return t, err
	}
	if err := s.byPart(ctx, `SELECT part, view FROM result WHERE exchange_no = $1`, exchangeNo, func(scan func(...any) error) error {
		var part, view string
		err := scan(&part, &view)
		t.Views[part] = view
		return err
	}); err != nil {
		return t, err
	}
	for part, at := range deadlines {
		if _, done := t.Views[part]; !done {
			t.Deferred[part] = time.UnixMilli(at)
		}
	}
	return t, nil
}

func (s *Store) byPart(ctx context.Context, query, exchangeNo string, row func(scan func(...any) error) error) error {
	rows, err := s.db.QueryContext(ctx, query, exchangeNo)
	if err != nil {
		return unavailable("read ticket", err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return unavailable("read ticket", err)
		}
	}
	if err := rows.Err(); err != nil {
		return unavailable("read ticket", err)
	}
	return nil
}

// GetResult returns a part, or ErrNotFound if there is none or it has expired.
func (s *Store) GetResult(ctx context.Context, exchangeNo, part string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var sealed []byte
	err := s.db.QueryRowContext(ctx,
		`SELECT sealed FROM result WHERE exchange_no = $1 AND part = $2 AND expires > $3`,
		exchangeNo, part, s.now().UnixMilli()).Scan(&sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, unavailable("get result", err)
	}
	return sealed, nil
}

// Results names the parts of an exchange that can be fetched now, sorted.
func (s *Store) Results(ctx context.Context, exchangeNo string) (parts []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	rows, err := s.db.QueryContext(ctx,
		`SELECT part FROM result WHERE exchange_no = $1 AND expires > $2 ORDER BY part`,
		exchangeNo, s.now().UnixMilli())
	if err != nil {
		return nil, unavailable("list results", err)
	}
	defer rows.Close()
	for rows.Next() {
		var part string
		if err := rows.Scan(&part); err != nil {
			return nil, unavailable("list results", err)
		}
		parts = append(parts, part)
	}
	if err := rows.Err(); err != nil {
		return nil, unavailable("list results", err)
	}
	return parts, nil
}

// DeleteExchange removes every part of an exchange, waiting ones too, and its
// ticket. Its admission and spent tokens stay until they expire, so that
// deleting an answer does not allow the question again.
func (s *Store) DeleteExchange(ctx context.Context, exchangeNo string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return s.inTx(ctx, "delete exchange", func(tx *sql.Tx) error {
		for _, statement := range [...]string{
			`UPDATE admission SET ticket = '', runner = '' WHERE exchange_no = $1`,
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
}
