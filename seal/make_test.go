package seal

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/emmansun/gmsm/smx509"

	"yizheng/seal/ses"
)

func TestMake_CertificatesSayWhoAndWhatFor(t *testing.T) {
	c := newCity(t)
	for _, tt := range []struct {
		name  string
		cert  *smx509.Certificate
		ca    bool
		usage smx509.KeyUsage
	}{
		{"root", c.root.Cert, true, smx509.KeyUsageCertSign | smx509.KeyUsageCRLSign},
		{"maker", c.maker.Cert, false, smx509.KeyUsageDigitalSignature},
		{"holder", c.holder.Cert, false, smx509.KeyUsageDigitalSignature | smx509.KeyUsageContentCommitment},
	} {
		if tt.cert.IsCA != tt.ca || tt.cert.KeyUsage != tt.usage || tt.cert.SignatureAlgorithm != smx509.SM2WithSM3 {
			t.Errorf("%s: CA %v, usage %v, %v", tt.name, tt.cert.IsCA, tt.cert.KeyUsage, tt.cert.SignatureAlgorithm)
		}
	}
	if name, code := subject(c.holder.Cert); name != "云州市民政局" || code != usccCode {
		t.Errorf("holder is %q %q", name, code)
	}
	if _, err := MakeRoot(Subject{}, years); err == nil {
		t.Error("a root without a name")
	}
	if _, err := MakeRoot(Subject{Name: "根"}, Validity{now, now}); err == nil {
		t.Error("a root without validity")
	}
}

func TestMakeSeal_HoldsWhatWasOrdered(t *testing.T) {
	c := newCity(t)
	s, err := ses.ParseSeal(c.seal)
	c.ok(err)
	p := s.Info.Property
	if s.Version != ses.V4 || s.Info.ESID != esid || p.Name != sealName || p.Kind != ses.Unit || p.ListType != ses.Certificates ||
		s.Info.Picture.Type != "GIF" || s.Info.Picture.Width != 42 || !p.ValidEnd.Equal(c.order().Validity.Until) {
		t.Errorf("%+v", s.Info)
	}
	if _, err := checkSeal(s, c.trust()); err != nil {
		t.Error(err)
	}
	o := c.order()
	o.HolderCert = nil
	if _, err := MakeSeal(c.maker, o); err == nil {
		t.Error("a seal without a holder")
	}
	o = c.order()
	o.ESID = "章"
	if _, err := MakeSeal(c.maker, o); !errors.Is(err, ses.ErrFormat) {
		t.Errorf("esID: %v", err)
	}
}

func TestReadCredential_ReadsWhatWasWrittenAndRefusesAnotherKey(t *testing.T) {
	c := newCity(t)
	dir := t.TempDir()
	crt, key, other := filepath.Join(dir, "a.crt"), filepath.Join(dir, "a.key"), filepath.Join(dir, "b.key")
	c.ok(os.WriteFile(crt, append(c.maker.CertPEM(), '\n'), 0o600))
	c.ok(c.maker.Key.WriteFile(key, nil))
	c.ok(c.holder.Key.WriteFile(other, nil))
	got, err := ReadCredential(crt, key, "")
	if err != nil || got.Key.ID() != c.maker.Key.ID() || !got.Cert.Equal(c.maker.Cert) {
		t.Errorf("%v", err)
	}
	if _, err := ReadCredential(crt, other, ""); !errors.Is(err, ErrMaterial) {
		t.Errorf("another key: %v", err)
	}
}
