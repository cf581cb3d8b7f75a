package revocation_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/smx509"

	"yizheng/seal/reach/reachtest"
	"yizheng/seal/revocation"
)

var (
	now    = time.Date(2026, 3, 10, 0, 0, 0, 0, time.UTC)
	signed = now.AddDate(0, 0, -2)
)

// pki is an authority, a certificate of it and an OCSP responder it appointed.
type pki struct {
	t                   testing.TB
	ca, cert, responder *smx509.Certificate
	caKey, responderKey crypto.Signer
}

func newPKI(t testing.TB) *pki {
	p := &pki{t: t}
	p.ca, p.caKey = p.make("CA", nil, nil, func(c *smx509.Certificate) {
		c.IsCA, c.KeyUsage = true, smx509.KeyUsageCertSign|smx509.KeyUsageCRLSign
	})
	p.cert, _ = p.make("Holder", p.ca, p.caKey, nil)
	p.responder, p.responderKey = p.make("OCSP", p.ca, p.caKey, func(c *smx509.Certificate) {
		c.ExtKeyUsage = []smx509.ExtKeyUsage{smx509.ExtKeyUsageOCSPSigning}
	})
	return p
}

func (p *pki) ok(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *pki) make(name string, parent *smx509.Certificate, by crypto.Signer, change func(*smx509.Certificate)) (*smx509.Certificate, crypto.Signer) {
	p.t.Helper()
	key, err := sm2.GenerateKey(rand.Reader)
	p.ok(err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	p.ok(err)
	tmpl := &smx509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, BasicConstraintsValid: true,
		NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(1, 0, 0), KeyUsage: smx509.KeyUsageDigitalSignature,
	}
	if change != nil {
		change(tmpl)
	}
	if parent == nil {
		parent, by = tmpl, key
	}
	raw, err := smx509.CreateCertificate(rand.Reader, tmpl, parent, key.Public(), by)
	p.ok(err)
	cert, err := smx509.ParseCertificate(raw)
	p.ok(err)
	return cert, key
}

// list makes a list of the day before now that is due a day after.
func (p *pki) list(change func(*smx509.RevocationList)) []byte {
	p.t.Helper()
	l := &smx509.RevocationList{Number: big.NewInt(1), ThisUpdate: now.AddDate(0, 0, -1), NextUpdate: now.AddDate(0, 0, 1)}
	if change != nil {
		change(l)
	}
	raw, err := smx509.CreateRevocationList(rand.Reader, l, p.ca, p.caKey)
	p.ok(err)
	return raw
}

func (p *pki) revokes(at time.Time, extensions ...pkix.Extension) func(*smx509.RevocationList) {
	return func(l *smx509.RevocationList) {
		l.RevokedCertificateEntries = []smx509.RevocationListEntry{{SerialNumber: p.cert.SerialNumber, RevocationTime: at, ExtraExtensions: extensions}}
	}
}

// revokesFor is revokes with a reason code.
func (p *pki) revokesFor(at time.Time, code int) func(*smx509.RevocationList) {
	return func(l *smx509.RevocationList) {
		p.revokes(at)(l)
		l.RevokedCertificateEntries[0].ReasonCode = code
	}
}

func (p *pki) checker(c revocation.Config, lists ...[]byte) *revocation.Checker {
	p.t.Helper()
	k, err := revocation.New(c)
	p.ok(err)
	for _, raw := range lists {
		l, err := revocation.ParseList(raw, "root.crl")
		p.ok(err)
		if !l.SignedBy(p.ca) {
			p.t.Fatal("the list is not the authority's")
		}
		k.Add(p.ca, l)
	}
	return k
}

func (p *pki) check(k *revocation.Checker) revocation.Status {
	return k.Check(context.Background(), p.cert, p.ca, signed, now)
}

func TestStatus_IsJudgedAtTheTimeAskedAbout(t *testing.T) {
	p := newPKI(t)
	grace := revocation.Policy{Grace: 48 * time.Hour}
	invalid, err := asn1.MarshalWithParams(signed.Add(-time.Hour), "generalized")
	p.ok(err)
	aged := func(made, due time.Duration) func(*smx509.RevocationList) {
		return func(l *smx509.RevocationList) { l.ThisUpdate, l.NextUpdate = now.Add(-made), now.Add(-due) }
	}
	for _, tt := range []struct {
		name      string
		policy    revocation.Policy
		list      func(*smx509.RevocationList)
		state     revocation.State
		since     bool
		stale     bool
		tolerated bool
		says      string
	}{
		{"not listed", grace, nil, revocation.Good, false, false, false, "next due 2026-03-11"},
		{"revoked before", grace, p.revokes(signed.Add(-time.Minute)), revocation.Revoked, true, false, false, "revoked since 2026-03-08"},
		{"revoked at that very second", grace, p.revokes(signed), revocation.Revoked, true, false, false, "revoked since"},
		{"revoked after", grace, p.revokes(signed.Add(time.Minute)), revocation.Good, true, false, false, "valid when used; revoked later"},
		{"revoked after, key lost before", grace, p.revokes(signed.Add(time.Minute), pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 24}, Value: invalid}), revocation.Revoked, true, false, false, "revoked since"},
		{"out of date, but made after", grace, aged(47*time.Hour, 40*time.Hour), revocation.Good, false, true, false, "out of date since"},
		{"made before, within grace", grace, aged(72*time.Hour, 47*time.Hour), revocation.Good, false, true, false, "out of date since"},
		{"made before, beyond grace", grace, aged(72*time.Hour, 49*time.Hour), revocation.Unknown, false, true, true, "beyond the grace period"},
		{"the same, and required", revocation.Policy{Grace: time.Hour, Required: true}, aged(72*time.Hour, 49*time.Hour), revocation.Unknown, false, true, false, "beyond the grace period"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := p.check(p.checker(revocation.Config{Policy: tt.policy}, p.list(tt.list)))
			zh, en := s.Text()
			if s.State != tt.state || s.Since.IsZero() == tt.since || s.Stale != tt.stale || s.Tolerated != tt.tolerated || !strings.Contains(en, tt.says) {
				t.Errorf("%+v\n%s\n%s", s, zh, en)
			}
			if s.Source != revocation.SourceCRL || s.From != "root.crl" || s.ProducedAt.IsZero() || zh == "" {
				t.Errorf("it does not say where it comes from: %+v", s)
			}
		})
	}
}

// TestStatus_NamesTheReason of a list's entry and of an OCSP answer alike.
func TestStatus_NamesTheReason(t *testing.T) {
	p := newPKI(t)
	later := signed.Add(time.Minute)
	for _, tt := range []struct {
		code               int // -1: none given
		compromised, sound bool
		says               string
	}{
		{-1, false, false, "no reason given"}, {0, false, false, "no reason given"}, {1, true, false, "key compromise"}, {2, true, false, "compromise of the authority"},
		{3, false, true, "affiliation changed"}, {4, false, true, "superseded"}, {5, false, true, "cessation"}, {6, false, false, "on hold"},
		{9, false, true, "privilege withdrawn"}, {10, true, false, "attribute authority"}, {77, false, false, "reason code 77"},
	} {
		listed := p.revokes(later)
		status := statusRevoked(later)
		if tt.code >= 0 {
			enum, err := asn1.Marshal(asn1.Enumerated(tt.code))
			p.ok(err)
			listed = p.revokesFor(later, tt.code)
			tagged, err := asn1.Marshal(asn1.RawValue{Class: 2, Tag: 0, IsCompound: true, Bytes: enum})
			p.ok(err)
			status.Bytes = append(status.Bytes, tagged...)
		}
		url, _ := server(t, func(body []byte) (int, []byte) { return 200, p.respond(body, ocspOrder{status: status}) })
		for source, k := range map[string]*revocation.Checker{
			revocation.SourceCRL:  p.checker(revocation.Config{}, p.list(listed)),
			revocation.SourceOCSP: p.checker(revocation.Config{Responders: []revocation.Responder{{URL: url}}}),
		} {
			s := p.check(k)
			zh, en := s.Text()
			if s.State != revocation.Good || s.Source != source || s.Reason.Compromised() != tt.compromised || s.Reason.Orderly() != tt.sound || !strings.Contains(en, tt.says) || zh == "" {
				t.Errorf("reason %d of %s: %+v, %s", tt.code, source, s, en)
			}
		}
	}
	twice := p.list(func(l *smx509.RevocationList) {
		p.revokes(later)(l)
		first := l.RevokedCertificateEntries
		p.revokesFor(later.Add(time.Hour), 1)(l)
		l.RevokedCertificateEntries = append(first, l.RevokedCertificateEntries...)
	})
	if s := p.check(p.checker(revocation.Config{}, twice)); !s.Since.Equal(later) || !s.Reason.Compromised() {
		t.Errorf("listed twice: %+v, want the earlier time and the graver reason", s)
	}
}

func TestStatus_WithoutAnySourceIsUnknownAndSaidSo(t *testing.T) {
	p := newPKI(t)
	for _, required := range []bool{false, true} {
		s := p.check(p.checker(revocation.Config{Policy: revocation.Policy{Required: required}}))
		if _, en := s.Text(); s.State != revocation.Unknown || s.Tolerated == required || !strings.Contains(en, "not looked up") {
			t.Errorf("required %v: %+v %s", required, s, en)
		}
	}
}

func TestParseList_RefusesListsOfAPart(t *testing.T) {
	p := newPKI(t)
	delta := pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 27}, Critical: true, Value: []byte{2, 1, 1}}
	indirect := pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 29}, Critical: true, Value: []byte{0x30, 0}}
	for name, raw := range map[string][]byte{
		"delta":    p.list(func(l *smx509.RevocationList) { l.ExtraExtensions = []pkix.Extension{delta} }),
		"indirect": p.list(p.revokes(signed, indirect)),
		"cut off":  p.list(nil)[:40],
		"nothing":  nil,
	} {
		if _, err := revocation.ParseList(raw, ""); !errors.Is(err, revocation.ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
	other := newPKI(t)
	l, err := revocation.ParseList(p.list(nil), "")
	p.ok(err)
	if l.SignedBy(other.ca) || !l.SignedBy(p.ca) {
		t.Error("whose list it is was mistaken")
	}
}

func TestNew_TakesOnlyPlainAddresses(t *testing.T) {
	for _, bad := range []string{"", "ldap://ca.example/crl", "file:///etc/passwd", "https://", "https://user:pw@ca.example/", "//ca.example/x"} {
		if _, err := revocation.New(revocation.Config{CRLs: []string{bad}}); err == nil {
			t.Errorf("%q accepted as list", bad)
		}
		if _, err := revocation.New(revocation.Config{Responders: []revocation.Responder{{URL: bad}}}); err == nil {
			t.Errorf("%q accepted as responder", bad)
		}
	}
}

// server answers with what answer returns and counts the calls.
func server(t *testing.T, answer func(body []byte) (int, []byte)) (url string, calls *atomic.Int32) {
	calls = &atomic.Int32{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		body, _ := io.ReadAll(r.Body)
		code, out := answer(body)
		w.WriteHeader(code)
		_, _ = w.Write(out)
	}))
	t.Cleanup(s.Close)
	return s.URL, calls
}

func TestRemoteList_IsFetchedOnceAndAgainWhenDue(t *testing.T) {
	p := newPKI(t)
	raw := p.list(nil)
	url, calls := server(t, func([]byte) (int, []byte) { return 200, raw })
	k := p.checker(revocation.Config{CRLs: []string{url}, MaxAge: time.Hour})
	for range 3 {
		if s := p.check(k); s.State != revocation.Good || s.From != url {
			t.Fatalf("%+v", s)
		}
	}
	if n := calls.Load(); n != 1 {
		t.Fatalf("%d calls for three questions", n)
	}
	raw = p.list(func(l *smx509.RevocationList) { p.revokes(signed)(l); l.ThisUpdate = now })
	if s := k.Check(context.Background(), p.cert, p.ca, signed, now.Add(61*time.Minute)); s.State != revocation.Revoked || calls.Load() != 2 {
		t.Errorf("after an hour: %+v, %d calls", s, calls.Load())
	}
}

func TestRemoteSources_ThatFailCostOneCallAndLeaveTheRest(t *testing.T) {
	p := newPKI(t)
	other := newPKI(t)
	elsewhere, followed := server(t, func([]byte) (int, []byte) { return 200, p.list(p.revokes(signed)) })
	redirects := httptest.NewServer(http.RedirectHandler(elsewhere, http.StatusFound))
	t.Cleanup(redirects.Close)
	down, _ := server(t, func([]byte) (int, []byte) { return 503, nil })
	junk, calls := server(t, func([]byte) (int, []byte) { return 200, []byte("<html>") })
	foreign, _ := server(t, func([]byte) (int, []byte) { return 200, other.list(nil) })
	k := p.checker(revocation.Config{
		CRLs:       []string{redirects.URL, down, junk, foreign},
		Responders: []revocation.Responder{{URL: junk}, {URL: down}, {URL: redirects.URL}},
	}, p.list(nil))
	for range 3 {
		if s := p.check(k); s.State != revocation.Good || s.From != "root.crl" {
			t.Fatalf("%+v", s)
		}
	}
	if followed.Load() != 0 {
		t.Error("a redirection was followed")
	}
	if n := calls.Load(); n != 2 {
		t.Errorf("a failing source was called %d times, once as list and once as responder expected", n)
	}
}

func FuzzParseList(f *testing.F) {
	p := newPKI(f)
	f.Add(p.list(nil))
	f.Add(p.list(p.revokes(signed)))
	f.Fuzz(func(t *testing.T, raw []byte) { _, _ = revocation.ParseList(raw, "f") })
}

// TestFaults_AreToldApart asks services that fail, each in its own way.
func TestFaults_AreToldApart(t *testing.T) {
	p := newPKI(t)
	type fault struct{ url, zh, en string }
	faults := map[string]fault{}
	for _, s := range reachtest.Services(t) {
		faults[s.Name] = fault{s.URL, "未能查吊销，吊销服务：", s.Says}
	}
	answering := func(status int, body []byte) string {
		url, _ := server(t, func([]byte) (int, []byte) { return status, body })
		return url
	}
	faults["out of order"] = fault{answering(503, nil), "对方答复 HTTP 503，其自身有故障", "HTTP 503, a fault of its own"}
	faults["nothing there"] = fault{answering(404, nil), "HTTP 404，不受理", "HTTP 404, it refuses"}
	for name, f := range faults {
		ask := p.checker(revocation.Config{Responders: []revocation.Responder{{URL: f.url}}, Timeout: patience(name)})
		list := p.checker(revocation.Config{CRLs: []string{f.url}, Timeout: patience(name)})
		for _, k := range []*revocation.Checker{ask, list} {
			if zh, en := p.check(k).Text(); !strings.Contains(zh, f.zh) || !strings.Contains(en, f.en) {
				t.Errorf("%s: %q, %q", name, zh, en)
			}
		}
	}
	page, refusal := answering(200, []byte("<html>")), answering(200, []byte{0x30, 3, 0x0a, 1, 6})
	for _, tt := range []struct {
		name   string
		config revocation.Config
		zh, en string
	}{
		{"a page instead of OCSP", revocation.Config{Responders: []revocation.Responder{{URL: page}}}, "不是 OCSP 答复", "no OCSP responder"},
		{"a page instead of a list", revocation.Config{CRLs: []string{page}}, "不是吊销列表", "no revocation list"},
		{"not authorized", revocation.Config{Responders: []revocation.Responder{{URL: refusal}}}, "状态 6（未授权", "status 6 (it does not answer"},
	} {
		if zh, en := p.check(p.checker(tt.config)).Text(); !strings.Contains(zh, tt.zh) || !strings.Contains(en, tt.en) {
			t.Errorf("%s: %q, %q", tt.name, zh, en)
		}
	}
}

// patience is long where something answers.
func patience(name string) time.Duration {
	if name == "silence" {
		return reachtest.Patience
	}
	return 20 * time.Second
}
