package auditor

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const page = "../../docs/AUDIT.md"

// The page's table is that of Codes. Run with WRITE_CODES=1 to renew it.
func TestThePageExplainsEveryCode(t *testing.T) {
	var rows strings.Builder
	for _, c := range Codes() {
		fmt.Fprintf(&rows, "| `%s` | %s | %s |\n", c.Code, c.Chinese, c.English)
	}
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	const head = "| 代码 / code | 含义 | meaning |\n|---|---|---|\n"
	before, rest, ok := strings.Cut(string(b), head)
	table, after, _ := strings.Cut(rest, "\n\n")
	if !ok {
		t.Fatalf("%s has no table of codes", page)
	}
	if os.Getenv("WRITE_CODES") != "" {
		if err := os.WriteFile(page, []byte(before+head+rows.String()+"\n"+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if table+"\n" != rows.String() {
		t.Errorf("the table of codes in %s is not that of Codes", page)
	}
}

// Every code that the sources give has a meaning, and every meaning a code.
func TestEveryCodeOfTheSourcesIsExplained(t *testing.T) {
	used := make(map[string]bool)
	for _, pattern := range []string{"*.go", "../*.go"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") || name == "codes.go" {
				continue
			}
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile(`(?:problem|warn|doubt|note)\((?:&?r(?:\.Report)?, )?"([a-z.]+)"|"([a-z]+)", name(?:LastHead|Checkpoint)\}`).FindAllStringSubmatch(string(b), -1) {
				used[m[1]+m[2]] = true
			}
		}
	}
	for _, c := range Codes() {
		if !used[c.Code] {
			t.Errorf("nothing gives %s", c.Code)
		}
		delete(used, c.Code)
	}
	for code := range used {
		t.Errorf("%s is not among Codes, nor in %s", code, page)
	}
}
