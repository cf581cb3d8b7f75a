package audit

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// Every operation stands in the protocol's list.
func TestOperationsAreWrittenDown(t *testing.T) {
	source, err := os.ReadFile("entry.go")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../docs/protocol/audit-log.md")
	if err != nil {
		t.Fatal(err)
	}
	ops := regexp.MustCompile(`\bOp = "([a-z.]+)"`).FindAllSubmatch(source, -1)
	if len(ops) < 30 {
		t.Fatalf("only %d operations found in entry.go", len(ops))
	}
	_, list, _ := strings.Cut(string(page), "\nOperations: ")
	list, _, _ = strings.Cut(list, "\n")
	for _, m := range ops {
		if !strings.Contains(list, "`"+string(m[1])+"`") {
			t.Errorf("docs/protocol/audit-log.md does not list %s", m[1])
		}
	}
}
