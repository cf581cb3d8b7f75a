package seal

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"yizheng/seal/revocation"
)

// trustWith opens the city's trust directory with a policy.
func (c *city) trustWith(o revocation.Config) *Trust {
	c.t.Helper()
	tr, err := OpenTrust(c.trustDir, TrustOptions{Revocation: o})
	c.ok(err)
	return tr
}

func TestTrust_RequiredRevocationInformationThatIsMissingStopsBothSigningAndVerifying(t *testing.T) {
	c := newCity(t)
	required := c.trustWith(revocation.Config{Policy: revocation.Policy{Required: true}})
	r := Verify(c.sealed(), required, now)
	if got := r.Checks[CheckCertificate-1]; got.Result != Unknown || r.Overall || !strings.Contains(got.Reason.EN, "not looked up") {
		t.Errorf("%+v", got)
	}
	_, _, err := c.registry(RegistryOptions{Trust: required}).Sign(context.Background(), "mz", c.draft(signed), signed)
	if !errors.Is(err, ErrSealNotValid) {
		t.Errorf("signed without: %v", err)
	}
}

func TestTrust_AListFromAConfiguredAddressCounts(t *testing.T) {
	c := newCity(t)
	c.crl(c.holder.Cert, born)
	list := c.trustDir + "/crl/root.crl"
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, list) }))
	defer s.Close()
	sealed := c.sealed()
	empty := newCity(t) // the same city without the list in its directory
	r := Verify(sealed, empty.trustWith(revocation.Config{CRLs: []string{s.URL}}), now)
	if got := r.Checks[CheckCertificate-1]; got.Result != Fail || !strings.Contains(got.Reason.EN, "revoked since") {
		t.Errorf("%+v", got)
	}
	if r := Verify(sealed, empty.trust(), now); !r.Overall {
		t.Errorf("without the address: %+v", r)
	}
	if _, err := OpenTrust(c.trustDir, TrustOptions{Revocation: revocation.Config{CRLs: []string{"ftp://ca.example/x"}}}); !errors.Is(err, ErrMaterial) {
		t.Errorf("a faulty address: %v", err)
	}
}
