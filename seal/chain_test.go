package seal

import (
	"testing"
	"time"

	"github.com/emmansun/gmsm/smx509"
)

func TestTrust_ARememberedChainStillHasItsValidityAndUsage(t *testing.T) {
	c := newCity(t)
	trust := c.trust()
	short, err := MakeHolder(c.root, Subject{Name: "云州市民政局"}, Validity{born, signed})
	c.ok(err)
	for _, tt := range []struct {
		name string
		at   time.Time
		ok   bool
	}{
		{"first", signed.Add(-time.Hour), true},
		{"again", signed.Add(-time.Minute), true},
		{"last moment", signed, true},
		{"expired", signed.Add(time.Second), false},
		{"not begun", born.Add(-time.Second), false},
	} {
		if _, err := trust.chain(short.Cert, tt.at, forSigner); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	commits, err := makeEnd(c.root, Subject{Name: "只可承诺"}, years, smx509.KeyUsageContentCommitment)
	c.ok(err)
	if _, err := trust.chain(commits.Cert, signed, forSigner); err != nil {
		t.Errorf("as signer: %v", err)
	}
	if _, err := trust.chain(commits.Cert, signed, forMaker); err == nil {
		t.Error("accepted as maker because it was remembered as signer")
	}
}

func TestTrust_ForgetsWhenItRemembersTooMuch(t *testing.T) {
	c := newCity(t)
	cache := &chainCache{}
	for i := range 3 * maxChains {
		cache.keep(&smx509.Certificate{Raw: []byte{byte(i), byte(i >> 8)}}, []*smx509.Certificate{c.holder.Cert, c.root.Cert})
		if len(cache.held) > maxChains {
			t.Fatalf("%d chains kept", len(cache.held))
		}
	}
}
