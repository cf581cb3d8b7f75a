package envelope_test

import (
	"encoding/asn1"
	"errors"
	"testing"
	"time"

	"github.com/emmansun/gmsm/pkcs"
	"github.com/emmansun/gmsm/pkcs7"
	"github.com/emmansun/gmsm/smx509"

	"yizheng/exchange/envelope"
	"yizheng/identity/jose"
)

// The toolkit here is gmsm's pkcs7, which follows GB/T 35275 to the letter: keys
// only in certificates, SM2 signatures as 1.2.156.10197.1.301.1, NULL parameters.

func keyCertificate(t *testing.T, k *jose.Key) *smx509.Certificate {
	t.Helper()
	now := time.Now()
	der, err := envelope.Certificate(k, now.Add(-time.Hour), now.AddDate(1, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := smx509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

func TestToolkitFindsItsKeyAndDecrypts(t *testing.T) {
	p := newPair(t)
	plain := envelope.SignForTest(t, p.gateway, p.request(), p.front.ID(), []byte("body"))
	message, err := pkcs7.Parse(envelope.SealForTest(t, p.front.Public(), plain))
	if err != nil {
		t.Fatal(err)
	}
	got, err := message.Decrypt(keyCertificate(t, p.front), p.front.SM2())
	if err != nil || string(got) != string(plain) {
		t.Fatal("not what was sealed:", err)
	}
}

func TestWhatAToolkitMakesIsOpened(t *testing.T) {
	p := newPair(t)
	want := p.request()
	want.RecipientKey = p.front.ID()
	ferry := asn1.RawValue{FullBytes: envelope.FerryForTest(t, want)}
	signed, err := pkcs7.NewSMSignedData([]byte("body"))
	if err != nil {
		t.Fatal(err)
	}
	config := pkcs7.SignerInfoConfig{ExtraSignedAttributes: []pkcs7.Attribute{
		{Type: asn1.ObjectIdentifier{1, 2, 156, 251370861, 1, 1}, Value: ferry},
	}}
	if err := signed.AddSigner(keyCertificate(t, p.gateway), p.gateway.SM2(), config); err != nil {
		t.Fatal(err)
	}
	inner, err := signed.Finish()
	if err != nil {
		t.Fatal(err)
	}
	der, err := pkcs7.EncryptSM(pkcs.SM4CBC, inner, []*smx509.Certificate{keyCertificate(t, p.front)})
	if err != nil {
		t.Fatal(err)
	}
	a, body, err := p.reader().Open(der)
	if err != nil {
		var refused *envelope.OpenError
		errors.As(err, &refused)
		t.Fatal(refused.Cause())
	}
	want.SignedAt, want.Deadline = a.SignedAt, want.Deadline.UTC()
	if !same(a, want) || string(body) != "body" {
		t.Errorf("opened as %+v %q", a, body)
	}
}
