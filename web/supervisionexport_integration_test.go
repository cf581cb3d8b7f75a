//go:build integration

package web_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestStatisticsOverHTTPCanBeReadByAnotherProgram(t *testing.T) {
	g := start(t, nil)
	g.ordered(nil)
	a := g.statisticsPDF()
	want(t, a, http.StatusOK, "")
	file := filepath.Join(t.TempDir(), "statistics.pdf")
	ok(t, os.WriteFile(file, a.body, 0o600))
	text, err := exec.CommandContext(t.Context(), "pdftotext", "-layout", file, "-").Output()
	ok(t, err)
	for _, want := range []string{"电子监察统计：按部门，每日，2026-11-01 至 2026-11-30", hallDepartment, "红牌", "第 1 页"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is not on the page:\n%s", want, text)
		}
	}
}
