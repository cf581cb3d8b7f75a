package seal

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"

	"golang.org/x/image/bmp"

	"yizheng/seal/ses"
)

// maxPicture bounds a seal's picture: sides in pixels.
const maxPicture = 4096

// SealImage decodes a seal's picture for printing over text. A GIF whose colours
// all lie between white and one ink, as DrawRoundSeal writes and as most makers do,
// becomes that ink with the mixture as transparency, so that no pale edge covers
// what is under the seal. Other pictures are returned as they are.
func SealImage(p ses.Picture) (image.Image, error) {
	config, decode := image.Config{}, func() (image.Image, error) { return nil, nil }
	r := func() *bytes.Reader { return bytes.NewReader(p.Data) }
	var err error
	switch p.Type {
	case "GIF":
		config, err = gif.DecodeConfig(r())
		decode = func() (image.Image, error) { return gif.Decode(r()) }
	case "JPG":
		config, err = jpeg.DecodeConfig(r())
		decode = func() (image.Image, error) { return jpeg.Decode(r()) }
	case "BMP":
		config, err = bmp.DecodeConfig(r())
		decode = func() (image.Image, error) { return bmp.Decode(r()) }
	case "PNG":
		config, err = png.DecodeConfig(r())
		decode = func() (image.Image, error) { return png.Decode(r()) }
	default:
		return nil, fmt.Errorf("seal: pictures of type %q are not drawn here", p.Type)
	}
	if err == nil && (config.Width > maxPicture || config.Height > maxPicture) {
		err = errors.New("too many pixels")
	}
	if err != nil {
		return nil, fmt.Errorf("seal: %s picture: %w", p.Type, err)
	}
	img, err := decode()
	if err != nil {
		return nil, fmt.Errorf("seal: %s picture: %w", p.Type, err)
	}
	if paletted, ok := img.(*image.Paletted); ok {
		return unmix(paletted), nil
	}
	return img, nil
}

// unmix turns a palette of one ink over white into that ink with transparency. A
// palette of other colours is left alone.
func unmix(img *image.Paletted) image.Image {
	dark, transparent := color.NRGBA{255, 255, 255, 255}, false
	for _, c := range img.Palette {
		n := color.NRGBAModel.Convert(c).(color.NRGBA)
		transparent = transparent || n.A == 0
		if n.A == 255 && whiteness(n) < whiteness(dark) {
			dark = n
		}
	}
	if !transparent || whiteness(dark) == 3*255 {
		return img
	}
	palette := make(color.Palette, len(img.Palette))
	for i, c := range img.Palette {
		n := color.NRGBAModel.Convert(c).(color.NRGBA)
		if n.A == 0 {
			palette[i] = color.NRGBA{}
			continue
		}
		share := (3*255 - whiteness(n)) * 255 / (3*255 - whiteness(dark))
		if n.A != 255 || !isMix(n, dark, share) {
			return img
		}
		palette[i] = color.NRGBA{dark.R, dark.G, dark.B, uint8(share)}
	}
	out := image.NewNRGBA(img.Rect)
	for y := img.Rect.Min.Y; y < img.Rect.Max.Y; y++ {
		for x := img.Rect.Min.X; x < img.Rect.Max.X; x++ {
			out.SetNRGBA(x, y, palette[img.ColorIndexAt(x, y)].(color.NRGBA))
		}
	}
	return out
}

func whiteness(c color.NRGBA) int { return int(c.R) + int(c.G) + int(c.B) }

// isMix reports whether c is white with share/255 of the ink, but for rounding.
func isMix(c, dark color.NRGBA, share int) bool {
	near := func(have, full uint8) bool {
		d := 255 - (255-int(full))*share/255 - int(have)
		return d > -4 && d < 4
	}
	return near(c.R, dark.R) && near(c.G, dark.G) && near(c.B, dark.B)
}
