package seal

import (
	"bytes"
	"encoding/hex"
	"math/big"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/smx509"

	"yizheng/identity/jose"
	"yizheng/seal/ses"
)

// vectorGIF is one transparent pixel.
const vectorGIF = "47494638396101000100800000ffffff00000021f90401000000002c00000000010001000002024401003b"

// sealVector makes the seal and the signature of docs/protocol/seal.md. Without a
// source of randomness SM2 signs deterministically (RFC 6979 with SM3), so that they
// are the same every time.
func sealVector(t *testing.T) (seal, signature []byte) {
	t.Helper()
	key := func(name string) *jose.Key {
		k, err := sm2.NewPrivateKey(digest([]byte("yizheng seal vector " + name)))
		if err != nil {
			t.Fatal(err)
		}
		return jose.NewKey(k)
	}
	valid := Validity{time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2030, 12, 31, 23, 59, 59, 0, time.UTC)}
	cert := func(n int64, name string, usage smx509.KeyUsage, k, issuer *jose.Key, parent *smx509.Certificate) Credential {
		tmpl, err := template(Subject{name, ""}, valid)
		if err != nil {
			t.Fatal(err)
		}
		tmpl.SerialNumber, tmpl.KeyUsage, tmpl.BasicConstraintsValid = big.NewInt(n), usage, true
		if parent == nil {
			tmpl.IsCA, tmpl.MaxPathLenZero, parent = true, true, tmpl
		}
		c, err := certify(nil, tmpl, parent, k, issuer)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	rootKey := key("root")
	root := cert(1, "Root", smx509.KeyUsageCertSign|smx509.KeyUsageCRLSign, rootKey, rootKey, nil)
	maker := cert(2, "Maker", smx509.KeyUsageDigitalSignature, key("maker"), rootKey, root.Cert)
	holder := cert(3, "Holder", smx509.KeyUsageDigitalSignature|smx509.KeyUsageContentCommitment, key("holder"), rootKey, root.Cert)
	picture, err := hex.DecodeString(vectorGIF)
	if err != nil {
		t.Fatal(err)
	}
	seal, err = makeSeal(nil, maker, SealOrder{
		ESID: "6901000000017", Name: "云州市民政局业务专用章", VendorID: "YZ", PictureGIF: picture, WidthMM: 42, HeightMM: 42,
		Created: valid.From.Add(time.Hour), Validity: Validity{valid.From.Add(time.Hour), valid.Until}, HolderCert: holder.Cert,
	})
	if err != nil {
		t.Fatal(err)
	}
	tbs, err := ses.MarshalTBS(seal, holder.Cert.Raw, time.Date(2026, 3, 1, 1, 30, 0, 0, time.UTC), digest([]byte("abc")), propertyInfo([4]int{0, 1000, 9000, 500}), nil)
	if err != nil {
		t.Fatal(err)
	}
	value, err := holder.Key.SM2().Sign(nil, tbs, sm2.DefaultSM2SignerOpts)
	if err != nil {
		t.Fatal(err)
	}
	if signature, err = ses.MarshalSignature(tbs, holder.Cert.Raw, value, nil); err != nil {
		t.Fatal(err)
	}
	return seal, signature
}

// documented returns the hexadecimal block under a heading of the protocol page.
func documented(t *testing.T, heading string) []byte {
	t.Helper()
	page, err := os.ReadFile("../docs/protocol/seal.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)### " + heading + "\n.*?```\n(.*?)```").FindSubmatch(page)
	if found == nil {
		t.Fatalf("docs/protocol/seal.md has no block %q", heading)
	}
	out, err := hex.DecodeString(strings.Join(strings.Fields(string(found[1])), ""))
	if err != nil {
		t.Fatalf("block %q: %v", heading, err)
	}
	return out
}

func TestVector_IsWhatTheProtocolPageSays(t *testing.T) {
	seal, signature := sealVector(t)
	if want := documented(t, "SESeal"); !bytes.Equal(seal, want) {
		t.Errorf("SESeal\n got %x\nwant %x", seal, want)
	}
	if want := documented(t, "SES_Signature"); !bytes.Equal(signature, want) {
		t.Errorf("SES_Signature\n got %x\nwant %x", signature, want)
	}
}

func TestVector_VerifiesAsDocumented(t *testing.T) {
	sig, err := ses.ParseSignature(documented(t, "SES_Signature"))
	if err != nil {
		t.Fatal(err)
	}
	if err := sig.CheckFormat(); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(sig.Seal.Raw, documented(t, "SESeal")) || !bytes.Equal(sig.TBS.DataHash, digest([]byte("abc"))) {
		t.Error("the documented signature is not of the documented seal and data")
	}
	for _, s := range []struct{ cert, msg, sig []byte }{{sig.Cert, sig.RawTBS, sig.Signature}, {sig.Seal.MakerCert, sig.Seal.Signed, sig.Seal.Signature}} {
		cert, err := parseCert(s.cert)
		if err != nil || !verifySM2(cert, s.msg, s.sig) {
			t.Errorf("signature rejected (%v)", err)
		}
	}
}
