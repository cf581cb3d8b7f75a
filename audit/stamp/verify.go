package stamp

import (
	"fmt"
	"os"
	"time"

	"github.com/emmansun/gmsm/smx509"

	"yizheng/seal/tsp"
)

// Tokens makes the check of tokens for an auditor: roots is a file with the
// PEM certificates under which an authority's must be. The check returns a
// token's time and how exact that is. It does not ask about revocation.
func Tokens(roots string) (func(token, over []byte) (at time.Time, accuracy time.Duration, err error), error) {
	raw, err := os.ReadFile(roots)
	if err != nil {
		return nil, err
	}
	pool := smx509.NewCertPool()
	if !pool.AppendCertsFromPEM(raw) {
		return nil, fmt.Errorf("%s: 没有证书 / holds no certificate", roots)
	}
	return func(raw, over []byte) (time.Time, time.Duration, error) {
		token, err := tsp.Parse(raw)
		if err != nil {
			return time.Time{}, 0, err
		}
		if _, err := token.Verify(over, pool, smx509.NewCertPool()); err != nil {
			return time.Time{}, 0, err
		}
		return token.GenTime, token.Accuracy, nil
	}, nil
}
