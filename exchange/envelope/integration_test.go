//go:build integration

package envelope_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/smx509"

	"yizheng/exchange/envelope"
	"yizheng/identity/jose"
)

const bouncyCastle = "../../deploy/dev/interop/bouncycastle"

var buildDir string // removed by TestMain

// program compiles the Java side once per run and returns its class path. It
// needs a JDK 17 and Maven, and Maven Central the first time.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "envelope-bc-*")
	if err != nil {
		return "", err
	}
	buildDir = dir
	classpath := filepath.Join(dir, "classpath")
	cmd := exec.Command("mvn", "-q", "-B", "-f", bouncyCastle, "-Dbuild.dir="+dir, "-Dmdep.outputFile="+classpath,
		"compile", "dependency:build-classpath")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("mvn: %w\n%s", err, out)
	}
	jars, err := os.ReadFile(classpath)
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "classes") + string(os.PathListSeparator) + string(jars), nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if buildDir != "" {
		_ = os.RemoveAll(buildDir)
	}
	os.Exit(code)
}

// java runs the Java program and reports whether it was content.
func java(t *testing.T, args ...string) (ok bool, said string) {
	t.Helper()
	p, err := program()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("java", append([]string{"-cp", p, "yizheng.interop.Envelope"}, args...)...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !(errors.As(err, &exit) && exit.ExitCode() == 1) {
		t.Fatalf("java: %v\n%s", err, out)
	}
	return err == nil, string(out)
}

func write(t *testing.T, dir, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeKeys(t *testing.T, dir string, sender, recipient *jose.Key) {
	t.Helper()
	for name, k := range map[string]*jose.Key{"sender": sender, "recipient": recipient} {
		private, err := smx509.MarshalPKCS8PrivateKey(k.SM2())
		if err != nil {
			t.Fatal(err)
		}
		public, err := smx509.MarshalPKIXPublicKey(k.Public())
		if err != nil {
			t.Fatal(err)
		}
		write(t, dir, name+".key", private)
		write(t, dir, name+".pub", public)
	}
}

// lines are the attributes as the Java program writes and reads them.
func lines(t *testing.T, a envelope.Attributes) string {
	t.Helper()
	kind := 1
	if a.Kind == envelope.Answer {
		kind = 2
	}
	s := fmt.Sprintf("version=1\nkind=%d\nexchange=%s\nleg=%s\nattempt=%d\nsender=%s\nrecipient=%s\nrecipientKey=%s\ndeadline=%d\nlegDigest=%x\n",
		kind, a.Exchange, a.Leg, a.Attempt, a.Sender, a.Recipient, a.RecipientKey, a.Deadline.UnixMilli(), a.LegDigest)
	if a.ReplyKey != nil {
		key, err := sm2.PublicKeyToECDH(a.ReplyKey)
		if err != nil {
			t.Fatal(err)
		}
		s += fmt.Sprintf("replyTo=%s\nreplyKey=%x\n", a.ReplyTo, key.Bytes())
	}
	if a.Epoch != 0 {
		s += fmt.Sprintf("epoch=%d\n", a.Epoch)
	}
	return s
}

func TestBouncyCastleOpensOurs(t *testing.T) {
	p := newPair(t)
	body := []byte("{\"证\":1}")
	now := time.Now()
	certificate, err := envelope.Certificate(p.gateway, now, now.AddDate(1, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	for name, from := range map[string]envelope.Sender{
		"bare key":    {Key: p.gateway},
		"certificate": {Key: p.gateway, Certificate: certificate},
	} {
		t.Run(name, func(t *testing.T) {
			der, a, err := envelope.Seal(from, envelope.Recipient{Key: p.front.Public()}, p.request(), body)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			writeKeys(t, dir, p.gateway, p.front)
			write(t, dir, "sealed.der", der)
			if ok, said := java(t, "open", dir); !ok {
				t.Fatal(said)
			}
			if got := read(t, dir, "body.bin"); !bytes.Equal(got, body) {
				t.Errorf("body: %q", got)
			}
			if got := string(read(t, dir, "attributes.txt")); got != lines(t, a) {
				t.Errorf("attributes:\n%swant\n%s", got, lines(t, a))
			}
		})
	}
}

func TestBouncyCastleRefusesChangedOnes(t *testing.T) {
	p := newPair(t)
	signed := envelope.SignForTest(t, p.gateway, p.request(), p.front.ID(), []byte("body"))
	at := bytes.Index(signed, []byte("body"))
	otherBody, otherAttribute := bytes.Clone(signed), bytes.Clone(signed)
	otherBody[at] ^= 1
	otherAttribute[bytes.Index(signed, []byte("front-police"))] ^= 1
	sealed := envelope.SealForTest(t, p.front.Public(), signed)
	outside := bytes.Clone(sealed)
	outside[len(outside)-200] ^= 1
	for name, der := range map[string][]byte{
		"body":       envelope.SealForTest(t, p.front.Public(), otherBody),
		"attribute":  envelope.SealForTest(t, p.front.Public(), otherAttribute),
		"ciphertext": outside,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			writeKeys(t, dir, p.gateway, p.front)
			write(t, dir, "sealed.der", der)
			if ok, _ := java(t, "open", dir); ok {
				t.Error("opened")
			}
		})
	}
}

func TestWeOpenBouncyCastles(t *testing.T) {
	p := newPair(t)
	for _, form := range []string{"gm", "pkcs7"} {
		t.Run(form, func(t *testing.T) {
			want := p.request()
			want.RecipientKey = p.front.ID()
			dir := t.TempDir()
			writeKeys(t, dir, p.gateway, p.front)
			write(t, dir, "body.bin", []byte("{\"证\":1}"))
			write(t, dir, "attributes.txt", []byte(lines(t, want)))
			if ok, said := java(t, "seal", dir, form); !ok {
				t.Fatal(said)
			}
			der := read(t, dir, "sealed.der")
			a, body, err := p.reader().Open(der)
			if err != nil {
				var open *envelope.OpenError
				errors.As(err, &open)
				t.Fatal(open.Cause())
			}
			if time.Since(a.SignedAt).Abs() > time.Minute {
				t.Error("signing time:", a.SignedAt)
			}
			want.SignedAt, want.Deadline = a.SignedAt, want.Deadline.UTC()
			if !same(a, want) || string(body) != "{\"证\":1}" {
				t.Errorf("%+v %q", a, body)
			}
			der[len(der)-100] ^= 1
			_, _, err = p.reader().Open(der)
			refused(t, err)
		})
	}
}

// OpenSSL's cms command knows no SM2 identity, but its dgst verifies the
// signature over the signed attributes cut out of the message.
func TestOpenSSLVerifiesTheSignedAttributes(t *testing.T) {
	p := newPair(t)
	signed := envelope.SignForTest(t, p.gateway, p.request(), p.front.ID(), []byte("body"))
	attributes, signature := envelope.CutForTest(t, signed)
	dir := t.TempDir()
	pub, err := jose.MarshalPublicKeyPEM(p.gateway.Public())
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "pub.pem", pub)
	write(t, dir, "sig", signature)
	verify := func(attributes []byte) (string, error) {
		write(t, dir, "attributes", attributes)
		cmd := exec.Command("openssl", "dgst", "-sm3", "-verify", "pub.pem", "-sigopt", "distid:1234567812345678",
			"-signature", "sig", "attributes")
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := verify(attributes); err != nil || !strings.Contains(out, "Verified OK") {
		t.Fatal(err, out)
	}
	attributes[len(attributes)-1] ^= 1
	if out, err := verify(attributes); err == nil {
		t.Error("changed attributes verified:", out)
	}
}
