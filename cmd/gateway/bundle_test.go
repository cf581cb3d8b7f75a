package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"yizheng/seal"
	"yizheng/seal/pdf"
)

// TestBundle_SaysWhatCameOfVerifyingEach in the list and to who made it.
func TestBundle_SaysWhatCameOfVerifyingEach(t *testing.T) {
	d := newSealDesk(t)
	d.issued()
	d.seal(0, "test", "applicant", "-out", d.path("good.pdf"), "mz")
	good := d.read("good.pdf")
	d.ok(os.WriteFile(d.path("changed.pdf"), bytes.Replace(good, []byte("/Lang(zh-CN)"), []byte("/Lang(zh-TW)"), 1), 0o600))
	d.ok(os.WriteFile(d.path("appended.pdf"), append(bytes.Clone(good), "\n%%EOF\n"...), 0o600))
	for _, font := range []string{"babelstone/BabelStoneHan.ttf", "hanazono/HanaMinA.ttf", "hanazono/HanaMinB.ttf"} {
		d.ok(os.MkdirAll(filepath.Dir(d.path(font)), 0o700))
		d.copy("font.ttf", font)
	}
	of := func(want int, names ...string) string {
		args := []string{"bundle", "-o", d.path("list.pdf"), "-trust", d.path("trust"), "-fonts", d.dir}
		for _, n := range names {
			args = append(args, d.path(n))
		}
		return d.run(want, args...)
	}
	of(0, "good.pdf")
	d.copy("list.pdf", "plain.pdf") // it has no seal itself
	of(0, "good.pdf", "plain.pdf")
	odd := regexp.MustCompile(`(?i)<feff8bc1`).ReplaceAll(d.read("plain.pdf"), []byte("<feffe000")) // U+E000, which nothing draws
	if about, err := pdf.ReadAbout(t.Context(), odd); err != nil || !strings.HasPrefix(about.Title, "\ue000") {
		t.Fatalf("a title that cannot be printed: %+v, %v", about, err)
	}
	d.ok(os.WriteFile(d.path("odd.pdf"), odd, 0o600))
	of(0, "good.pdf", "odd.pdf")
	said := of(1, "good.pdf", "changed.pdf", "appended.pdf", "plain.pdf")
	for file, want := range map[string]string{"good.pdf": "核验通过 ok", "changed.pdf": "核验不通过 FAIL", "appended.pdf": "核验不通过 FAIL", "plain.pdf": "无 absent"} {
		if !strings.Contains(said, file+"：电子印章 / seal: "+want) {
			t.Errorf("%s is not said to be %s:\n%s", file, want, said)
		}
	}
	d.ok(os.WriteFile(d.path("none.pdf"), []byte("secret"), 0o600))
	if said := of(1, "good.pdf", "none.pdf"); !strings.Contains(said, "none.pdf: 文件不是 PDF") || !strings.Contains(said, " / the file is no PDF") || strings.Contains(said, "secret") {
		t.Errorf("a file that is no PDF: %s", said)
	}
	trust, err := seal.LoadTrust(d.path("trust"))
	d.ok(err)
	cover, _, err := printOrder(t.Context(), []string{d.path("good.pdf"), d.path("changed.pdf"), d.path("plain.pdf")}, trust, "—", "窗口", time.Now())
	d.ok(err)
	for i, want := range []string{"核验通过", "核验不通过", "无"} {
		if row := cover.Tables[0].Rows[i]; row[len(row)-1] != want {
			t.Errorf("row %d: %v, want %s", i, row, want)
		}
	}
	if about, err := pdf.ReadAbout(t.Context(), d.read("list.pdf")); err != nil || about.Title != cover.Title {
		t.Errorf("the list that was written: %+v, %v", about, err)
	}
}

func TestReadFile_TakesNoMoreThanItMay(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, make([]byte, 100), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := readFile(file, 100); err != nil || len(b) != 100 || cap(b) != 100 {
		t.Errorf("%d bytes in %d: %v", len(b), cap(b), err)
	}
	if _, err := readFile(file, 99); err == nil || !strings.Contains(err.Error(), "larger than 0 MiB") {
		t.Errorf("too large: %v", err)
	}
	if _, err := readFile(filepath.Dir(file), 99); err == nil || !strings.Contains(err.Error(), "regular") {
		t.Errorf("a directory: %v", err)
	}
}
