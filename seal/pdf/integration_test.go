//go:build integration

package pdf

import (
	"os"
	"path/filepath"
	"testing"
)

const fontRoot = "/usr/share/fonts/truetype/"

// realFonts loads the fonts of the Debian packages fonts-babelstone-han and
// fonts-hanazono.
func realFonts(t testing.TB) *Fonts {
	t.Helper()
	fs, err := LoadFonts(fontRoot+"babelstone/BabelStoneHan.ttf", []string{fontRoot + "hanazono/HanaMinA.ttf", fontRoot + "hanazono/HanaMinB.ttf"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fs.Close() })
	return fs
}

// renderTo writes a sample with a dummy signature and returns its path.
func renderTo(t testing.TB, d Document) string {
	t.Helper()
	r, err := NewRenderer(realFonts(t))
	if err != nil {
		t.Fatal(err)
	}
	draft, err := r.Render(d, SignatureSlot{})
	if err != nil {
		t.Fatal(err)
	}
	out, err := draft.Fill([]byte{0x30, 0x03, 0x02, 0x01, 0x2A})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "sample.pdf")
	if err := os.WriteFile(path, out, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

