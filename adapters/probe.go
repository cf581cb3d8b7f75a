package adapters

import (
	"context"
	"fmt"

	"yizheng/catalog"
)

// Probe tells whether a source could be asked now, without asking about
// anybody: the database parses the statement and does not run it.
func (s *SQL) Probe(ctx context.Context, src catalog.Source) error {
	plan, err := s.sources.get(src, s.prepare)
	if err != nil {
		return err
	}
	if err := s.db.PingContext(ctx); err != nil {
		return fmt.Errorf("sql source %s: %w", src.ID, sqlError(ctx, "connect", err, true))
	}
	st, err := s.db.PrepareContext(ctx, plan.text)
	if err != nil {
		return fmt.Errorf("sql source %s: %w", src.ID, sqlError(ctx, "prepare", err, false))
	}
	return st.Close()
}

// Probe tells whether a source could be asked now, without asking about
// anybody: the platform gives out the credential for its service.
func (p *Platform) Probe(ctx context.Context, src catalog.Source) error {
	if err := p.Prepare(src); err != nil {
		return err
	}
	if _, err := p.credential(src.Query.Service).get(ctx); err != nil {
		return fmt.Errorf("platform source %s: %w", src.ID, err)
	}
	return nil
}
