//go:build e2e

package main

import (
	"os"
	"path/filepath"
	"testing"
)

// docs/AUDIT.md tells the truth about the demo city's log and the real programs.
func TestTheAuditorsPageHoldsForTheDemoCity(t *testing.T) {
	dir := t.TempDir()
	startDemo(t, dir, "-once").ends(0)
	if err := os.Mkdir(filepath.Join(dir, "var"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "state"), filepath.Join(dir, "var/demo")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", programs(t)+string(os.PathListSeparator)+os.Getenv("PATH"))
	auditPage(t, dir)
}
