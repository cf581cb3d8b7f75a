package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// An auditor may run it next to the evidence: nothing in it can open a
// connection or start another program.
func TestProgramHasNoCodeForNetworkOrProcesses(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{.ImportPath}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	packages := strings.Fields(string(out))
	if len(packages) < 50 {
		t.Fatalf("only %d packages listed", len(packages))
	}
	read := []string{"yizheng/audit", "yizheng/audit/auditor", "yizheng/cmd/auditverify",
		"yizheng/cmd/internal/process", "yizheng/catalog/beijing"} // a few lines each
	for _, p := range packages {
		switch {
		case p == "net", strings.HasPrefix(p, "net/"), p == "os/exec", p == "crypto/tls", p == "plugin", p == "runtime/cgo":
			t.Errorf("%s is linked", p)
		case strings.HasPrefix(p, "yizheng/") && !slices.Contains(read, p):
			t.Errorf("%s is linked: an auditor has to be able to read all of it", p)
		}
	}
}
