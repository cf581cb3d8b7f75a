//go:build integration

package seal

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/smx509"

	"yizheng/identity/jose"
	"yizheng/seal/revocation"
)

// standing is a line of the register of an authority, index.txt of openssl ca.
type standing struct {
	cert    *smx509.Certificate
	revoked string // "yymmddhhmmssZ,reason"; empty: valid
}

// responder is OpenSSL's OCSP responder, which answers for the city's root with SM2
// and SM3.
type responder struct {
	url, dir string
}

// appointed makes the certificate of a responder.
func (c *city) appointed(by Credential, usage ...smx509.ExtKeyUsage) Credential {
	c.t.Helper()
	key, err := jose.GenerateKey()
	c.ok(err)
	tmpl, err := template(Subject{Name: "云州测试应答"}, years)
	c.ok(err)
	tmpl.KeyUsage, tmpl.ExtKeyUsage = smx509.KeyUsageDigitalSignature, usage
	made, err := certify(rand.Reader, tmpl, by.Cert, key, by.Key)
	c.ok(err)
	return made
}

// register writes certificates, keys and index.txt for OpenSSL into a directory.
func (c *city) register(signer Credential, list ...standing) (dir string) {
	c.t.Helper()
	dir = c.t.TempDir()
	var index strings.Builder
	for _, s := range list {
		state := "V"
		if s.revoked != "" {
			state = "R"
		}
		serial := hex.EncodeToString(s.cert.SerialNumber.Bytes())
		fmt.Fprintf(&index, "%s\t%s\t%s\t%s\tunknown\t/CN=%[4]s\n", state, s.cert.NotAfter.UTC().Format("060102150405Z"), s.revoked, strings.ToUpper(serial))
	}
	put(c.t.(*testing.T), dir, "index.txt", []byte(index.String()))
	for name, cred := range map[string]Credential{"ca": c.root, "signer": signer} {
		key, err := smx509.MarshalPKCS8PrivateKey(cred.Key.SM2())
		c.ok(err)
		put(c.t.(*testing.T), dir, name+".crt", cred.CertPEM())
		put(c.t.(*testing.T), dir, name+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	}
	return dir
}

// runOpenSSL runs it in a directory and returns what it said.
func runOpenSSL(t *testing.T, dir string, args ...string) (said string, ok bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "openssl", args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err == nil
}

// sm2Identity is the option for the identity that GM/T 0009 prescribes.
const sm2Identity = "distid:1234567812345678"

// listen starts OpenSSL's own HTTP server on a free port.
func (c *city) listen(signer Credential, list ...standing) responder {
	c.t.Helper()
	dir := c.register(signer, list...)
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "openssl", "ocsp", "-port", "0", "-timeout", "30", "-index", "index.txt", "-CA", "ca.crt",
		"-rsigner", "signer.crt", "-rkey", "signer.key", "-rmd", "sm3", "-rsigopt", sm2Identity, "-nmin", "60")
	cmd.Dir = dir
	out, err := cmd.StdoutPipe()
	c.ok(err)
	cmd.Stderr = cmd.Stdout
	c.ok(cmd.Start())
	c.t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	lines, said := bufio.NewReader(out), ""
	for { // ACCEPT [::]:41234 PID=77
		line, err := lines.ReadString('\n')
		said += line
		if m := regexp.MustCompile(`^ACCEPT .*:(\d+)\b`).FindStringSubmatch(line); m != nil {
			go func() { _, _ = io.Copy(io.Discard, lines) }() // ends with the process
			return responder{"http://127.0.0.1:" + m[1], dir}
		}
		if err != nil {
			c.t.Fatalf("openssl ocsp: %v\n%s", err, said)
		}
	}
}

// through is the address of somebody between us and the responder, who sees each
// question and sends on what change makes of its answer.
func (r responder) through(t *testing.T, change func(question, answer []byte) []byte) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		question, err := io.ReadAll(q.Body)
		if err != nil {
			t.Error(err)
		}
		back, err := http.Post(r.url, q.Header.Get("Content-Type"), bytes.NewReader(question))
		if err != nil {
			t.Error(err)
			return
		}
		defer back.Body.Close()
		answer, err := io.ReadAll(back.Body)
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write(change(question, answer))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// insisting asks one responder and does without no answer.
func (c *city) insisting(url string) *Trust {
	c.t.Helper()
	return c.trustWith(revocation.Config{Policy: revocation.Policy{Required: true},
		Responders: []revocation.Responder{{URL: url}}, Timeout: time.Minute})
}

const answersOfOpenSSL = "OCSP (SM2 and SM3, its own HTTP server), in the verification of a document: "

func TestOpenSSL_AnswersForCertificatesAreJudged(t *testing.T) {
	c := newCity(t)
	file := c.sealed()
	good := c.appointed(c.root, smx509.ExtKeyUsageOCSPSigning)
	holder, maker := standing{cert: c.holder.Cert}, standing{cert: c.maker.Cert}
	gone := func(s standing, when string) standing { s.revoked = when; return s }
	for _, tt := range []struct {
		name    string
		signer  Credential
		list    []standing
		check   int // that refuses; 0: none
		result  Result
		says    string // the reason of that check, or of check 5
		verdict string
	}{
		{"good", good, []standing{holder, maker}, 0, OK, "not revoked (OCSP answer of", "accepted, and when the answer was made is said"},
		{"good, signed by the authority itself", c.root, []standing{holder, maker}, 0, OK, "not revoked (OCSP answer of", "accepted"},
		{"signer revoked before use", good, []standing{gone(holder, "260201000000Z,superseded"), maker}, CheckCertificate, Fail, "revoked since 2026-02-01 08:00:00, superseded", "refused under check 5"},
		{"signer revoked after use, superseded", good, []standing{gone(holder, "260401000000Z,superseded"), maker}, 0, OK, "revoked later, on 2026-04-01", "accepted, and said"},
		{"signer revoked after use, key compromised", good, []standing{gone(holder, "260401000000Z,keyCompromise"), maker}, CheckTime, Fail, "no time stamp proves it", "refused under check 6: nobody proves the time"},
		{"maker revoked before the seal was made", good, []standing{holder, gone(maker, "260101000000Z,cessationOfOperation")}, CheckSeal, Fail, "had been revoked", "refused under check 4"},
		{"signer unknown to it", good, []standing{maker}, CheckCertificate, Unknown, "does not know the certificate", "not accepted under check 5"},
		{"maker unknown to it", good, []standing{holder}, CheckSeal, Unknown, "does not know the certificate", "not accepted under check 4"},
		{"responder with a certificate for something else", c.appointed(c.root), []standing{holder, maker}, CheckCertificate, Unknown, "", "not believed: check 5 unknown"},
		{"responder that another root appointed", c.appointed(c.stranger(), smx509.ExtKeyUsageOCSPSigning), []standing{holder, maker}, CheckCertificate, Unknown, "", "not believed: check 5 unknown"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := c.listen(tt.signer, tt.list...)
			report := Verify(file, c.insisting(r.url), time.Now())
			at := tt.check
			if at == 0 {
				at = CheckCertificate
			}
			got := report.Checks[at-1]
			if report.Overall != (tt.check == 0) || report.Stopped != tt.check || got.Result != tt.result || !strings.Contains(got.Reason.EN, tt.says) {
				t.Errorf("stopped at %d: %+v", report.Stopped, got)
			}
			agreed(t, "OpenSSL", answersOfOpenSSL+tt.name, theirsByUs+tt.verdict, 1)
		})
	}
}

// stranger is another root.
func (c *city) stranger() Credential {
	c.t.Helper()
	other, err := MakeRoot(Subject{Name: "另一个根"}, years)
	c.ok(err)
	return other
}

func TestOpenSSL_ChangedAnswersAreNotBelieved(t *testing.T) {
	c := newCity(t)
	file := c.sealed()
	r := c.listen(c.appointed(c.root, smx509.ExtKeyUsageOCSPSigning), standing{cert: c.holder.Cert}, standing{cert: c.maker.Cert})
	var first []byte
	keep := r.through(t, func(question, answer []byte) []byte { // and what OpenSSL reads in our question
		put(t, r.dir, "question", question)
		said, ok := runOpenSSL(t, r.dir, "ocsp", "-reqin", "question", "-req_text")
		if !ok || !strings.Contains(said, "Hash Algorithm: sm3") || !strings.Contains(said, "OCSP Nonce") {
			t.Errorf("OpenSSL reads in our question:\n%s", said)
		}
		first = answer
		return answer
	})
	if report := Verify(file, c.insisting(keep), time.Now()); !report.Overall {
		t.Fatalf("unchanged: %+v", report.Checks)
	}
	agreed(t, "OpenSSL", "OCSP: our question, with SM3 and a nonce", oursByThem+"read, and answered", 1)
	flip := func(at func(answer []byte) int) func(_, answer []byte) []byte {
		return func(_, answer []byte) []byte { answer[at(answer)] ^= 1; return answer }
	}
	for _, tt := range []struct {
		name   string
		change func(question, answer []byte) []byte
	}{
		{"signature", flip(func(b []byte) int { return bytes.Index(b, oidSM2WithSM3DER) + len(oidSM2WithSM3DER) + 12 })},
		{"good made revoked", func(_, b []byte) []byte { return bytes.Replace(b, []byte{0x80, 0}, []byte{0x82, 0}, 1) }},
		{"time of the answer", flip(func(b []byte) int { return bytes.LastIndex(b, []byte("\x18\x0f20")) + 14 })},
		{"certificate of the responder", flip(func(b []byte) int { return len(b) - 5 })},
		{"answer to another question", func(_, _ []byte) []byte { return first }},
		{"cut off", func(_, b []byte) []byte { return b[:len(b)-1] }},
		{"nothing", func(_, _ []byte) []byte { return nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			report := Verify(file, c.insisting(r.through(t, tt.change)), time.Now())
			if got := report.Checks[CheckCertificate-1]; report.Stopped != CheckCertificate || got.Result != Unknown {
				t.Errorf("%+v", got)
			}
		})
	}
	agreed(t, "OpenSSL", "OCSP answers with one thing changed: signature, status, time, certificate, another's, cut, empty", changedByUs+"not believed: check 5 unknown", 7)
}

// oidSM2WithSM3DER stands before the signature of an answer.
var oidSM2WithSM3DER = []byte{6, 8, 0x2a, 0x81, 0x1c, 0xcf, 0x55, 1, 0x83, 0x75}

// listConfig is what openssl ca needs for a list.
const listConfig = `[ca]
default_ca = a
[a]
database = index.txt
certificate = ca.crt
private_key = ca.key
default_md = sm3
default_crl_days = 1
crlnumber = number
`

func TestOpenSSL_RevocationListsAreJudged(t *testing.T) {
	for _, tt := range []struct {
		name, revoked string
		check         int
		verdict       string
	}{
		{"that does not name the signer", "", 0, "accepted"},
		{"that names the signer", "260201000000Z,superseded", CheckCertificate, "refused under check 5"},
	} {
		c := newCity(t)
		dir := c.register(c.root, standing{c.holder.Cert, tt.revoked})
		put(t, dir, "ca.cnf", []byte(listConfig))
		put(t, dir, "number", []byte("01\n"))
		if said, ok := runOpenSSL(t, dir, "ca", "-config", "ca.cnf", "-gencrl", "-sigopt", sm2Identity, "-out", "list.crl"); !ok {
			t.Fatal(said)
		}
		c.write("crl/list.crl", get(t, dir+"/list.crl"))
		if report := Verify(c.sealed(), c.trust(), time.Now()); report.Stopped != tt.check || !strings.Contains(report.Checks[CheckCertificate-1].Reason.EN, "revocation list of") {
			t.Errorf("%s: stopped at %d: %+v", tt.name, report.Stopped, report.Checks[CheckCertificate-1])
		}
		agreed(t, "OpenSSL", "revocation list (SM2 and SM3) "+tt.name, theirsByUs+tt.verdict, 1)
	}
}
