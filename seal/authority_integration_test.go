//go:build integration

package seal

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"yizheng/seal/tsp"
)

// authorityConfig is what openssl req, x509 and ts need. OpenSSL 3.0 reads SM3
// imprints, but its CMS below ts signs neither with a key of SM2 ("signing not
// supported for this key type") nor with SM3: the authority has a key on P-256 and
// SHA-256. Bouncy Castle's (TestBouncyCastle) has SM2 and SM3.
const authorityConfig = `[req]
distinguished_name = none
[none]
[root]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
[stamps]
extendedKeyUsage = critical, timeStamping
keyUsage = critical, digitalSignature
[tsa]
default_tsa = a
[a]
serial = serial
signer_digest = sha256
default_policy = 1.2.156.251370861.98
digests = sm3
accuracy = secs:1
ess_cert_id_alg = sha256
`

// stamper is OpenSSL's time stamp authority.
type stamper struct {
	dir    string
	client *tsp.Client
}

// root is the certificate that vouches for it.
func (s stamper) root(t *testing.T) []byte {
	t.Helper()
	return get(t, filepath.Join(s.dir, "root.crt"))
}

func newStamper(t *testing.T) stamper {
	t.Helper()
	s := stamper{dir: t.TempDir()}
	put(t, s.dir, "tsa.cnf", []byte(authorityConfig))
	for _, command := range []string{
		"ecparam -name prime256v1 -genkey -noout -out root.key",
		"ecparam -name prime256v1 -genkey -noout -out tsa.key",
		"req -new -x509 -sha256 -config tsa.cnf -extensions root -key root.key -subj /CN=OpenSSL-root -days 30 -out root.crt",
		"req -new -sha256 -config tsa.cnf -key tsa.key -subj /CN=OpenSSL-TSA -out tsa.csr",
		"x509 -req -sha256 -in tsa.csr -CA root.crt -CAkey root.key -CAcreateserial -days 30 -extfile tsa.cnf -extensions stamps -out tsa.crt",
	} {
		if said, ok := runOpenSSL(t, s.dir, strings.Fields(command)...); !ok {
			t.Fatalf("openssl %s: %s", command, said)
		}
	}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		put(t, s.dir, "request", body)
		_, _ = w.Write(s.reply(t, "request"))
	}))
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	var err error
	if s.client, err = tsp.NewClient(tsp.Config{URL: server.URL, RootCAs: roots, Timeout: time.Minute}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.client.Close)
	return s
}

// reply is OpenSSL's answer to a request in a file of its directory.
func (s stamper) reply(t *testing.T, request string) []byte {
	t.Helper()
	if said, ok := runOpenSSL(t, s.dir, "ts", "-reply", "-config", "tsa.cnf", "-queryfile", request, "-signer", "tsa.crt", "-inkey", "tsa.key", "-out", "reply"); !ok {
		t.Error(said)
	}
	return get(t, filepath.Join(s.dir, "reply"))
}

func TestOpenSSL_StampsOurDocuments(t *testing.T) {
	s := newStamper(t)
	for _, mode := range []Mode{ModeSES, ModeCMS} {
		t.Run(string(mode), func(t *testing.T) {
			c := newCity(t)
			file := c.stampedNow(s.client, s.root(t), mode)
			if report := Verify(file, c.trust(), time.Now()); !report.Overall || report.Checks[CheckStamp-1].Result != OK {
				t.Errorf("%+v", report.Checks)
			}
			agreed(t, "OpenSSL", "time stamp (RFC 3161, imprint SM3, signed with ECDSA and SHA-256) of our documents, SES and CMS", theirsByUs+"accepted", 1)
			value, token := signatureIn(t, file, mode)
			verify := []string{"ts", "-verify", "-token_in", "-in", put(t, s.dir, "token", token), "-data", put(t, s.dir, "value", value), "-CAfile", "root.crt"}
			said, ok := runOpenSSL(t, s.dir, verify...)
			value[4] ^= 1
			put(t, s.dir, "value", value)
			if other, accepted := runOpenSSL(t, s.dir, verify...); !ok || accepted {
				t.Errorf("OpenSSL about the token: %s\nabout it and another value: %s", said, other)
			}
			agreed(t, "OpenSSL", "time stamp inside our documents, SES and CMS", oursByThem+"accepted over the signature value, and refused over another", 1)
			c.alteredStamps(file, mode)
			agreed(t, "OpenSSL", "time stamps with a changed imprint, time or signature", changedByUs+"refused under check 8", 3)
			c.write("tsa/root.crt", c.root.CertPEM()) // instead
			refused(t, Verify(file, c.trust(), time.Now()), CheckStamp, "not issued by a trusted authority")
			_, other := signatureIn(t, c.stampedNow(s.client, s.root(t), mode), mode)
			if mode == ModeSES {
				refused(t, Verify(c.forge(forgery{stamp: other}), c.trust(), time.Now()), CheckStamp, "of another signature")
				agreed(t, "OpenSSL", "time stamp of another document", theirsByUs+"refused under check 8", 1)
			}
			agreed(t, "OpenSSL", "time stamps of an authority that is not trusted", theirsByUs+"refused under check 8", 1)
		})
	}
	said, ok := runOpenSSL(t, s.dir, "ts", "-query", "-in", "request", "-text")
	if !ok || !strings.Contains(said, "Hash Algorithm: sm3") || !strings.Contains(said, "Nonce: 0x") || !strings.Contains(said, "Certificate required: yes") {
		t.Errorf("OpenSSL reads in our request:\n%s", said)
	}
	agreed(t, "OpenSSL", "time stamp request, with SM3 and a nonce", oursByThem+"read, and answered", 1)
}

// stampedNow seals a document now, with a time stamp of an authority whose root (PEM)
// is trusted from here on.
func (c *city) stampedNow(client *tsp.Client, root []byte, mode Mode) []byte {
	c.t.Helper()
	c.write("tsa/root.crt", root)
	r := c.registry(RegistryOptions{Trust: c.trust(), Mode: mode, TimeStamps: &TimeStamps{Client: client, Required: true}})
	slot, err := r.Slot("mz")
	c.ok(err)
	at := time.Now().UTC().Truncate(time.Second)
	file, use, err := r.Sign(context.Background(), "mz", c.draftFor(slot, at), at)
	c.ok(err)
	if use.StampedAt.IsZero() {
		c.t.Fatal("no time stamp")
	}
	return file
}

// alteredStamps changes one bit of the time stamp inside a file, which the signature
// does not cover, at three places.
func (c *city) alteredStamps(file []byte, mode Mode) {
	c.t.Helper()
	t := c.t.(*testing.T)
	_, token := signatureIn(t, file, mode)
	parsed, err := tsp.Parse(token)
	c.ok(err)
	for name, at := range map[string]int{
		"imprint":   bytes.Index(token, parsed.Imprint) + 7,
		"time":      bytes.Index(token, []byte("\x18\x0f20")) + 14,
		"signature": len(token) - 3,
	} {
		other := slices.Clone(token)
		other[at] ^= 1
		changed := bytes.Replace(file, []byte(hex.EncodeToString(token)), []byte(hex.EncodeToString(other)), 1)
		if bytes.Equal(changed, file) {
			t.Fatal("nothing was changed")
		}
		report := Verify(changed, c.trust(), time.Now())
		if got := report.Checks[CheckStamp-1]; report.Stopped != CheckStamp || got.Result != Fail {
			t.Errorf("%s: stopped at %d: %+v", name, report.Stopped, got)
		}
	}
}

// refused checks that a report stops at a check that fails for a reason.
func refused(t *testing.T, report Report, check int, says string) {
	t.Helper()
	if got := report.Checks[check-1]; report.Stopped != check || got.Result != Fail || !strings.Contains(got.Reason.EN, says) {
		t.Errorf("stopped at %d: %+v", report.Stopped, got)
	}
}
