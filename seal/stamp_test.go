package seal

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/smx509"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"yizheng/seal/cms"
	"yizheng/seal/pdf"
	"yizheng/seal/ses"
	"yizheng/seal/tsp"
	"yizheng/seal/tsp/tsptest"
)

// trustAuthority puts an authority's root into the city's trust directory.
func (c *city) trustAuthority(a *tsptest.Authority) {
	c.t.Helper()
	a.GenTime = func() time.Time { return signed }
	c.write("tsa/root.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Root.Raw}))
}

// stamped are options that stamp with an authority.
func (c *city) stamped(a *tsptest.Authority, required bool) RegistryOptions {
	c.t.Helper()
	client, err := tsp.NewClient(tsp.Config{URL: a.URL, RootCAs: a.RootCAs, Timeout: 2 * time.Second})
	c.ok(err)
	c.t.Cleanup(client.Close)
	return RegistryOptions{Trust: c.trust(), TimeStamps: &TimeStamps{Client: client, Required: required}}
}

// sign renders for the options' slot and signs.
func (c *city) sign(o RegistryOptions) ([]byte, Use, error) {
	c.t.Helper()
	r := c.registry(o)
	slot, err := r.Slot("mz")
	c.ok(err)
	return r.Sign(context.Background(), "mz", c.draftFor(slot, signed), signed)
}

func TestSign_StampsTheSignatureInBothModes(t *testing.T) {
	for _, mode := range []Mode{ModeSES, ModeCMS} {
		t.Run(string(mode), func(t *testing.T) {
			c, a := newCity(t), tsptest.New(t)
			c.trustAuthority(a)
			o := c.stamped(a, true)
			o.Modes = map[string]Mode{"mz": mode}
			file, use, err := c.sign(o)
			c.ok(err)
			if !use.StampedAt.Equal(signed) || use.StampFault != nil {
				t.Errorf("%+v", use)
			}
			value, token := signatureIn(t, file, mode)
			result, reason, when := c.trust().CheckStamp(context.Background(), token, value, signed, now)
			if result != OK || !when.Equal(signed) || !strings.Contains(reason.ZH, "云州测试时间戳") {
				t.Errorf("%v %+v %v", result, reason, when)
			}
			if mode == ModeSES { // the CMS container has a test of its own
				if r := Verify(file, c.trust(), now); !r.Overall || r.Checks[CheckStamp-1].Result != OK {
					t.Errorf("%+v", r.Checks)
				}
			}
		})
	}
}

func TestVerify_JudgesTheTimeStampOfTheSealItself(t *testing.T) {
	c, a := newCity(t), tsptest.New(t)
	c.trustAuthority(a)
	made, err := ses.ParseSeal(c.otherSeal(func(o *SealOrder) { o.Version = ses.V5 }))
	c.ok(err)
	for _, tt := range []struct {
		name string
		over []byte
		at   time.Time
		want Result
		says string
	}{
		{"stamped when it was made", made.Signature, made.Info.Property.Created, OK, ""},
		{"stamped before it was used", made.Signature, signed.Add(-time.Hour), OK, ""},
		{"of another seal", []byte("another"), signed, Fail, "of another signature"},
		{"older than the seal", made.Signature, made.Info.Property.Created.Add(-time.Hour), Fail, "before the seal was made"},
		{"younger than its use", made.Signature, signed.Add(time.Hour), Fail, "after the seal was used"},
		{"no token", nil, signed, Fail, "breaks its standard"},
	} {
		token := []byte("no token")
		if tt.over != nil {
			a.GenTime = func() time.Time { return tt.at }
			token = a.Stamp(tt.over)
		}
		raw, err := ses.MarshalSeal(made.RawInfo, made.MakerCert, made.Signature, token)
		c.ok(err)
		r := Verify(c.forge(forgery{seal: raw}), c.trust(), now)
		if got := r.Checks[CheckSeal-1]; got.Result != tt.want || !strings.Contains(got.Reason.EN, tt.says) || r.Overall != (tt.want == OK) {
			t.Errorf("%s: %+v, stopped at %d", tt.name, got, r.Stopped)
		}
	}
}

// signatureIn returns signature value and time stamp of a file.
func signatureIn(t *testing.T, file []byte, mode Mode) (value, token []byte) {
	t.Helper()
	field, err := pdf.ReadSignature(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	if mode == ModeCMS {
		contents := cryptobyte.String(field.Contents)
		var message cryptobyte.String
		if !contents.ReadASN1Element(&message, asn1.SEQUENCE) || len(bytes.TrimRight(contents, "\x00")) > 0 {
			t.Fatal("Contents is not one structure and zeros")
		}
		m, err := cms.Parse(message)
		if err != nil {
			t.Fatal(err)
		}
		return m.Signature, m.TimeStamp
	}
	s, err := ses.ParseSignature(field.Contents)
	if err != nil {
		t.Fatal(err)
	}
	return s.Signature, s.TimeStamp
}

func TestSign_WithoutAuthorityDoesAsConfigured(t *testing.T) {
	for _, tt := range []struct {
		name  string
		wrong func(*city, *tsptest.Authority)
	}{
		{"down", func(_ *city, a *tsptest.Authority) { a.Code = 503 }},
		{"another clock", func(_ *city, a *tsptest.Authority) { a.GenTime = time.Now }},
		{"not trusted", func(c *city, a *tsptest.Authority) { a.Root = c.root.Cert }},
	} {
		c, a := newCity(t), tsptest.New(t)
		if tt.name != "not trusted" {
			c.trustAuthority(a)
		}
		tt.wrong(c, a)
		if file, _, err := c.sign(c.stamped(a, true)); !errors.Is(err, ErrNoStamp) || file != nil {
			t.Errorf("%s, required: %v", tt.name, err)
		}
		file, use, err := c.sign(c.stamped(a, false))
		if err != nil || !errors.Is(use.StampFault, tsp.ErrUnavailable) || !use.StampedAt.IsZero() {
			t.Errorf("%s, not required: %v %+v", tt.name, err, use)
		}
		if r := Verify(file, c.trust(), now); !r.Overall || r.Checks[CheckStamp-1].Result != Absent {
			t.Errorf("%s: %+v", tt.name, r.Checks)
		}
	}
}

func TestCheckStamp_NamesWhatIsWrong(t *testing.T) {
	c, a := newCity(t), tsptest.New(t)
	c.trustAuthority(a)
	value := []byte("a signature value")
	good := a.Stamp(value)
	a.GenTime = func() time.Time { return signed.Add(time.Hour) }
	late := a.Stamp(value)
	a.GenTime = func() time.Time { return now.Add(time.Hour) }
	future := a.Stamp(value)
	a.GenTime = func() time.Time { return signed }
	stranger := tsptest.New(t).Stamp(value)
	sha2 := tsptest.NewSHA2(t)
	noTSA := tsptest.NewWith(t, func(c *smx509.Certificate) { c.ExtraExtensions = nil })
	for _, tt := range []struct {
		name   string
		token  []byte
		at     time.Time
		result Result
		says   string
	}{
		{"good", good, signed, OK, "stamped at"},
		{"absent", nil, signed, Absent, "no time stamp"},
		{"no DER", []byte("token"), signed, Fail, "breaks its standard"},
		{"of something else", a.Stamp([]byte("other")), signed, Fail, "another signature"},
		{"an hour later", late, signed, Fail, "too far"},
		{"in the future", future, signed, Fail, "in the future"},
		{"signing time unknown", good, time.Time{}, Unknown, "unknown"},
		{"by a stranger", stranger, signed, Fail, "not issued by a trusted authority"},
		{"by a stranger with other algorithms", sha2.Stamp(value), signed, Fail, "not issued by a trusted authority"},
		{"by a certificate for other things", noTSA.Stamp(value), signed, Fail, "not one for time stamps"},
		{"signature changed", append(bytes.Clone(good[:len(good)-1]), good[len(good)-1]^1), signed, Fail, "signature is wrong"},
	} {
		result, reason, when := c.trust().CheckStamp(context.Background(), tt.token, value, tt.at, now)
		if result != tt.result || !strings.Contains(reason.EN, tt.says) || when.IsZero() == (result == OK) {
			t.Errorf("%s: %v %+v %v", tt.name, result, reason, when)
		}
	}
	sha2.GenTime = func() time.Time { return signed }
	c.trustAuthority(sha2)
	if result, reason, _ := c.trust().CheckStamp(context.Background(), sha2.Stamp(value), value, signed, now); result != OK {
		t.Errorf("ECDSA with SHA-256: %+v", reason)
	}
	c.trustAuthority(a)
	c.write("crl/tsa.crl", revoked(t, a, signed))
	if result, reason, _ := c.trust().CheckStamp(context.Background(), good, value, signed, now); result != Fail || !strings.Contains(reason.EN, "revoked since") {
		t.Errorf("revoked: %v %+v", result, reason)
	}
	if result, _, _ := (*Trust)(nil).CheckStamp(context.Background(), good, value, signed, now); result != Fail {
		t.Error("trusted without a trust directory")
	}
}

// revoked is a list of the authority's root that names its certificate.
func revoked(t *testing.T, a *tsptest.Authority, at time.Time) []byte {
	t.Helper()
	raw, err := smx509.CreateRevocationList(rand.Reader, &smx509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: now, NextUpdate: now.AddDate(0, 0, 1),
		RevokedCertificateEntries: []smx509.RevocationListEntry{{SerialNumber: a.Cert.SerialNumber, RevocationTime: at}},
	}, a.Root, a.RootKey)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// What was decided for a time without an authority holds for every document of it,
// and only the first of them waits.
func TestSign_WhileTheAuthorityIsDownOnlyTheFirstDocumentWaits(t *testing.T) {
	for _, required := range []bool{true, false} {
		c, a := newCity(t), tsptest.New(t)
		c.trustAuthority(a)
		a.Code = 503
		r := c.registry(c.stamped(a, required))
		slot, err := r.Slot("mz")
		c.ok(err)
		for n := range 5 {
			file, use, err := r.Sign(context.Background(), "mz", c.draftFor(slot, signed), signed)
			if required && (!errors.Is(err, ErrNoStamp) || file != nil) {
				t.Errorf("required, document %d: %v", n+1, err)
			}
			if !required && (err != nil || use.Stamp() != "unavailable") {
				t.Errorf("not required, document %d: %v, the record says %q", n+1, err, use.Stamp())
			}
		}
		if calls := a.Calls.Load(); calls != 1 {
			t.Errorf("required %t: asked %d times for 5 documents", required, calls)
		}
	}
}
