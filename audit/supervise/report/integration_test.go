//go:build integration

package report

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestPagesCanBeReadByAnotherProgram(t *testing.T) {
	raw, err := NewPrinter("/usr/share/fonts/truetype/babelstone/BabelStoneHan.ttf").PDF(t.Context(), table)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "statistics.pdf")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := exec.CommandContext(t.Context(), "pdftotext", "-layout", file, "-").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"电子监察统计：按部门", "成功率", "95.0%", "11690100006900026F", "=1+1", "(U+20000) beyond", "…", "第 1 页"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is not on the page:\n%s", want, text)
		}
	}
}
