package tsp_test

import (
	"bytes"
	"context"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"testing"
	"time"

	"github.com/emmansun/gmsm/smx509"

	"yizheng/seal/cms"
	"yizheng/seal/tsp"
	"yizheng/seal/tsp/tsptest"
)

var over = []byte("a signature value")

func client(t *testing.T, a *tsptest.Authority, c tsp.Config) *tsp.Client {
	t.Helper()
	c.URL, c.RootCAs = a.URL, a.RootCAs
	k, err := tsp.NewClient(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

// verify checks a token against the authority's own root.
func verify(t *tsp.Token, a *tsptest.Authority) error {
	roots := smx509.NewCertPool()
	roots.AddCert(a.Root)
	_, err := t.Verify(over, roots, smx509.NewCertPool())
	return err
}

func TestStamp_IsVerified(t *testing.T) {
	asked := asn1.ObjectIdentifier{1, 2, 3, 4}
	for _, tt := range []struct {
		name   string
		policy asn1.ObjectIdentifier
		want   asn1.ObjectIdentifier
	}{{"own policy", nil, tsptest.Policy}, {"policy asked for", asked, asked}} {
		a := tsptest.New(t)
		raw, token, err := client(t, a, tsp.Config{Policy: tt.policy}).Stamp(context.Background(), over)
		if err != nil {
			t.Fatal(tt.name, err)
		}
		again, err := tsp.Parse(raw)
		if err != nil || !again.GenTime.Equal(token.GenTime) {
			t.Error(tt.name, err)
		}
		if err := verify(again, a); err != nil {
			t.Error(tt.name, err)
		}
		if time.Since(token.GenTime).Abs() > time.Minute || token.Accuracy != time.Second || !token.Policy.Equal(tt.want) || token.Nonce == nil {
			t.Errorf("%s: %+v", tt.name, token)
		}
	}
}

func TestStamp_SaysThatNoneIsToBeHad(t *testing.T) {
	for _, tt := range []struct {
		name  string
		wrong func(*tsptest.Authority)
	}{
		{"refused", func(a *tsptest.Authority) { a.Status = 2 }},
		{"HTTP error", func(a *tsptest.Authority) { a.Code = 503 }},
		{"too slow", func(a *tsptest.Authority) { a.Hold = 300 * time.Millisecond }},
		{"another nonce", func(a *tsptest.Authority) { a.Info = func(i *tsptest.Info) { i.Nonce.Add(i.Nonce, i.Serial) } }},
		{"no nonce", func(a *tsptest.Authority) { a.Info = func(i *tsptest.Info) { i.Nonce = nil } }},
		{"of something else", func(a *tsptest.Authority) { a.Info = func(i *tsptest.Info) { i.Imprint.Digest[0] ^= 1 } }},
		{"another policy", func(a *tsptest.Authority) { a.Info = func(i *tsptest.Info) { i.Policy = tsptest.Policy } }},
		{"no certificate", func(a *tsptest.Authority) { a.NoCert = true }},
		{"version 2", func(a *tsptest.Authority) { a.Info = func(i *tsptest.Info) { i.Version = 2 } }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := tsptest.New(t)
			k := client(t, a, tsp.Config{Policy: asn1.ObjectIdentifier{1, 2, 3, 4}, Timeout: 200 * time.Millisecond})
			tt.wrong(a)
			if raw, _, err := k.Stamp(context.Background(), over); !errors.Is(err, tsp.ErrUnavailable) || raw != nil {
				t.Errorf("%v", err)
			}
		})
	}
	if _, err := tsp.NewClient(tsp.Config{URL: "http://tsa.example/"}); err == nil {
		t.Error("an address without TLS was accepted")
	}
}

func TestVerify_RefusesWrongTokens(t *testing.T) {
	usage := func(critical bool, more ...byte) func(*smx509.Certificate) {
		return func(c *smx509.Certificate) {
			value := append([]byte{0x30, 10 + byte(len(more)), 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 8}, more...)
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: critical, Value: value}}
		}
	}
	other := tsptest.New(t)
	for _, tt := range []struct {
		name   string
		cert   func(*smx509.Certificate)
		wrong  func(*tsptest.Authority)
		change func([]byte) []byte
		want   error // nil: any
	}{
		{"usage not critical", usage(false), nil, nil, tsp.ErrUsage},
		{"other usages too", usage(true, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 9), nil, nil, tsp.ErrUsage},
		{"no usage", func(c *smx509.Certificate) { c.ExtraExtensions = nil }, nil, nil, tsp.ErrUsage},
		{"key usage for something else", func(c *smx509.Certificate) { c.KeyUsage = smx509.KeyUsageKeyAgreement }, nil, nil, tsp.ErrUsage},
		{"expired then", func(c *smx509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().AddDate(-2, 0, 0), time.Now().AddDate(-1, 0, 0)
		}, nil, nil, nil},
		{"of other bytes", nil, func(a *tsptest.Authority) { a.Info = func(i *tsptest.Info) { i.Imprint.Digest[3] ^= 4 } }, nil, tsp.ErrImprint},
		{"another root", nil, func(a *tsptest.Authority) { a.Root = other.Root }, nil, nil},
		{"time changed", nil, nil, func(b []byte) []byte { b[bytes.Index(b, []byte("\x18\x0f20"))+5]++; return b }, cms.ErrDigest},
		{"message digest of something else", nil, func(a *tsptest.Authority) { a.Sign = func(d []byte) []byte { return make([]byte, len(d)) } }, nil, cms.ErrDigest},
		{"signature changed", nil, nil, func(b []byte) []byte { b[len(b)-1] ^= 1; return b }, cms.ErrSignature},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := tsptest.NewWith(t, tt.cert)
			if tt.wrong != nil {
				tt.wrong(a)
			}
			raw := a.Stamp(over)
			if tt.change != nil {
				raw = tt.change(raw)
			}
			token, err := tsp.Parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			if err := verify(token, a); err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestVerify_ReadsTokensOfTheRestOfTheWorld(t *testing.T) {
	a := tsptest.NewSHA2(t)
	token, err := tsp.Parse(a.Stamp(over))
	if err != nil {
		t.Fatal(err)
	}
	if err := verify(token, a); err != nil {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(tsptest.New(f).Stamp(over))
	f.Add(tsptest.NewSHA2(f).Stamp(over))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if _, err := tsp.Parse(raw); err != nil && !errors.Is(err, tsp.ErrFormat) {
			t.Error(err)
		}
	})
}
