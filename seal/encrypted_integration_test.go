//go:build integration

package seal

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestVerify_SaysThatAFileIsEncrypted whatever qpdf encrypts it with.
func TestVerify_SaysThatAFileIsEncrypted(t *testing.T) {
	c := newCity(t)
	plain := filepath.Join(t.TempDir(), "plain.pdf")
	c.ok(os.WriteFile(plain, c.sealed(), 0o600))
	for name, how := range map[string][]string{
		"RC4 40":         {"--allow-weak-crypto", "--encrypt", "u", "o", "40", "--"},
		"RC4 128":        {"--allow-weak-crypto", "--encrypt", "u", "o", "128", "--"},
		"AES 128":        {"--allow-weak-crypto", "--encrypt", "u", "o", "128", "--use-aes=y", "--"},
		"AES 256":        {"--encrypt", "u", "o", "256", "--"},
		"object streams": {"--object-streams=generate", "--encrypt", "", "o", "256", "--"}, // opens without a password
	} {
		file := filepath.Join(t.TempDir(), "encrypted.pdf")
		if out, err := exec.Command("qpdf", append(how, plain, file)...).CombinedOutput(); err != nil {
			t.Fatalf("%s: qpdf: %v\n%s", name, err, out)
		}
		b, err := os.ReadFile(file)
		c.ok(err)
		r := Verify(b, c.trust(), now)
		if got := r.Checks[CheckFormat-1]; r.Overall || got.Result != Unknown || !strings.Contains(got.Reason.EN, "encrypted") || !strings.Contains(got.Reason.ZH, "加密") {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
