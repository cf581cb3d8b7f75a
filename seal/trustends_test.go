package seal

import (
	"encoding/pem"
	"fmt"
	"slices"
	"testing"
	"time"

	"yizheng/seal/tsp/tsptest"
)

func TestTrust_SaysWhenWhatItBelievesEnds(t *testing.T) {
	c, a := newCity(t), tsptest.New(t)
	c.write("tsa/tsa.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Root.Raw}))
	c.crl(c.holder.Cert, signed)
	c.statusList()
	var got []string
	for _, e := range c.trust().Ends() {
		got = append(got, fmt.Sprint(e.What, " ", e.Name, " ", e.Until.Sub(now).Round(time.Hour), " ", e.Routine))
	}
	slices.Sort(got)
	left := func(until time.Time) string { return until.Sub(now).Round(time.Hour).String() }
	want := []string{
		"trust.crl root.crl 24h0m0s true",
		"trust.makers maker.crt " + left(years.Until) + " false",
		"trust.roots root.crt " + left(c.root.Cert.NotAfter) + " false",
		"trust.seals-status " + keyID(c.maker.Cert) + " 24h0m0s true",
		"trust.tsa tsa.crt " + left(a.Root.NotAfter) + " false",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
}
