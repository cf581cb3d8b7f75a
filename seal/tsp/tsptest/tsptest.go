// Package tsptest is a time stamp authority for tests, written from RFC 3161 and RFC
// 5652 with encoding/asn1 and nothing of what it tests. It can be told to err.
package tsptest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm3"
	"github.com/emmansun/gmsm/smx509"
)

// Authority is a running authority. Change it only between requests.
type Authority struct {
	URL     string // https
	RootCAs *x509.CertPool
	Root    *smx509.Certificate // over Cert
	RootKey crypto.Signer
	Cert    *smx509.Certificate

	// What to do wrong; the zero value errs nowhere.
	Status  int                        // PKIStatus
	Code    int                        // HTTP status; 0: 200
	Info    func(*Info)                // changes TSTInfo
	Sign    func(digest []byte) []byte // changes messageDigest
	Hold    time.Duration              // before answering
	GenTime func() time.Time           // default time.Now
	NoCert  bool                       // leaves the certificate out

	Calls atomic.Int32 // how often it was asked

	t       testing.TB
	key     crypto.Signer
	sha2    bool
	serials int64
}

// Info is TSTInfo.
type Info struct {
	Version  int
	Policy   asn1.ObjectIdentifier
	Imprint  Imprint
	Serial   *big.Int
	GenTime  time.Time `asn1:"generalized"`
	Accuracy Accuracy  `asn1:"optional"`
	Nonce    *big.Int  `asn1:"optional"`
}

// Imprint is MessageImprint.
type Imprint struct {
	Algorithm pkix.AlgorithmIdentifier
	Digest    []byte
}

// Accuracy of a genTime.
type Accuracy struct {
	Seconds int `asn1:"optional"`
	Millis  int `asn1:"optional,tag:0"`
}

// Policy is what the authority issues under when it is not asked for another.
var Policy = asn1.ObjectIdentifier{1, 2, 156, 251370861, 99}

var (
	oidSM3       = asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 401}
	oidSM2SM3    = asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 501}
	oidSHA256    = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	oidECDSA256  = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
	oidTSTInfo   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 4}
	oidSigned    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidType      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	oidDigest    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	oidCertV2    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 47}
	oidUsage     = asn1.ObjectIdentifier{2, 5, 29, 37}
	stampsOnly   = []byte{0x30, 10, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 8} // SEQUENCE { id-kp-timeStamping }
	longValidity = 10 * 365 * 24 * time.Hour
)

// New starts an authority with SM2 and SM3.
func New(t testing.TB) *Authority { return start(t, false, nil) }

// NewSHA2 starts one with ECDSA on P-256 and SHA-256, as the rest of the world has.
func NewSHA2(t testing.TB) *Authority { return start(t, true, nil) }

// NewWith starts one whose certificate's template was changed.
func NewWith(t testing.TB, change func(*smx509.Certificate)) *Authority {
	return start(t, false, change)
}

func start(t testing.TB, sha2 bool, change func(*smx509.Certificate)) *Authority {
	t.Helper()
	a := &Authority{t: t, sha2: sha2, GenTime: time.Now}
	a.Root, a.RootKey = a.certificate(nil, nil, &smx509.Certificate{
		Subject: pkix.Name{CommonName: "TSA root"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: smx509.KeyUsageCertSign | smx509.KeyUsageCRLSign,
	})
	tmpl := &smx509.Certificate{
		Subject: pkix.Name{CommonName: "云州测试时间戳"}, KeyUsage: smx509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{{Id: oidUsage, Critical: true, Value: stampsOnly}},
	}
	if change != nil {
		change(tmpl)
	}
	a.Cert, a.key = a.certificate(a.Root, a.RootKey, tmpl)
	s := httptest.NewTLSServer(http.HandlerFunc(a.serve))
	t.Cleanup(s.Close)
	a.URL, a.RootCAs = s.URL, x509.NewCertPool()
	a.RootCAs.AddCert(s.Certificate())
	return a
}

func (a *Authority) ok(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Error(err)
	}
}

func (a *Authority) newKey() (key crypto.Signer) {
	var err error
	if a.sha2 {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	} else {
		key, err = sm2.GenerateKey(rand.Reader)
	}
	a.ok(err)
	return key
}

func (a *Authority) certificate(parent *smx509.Certificate, by crypto.Signer, tmpl *smx509.Certificate) (*smx509.Certificate, crypto.Signer) {
	a.t.Helper()
	key := a.newKey()
	a.serials++
	tmpl.SerialNumber = big.NewInt(a.serials)
	if tmpl.NotBefore.IsZero() {
		tmpl.NotBefore, tmpl.NotAfter = time.Now().Add(-longValidity), time.Now().Add(longValidity)
	}
	if parent == nil {
		parent, by = tmpl, key
	}
	raw, err := smx509.CreateCertificate(rand.Reader, tmpl, parent, key.Public(), by)
	a.ok(err)
	cert, err := smx509.ParseCertificate(raw)
	a.ok(err)
	return cert, key
}

type request struct {
	Version int
	Imprint Imprint
	Policy  asn1.ObjectIdentifier `asn1:"optional"`
	Nonce   *big.Int              `asn1:"optional"`
	Cert    bool                  `asn1:"optional"`
}

type status struct{ Status int }

type response struct {
	Status status
	Token  asn1.RawValue `asn1:"optional"`
}

func (a *Authority) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	a.ok(err)
	a.Calls.Add(1)
	time.Sleep(a.Hold)
	if a.Code != 0 {
		w.WriteHeader(a.Code)
		return
	}
	var q request
	if rest, err := asn1.Unmarshal(body, &q); err != nil || len(rest) > 0 || q.Version != 1 || !q.Cert ||
		r.Header.Get("Content-Type") != "application/timestamp-query" {
		a.t.Errorf("the request is not a TimeStampReq: %v", err)
	}
	out := response{Status: status{a.Status}}
	if a.Status == 0 {
		out.Token = asn1.RawValue{FullBytes: a.Token(q.Imprint, q.Policy, q.Nonce)}
	}
	raw, err := asn1.Marshal(out)
	a.ok(err)
	w.Header().Set("Content-Type", "application/timestamp-reply")
	_, _ = w.Write(raw)
}

// Stamp returns a token of bytes, without a nonce.
func (a *Authority) Stamp(over []byte) []byte {
	algorithm, digest := oidSM3, a.digest(over)
	if a.sha2 {
		algorithm = oidSHA256
	}
	return a.Token(Imprint{pkix.AlgorithmIdentifier{Algorithm: algorithm}, digest}, nil, nil)
}

func (a *Authority) digest(b []byte) []byte {
	if a.sha2 {
		sum := sha256.Sum256(b)
		return sum[:]
	}
	sum := sm3.Sum(b)
	return sum[:]
}

// Token returns a token with these fields.
func (a *Authority) Token(imprint Imprint, policy asn1.ObjectIdentifier, nonce *big.Int) []byte {
	if policy == nil {
		policy = Policy
	}
	a.serials++
	info := Info{1, policy, imprint, big.NewInt(a.serials), a.GenTime().UTC(), Accuracy{Seconds: 1}, nonce}
	if a.Info != nil {
		a.Info(&info)
	}
	content, err := asn1.Marshal(info)
	a.ok(err)
	return a.signed(content)
}

type attribute struct {
	Type   asn1.ObjectIdentifier
	Values []asn1.RawValue `asn1:"set"`
}

type certID struct { // ESSCertIDv2
	Algorithm pkix.AlgorithmIdentifier
	Digest    []byte
}

type signerInfo struct {
	Version    int
	Issuer     issuerSerial
	Digest     pkix.AlgorithmIdentifier
	Attributes asn1.RawValue
	Algorithm  pkix.AlgorithmIdentifier
	Signature  []byte
}

type issuerSerial struct {
	Issuer asn1.RawValue
	Serial *big.Int
}

type signedData struct {
	Version int
	Digests []pkix.AlgorithmIdentifier `asn1:"set"`
	Content struct {
		Type asn1.ObjectIdentifier
		Data []byte `asn1:"explicit,tag:0"`
	}
	Certs   asn1.RawValue `asn1:"optional"`
	Signers []signerInfo  `asn1:"set"`
}

type contentInfo struct {
	Type asn1.ObjectIdentifier
	Data signedData `asn1:"explicit,tag:0"`
}

// signed wraps TSTInfo into SignedData.
func (a *Authority) signed(content []byte) []byte {
	digestOID, signOID, opts := oidSM3, oidSM2SM3, crypto.SignerOpts(sm2.DefaultSM2SignerOpts)
	if a.sha2 {
		digestOID, signOID, opts = oidSHA256, oidECDSA256, crypto.SHA256
	}
	digestAlg := pkix.AlgorithmIdentifier{Algorithm: digestOID}
	sum := a.digest(content)
	if a.Sign != nil {
		sum = a.Sign(sum)
	}
	attributes := a.set(
		a.attribute(oidType, oidTSTInfo), a.attribute(oidDigest, sum),
		a.attribute(oidCertV2, struct{ Certs []certID }{[]certID{{digestAlg, a.digest(a.Cert.Raw)}}}),
	)
	toSign := append([]byte{0x31}, attributes[1:]...)
	if a.sha2 {
		toSign = a.digest(toSign) // SM2 takes the message itself
	}
	signature, err := a.key.Sign(rand.Reader, toSign, opts)
	a.ok(err)
	out := contentInfo{Type: oidSigned, Data: signedData{Version: 3, Digests: []pkix.AlgorithmIdentifier{digestAlg}}}
	out.Data.Content.Type, out.Data.Content.Data = oidTSTInfo, content
	if !a.NoCert {
		out.Data.Certs = asn1.RawValue{Class: 2, Tag: 0, IsCompound: true, Bytes: a.Cert.Raw}
	}
	out.Data.Signers = []signerInfo{{
		Version: 1, Issuer: issuerSerial{asn1.RawValue{FullBytes: a.Cert.RawIssuer}, a.Cert.SerialNumber}, Digest: digestAlg,
		Attributes: asn1.RawValue{FullBytes: attributes}, Algorithm: pkix.AlgorithmIdentifier{Algorithm: signOID}, Signature: signature,
	}}
	raw, err := asn1.Marshal(out)
	a.ok(err)
	return raw
}

func (a *Authority) attribute(oid asn1.ObjectIdentifier, value any) []byte {
	inner, err := asn1.Marshal(value)
	a.ok(err)
	raw, err := asn1.Marshal(attribute{oid, []asn1.RawValue{{FullBytes: inner}}})
	a.ok(err)
	return raw
}

// set is [0] IMPLICIT SET OF in DER order.
func (a *Authority) set(members ...[]byte) []byte {
	slices.SortFunc(members, bytes.Compare)
	raw, err := asn1.Marshal(asn1.RawValue{Class: 2, Tag: 0, IsCompound: true, Bytes: bytes.Join(members, nil)})
	a.ok(err)
	return raw
}
