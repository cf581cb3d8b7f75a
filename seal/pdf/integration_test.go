//go:build integration

package pdf

import (
	"bytes"
	"context"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
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

// execute runs a program of Debian's qpdf or poppler-utils and returns its output.
func execute(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

func TestQpdfFindsNothingWrong(t *testing.T) {
	for name, d := range map[string]Document{"one page": sampleDocument(), "table": insuranceDocument(60)} {
		t.Run(name, func(t *testing.T) {
			if out := execute(t, "qpdf", "--check", renderTo(t, d)); strings.Contains(out, "WARNING") {
				t.Error(out)
			}
		})
	}
}

// TestAScannerReadsTheQRCode renders at the resolution of an office scanner.
func TestAScannerReadsTheQRCode(t *testing.T) {
	d := sampleDocument()
	d.QR = "https://localhost:8443/v/6901002026112200V8K3WY3FFEF#1." + strings.Repeat("Ab3_", 140) // as long as a real one
	picture := filepath.Join(t.TempDir(), "page")
	execute(t, "pdftoppm", "-r", "200", "-png", "-singlefile", renderTo(t, d), picture)
	if out := execute(t, "zbarimg", "--quiet", "--raw", "--nodbus", picture+".png"); strings.TrimSpace(out) != d.QR {
		t.Errorf("the scanner read %q, want the payload", out)
	}
}

func TestPdftotextGivesEveryValueExactly(t *testing.T) {
	d := sampleDocument()
	path := renderTo(t, d)
	for _, mode := range []string{"-raw", "-layout"} {
		text := strings.ReplaceAll(execute(t, "pdftotext", mode, path, "-"), "\n", "")
		for _, r := range d.Rows {
			if len([]rune(r.Value)) > 36 { // wrapped: the parts follow each other only in raw order
				if mode == "-raw" && !strings.Contains(text, r.Value) {
					t.Errorf("%s: %s is not extracted", mode, r.Label)
				}
				continue
			}
			if !strings.Contains(text, r.Value) {
				t.Errorf("%s: %s is not extracted", mode, r.Label)
			}
		}
		for _, want := range []string{"李𬸚", "王㐂", "阿依古丽·买买提", d.Number, d.Issuer, "2025年3月5日"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %s is not extracted", mode, want)
			}
		}
		if n := strings.Count(text, d.Watermark); n != 1 {
			t.Errorf("%s: the watermark sentence is extracted %d times, want once", mode, n)
		}
	}
}

func TestPdftotextGivesTableRowsInOrder(t *testing.T) {
	d := insuranceDocument(60)
	text := strings.Join(strings.Fields(execute(t, "pdftotext", "-raw", renderTo(t, d), "-")), "")
	at := 0
	for i, row := range d.Tables[0].Rows {
		for _, c := range row {
			next := strings.Index(text[at:], c)
			if next < 0 {
				t.Fatalf("row %d: %q does not follow", i+1, c)
			}
			at += next + len(c)
		}
	}
}

// TestPagesAreDrawn looks at the picture of a page: the red of the seal where
// the field is, dark text, and pale paper elsewhere.
func TestPagesAreDrawn(t *testing.T) {
	path := renderTo(t, sampleDocument())
	prefix := filepath.Join(t.TempDir(), "page")
	execute(t, "pdftoppm", "-r", "60", "-png", path, prefix)
	file, err := os.Open(prefix + "-1.png")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	img, err := png.Decode(file)
	if err != nil {
		t.Fatal(err)
	}
	red, dark, pale, all := 0, 0, 0, 0
	b := img.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			r, g, bl, _ := img.At(x, y).RGBA()
			r, g, bl = r>>8, g>>8, bl>>8
			all++
			switch {
			case r > 150 && g < 110 && bl < 110:
				red++
			case r < 110 && g < 110 && bl < 130:
				dark++
			case r > 200 && g > 200 && bl > 200:
				pale++
			}
		}
	}
	if red < all/1000 || dark < all/100 || pale < all*3/4 {
		t.Errorf("of %d pixels %d red, %d dark, %d pale", all, red, dark, pale)
	}
}

func BenchmarkRenderRealFonts(b *testing.B) {
	r, err := NewRenderer(realFonts(b))
	if err != nil {
		b.Fatal(err)
	}
	for name, d := range map[string]Document{"one page": sampleDocument(), "five pages": insuranceDocument(60)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				draft, err := r.Render(d, SignatureSlot{})
				if err != nil {
					b.Fatal(err)
				}
				draft.Digest()
			}
		})
	}
}

func TestEmbeddedFilesComeOutAsTheyWere(t *testing.T) {
	inner := renderTo(t, sampleDocument())
	want, err := os.ReadFile(inner)
	if err != nil {
		t.Fatal(err)
	}
	d := coverOf(want, want)
	r, err := NewRenderer(realFonts(t))
	if err != nil {
		t.Fatal(err)
	}
	file, err := r.PrintOrder(d)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "order.pdf")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	if out := execute(t, "qpdf", "--check", path); strings.Contains(out, "WARNING") {
		t.Error(out)
	}
	execute(t, "pdfdetach", "-saveall", "-o", dir, path)
	for _, a := range d.Attachments {
		got, err := os.ReadFile(filepath.Join(dir, a.Name))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what was embedded: %v", a.Name, err)
		}
	}
}

// The red of the seal is looked for where the document wants it, on the page itself.
func TestTheSealIsDrawnOnThePageAndAtThePlaceWanted(t *testing.T) {
	d := insuranceDocument(40)
	for _, at := range []SealPlace{{First: true, Anchor: AnchorTopLeft, X: 45, Y: 60}, {Anchor: AnchorBottomLeft, X: 100, Y: 150}} {
		d.SealAt = at
		path := renderTo(t, d)
		base := filepath.Join(t.TempDir(), "page")
		execute(t, "pdftoppm", "-r", "72", "-png", path, base)
		pages, _ := filepath.Glob(base + "-*.png")
		for i, name := range pages {
			raw, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			page, err := png.Decode(bytes.NewReader(raw))
			if err != nil {
				t.Fatal(err)
			}
			x, y := int(at.X*mm), int(at.Y*mm)
			if at.Anchor == AnchorBottomLeft {
				y = page.Bounds().Dy() - y
			}
			r, g, _, _ := page.At(x, y).RGBA() // the ring has a dot in its middle
			if red, want := r > 2*g, at.First && i == 0 || !at.First && i == len(pages)-1; len(pages) < 2 || red != want {
				t.Errorf("%+v: page %d of %d is red there: %t", at, i+1, len(pages), red)
			}
		}
		if to := os.Getenv("PICTURES"); to != "" {
			execute(t, "pdftoppm", "-r", "50", "-png", path, filepath.Join(to, "place-"+string(at.Anchor)))
		}
	}
}
