package seal

import (
	"bytes"
	"context"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/emmansun/gmsm/smx509"

	"yizheng/seal/pdf"
	"yizheng/seal/pdf/pdftest"
	"yizheng/seal/revocation"
	"yizheng/seal/ses"
)

// Times of the test city. now is when documents are verified.
var (
	born   = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	signed = time.Date(2026, 3, 1, 1, 30, 0, 0, time.UTC)
	now    = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	years  = Validity{born, born.AddDate(5, 0, 0)}
)

const (
	esid     = "6901000000017"
	sealName = "云州市民政局业务专用章"
	usccCode = "116901000000000011"
)

// city is a root, a maker, a department with its seal, and a trust directory.
type city struct {
	t                   testing.TB
	root, maker, holder Credential
	picture, seal       []byte
	dir, trustDir       string
	font                string
}

// parts are made once: they are the same for all tests and never changed.
var parts = sync.OnceValue(func() (c city) {
	must := func(cred Credential, err error) Credential {
		if err != nil {
			panic(err)
		}
		return cred
	}
	c.root = must(MakeRoot(Subject{Name: "云州测试根"}, Validity{born.AddDate(-1, 0, 0), born.AddDate(20, 0, 0)}))
	c.maker = must(MakeMaker(c.root, Subject{Name: "云州市印章制作中心"}, years))
	c.holder = must(MakeHolder(c.root, Subject{"云州市民政局", usccCode}, years))
	return c
})

func newCity(t testing.TB) *city {
	t.Helper()
	c := parts()
	c.t, c.font, c.dir, c.trustDir = t, pdftest.WriteFont(t, t.TempDir()), t.TempDir(), t.TempDir()
	c.picture = c.ok2(DrawRoundSeal(RoundSeal{FontPath: c.font, Name: "云州市民政局", Purpose: "业务专用章", Code: esid, DPI: 100}))
	c.seal = c.ok2(MakeSeal(c.maker, c.order()))
	c.ok(WriteSealDir(c.dir, "mz", SealDir{Seal: c.seal, Holder: c.holder, Since: born}))
	c.write("roots/root.crt", c.root.CertPEM())
	c.write("makers/maker.crt", c.maker.CertPEM())
	return &c
}

func (c *city) order() SealOrder {
	return SealOrder{
		ESID: esid, Name: sealName, VendorID: "YZ", PictureGIF: c.picture, WidthMM: 42, HeightMM: 42,
		Created: born.Add(time.Hour), Validity: Validity{born.Add(time.Hour), born.AddDate(3, 0, 0)}, HolderCert: c.holder.Cert,
	}
}

func (c *city) ok(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *city) ok2(b []byte, err error) []byte {
	c.t.Helper()
	c.ok(err)
	return b
}

// write puts a file into the trust directory.
func (c *city) write(name string, data []byte) {
	c.t.Helper()
	path := filepath.Join(c.trustDir, name)
	c.ok(os.MkdirAll(filepath.Dir(path), 0o700))
	c.ok(os.WriteFile(path, data, 0o600))
}

func (c *city) trust() *Trust {
	c.t.Helper()
	tr, err := LoadTrust(c.trustDir)
	c.ok(err)
	return tr
}

func (c *city) registry(o RegistryOptions) *Registry {
	c.t.Helper()
	r, err := OpenRegistry(c.dir, o)
	c.ok(err)
	return r
}

// draft renders a small certificate dated at.
func (c *city) draft(at time.Time) *pdf.Draft {
	c.t.Helper()
	slot, err := c.registry(RegistryOptions{}).Slot("mz")
	c.ok(err)
	slot.MaxBytes += 8192 // room for the crafted cases
	return c.draftFor(slot, at)
}

// draftFor is draft for another slot.
func (c *city) draftFor(slot pdf.SignatureSlot, at time.Time) *pdf.Draft {
	c.t.Helper()
	fonts, err := pdf.LoadFonts(c.font, nil)
	c.ok(err)
	renderer, err := pdf.NewRenderer(fonts)
	c.ok(err)
	picture, name, err := c.registry(RegistryOptions{}).Picture("mz")
	c.ok(err)
	d, err := renderer.Render(pdf.Document{
		Title: "婚姻登记证明", Issuer: "云州市民政局", Number: "6901002026030100000017-X", IssuedAt: at,
		Body: "兹证明如下。", Rows: []pdf.Row{{Label: "登记状态", Value: "已登记"}},
		Seed: bytes.Repeat([]byte{7}, pdf.SeedSize), Receipt: "yizheng.test/audit 17", SealPicture: picture, SealName: name, Signer: "云州市民政局",
	}, slot)
	c.ok(err)
	return d
}

// sealed is the good document all cases start from.
func (c *city) sealed() []byte {
	c.t.Helper()
	out, _, err := c.registry(RegistryOptions{}).Sign(context.Background(), "mz", c.draft(signed), signed)
	c.ok(err)
	return out
}

// forgery says what to do differently from Sign.
type forgery struct {
	seal    []byte     // another seal
	signer  Credential // another certificate and key
	at      time.Time  // another signing time
	dated   time.Time  // another /M
	digest  []byte     // another digest
	tbsEdit func([]byte)
	sigEdit func([]byte)
	stamp   []byte
}

// forge seals a document as Sign would not.
func (c *city) forge(f forgery) []byte {
	c.t.Helper()
	if f.seal == nil {
		f.seal = c.seal
	}
	if f.signer.Key == nil {
		f.signer = c.holder
	}
	if f.at.IsZero() {
		f.at = signed
	}
	if f.dated.IsZero() {
		f.dated = f.at
	}
	d := c.draft(f.dated)
	if f.digest == nil {
		f.digest = d.Digest()
	}
	tbs := c.ok2(ses.MarshalTBS(f.seal, f.signer.Cert.Raw, f.at, f.digest, propertyInfo(d.ByteRange()), nil))
	value := c.ok2(signSM2(f.signer.Key.SM2(), tbs))
	if f.sigEdit != nil {
		f.sigEdit(value)
	}
	if f.tbsEdit != nil {
		f.tbsEdit(tbs)
	}
	return c.ok2(d.Fill(c.ok2(ses.MarshalSignature(tbs, f.signer.Cert.Raw, value, f.stamp))))
}

// otherSeal makes a seal with a changed order.
func (c *city) otherSeal(change func(*SealOrder)) []byte {
	c.t.Helper()
	o := c.order()
	change(&o)
	return c.ok2(MakeSeal(c.maker, o))
}

// crl writes a revocation list of the root that names a certificate.
func (c *city) crl(cert *smx509.Certificate, at time.Time) {
	c.t.Helper()
	c.crlFor(cert, at, revocation.Unspecified)
}

func (c *city) crlFor(cert *smx509.Certificate, at time.Time, why revocation.Reason) {
	c.t.Helper()
	der, err := smx509.CreateRevocationList(nil, &smx509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: now.Add(-time.Hour), NextUpdate: now.Add(24 * time.Hour),
		RevokedCertificateEntries: []smx509.RevocationListEntry{{SerialNumber: cert.SerialNumber, RevocationTime: at, ReasonCode: int(why)}},
	}, c.root.Cert, c.root.Key.SM2())
	c.ok(err)
	c.write("crl/root.crl", der)
}

// secondMaker is a trusted maker that made none of the city's seals.
func (c *city) secondMaker() Credential {
	c.t.Helper()
	m, err := MakeMaker(c.root, Subject{Name: "云州市第二印章制作中心"}, years)
	c.ok(err)
	c.write("makers/second.crt", m.CertPEM())
	return m
}

// statusList writes a status list with events about the seal.
func (c *city) statusList(events ...Event) {
	c.t.Helper()
	c.write("seals-status.json", c.ok2(SignStatusList(c.maker, StatusList{Issued: now.Add(-time.Hour), Next: now.Add(24 * time.Hour), Events: events})))
}
