package demo

import (
	"context"
	"crypto/ecdsa"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"time"

	"yizheng/audit"
	"yizheng/audit/search"
	"yizheng/catalog/beijing"
	"yizheng/exchange"
	"yizheng/identity/jose"
)

// shownUsages is how many of them are printed.
const shownUsages = 5

// Usages asks, for who brought the card, who has used their data since a moment.
func (k *Clerk) Usages(ctx context.Context, token exchange.SubjectToken, since time.Time) (search.Usages, error) {
	var u search.Usages
	return u, k.call(ctx, http.MethodPost, "/v1/citizen/findUsage",
		map[string]any{"subject_token": token.Token, "period": search.Period{Start: since, Limit: 1000, Proofs: true}}, &u)
}

// tellUsages shows what the resident sees of the exchange, every entry proven.
func (c *City) tellUsages(ctx context.Context, clerk *Clerk, token exchange.SubjectToken, since time.Time, w io.Writer) (bool, error) {
	key, err := jose.ReadPublicKey(c.in("keys/audit.pub.pem"))
	if err != nil {
		return false, err
	}
	u, err := clerk.Usages(ctx, token, since)
	if err != nil {
		return false, fmt.Errorf("findUsage: %w", err)
	}
	proven := 0
	for _, one := range u.Usages {
		if usageHolds(one, key) {
			proven++
		}
	}
	good := proven == len(u.Usages) && proven > 0 && u.Complete
	mark := "✓"
	if !good {
		mark = "✗"
	}
	fmt.Fprintf(w, "\n  %s 本人可查“谁查过我”：本次办理有 %d 条使用记录，%d 条的证明核验通过\n", mark, len(u.Usages), proven)
	for _, one := range u.Usages[:min(shownUsages, len(u.Usages))] {
		fmt.Fprintf(w, "      %s  %s  %s  %s\n", one.LogTime.In(beijing.Zone()).Format(time.TimeOnly), pad(one.Action, 28), one.ReceiverName, one.Item)
	}
	return good, nil
}

// usageHolds reports whether a usage is an entry of the log, whose closed half is withheld.
func usageHolds(u search.Usage, key *ecdsa.PublicKey) bool {
	if u.Evidence == nil {
		return false
	}
	r, err := audit.ParseReceipt([]byte(u.Evidence.Receipt))
	closed, badHash := base64.StdEncoding.DecodeString(u.Evidence.Closed)
	return err == nil && badHash == nil && len(closed) == len(audit.Hash{}) &&
		r.Verify(key, audit.LeafHashWithheld([]byte(u.Evidence.Open), audit.Hash(closed))) == nil
}
