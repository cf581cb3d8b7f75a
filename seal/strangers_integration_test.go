//go:build integration

package seal

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/emmansun/gmsm/smx509"

	"yizheng/identity/jose"
	"yizheng/seal/pdf"
	"yizheng/seal/ses"
)

// strangers is one run of deploy/dev/interop/strangers: tasks are collected, carried
// out by one Java process, and their answers judged.
type strangers struct {
	*city
	files string // directory of the Java process
	tasks []string
	judge []func(t *testing.T, answer string)
}

// ask adds a task. Its answer is judged in a test of its own.
func (s *strangers) ask(task string, judge func(t *testing.T, answer string)) {
	s.tasks, s.judge = append(s.tasks, task), append(s.judge, judge)
}

// want is the judge of a task with one right answer.
func want(answer string) func(*testing.T, string) {
	return func(t *testing.T, got string) {
		t.Helper()
		if !strings.HasPrefix(got, answer) {
			t.Errorf("says %q, want %q", got, answer)
		}
	}
}

// run compiles the Java side and has it carry out all tasks.
func (s *strangers) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	dir := t.TempDir()
	classpath := filepath.Join(dir, "classpath")
	if out, err := exec.CommandContext(ctx, "mvn", "-q", "-B", "-f", "../deploy/dev/interop/strangers", "-Dbuild.dir="+dir,
		"-Dmdep.outputFile="+classpath, "compile", "dependency:build-classpath").CombinedOutput(); err != nil {
		t.Fatalf("mvn: %v\n%s", err, out)
	}
	put(t, s.files, "tasks", []byte(strings.Join(s.tasks, "\n")))
	// ofdrw writes the time of a V1 signature as it is on the clock on the wall.
	cmd := exec.CommandContext(ctx, "java", "-Duser.timezone=Asia/Shanghai", "-cp", filepath.Join(dir, "classes")+string(os.PathListSeparator)+string(get(t, classpath)),
		"yizheng.interop.Strangers", s.files)
	var faults bytes.Buffer
	cmd.Stderr = &faults
	out, err := cmd.Output()
	answers := strings.Split(strings.TrimSpace(string(out)), "\n")
	if err != nil || len(answers) != len(s.tasks) {
		t.Fatalf("java: %v, %d answers to %d tasks\n%s", err, len(answers), len(s.tasks), faults.Bytes())
	}
	for i, task := range s.tasks {
		t.Run(strings.ReplaceAll(task, " ", "_"), func(t *testing.T) { s.judge[i](t, answers[i]) })
	}
}

func (s *strangers) file(t *testing.T, name string) []byte {
	t.Helper()
	return get(t, filepath.Join(s.files, name))
}

// TestStrangers has Bouncy Castle, ofdrw and PDFBox look at documents made here, and
// verifies what they make, and what they do to documents made here.
func TestStrangers(t *testing.T) {
	s := &strangers{city: newCity(t), files: t.TempDir()}
	put(t, s.files, "root.der", s.root.Cert.Raw)
	put(t, s.files, "picture.gif", s.picture)
	for name, cred := range map[string]Credential{"maker": s.maker, "holder": s.holder} {
		key, err := smx509.MarshalPKCS8PrivateKey(cred.Key.SM2())
		s.ok(err)
		put(t, s.files, name+".der", cred.Cert.Raw)
		put(t, s.files, name+".key", key)
	}
	ours := s.documents(t)
	s.judgeOurs(t, ours)
	s.makeTheirs(t)
	s.attackOurs(t)
	s.shadows(t)
	s.run(t)
	t.Run("qpdf", func(t *testing.T) { s.qpdf(t, ours) })
}

// documents makes one document of each kind, in the fonts that documents are printed
// in, with characters beyond the basic plane.
func (s *strangers) documents(t *testing.T) (names []string) {
	t.Helper()
	const root = "/usr/share/fonts/truetype/"
	fonts, err := pdf.LoadFonts(root+"babelstone/BabelStoneHan.ttf", []string{root + "hanazono/HanaMinA.ttf", root + "hanazono/HanaMinB.ttf"})
	s.ok(err)
	defer fonts.Close()
	renderer, err := pdf.NewRenderer(fonts)
	s.ok(err)
	for _, k := range []struct {
		name    string
		mode    Mode
		version ses.Version
	}{{"V1", ModeSES, ses.V1}, {"V4", ModeSES, ses.V4}, {"V5", ModeSES, ses.V5}, {"CMS", ModeCMS, ses.V4}} {
		c := newCity(t)
		c.resealed(k.version)
		r := c.registry(RegistryOptions{Mode: k.mode})
		slot, err := r.Slot("mz")
		s.ok(err)
		picture, name, err := r.Picture("mz")
		s.ok(err)
		d, err := renderer.Render(pdf.Document{
			Title: "最低生活保障证明", Issuer: "云州市民政局", Number: "6901002026030100000017-X", IssuedAt: signed,
			Body: "兹证明李𬸚的家庭已被纳入本市城市居民最低生活保障范围，至查询之时仍在享受之中。",
			Rows: []pdf.Row{{Label: "姓名", Value: "李𬸚"}, {Label: "保障家庭成员", Value: "李𬸚（户主）、王㐂（配偶）、阿依古丽·买买提（子女）"}, {Label: "月保障金额", Value: "1,860.00元"}},
			Seed: bytes.Repeat([]byte{7}, pdf.SeedSize), Receipt: "yizheng.test/audit 17", SealPicture: picture, SealName: name, Signer: "云州市民政局",
		}, slot)
		s.ok(err)
		file, _, err := r.Sign(context.Background(), "mz", d, signed)
		s.ok(err)
		if report := Verify(file, s.trust(), now); !report.Overall {
			t.Fatalf("%s: %+v", k.name, report.Checks)
		}
		put(t, s.files, k.name+".pdf", file)
		names = append(names, k.name)
	}
	return names
}

// judgeOurs asks what they say of our documents, and of ones with a changed bit.
func (s *strangers) judgeOurs(t *testing.T, ours []string) {
	t.Helper()
	for _, name := range ours {
		file := s.file(t, name+".pdf")
		field, err := pdf.ReadSignature(t.Context(), file)
		s.ok(err)
		said := fmt.Sprintf("ok 1 %s %s [%s]", field.Filter, field.SubFilter, strings.Trim(strings.ReplaceAll(fmt.Sprint(field.ByteRange), " ", ", "), "[]"))
		s.ask("inside "+name+".pdf "+name+".txt", func(t *testing.T, answer string) {
			want(said)(t, answer)
			agreed(t, "PDFBox", "opened strictly, without a warning; filter, range and coverage read the same", oursByThem+"accepted", 1)
			sameText(t, filepath.Join(s.files, name+".pdf"), s.file(t, name+".txt"))
			agreed(t, "PDFBox", "text of the page, equal to Poppler's", oursByThem+"the same", 1)
		})
		if name == "CMS" {
			continue // TestBouncyCastle
		}
		changed := bytes.Clone(file)
		digit := bytes.LastIndex(changed, []byte("/ID[<")) + len("/ID[<") // which nobody needs to read the file
		changed[digit] = '0' + (changed[digit]+1)%10
		put(t, s.files, name+"-changed.pdf", changed)
		s.ask("castle "+name+".pdf root.der", func(t *testing.T, answer string) {
			want("ok "+name)(t, answer)
			agreed(t, "Bouncy Castle below ofdrw", "SES "+name+": SM2 of signer and maker over the raw bytes, digest, range, list, both certificates", oursByThem+"accepted", 1)
		})
		s.ask("castle "+name+"-changed.pdf root.der", func(t *testing.T, answer string) {
			want("refused Refused the digest")(t, answer)
			agreed(t, "Bouncy Castle below ofdrw", "SES "+name+" with a changed byte of the document", oursByThem+"refused", 1)
		})
		s.ask("ofdrw "+name+".pdf", func(t *testing.T, answer string) {
			want("ok "+name+" "+esid+" "+sealName)(t, answer)
			what := "SES " + name + ": seal and signature parsed, digest and signature verified"
			if name == "V5" {
				what += " (as V4, which it knows)"
			}
			agreed(t, "ofdrw", what, oursByThem+"accepted", 1)
		})
		s.ask("ofdrw "+name+"-changed.pdf", func(t *testing.T, answer string) {
			want("refused InvalidSignedValueException")(t, answer)
			agreed(t, "ofdrw", "SES "+name+" with a changed byte of the document", oursByThem+"refused", 1)
		})
	}
}

// sameText compares what two programs read from a page, but for white space, which
// each sets as it likes.
func sameText(t *testing.T, path string, theirs []byte) {
	t.Helper()
	out, err := exec.Command("pdftotext", "-enc", "UTF-8", path, "-").Output()
	if err != nil {
		t.Fatal(err)
	}
	letters := func(b []byte) string {
		kept := []rune{}
		for _, r := range string(b) {
			if !unicode.IsSpace(r) && r != '\f' {
				kept = append(kept, r)
			}
		}
		return string(kept)
	}
	if a, b := letters(theirs), letters(out); a != b {
		t.Errorf("one reads\n%s\nthe other\n%s", a, b)
	}
}

// makeTheirs has ofdrw make seals, and PDFBox documents that ofdrw and Bouncy Castle
// sign, which are then verified here.
func (s *strangers) makeTheirs(t *testing.T) {
	t.Helper()
	gateway := buildGateway(t)
	s.ask("page plain.pdf plain", want("ok"))
	for _, k := range []struct{ version, what string }{{"V1", "V1 (GM/T 0031)"}, {"V4", "V4 (GB/T 38540)"}, {"V4D", "V4, its list by digest"}} {
		s.ask("seal "+k.version+" maker.key maker.der holder.der picture.gif "+k.version+".seal", func(t *testing.T, answer string) {
			want("ok")(t, answer)
			facts, err := Inspect(s.file(t, k.version+".seal"), s.holder.Cert.Raw, s.trust())
			if err != nil || facts.Name != sealName || !strings.HasPrefix(facts.ESID, "OFDRW-") {
				t.Errorf("%+v, %v", facts, err)
			}
			agreed(t, "ofdrw", "seal "+k.what+": format, maker's signature, list, picture, trust", theirsByUs+"accepted", 1)
		})
	}
	for _, k := range []struct{ kind, seal, program, what string }{
		{"V1", "V1.seal", "PDFBox with ofdrw", "SES V1 with ofdrw's own seal"},
		{"V4", "V4.seal", "PDFBox with ofdrw", "SES V4 with ofdrw's own seal"},
		{"V4", "V4D.seal", "PDFBox with ofdrw", "SES V4 with ofdrw's own seal that lists digests"},
		{"CMS", "V4.seal", "PDFBox with Bouncy Castle", "`adbe.pkcs7.detached` without a seal"},
		{"CMS+SEAL", "V4.seal", "PDFBox with Bouncy Castle", "`adbe.pkcs7.detached` with ofdrw's seal beside it"},
	} {
		name := "theirs-" + k.kind + "-" + k.seal + ".pdf"
		s.ask("sign "+k.kind+" plain.pdf holder.key holder.der "+k.seal+" "+name, func(t *testing.T, answer string) {
			want("ok")(t, answer)
			s.judgeTheirs(t, gateway, name, k.kind == "CMS")
			verdict := "`gateway verify` accepts all that is there"
			if k.kind == "CMS" {
				verdict = "`gateway verify`: the signature is right, and there is no seal (checks 3 and 4 absent)"
			}
			agreed(t, k.program, k.what, theirsByUs+verdict, 1)
		})
	}
}

// buildGateway builds the program whose users ask it.
func buildGateway(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "gateway")
	if out, err := exec.Command("go", "build", "-o", path, "../cmd/gateway").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// judgeTheirs wants every check but the time stamp's to be passed, or those of the
// seal to be absent and nothing else missing; and the same file with a changed byte
// refused.
func (s *strangers) judgeTheirs(t *testing.T, gateway, name string, sealless bool) {
	t.Helper()
	out, err := exec.Command(gateway, "verify", "-json", "-trust", s.trustDir, filepath.Join(s.files, name)).Output()
	if sealless == (err == nil) {
		t.Errorf("exit: %v", err)
	}
	var r Report
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Checks {
		expected := OK
		if c.No == CheckStamp || sealless && (c.No == CheckList || c.No == CheckSeal) {
			expected = Absent
		}
		if c.Result != expected {
			t.Errorf("check %d: %s, %s", c.No, c.Result, c.Reason.EN)
		}
	}
	file := s.file(t, name)
	changed := bytes.Replace(file, []byte("/MediaBox"), []byte("/MediaBax"), 1)
	if bytes.Equal(changed, file) { // in an object stream: change the first stream
		changed[bytes.Index(file, []byte("stream"))+20] ^= 1
	}
	if failed := failedChecks(Verify(changed, s.trust(), time.Now())); !slices.Contains(failed, CheckDigest) && !slices.Contains(failed, CheckFormat) {
		t.Errorf("a changed byte: failed %v", failed)
	}
}

func failedChecks(r Report) (failed []int) {
	for _, c := range r.Checks {
		if c.Result == Fail {
			failed = append(failed, c.No)
		}
	}
	return failed
}

// TestOpenSSL_AcceptsOurChains asks the chain of maker and holder up to the root.
func TestOpenSSL_AcceptsOurChains(t *testing.T) {
	c := newCity(t)
	stranger, err := MakeRoot(Subject{Name: "另一个根"}, years)
	c.ok(err)
	dir := t.TempDir()
	root, other := put(t, dir, "root.pem", c.root.CertPEM()), put(t, dir, "other.pem", stranger.CertPEM())
	chain := func(root, leaf string) bool {
		return exec.Command("openssl", "verify", "-vfyopt", "distid:1234567812345678", "-attime", fmt.Sprint(signed.Unix()), "-CAfile", root, leaf).Run() == nil
	}
	for _, cred := range []Credential{c.maker, c.holder} {
		leaf := put(t, dir, jose.KeyID(cred.Key.Public()), cred.CertPEM())
		if !chain(root, leaf) || chain(other, leaf) {
			t.Error("OpenSSL judges a chain otherwise")
		}
	}
	agreed(t, "OpenSSL", "certificate chains of maker and holder", oursByThem+"accepted, and refused under another root", 2)
}

// TestSM2_TheVectorOfIssue560 records what TestSM2_AcceptsTheSignatureOldVersionsRejected finds.
func TestSM2_TheVectorOfIssue560(t *testing.T) {
	TestSM2_AcceptsTheSignatureOldVersionsRejected(t)
	agreed(t, "emmansun/gmsm", "vector of its issue #560, which v0.29.3 to v0.44.0 reject", theirsByUs+"accepted", 1)
}
