package front

import (
	"context"

	"yizheng/exchange"
	"yizheng/exchange/ferry"
)

// Collect hands what comes to the fleet's address to s until ctx ends. It is
// committed when s has it durably.
func Collect(ctx context.Context, bus ferry.Bus, s *exchange.Service) error {
	return ferry.CollectDeferred(ctx, bus, func(ctx context.Context, m ferry.Message) error {
		h := m.Headers
		if h == nil {
			h = map[string]string{}
		}
		return s.Returned(ctx, exchange.Returned{Exchange: h[ferry.HeaderExchange], Leg: h[ferry.HeaderLeg], Headers: h, Sealed: m.Body})
	})
}
