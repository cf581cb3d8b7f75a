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

func TestRecent_ForgetsWhenItRemembersTooMuch(t *testing.T) {
	var r recent[int]
	for i := range 3 * maxRecent {
		r.keep([]byte{byte(i), byte(i >> 8)}, i)
		if len(r.kept) > maxRecent {
			t.Fatalf("%d kept", len(r.kept))
		}
	}
	r.keep(make([]byte, maxRemembered+1), 1)
	if _, ok := r.find(make([]byte, maxRemembered+1)); ok {
		t.Error("something too large was kept")
	}
}
