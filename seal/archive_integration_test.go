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

// TestVeraPDF_AcceptsCMSDocumentsAsPDFA asks the reference validator of PDF/A. It
// needs a JDK 17 and Maven, and Maven Central the first time.
func TestVeraPDF_AcceptsCMSDocumentsAsPDFA(t *testing.T) {
	c := newCity(t)
	r := c.registry(RegistryOptions{Mode: ModeCMS})
	slot, err := r.Slot("mz")
	c.ok(err)
	sealed, _, err := r.Sign(context.Background(), "mz", c.draftFor(slot, signed), signed)
	c.ok(err)
	dir := t.TempDir()
	good, bad, ses := filepath.Join(dir, "good.pdf"), filepath.Join(dir, "bad.pdf"), filepath.Join(dir, "ses.pdf")
	c.ok(os.WriteFile(good, sealed, 0o600))
	c.ok(os.WriteFile(bad, bytes.Replace(sealed, []byte("GTS_PDFA1"), []byte("GTS_PDFX1"), 1), 0o600))
	c.ok(os.WriteFile(ses, c.sealed(), 0o600))

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	classpath := filepath.Join(dir, "classpath")
	maven := exec.CommandContext(ctx, "mvn", "-q", "-B", "-f", "../deploy/dev/interop/verapdf", "-Dbuild.dir="+dir,
		"-Dmdep.outputFile="+classpath, "compile", "dependency:build-classpath")
	if out, err := maven.CombinedOutput(); err != nil {
		t.Fatalf("mvn: %v\n%s", err, out)
	}
	jars, err := os.ReadFile(classpath)
	c.ok(err)
	out, err := exec.CommandContext(ctx, "java", "-cp", filepath.Join(dir, "classes")+string(os.PathListSeparator)+string(jars),
		"yizheng.interop.Archive", good, bad, ses).Output()
	c.ok(err)
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != 3 || lines[0] != "compliant "+good {
		t.Errorf("veraPDF says\n%s", out)
	}
	for _, line := range lines[1:] { // it can say no
		if !strings.HasPrefix(line, "broken ") {
			t.Errorf("veraPDF says\n%s", line)
		}
	}
	agreed(t, "veraPDF", "CMS mode as PDF/A-2u", oursByThem+"compliant; with a changed output intent, or in SES mode, not", 3)
}
