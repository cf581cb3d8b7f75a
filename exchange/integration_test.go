//go:build integration

package exchange

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// TestVectorsAgreeWithPython has digests and commitments recomputed by a
// program that shares nothing with ours, and makes sure that it can disagree.
func TestVectorsAgreeWithPython(t *testing.T) {
	legs, commitments := vectorDir+"leg-digest.json", vectorDir+"commitments.json"
	run := func(legs, commitments string) error {
		out, err := exec.Command("python3", "testdata/check_vectors.py", legs, commitments).CombinedOutput()
		t.Logf("%s", out)
		return err
	}
	if err := run(legs, commitments); err != nil {
		t.Fatal(err)
	}
	changed := func(path, pattern, with string) string {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		at := regexp.MustCompile(pattern).FindIndex(b)
		if at == nil {
			t.Fatalf("no %s in %s", pattern, path)
		}
		b = append(append(append([]byte(nil), b[:at[0]]...), with...), b[at[1]:]...)
		name := filepath.Join(t.TempDir(), "changed.json")
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	if run(changed(legs, `C-2026-1`, "C-2026-2"), commitments) == nil || run(legs, changed(commitments, `%PDF|255044`, "255045")) == nil {
		t.Error("a changed vector agrees")
	}
}
