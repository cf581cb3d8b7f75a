package cms_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/emmansun/gmsm/pkcs7"
	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm3"
	"github.com/emmansun/gmsm/smx509"

	"yizheng/seal/cms"
)

var (
	content = []byte("the bytes of a ByteRange")
	at      = time.Date(2026, 3, 1, 1, 30, 0, 0, time.UTC)
)

// newSigner makes a key with a self-signed certificate.
func newSigner(t testing.TB, name string) cms.Signer {
	t.Helper()
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return cms.Signer{Key: key, Cert: selfSigned(t, name, key)}
}

func selfSigned(t testing.TB, name string, key crypto.Signer) *smx509.Certificate {
	t.Helper()
	tmpl := &smx509.Certificate{
		SerialNumber: big.NewInt(0x7001), Subject: pkix.Name{CommonName: name}, NotBefore: at.AddDate(-1, 0, 0), NotAfter: at.AddDate(1, 0, 0),
	}
	raw, err := smx509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := smx509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func (m made) parsed(t testing.TB) *cms.Message {
	t.Helper()
	p, err := cms.Parse(m.raw)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

type made struct {
	signer cms.Signer
	raw    []byte
}

func sign(t testing.TB, stamp func([]byte) ([]byte, error)) made {
	t.Helper()
	m := made{signer: newSigner(t, "Holder")}
	digest := sm3.Sum(content)
	var err error
	if m.raw, err = m.signer.Sign(digest[:], at, stamp); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestSign_IsReadBackAndVerified(t *testing.T) {
	token := []byte{0x30, 3, 2, 1, 5}
	var stamped []byte
	m := sign(t, func(signature []byte) ([]byte, error) { stamped = signature; return token, nil })
	p := m.parsed(t)
	if err := p.Verify(content[:5], content[5:]); err != nil {
		t.Error(err)
	}
	digest := sm3.Sum(content)
	if p.GM || p.Content != nil || !p.SigningTime.Equal(at) || !bytes.Equal(p.Cert, m.signer.Cert.Raw) || !bytes.Equal(p.Digest, digest[:]) ||
		p.Algorithm.String() != "1.2.156.10197.1.501" || p.DigestAlgorithm.String() != "1.2.156.10197.1.401" || p.ContentType.String() != "1.2.840.113549.1.7.1" {
		t.Errorf("%+v", p)
	}
	if !bytes.Equal(p.TimeStamp, token) || !bytes.Equal(stamped, p.Signature) {
		t.Error("the token is not that of the signature value")
	}
	if err := p.Verify(content, []byte{0}); !errors.Is(err, cms.ErrDigest) {
		t.Errorf("other content: %v", err)
	}
	if plain := sign(t, nil); plain.parsed(t).TimeStamp != nil || plain.parsed(t).Verify(content) != nil || len(plain.raw) > cms.Overhead+len(plain.signer.Cert.Raw) {
		t.Error("without a stamp")
	}
}

func TestSign_PassesTheStampsErrorOn(t *testing.T) {
	down := errors.New("down")
	s := newSigner(t, "Holder")
	if _, err := s.Sign(make([]byte, 32), at, func([]byte) ([]byte, error) { return nil, down }); !errors.Is(err, down) {
		t.Error(err)
	}
	if _, err := s.Sign(make([]byte, 31), at, nil); err == nil {
		t.Error("31 bytes taken as a digest")
	}
}

// Every octet of a message is structure, signed, or part of the certificate: none can
// be changed so that it still verifies and says the same.
func TestVerify_NoOctetCanBeChanged(t *testing.T) {
	m := sign(t, nil)
	for i := range m.raw {
		changed := bytes.Clone(m.raw)
		changed[i] ^= 1
		p, err := cms.Parse(changed)
		if err != nil {
			if !errors.Is(err, cms.ErrFormat) {
				t.Fatalf("octet %d: %v", i, err)
			}
			continue
		}
		if err := p.Verify(content); err == nil && bytes.Equal(p.Cert, m.signer.Cert.Raw) && !outsideSigner(m.raw, i) {
			t.Errorf("octet %d changed from %02x, still verified", i, m.raw[i])
		}
	}
}

// outsideSigner reports whether an octet is of the list of digest algorithms, which
// says nothing that the signer's own fields do not.
func outsideSigner(raw []byte, i int) bool {
	list := bytes.Index(raw, []byte{0x31, 0x0c, 0x30, 0x0a, 0x06, 0x08}) // SET { SEQUENCE { OID of 8 octets
	return i >= list-3 && i < list+14
}

func TestParse_RefusesWhatIsNotOneStrictMessage(t *testing.T) {
	m := sign(t, nil)
	twice := bytes.Clone(m.raw)
	long := append(bytes.Clone(m.raw), make([]byte, 1<<20)...)
	for name, raw := range map[string][]byte{
		"nothing": nil, "cut off": m.raw[:len(m.raw)-1], "zeros behind": append(bytes.Clone(m.raw), 0),
		"twice": append(twice, twice...), "too long": long, "a certificate": m.signer.Cert.Raw,
		"indefinite length": append([]byte{0x30, 0x80}, m.raw[4:]...),
	} {
		if _, err := cms.Parse(raw); !errors.Is(err, cms.ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestVerify_AnotherCertificateOfTheSameKeyIsNotTheSigners(t *testing.T) {
	m := sign(t, nil)
	other := selfSigned(t, "Holder", m.signer.Key) // the same name, serial number and key
	for len(other.Raw) != len(m.signer.Cert.Raw) { // their signatures are of 70 to 72 octets
		other = selfSigned(t, "Holder", m.signer.Key)
	}
	swapped := bytes.Replace(m.raw, m.signer.Cert.Raw, other.Raw, 1)
	p, err := cms.Parse(swapped)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Verify(content); !errors.Is(err, cms.ErrCertificate) {
		t.Error(err)
	}
}

// Other people's messages: gmsm's own PKCS#7 writer, in the family of GM/T 0010 with
// signature algorithm .301.1, and with the keys of the rest of the world.
func TestParse_ReadsMessagesOfOthers(t *testing.T) {
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	gm := newSigner(t, "GM")
	for _, tt := range []struct {
		name   string
		gm     bool
		key    crypto.Signer
		cert   *smx509.Certificate
		bare   bool // no signed attributes
		detach bool
	}{
		{"GM detached", true, gm.Key, gm.Cert, false, true},
		{"GM with content", true, gm.Key, gm.Cert, false, false},
		{"GM without attributes", true, gm.Key, gm.Cert, true, true},
		{"ECDSA detached", false, p256, selfSigned(t, "EC", p256), false, true},
		{"RSA with content", false, rsaKey, selfSigned(t, "RSA", rsaKey), false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			raw := write(t, tt.gm, tt.key, tt.cert, tt.bare, tt.detach)
			p, err := cms.Parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			var parts [][]byte
			if tt.detach {
				parts = [][]byte{content}
			}
			if err := p.Verify(parts...); err != nil {
				t.Error(err)
			}
			if p.GM != tt.gm || tt.bare != (p.Attributes == nil) || tt.detach != (p.Content == nil) {
				t.Errorf("%+v", p)
			}
			if tt.gm && p.Algorithm.String() != "1.2.156.10197.1.301.1" {
				t.Errorf("algorithm %v", p.Algorithm)
			}
			if err := p.Verify([]byte("other content")); err == nil {
				t.Error("other content verified")
			}
		})
	}
}

func write(t testing.TB, gm bool, key crypto.Signer, cert *smx509.Certificate, bare, detach bool) []byte {
	t.Helper()
	newData := pkcs7.NewSignedData
	if gm {
		newData = pkcs7.NewSMSignedData
	}
	sd, err := newData(content)
	if err != nil {
		t.Fatal(err)
	}
	if !gm {
		sd.SetDigestAlgorithm(pkcs7.OIDDigestAlgorithmSHA256)
	}
	if bare {
		err = sd.SignWithoutAttr(cert, key, pkcs7.SignerInfoConfig{})
	} else {
		err = sd.AddSigner(cert, key, pkcs7.SignerInfoConfig{})
	}
	if err != nil {
		t.Fatal(err)
	}
	if detach {
		sd.Detach()
	}
	raw, err := sd.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func FuzzParse(f *testing.F) {
	f.Add(sign(f, nil).raw)
	f.Add(sign(f, func([]byte) ([]byte, error) { return []byte{0x30, 0}, nil }).raw)
	gm := newSigner(f, "GM")
	f.Add(write(f, true, gm.Key, gm.Cert, true, false))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if m, err := cms.Parse(raw); err == nil {
			_ = m.Verify(content)
		} else if !errors.Is(err, cms.ErrFormat) {
			t.Error(err)
		}
	})
}
