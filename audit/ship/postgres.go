package ship

import (
	"context"
	_ "embed" // the schema
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"yizheng/catalog/beijing"
)

// Schema is the SQL that makes the tables, for the database's owner to apply.
//
//go:embed schema.sql
var Schema string

// PostgreSQL inserts batches, each in one transaction; what is there already is
// left alone. The tables are those of Schema.
type PostgreSQL struct {
	config *pgx.ConnConfig
	conn   *pgx.Conn
	months map[string]bool // whose partitions are there
}

// NewPostgreSQL prepares a connection; it is made by the first Send.
func NewPostgreSQL(dsn string) (*PostgreSQL, error) {
	c, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, errors.New("audit ship: the PostgreSQL connection string is malformed") // pgx may quote it
	}
	return &PostgreSQL{config: c}, nil
}

// Send inserts one batch.
func (p *PostgreSQL) Send(ctx context.Context, records []Record) error {
	if err := p.send(ctx, records); err != nil {
		return fmt.Errorf("postgresql: %w", errors.Join(err, p.Close()))
	}
	return nil
}

func (p *PostgreSQL) send(ctx context.Context, records []Record) error {
	if p.conn == nil {
		conn, err := pgx.ConnectConfig(ctx, p.config)
		if err != nil {
			return errors.New("cannot connect") // pgx names user, host and database
		}
		p.conn, p.months = conn, map[string]bool{}
	}
	for _, r := range records {
		day := r.Time().In(beijing.Zone()).Format("2006-01-02")
		if month := day[:7]; !p.months[month] {
			if _, err := p.conn.Exec(ctx, `SELECT yizheng_audit.month($1::text::date)`, day); err != nil {
				return err
			}
			p.months[month] = true
		}
	}
	return pgx.BeginFunc(ctx, p.conn, func(tx pgx.Tx) error {
		var b pgx.Batch
		for _, r := range records {
			queue(&b, r)
		}
		return tx.SendBatch(ctx, &b).Close()
	})
}

func queue(b *pgx.Batch, r Record) {
	o, c := r.Entry.Open, r.Entry.Closed
	b.Queue(`INSERT INTO yizheng_audit.entries (origin, idx, ts, leaf, op, phase, outcome, dept, item, case_no, proof, provider, source,
			exchange, number, actor, open, closed, salt)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19) ON CONFLICT DO NOTHING`,
		r.Origin, int64(r.Index), r.Time(), r.Leaf[:], string(o.Op), null(string(o.Phase)), null(o.Outcome), null(o.Department), null(o.Item),
		null(o.Case), null(o.Proof), null(o.Provider), null(o.Source), null(o.Exchange), null(o.Number), null(c.Actor),
		string(r.Open), null(string(r.Closed)), r.Salt)
	for _, s := range o.Subjects {
		b.Queue(`INSERT INTO yizheng_audit.subjects (subject, ts, origin, idx) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
			s.Type+"/"+s.Epoch+"/"+s.P, r.Time(), r.Origin, int64(r.Index))
	}
}

func null(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// Close ends the connection.
func (p *PostgreSQL) Close() error {
	if p.conn == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := p.conn.Close(ctx)
	p.conn = nil
	return err
}
