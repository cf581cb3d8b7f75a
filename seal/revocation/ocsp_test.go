package revocation_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm3"
	"github.com/emmansun/gmsm/smx509"

	"yizheng/seal/revocation"
)

// A responder written from RFC 6960 with encoding/asn1, apart from what it tests.

type certID struct {
	Algorithm     pkix.AlgorithmIdentifier
	Name, KeyHash []byte
	Serial        *big.Int
}

type ocspRequest struct {
	TBS struct {
		List []struct {
			ID certID
		}
		Extensions []pkix.Extension `asn1:"explicit,tag:2,optional"`
	}
}

type singleOut struct {
	ID     certID
	Status asn1.RawValue
	This   time.Time `asn1:"generalized"`
	Next   time.Time `asn1:"generalized,explicit,tag:0,optional"`
}

type responseData struct {
	ByKey      []byte    `asn1:"explicit,tag:2"`
	Produced   time.Time `asn1:"generalized"`
	Responses  []singleOut
	Extensions []pkix.Extension `asn1:"explicit,tag:1,optional"`
}

type basicOut struct {
	TBS       asn1.RawValue
	Algorithm pkix.AlgorithmIdentifier
	Signature asn1.BitString
	Certs     []asn1.RawValue `asn1:"explicit,tag:0,optional"`
}

type responseOut struct {
	Status asn1.Enumerated
	Bytes  struct {
		Type  asn1.ObjectIdentifier
		Value []byte
	} `asn1:"explicit,tag:0"`
}

// ocspOrder says how the responder answers; the zero value is a good answer.
type ocspOrder struct {
	status   asn1.RawValue
	key      crypto.Signer
	cert     *smx509.Certificate
	noNonce  bool
	nonce    []byte
	edit     func(*singleOut)
	critical bool
	code     int
}

var (
	statusGood    = asn1.RawValue{Class: 2, Tag: 0}
	statusUnknown = asn1.RawValue{Class: 2, Tag: 2}
)

func statusRevoked(at time.Time) asn1.RawValue {
	inner, _ := asn1.MarshalWithParams(at, "generalized")
	return asn1.RawValue{Class: 2, Tag: 1, IsCompound: true, Bytes: inner}
}

func (p *pki) respond(body []byte, o ocspOrder) []byte {
	p.t.Helper()
	var q ocspRequest
	if rest, err := asn1.Unmarshal(body, &q); err != nil || len(rest) > 0 {
		p.t.Fatal("the request is not an OCSPRequest:", err)
	}
	id := q.TBS.List[0].ID
	if name := sm3.Sum(p.ca.RawSubject); string(id.Name) != string(name[:]) || id.Serial.Cmp(p.cert.SerialNumber) != 0 {
		p.t.Error("the request names another certificate")
	}
	if o.status.Class == 0 {
		o.status = statusGood
	}
	if o.key == nil {
		o.key, o.cert = p.responderKey, p.responder
	}
	single := singleOut{ID: id, Status: o.status, This: now.Add(-time.Minute), Next: now.Add(10 * time.Minute)}
	if o.edit != nil {
		o.edit(&single)
	}
	data := responseData{ByKey: make([]byte, 20), Produced: now, Responses: []singleOut{single}, Extensions: q.TBS.Extensions}
	if o.noNonce {
		data.Extensions = nil
	}
	if o.nonce != nil {
		data.Extensions[0].Value = o.nonce
	}
	if o.critical {
		data.Extensions = append(data.Extensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true})
	}
	tbs, err := asn1.Marshal(data)
	p.ok(err)
	signature, err := o.key.Sign(rand.Reader, tbs, sm2.DefaultSM2SignerOpts)
	p.ok(err)
	out := basicOut{
		TBS: asn1.RawValue{FullBytes: tbs}, Signature: asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)},
		Algorithm: pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 501}},
	}
	if o.cert != nil {
		out.Certs = []asn1.RawValue{{FullBytes: o.cert.Raw}}
	}
	var r responseOut
	r.Status = asn1.Enumerated(o.code)
	r.Bytes.Type = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1}
	r.Bytes.Value, err = asn1.Marshal(out)
	p.ok(err)
	raw, err := asn1.Marshal(r)
	p.ok(err)
	return raw
}

func TestOCSP_AnswersAreBelievedOnlyFromTheIssuersResponder(t *testing.T) {
	p := newPKI(t)
	strangers := newPKI(t)
	plain, plainKey := p.make("no responder", p.ca, p.caKey, nil)
	old, oldKey := p.make("expired responder", p.ca, p.caKey, func(c *smx509.Certificate) {
		c.ExtKeyUsage, c.NotAfter = []smx509.ExtKeyUsage{smx509.ExtKeyUsageOCSPSigning}, now.AddDate(0, 0, -1)
	})
	other := sm3.Sum([]byte("other"))
	for _, tt := range []struct {
		name  string
		order ocspOrder
		ahead bool
		state revocation.State
		from  bool // believed
	}{
		{"good", ocspOrder{}, false, revocation.Good, true},
		{"good, by the issuer itself", ocspOrder{key: p.caKey}, false, revocation.Good, true},
		{"revoked before", ocspOrder{status: statusRevoked(signed)}, false, revocation.Revoked, true},
		{"revoked after", ocspOrder{status: statusRevoked(signed.Add(time.Second))}, false, revocation.Good, true},
		{"unknown there", ocspOrder{status: statusUnknown}, false, revocation.Unknown, true},
		{"made ahead", ocspOrder{noNonce: true}, true, revocation.Good, true},
		{"no nonce", ocspOrder{noNonce: true}, false, revocation.Unknown, false},
		{"another nonce", ocspOrder{nonce: append([]byte{4, 32}, make([]byte, 32)...)}, true, revocation.Unknown, false},
		{"by a stranger", ocspOrder{key: strangers.responderKey, cert: strangers.responder}, false, revocation.Unknown, false},
		{"by a certificate for other things", ocspOrder{key: plainKey, cert: plain}, false, revocation.Unknown, false},
		{"by an expired responder", ocspOrder{key: oldKey, cert: old}, false, revocation.Unknown, false},
		{"about another certificate", ocspOrder{edit: func(s *singleOut) { s.ID.Serial = big.NewInt(1) }}, false, revocation.Unknown, false},
		{"about another issuer's", ocspOrder{edit: func(s *singleOut) { s.ID.KeyHash = other[:] }}, false, revocation.Unknown, false},
		{"made in the future", ocspOrder{edit: func(s *singleOut) { s.This = now.Add(time.Hour) }}, false, revocation.Unknown, false},
		{"critical extension", ocspOrder{critical: true}, false, revocation.Unknown, false},
		{"try later", ocspOrder{code: 3}, false, revocation.Unknown, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			url, calls := server(t, func(body []byte) (int, []byte) { return 200, p.respond(body, tt.order) })
			k := p.checker(revocation.Config{Responders: []revocation.Responder{{URL: url, Issuer: p.ca, Ahead: tt.ahead}}})
			for range 2 {
				s := p.check(k)
				if s.State != tt.state || (s.Source == revocation.SourceOCSP) != tt.from {
					t.Errorf("%+v", s)
				}
			}
			if calls.Load() != 1 {
				t.Errorf("%d calls for two questions", calls.Load())
			}
		})
	}
}

func TestOCSP_ARevocationOutweighsAListThatDoesNotKnowOfIt(t *testing.T) {
	p := newPKI(t)
	url, _ := server(t, func(body []byte) (int, []byte) {
		return 200, p.respond(body, ocspOrder{status: statusRevoked(signed)})
	})
	k := p.checker(revocation.Config{Responders: []revocation.Responder{{URL: url}}}, p.list(nil))
	if s := p.check(k); s.State != revocation.Revoked || s.Source != revocation.SourceOCSP {
		t.Errorf("%+v", s)
	}
	url, _ = server(t, func(body []byte) (int, []byte) { return 200, p.respond(body, ocspOrder{}) })
	k = p.checker(revocation.Config{Responders: []revocation.Responder{{URL: url}}}, p.list(p.revokes(signed)))
	if s := p.check(k); s.State != revocation.Revoked || s.Source != revocation.SourceCRL {
		t.Errorf("the other way round: %+v", s)
	}
}

func TestOCSP_AResponderOfAnotherAuthorityIsNotAsked(t *testing.T) {
	p, other := newPKI(t), newPKI(t)
	url, calls := server(t, func([]byte) (int, []byte) { return 200, nil })
	k := p.checker(revocation.Config{Responders: []revocation.Responder{{URL: url, Issuer: other.ca}}})
	if s := p.check(k); s.State != revocation.Unknown || calls.Load() != 0 {
		t.Errorf("%+v, %d calls", s, calls.Load())
	}
}

// TestOCSP_ABadAnswerAboutOneCertificateLeavesTheOthers, and one that is slow does too.
func TestOCSP_ABadAnswerAboutOneCertificateLeavesTheOthers(t *testing.T) {
	p := newPKI(t)
	bad, _ := p.make("bad", p.ca, p.caKey, nil)
	slow, _ := p.make("slow", p.ca, p.caKey, nil)
	about := func(body []byte, c *smx509.Certificate) bool { return bytes.Contains(body, c.SerialNumber.Bytes()) }
	asked, let := make(chan struct{}, 1), make(chan struct{})
	url, calls := server(t, func(body []byte) (int, []byte) {
		switch {
		case about(body, bad):
			return 200, []byte{0x30, 3, 10, 1, 2} // internalError
		case about(body, slow):
			asked <- struct{}{}
			<-let
			return 500, nil
		}
		return 200, p.respond(body, ocspOrder{})
	})
	k := p.checker(revocation.Config{Responders: []revocation.Responder{{URL: url}}, Timeout: time.Minute})
	status := func(c *smx509.Certificate) revocation.State { return k.Check(t.Context(), c, p.ca, signed, now).State }
	for range 2 {
		if got := status(bad); got != revocation.Unknown {
			t.Errorf("the bad answer: %s", got)
		}
	}
	if n := calls.Load(); n != 1 {
		t.Errorf("%d calls about the bad one, want it left alone for a while", n)
	}
	var waiting sync.WaitGroup
	for range 3 { // they wait for one call
		waiting.Go(func() { status(slow) })
	}
	<-asked
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	k.Check(gone, slow, p.ca, signed, now) // does not wait
	if got := status(p.cert); got != revocation.Good {
		t.Errorf("another certificate, meanwhile: %s", got)
	}
	close(let)
	waiting.Wait()
	if n := calls.Load(); n != 3 {
		t.Errorf("%d calls, want one for each certificate", n)
	}
}

func TestOCSP_AResponderThatCannotBeReachedIsLeftAlone(t *testing.T) {
	p := newPKI(t)
	other, _ := p.make("other", p.ca, p.caKey, nil)
	var dials atomic.Int32
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ConnState = func(c net.Conn, state http.ConnState) {
		if state == http.StateNew {
			dials.Add(1)
			c.Close()
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	k := p.checker(revocation.Config{Responders: []revocation.Responder{{URL: s.URL}}})
	at := func(c *smx509.Certificate, later time.Duration) {
		k.Check(t.Context(), c, p.ca, signed, now.Add(later))
	}
	at(p.cert, 0)
	n := dials.Load() // net/http may try twice
	at(other, 0)
	if dials.Load() != n || n == 0 {
		t.Errorf("%d connections, then %d: every certificate costs a deadline", n, dials.Load())
	}
	at(other, time.Minute)
	if dials.Load() == n {
		t.Error("it is never tried again")
	}
}

// TestOCSP_OnlyAnAnswerMakesGood where the policy says so: whoever asks a responder
// wants to know from it, and not from a list of yesterday.
func TestOCSP_OnlyAnAnswerMakesGood(t *testing.T) {
	p, strangers := newPKI(t), newPKI(t)
	silent := httptest.NewServer(http.NotFoundHandler())
	silent.Close()
	for _, tt := range []struct {
		name   string
		answer func(body []byte) (int, []byte) // nil: down
		lists  [][]byte
		want   revocation.State
		says   string
	}{
		{"down", nil, nil, revocation.Unknown, "connection was refused"},
		{"down, and a list that knows nothing", nil, [][]byte{p.list(nil)}, revocation.Unknown, "connection was refused"},
		{"down, and a list that names it", nil, [][]byte{p.list(p.revokes(signed))}, revocation.Revoked, "has been revoked since"},
		{"error of the server", func([]byte) (int, []byte) { return 500, nil }, nil, revocation.Unknown, "HTTP 500"},
		{"garbage", func([]byte) (int, []byte) { return 200, []byte("no") }, nil, revocation.Unknown, "no OCSP responder"},
		{"by a stranger", func(b []byte) (int, []byte) {
			return 200, p.respond(b, ocspOrder{key: strangers.responderKey, cert: strangers.responder})
		}, nil, revocation.Unknown, "not signed by the issuer"},
		{"good", func(b []byte) (int, []byte) { return 200, p.respond(b, ocspOrder{}) }, [][]byte{p.list(nil)}, revocation.Good, "not revoked"},
	} {
		url := silent.URL
		if tt.answer != nil {
			url, _ = server(t, tt.answer)
		}
		k := p.checker(revocation.Config{Policy: revocation.Policy{Required: true, Answered: true}, Responders: []revocation.Responder{{URL: url}}}, tt.lists...)
		for range 2 { // the second time from memory
			s := p.check(k)
			if _, en := s.Text(); s.State != tt.want || s.Tolerated || !strings.Contains(en, tt.says) || strings.Contains(en, url) {
				t.Errorf("%s: %+v", tt.name, s)
			}
			if s.State == revocation.Unknown && s.From != url {
				t.Errorf("%s: from %q", tt.name, s.From)
			}
		}
	}
}

func TestOCSP_TheResponderThatACertificateNamesIsAskedOnlyIfSaid(t *testing.T) {
	p := newPKI(t)
	var about *smx509.Certificate
	url, calls := server(t, func(body []byte) (int, []byte) {
		p.cert = about
		return 200, p.respond(body, ocspOrder{})
	})
	naming := func(urls ...string) *smx509.Certificate {
		c, _ := p.make("naming", p.ca, p.caKey, func(c *smx509.Certificate) { c.OCSPServer = urls })
		return c
	}
	asked := revocation.Config{Named: true, Policy: revocation.Policy{Required: true, Answered: true}}
	for _, tt := range []struct {
		name   string
		cert   *smx509.Certificate
		config revocation.Config
		want   revocation.State
		calls  int32
	}{
		{"not told to", naming(url), revocation.Config{}, revocation.Unknown, 0},
		{"told to", naming(url), asked, revocation.Good, 1},
		{"behind one that is no http address", naming("ldap://x/y", url), asked, revocation.Good, 1},
		{"names none", naming(), asked, revocation.Unknown, 0},
		{"names what cannot be called", naming("ldap://x/y", "http://user@x/"), asked, revocation.Unknown, 0},
	} {
		before := calls.Load()
		about = tt.cert
		s := p.checker(tt.config).Check(t.Context(), tt.cert, p.ca, signed, now)
		if s.State != tt.want || calls.Load()-before != tt.calls {
			t.Errorf("%s: %+v, %d calls", tt.name, s, calls.Load()-before)
		}
		if _, en := s.Text(); tt.config.Named && s.State == revocation.Unknown && !strings.Contains(en, "no responder to ask") {
			t.Errorf("%s: %s", tt.name, en)
		}
	}
}

func FuzzOCSPResponse(f *testing.F) {
	p := newPKI(f)
	q := ocspRequest{}
	id := certID{Algorithm: pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 401}}, Serial: p.cert.SerialNumber}
	name := sm3.Sum(p.ca.RawSubject)
	id.Name, id.KeyHash = name[:], name[:]
	q.TBS.List = append(q.TBS.List, struct{ ID certID }{id})
	body, err := asn1.Marshal(q)
	p.ok(err)
	f.Add(p.respond(body, ocspOrder{}))
	f.Add(p.respond(body, ocspOrder{status: statusRevoked(signed)}))
	f.Fuzz(func(t *testing.T, raw []byte) { _ = revocation.ReadOCSPForTest(raw) })
}
