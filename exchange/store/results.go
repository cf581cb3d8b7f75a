package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// PutResult keeps one part of an exchange's answer (usually a proof's code)
// until expires. sealed must be ciphertext for the caller's reply key: the
// store cannot tell, and whoever reads the database will see these bytes. A
// part put again replaces the former one.
func (s *Store) PutResult(ctx context.Context, exchangeNo, part string, sealed []byte, expires time.Time) error {
	if err := errors.Join(checkID("exchange number", exchangeNo), checkID("part", part)); err != nil {
		return err
	}
	if len(sealed) == 0 || len(sealed) > maxSealed {
		return fmt.Errorf("%w: part of %d bytes, want 1 to %d", ErrArgument, len(sealed), maxSealed)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := s.db.ExecContext(ctx,
		`INSERT INTO result (exchange_no, part, sealed, expires) VALUES ($1, $2, $3, $4)
		 ON CONFLICT (exchange_no, part) DO UPDATE SET sealed = excluded.sealed, expires = excluded.expires`,
		exchangeNo, part, sealed, expires.UnixMilli())
	if err != nil {
		return unavailable("put result", err)
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

// DeleteExchange removes every part of an exchange. Its admission and spent
// tokens stay until they expire, so that deleting an answer does not allow the
// question again.
func (s *Store) DeleteExchange(ctx context.Context, exchangeNo string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if _, err := s.db.ExecContext(ctx, `DELETE FROM result WHERE exchange_no = $1`, exchangeNo); err != nil {
		return unavailable("delete exchange", err)
	}
	return nil
}
