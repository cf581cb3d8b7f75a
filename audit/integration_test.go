//go:build integration

package audit

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

const (
	leastPlaces  = 12_000
	truncateStep = 1
	writtenStep  = 1
	tornSeeds    = 10_000
	modelRuns    = 400
)

// flipMasks: every bit of every byte, or one bit where everything around is
// zero, or every other value.
func flipMasks(at int, zeros, every bool) []byte {
	if every {
		all := make([]byte, 255)
		for i := range all {
			all[i] = byte(i + 1)
		}
		return all
	}
	if zeros {
		return []byte{1 << (at % 8)}
	}
	return []byte{1, 2, 4, 8, 16, 32, 64, 128}
}

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
