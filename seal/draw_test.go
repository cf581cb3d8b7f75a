package seal

import (
	"bytes"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"strings"
	"testing"

	"golang.org/x/image/bmp"

	"yizheng/seal/pdf/pdftest"
	"yizheng/seal/ses"
)

func TestDrawRoundSeal_IsRoundRedAndTransparent(t *testing.T) {
	raw, err := DrawRoundSeal(RoundSeal{FontPath: pdftest.WriteFont(t, t.TempDir()), Name: "云州市民政局", Purpose: "业务专用章", Code: esid})
	if err != nil {
		t.Fatal(err)
	}
	img, err := SealImage(ses.Picture{Type: "GIF", Data: raw})
	if err != nil {
		t.Fatal(err)
	}
	if got := img.Bounds(); got != image.Rect(0, 0, 496, 496) {
		t.Errorf("42 mm at 300 dpi are 496 pixels, got %v", got)
	}
	at := func(x, y int) color.NRGBA { return color.NRGBAModel.Convert(img.At(x, y)).(color.NRGBA) }
	for _, p := range []struct {
		name  string
		x, y  int
		inked bool
	}{
		{"corner", 2, 2, false}, {"ring left", 7, 248, true}, {"ring right", 488, 248, true}, {"ring bottom", 248, 488, true},
		{"inside the ring", 20, 248, false}, {"star's middle", 248, 248, true}, {"star's top", 248, 175, true}, {"between star's feet", 248, 310, false},
	} {
		if got := at(p.x, p.y); (got.A == 255) != p.inked || !p.inked && got.A != 0 {
			t.Errorf("%s: %v", p.name, got)
		}
	}
	for y := range 496 { // one ink, only its transparency differs
		for x := range 496 {
			if c := at(x, y); c.A != 0 && (c.R != ink.R || c.G != ink.G || c.B != ink.B) {
				t.Fatalf("pixel %d,%d is %v", x, y, c)
			}
		}
	}
}

func TestDrawRoundSeal_SaysWhatIsWrong(t *testing.T) {
	font := pdftest.WriteFont(t, t.TempDir())
	for _, tt := range []struct {
		name, says string
		seal       RoundSeal
	}{
		{"no such font", "no-font.ttf", RoundSeal{FontPath: "no-font.ttf", Name: "局"}},
		{"character missing", "U+20000", RoundSeal{FontPath: font, Name: "局\U00020000"}},
		{"no name", "name of 0", RoundSeal{FontPath: font}},
		{"too large", "60 mm", RoundSeal{FontPath: font, Name: "局", DiameterMM: 100}},
	} {
		if _, err := DrawRoundSeal(tt.seal); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestSealImage_LeavesPicturesOfSeveralColoursAlone(t *testing.T) {
	img := image.NewPaletted(image.Rect(0, 0, 2, 1), color.Palette{color.NRGBA{}, color.NRGBA{200, 0, 0, 255}, color.NRGBA{0, 0, 200, 255}})
	if unmix(img) != image.Image(img) {
		t.Error("a picture of two colours was taken for one ink")
	}
}

func TestSealImage_ReadsTheTypesOfTheStandards(t *testing.T) {
	img := image.NewNRGBA(image.Rect(0, 0, 3, 2))
	for kind, encode := range map[string]func(io.Writer) error{
		"GIF": func(w io.Writer) error { return gif.Encode(w, img, nil) },
		"JPG": func(w io.Writer) error { return jpeg.Encode(w, img, nil) },
		"PNG": func(w io.Writer) error { return png.Encode(w, img) },
		"BMP": func(w io.Writer) error { return bmp.Encode(w, img) },
	} {
		var data bytes.Buffer
		if err := encode(&data); err != nil {
			t.Fatal(err)
		}
		got, err := SealImage(ses.Picture{Type: kind, Data: data.Bytes()})
		if err != nil || got.Bounds() != img.Bounds() {
			t.Errorf("%s: %v", kind, err)
		}
		if _, err := SealImage(ses.Picture{Type: kind, Data: data.Bytes()[:5]}); err == nil {
			t.Errorf("%s cut short was read", kind)
		}
	}
	if _, err := SealImage(ses.Picture{Type: "SVG", Data: []byte("<svg/>")}); err == nil {
		t.Error("SVG is not drawn here")
	}
}
