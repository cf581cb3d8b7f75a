//go:build integration

package seal

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestIndependentCheck_AgreesWithOpenSSL gives sealed and tampered documents to a
// script that shares no code with this project. Needs python3 and openssl 3.
func TestIndependentCheck_AgreesWithOpenSSL(t *testing.T) {
	for _, tool := range []string{"python3", "openssl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%s is missing: %v", tool, err)
		}
	}
	c := newCity(t)
	stranger, err := MakeRoot(Subject{Name: "另一个根"}, years)
	c.ok(err)
	colleague, err := MakeHolder(c.root, Subject{Name: "云州市公安局"}, years)
	c.ok(err)
	root, other := filepath.Join(c.trustDir, "roots", "root.crt"), filepath.Join(t.TempDir(), "other.crt")
	c.ok(os.WriteFile(other, stranger.CertPEM(), 0o600))
	upper := c.sealed()
	i := bytes.Index(upper, []byte("/Contents <")) // a changed letter case is a changed byte
	copy(upper[i+11:], bytes.ToUpper(upper[i+11:i+200]))
	for _, tt := range []struct {
		name, root, says string
		file             []byte
		code             int
	}{
		{"sealed", root, "the seal is right", c.sealed(), 0},
		{"document changed", root, "WRONG dataHash", c.changed(), 1},
		{"something appended", root, "WRONG the ByteRange does not", append(c.sealed(), '\n'), 1},
		{"signed bytes changed", root, "WRONG the signer's SM2", c.forge(forgery{tbsEdit: func(b []byte) { b[len(b)-3] ^= 1 }}), 1},
		{"seal changed", root, "WRONG the maker's SM2", c.forge(forgery{seal: bytes.Replace(c.seal, []byte("业务"), []byte("财务"), 1)}), 1},
		{"another signer", root, "WRONG the signer's certificate is in", c.forge(forgery{signer: colleague}), 1},
		{"another root", other, "WRONG the signer's certificate chains", c.sealed(), 1},
		{"upper-case digits", root, "lower-case", upper, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "sealed.pdf")
			c.ok(os.WriteFile(path, tt.file, 0o600))
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, "python3", "testdata/check_seal.py", path, tt.root)
			out, _ := cmd.CombinedOutput()
			if code := cmd.ProcessState.ExitCode(); code != tt.code || !strings.Contains(string(out), tt.says) {
				t.Errorf("exit %d, want %d, saying %q:\n%s", code, tt.code, tt.says, out)
			}
			verdict := "accepted"
			if tt.code != 0 {
				verdict = "refused: " + tt.name
			}
			agreed(t, "OpenSSL", "SES V4 cut out by a script of its own: SM3, SM2 of signer and maker over the raw bytes, chains", oursByThem+verdict, 1)
		})
	}
}
