//go:build integration

package audit

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Every byte is flipped, zeros as well.
const (
	flipStep  = 1
	flipZeros = 1
)

// TestVectorsAgreeWithPython has the vectors recomputed, signatures
// included, by a program that shares nothing with ours.
func TestVectorsAgreeWithPython(t *testing.T) {
	out, err := exec.Command("python3", "testdata/check_vectors.py", vectorsFile).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
	// It must be able to fail.
	b := readTest(t, vectorsFile)
	for at, c := range b {
		if c == '7' {
			b[at] = '8'
			break
		}
	}
	changed := filepath.Join(t.TempDir(), "changed.json")
	if err := os.WriteFile(changed, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("python3", "testdata/check_vectors.py", changed).CombinedOutput(); err == nil {
		t.Errorf("a changed vector agrees: %s", out)
	}
}
