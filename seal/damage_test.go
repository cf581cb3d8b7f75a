package seal

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"yizheng/seal/cms"
	"yizheng/seal/pdf"
	"yizheng/seal/ses"
	"yizheng/seal/tsp"
)

// sentinels are the errors of the reading packages, by package and name.
var sentinels = map[string]error{
	"pdf.ErrHeader": pdf.ErrHeader, "pdf.ErrCut": pdf.ErrCut, "pdf.ErrSyntax": pdf.ErrSyntax, "pdf.ErrTables": pdf.ErrTables,
	"pdf.ErrStream": pdf.ErrStream, "pdf.ErrBounds": pdf.ErrBounds, "pdf.ErrField": pdf.ErrField, "pdf.ErrStructure": pdf.ErrStructure,
	"pdf.ErrNoSignature": pdf.ErrNoSignature, "pdf.ErrManySignatures": pdf.ErrManySignatures, "pdf.ErrByteRange": pdf.ErrByteRange,
	"pdf.ErrContents": pdf.ErrContents, "pdf.ErrRevision": pdf.ErrRevision, "pdf.ErrEncrypted": pdf.ErrEncrypted, "pdf.ErrNoPrivate": pdf.ErrNoPrivate,
	"ses.ErrFormat": ses.ErrFormat, "ses.ErrEncoding": ses.ErrEncoding, "ses.ErrElements": ses.ErrElements, "ses.ErrVersions": ses.ErrVersions,
	"ses.ErrPadding": ses.ErrPadding, "ses.ErrValue": ses.ErrValue, "ses.ErrPicture": ses.ErrPicture, "ses.ErrCritical": ses.ErrCritical,
	"cms.ErrFormat": cms.ErrFormat, "cms.ErrDigest": cms.ErrDigest, "cms.ErrSignature": cms.ErrSignature, "cms.ErrCertificate": cms.ErrCertificate,
	"tsp.ErrFormat": tsp.ErrFormat, "tsp.ErrImprint": tsp.ErrImprint, "tsp.ErrUsage": tsp.ErrUsage,
}

// ofWriters are the sentinels that only who writes a document or asks for a time stamp
// meets.
var ofWriters = []string{"pdf.ErrDocument", "pdf.ErrFont", "pdf.ErrPicture", "pdf.ErrTooLarge", "pdf.ErrFilled", "tsp.ErrUnavailable"}

// TestUnreadable_HasASentenceForEverySentinel reads the sentinels out of the source, so
// that a new one is not forgotten.
func TestUnreadable_HasASentenceForEverySentinel(t *testing.T) {
	declared := 0
	for _, dir := range []string{"pdf", "ses", "cms", "tsp"} {
		for _, name := range exportedErrors(t, dir) {
			if strings.Contains(strings.Join(ofWriters, " ")+" ", dir+"."+name+" ") {
				continue
			}
			declared++
			if sentinels[dir+"."+name] == nil {
				t.Errorf("%s.%s: new here; give it a sentence in damages, and an entry in this test", dir, name)
			}
		}
	}
	if declared < len(sentinels) {
		t.Errorf("%d sentinels found in the source, %d expected", declared, len(sentinels))
	}
	for name, err := range sentinels {
		if !described(err) {
			t.Errorf("%s has no sentence of its own", name)
		}
	}
	for _, err := range []error{errBehind, errOwnContent, errAnnounced, context.Canceled, context.DeadlineExceeded} {
		if !described(err) {
			t.Errorf("%v has no sentence of its own", err)
		}
	}
}

func described(err error) bool {
	for _, d := range damages {
		if errors.Is(err, d.class) {
			return d.class == err
		}
	}
	return false
}

var declaredError = regexp.MustCompile(`(?m)^(?:var|\t)\s*(Err\w+)\s*=`)

func exportedErrors(t *testing.T, dir string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		source, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		for _, m := range declaredError.FindAllSubmatch(source, -1) {
			names = append(names, string(m[1]))
		}
	}
	return names
}

// TestUnreadable_KeepsLanguagesApart: each sentence is of one language, and says what to do.
func TestUnreadable_KeepsLanguagesApart(t *testing.T) {
	for _, d := range damages {
		said := unreadable(d.class, contents([4]int{0, 10, 20, 5}))
		if !oneLanguage(said) || !strings.Contains(said.ZH, "；"+d.do.ZH) || !strings.Contains(said.EN, "; "+d.do.EN) {
			t.Errorf("%v: %+v", d.class, said)
		}
	}
	if said := Unreadable(errors.New("something nobody foresaw: 张三")); !oneLanguage(said) || strings.Contains(said.ZH, "张三") {
		t.Errorf("%+v", said)
	}
}

// terms stand in Chinese sentences as they are.
var terms = strings.NewReplacer("PDF", "", "ByteRange", "", "Contents", "", "DER", "", "CMS", "", "RFC 3161", "", "SubFilter", "",
	"DocMDP", "", "SM2", "", "SM3", "", "GB/T 38540-2020", "", "GM/T 0031-2014", "", "GM/T 0031-2025", "")

func oneLanguage(s Text) bool {
	zh := terms.Replace(s.ZH)
	if at := strings.Index(zh, "字段 "); at >= 0 { // a path of the standard's names
		zh = zh[:at] + strings.TrimLeft(zh[at+len("字段 "):], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_.")
	}
	latin := strings.IndexFunc(zh, func(r rune) bool { return r < 0x80 && unicode.IsLetter(r) }) >= 0
	return zh != "" && s.EN != "" && !latin && strings.IndexFunc(s.EN, func(r rune) bool { return unicode.Is(unicode.Han, r) }) < 0
}

// TestVerify_SaysWhereAFileIsDamaged runs damaged and hostile files through the eight
// checks: every reason is of one language, names class and place, and nothing in it
// comes from the file.
func TestVerify_SaysWhereAFileIsDamaged(t *testing.T) {
	c := newCity(t)
	good, secret := c.sealed(), "secret-of-the-file"
	cut := bytes.Index(good, []byte("/ByteRange"))
	broken := bytes.Clone(good)
	at := bytes.Index(broken, []byte(" obj"))
	start := bytes.LastIndexByte(broken[:at], '\n') + 1
	copy(broken[at:], " ojb")
	elsewhere := bytes.Clone(good)
	elsewhere[bytes.LastIndex(good, []byte("startxref\n"))+len("startxref\n")] ^= 1 // another first figure
	for _, tt := range []struct {
		name   string
		file   []byte
		zh, en string
	}{
		{"empty", nil, "文件不是 PDF", "no PDF"},
		{"a picture", []byte("\xff\xd8\xff" + secret), "文件不是 PDF", "no PDF"},
		{"cut before the signature", good[:cut], "文件不完整", "not whole"},
		{"cut in the signature", good[:cut+400], "文件不完整，没有结尾（文件第 ", "its end is missing (at byte "},
		{"cut behind the signature", good[:len(good)-40], "少 40 字节", "40 bytes shorter"},
		{"an object that is none", broken, "第 " + strconv.Itoa(start) + " 字节处", "at byte " + strconv.Itoa(start)},
		{"a word that is no object", []byte("%PDF-1.7\n1 0 obj\n" + secret + "\nendobj\n%%EOF\n"), "不合 PDF 语法（文件第 17 字节处）", "syntax of PDF (at byte 17"},
		{"nested too deeply", []byte("%PDF-1.7\n1 0 obj\n" + strings.Repeat("[", 200)), "规模", "beyond what can be verified"},
		{"a table that leads elsewhere", elsewhere, "文件的索引", "cross-reference tables"},
		{"no signature data", c.garbage(), "字段 SES_Signature", "field SES_Signature"},
		{"critical extension", c.forge(forgery{seal: c.criticalSeal()}), "关键扩展", "critical extension"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := Verify(tt.file, c.trust(), now)
			said := r.Checks[CheckFormat-1].Reason
			if r.Checks[CheckFormat-1].Result == OK {
				said = r.Checks[CheckDigest-1].Reason
			}
			if r.Overall || !strings.Contains(said.ZH, tt.zh) || !strings.Contains(said.EN, tt.en) {
				t.Errorf("overall %v: %+v", r.Overall, said)
			}
			for _, k := range r.Checks {
				if !oneLanguage(k.Reason) || strings.Contains(k.Reason.ZH+k.Reason.EN, secret) {
					t.Errorf("check %d: %+v", k.No, k.Reason)
				}
			}
		})
	}
}
