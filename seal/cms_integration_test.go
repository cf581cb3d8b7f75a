//go:build integration

package seal

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/smx509"

	"yizheng/identity/jose"
	"yizheng/seal/cms"
	"yizheng/seal/pdf"
	"yizheng/seal/revocation"
	"yizheng/seal/tsp"
)

// castle is the class path of the Java side. Compiling it needs a JDK 17 and Maven,
// and Maven Central the first time.
type castle string

func newCastle(t *testing.T) castle {
	t.Helper()
	dir := t.TempDir()
	classpath := filepath.Join(dir, "classpath")
	out, err := exec.Command("mvn", "-q", "-B", "-f", "../deploy/dev/interop/bouncycastle", "-Dbuild.dir="+dir, "-Dmdep.outputFile="+classpath,
		"compile", "dependency:build-classpath").CombinedOutput()
	if err != nil {
		t.Fatalf("mvn: %v\n%s", err, out)
	}
	return castle(filepath.Join(dir, "classes") + string(os.PathListSeparator) + string(get(t, classpath)))
}

// run runs the Java program and reports whether it was content.
func (k castle) run(t *testing.T, args ...string) (ok bool, said string) {
	t.Helper()
	cmd := exec.Command("java", append([]string{"-cp", string(k), "yizheng.interop.Signatures"}, args...)...)
	out, _ := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != 0 && code != 1 {
		t.Fatalf("java: exit %d\n%s", code, out)
	}
	return cmd.ProcessState.Success(), string(out)
}

func put(t *testing.T, dir, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func get(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// authority is a time stamp authority whose tokens Bouncy Castle makes.
func (k castle) authority(t *testing.T, c *city) *tsp.Client {
	t.Helper()
	dir := t.TempDir()
	if ok, said := k.run(t, "authority", dir); !ok {
		t.Fatal(said)
	}
	c.write("tsa/bc.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: get(t, filepath.Join(dir, "root.der"))}))
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		put(t, dir, "request.der", body)
		if ok, said := k.run(t, "stamp", dir); !ok {
			t.Error(said)
		}
		_, _ = w.Write(get(t, filepath.Join(dir, "response.der")))
	}))
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	client, err := tsp.NewClient(tsp.Config{URL: s.URL, RootCAs: roots, Timeout: 2 * time.Minute})
	c.ok(err)
	t.Cleanup(client.Close)
	return client
}

// TestBouncyCastle has an independent implementation verify what is written here, and
// make time stamps and OCSP answers that are read here.
func TestBouncyCastle(t *testing.T) {
	k := newCastle(t)
	t.Run("verifies our CMS messages with its time stamps", k.strangersVerify)
	t.Run("answers our OCSP questions", k.ocsp)
}

// strangersVerify signs in CMS mode with a time stamp of Bouncy Castle's
// and has Bouncy Castle, OpenSSL, qpdf and poppler look at the file.
func (k castle) strangersVerify(t *testing.T) {
	c := newCity(t)
	client := k.authority(t, c)
	r := c.registry(RegistryOptions{Trust: c.trust(), Mode: ModeCMS, TimeStamps: &TimeStamps{Client: client, Required: true}})
	slot, err := r.Slot("mz")
	c.ok(err)
	at := time.Now().UTC().Truncate(time.Second)
	file, use, err := r.Sign(context.Background(), "mz", c.draftFor(slot, at), at)
	c.ok(err)
	if use.StampedAt.IsZero() {
		t.Fatal("no time stamp")
	}
	if report := Verify(file, c.trust(), time.Now()); !report.Overall || report.Checks[CheckStamp-1].Result != OK {
		t.Errorf("%+v", report.Checks)
	}
	c.alteredStamps(file, ModeCMS)
	agreed(t, "Bouncy Castle", "time stamps with a changed imprint, time or signature", changedByUs+"refused under check 8", 3)
	field, err := pdf.ReadSignature(t.Context(), file)
	c.ok(err)
	before, after, err := field.Covered(file)
	c.ok(err)
	dir := t.TempDir()
	content := append(bytes.Clone(before), after...)
	message := wholeDER(t, field.Contents)
	put(t, dir, "content.bin", content)
	put(t, dir, "message.der", message)
	put(t, dir, "root.der", c.root.Cert.Raw)
	if ok, said := k.run(t, "verify", dir); !ok || !strings.Contains(said, "stamped") || !strings.Contains(said, "verified") {
		t.Error(said)
	}
	content[len(content)/2] ^= 1
	put(t, dir, "content.bin", content)
	if ok, _ := k.run(t, "verify", dir); ok {
		t.Error("Bouncy Castle accepts a changed document")
	}
	agreed(t, "Bouncy Castle", "CMS mode: message, chain and time stamp", oursByThem+"accepted, and refused with a changed byte", 1)
	agreed(t, "Bouncy Castle", "time stamp (RFC 3161, SM3) for our signature", theirsByUs+"accepted", 1)
	openssl(t, c, dir, message)
	agreed(t, "OpenSSL", "CMS mode: SM2 over the signed attributes", oursByThem+"accepted, and refused with a changed byte", 1)
	path := put(t, dir, "sealed.pdf", file)
	for _, tool := range []struct {
		says string
		args []string
	}{{"No syntax", []string{"qpdf", "--check", path}}, {"Total document signed", []string{"pdfsig", path}}} {
		if out, err := exec.Command(tool.args[0], tool.args[1:]...).CombinedOutput(); !strings.Contains(string(out), tool.says) {
			t.Errorf("%s: %v\n%s", tool.args[0], err, out)
		}
	}
	agreed(t, "Poppler", "CMS mode: what the signature covers (pdfsig)", oursByThem+"the whole file", 1)
}

func wholeDER(t *testing.T, contents []byte) []byte {
	t.Helper()
	length := 4 + int(contents[2])<<8 + int(contents[3]) // SEQUENCE of 256 to 65,535 octets
	if contents[0] != 0x30 || contents[1] != 0x82 || len(bytes.TrimRight(contents[length:], "\x00")) > 0 {
		t.Fatal("Contents is not one structure and zeros")
	}
	return contents[:length]
}

// openssl verifies the signature over the SET OF signed attributes.
func openssl(t *testing.T, c *city, dir string, message []byte) {
	t.Helper()
	m, err := cms.Parse(message)
	c.ok(err)
	pub, err := jose.MarshalPublicKeyPEM(c.holder.Key.Public())
	c.ok(err)
	key, signature := put(t, dir, "pub.pem", pub), put(t, dir, "signature", m.Signature)
	verify := func(attributes []byte) bool {
		out, err := exec.Command("openssl", "dgst", "-sm3", "-verify", key, "-sigopt", "distid:1234567812345678",
			"-signature", signature, put(t, dir, "attributes", attributes)).CombinedOutput()
		return err == nil && strings.Contains(string(out), "Verified OK")
	}
	if !verify(m.Attributes) {
		t.Error("OpenSSL refuses the signed attributes")
	}
	m.Attributes[len(m.Attributes)-1] ^= 1
	if verify(m.Attributes) {
		t.Error("OpenSSL accepts changed attributes")
	}
}

// ocsp asks a responder that Bouncy Castle is.
func (k castle) ocsp(t *testing.T) {
	c := newCity(t)
	key, err := smx509.MarshalPKCS8PrivateKey(c.root.Key.SM2())
	c.ok(err)
	for says, want := range map[string]revocation.State{"good": revocation.Good, "revoked": revocation.Revoked} {
		dir := t.TempDir()
		put(t, dir, "ca.der", c.root.Cert.Raw)
		put(t, dir, "ca.key", key)
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			put(t, dir, "request.der", body)
			if ok, said := k.run(t, "ocsp", dir, says); !ok {
				t.Error(said)
			}
			_, _ = w.Write(get(t, filepath.Join(dir, "response.der")))
		}))
		trust := c.trustWith(revocation.Config{Responders: []revocation.Responder{{URL: s.URL}}, Timeout: 2 * time.Minute})
		status := trust.Revocation(context.Background(), c.holder.Cert, c.root.Cert, time.Now(), time.Now().Add(time.Minute))
		s.Close()
		if status.State != want || status.Source != revocation.SourceOCSP {
			t.Errorf("%s: %+v", says, status)
		}
		agreed(t, "Bouncy Castle", "OCSP answer of its responder to our question", theirsByUs+"understood: "+says, 1)
	}
}

func TestSM2_AgreesAThousandTimes(t *testing.T) {
	crossCheck(t, 1000)
	agreed(t, "tjfoc/gmsm", "SM2 signatures with random keys and messages", oursByThem+"accepted", 1000)
	agreed(t, "tjfoc/gmsm", "SM2 signatures with random keys and messages", theirsByUs+"accepted, and refused with a changed byte", 1000)
}
