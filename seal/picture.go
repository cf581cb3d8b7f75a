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
	"io"

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
	decodeConfig, decode := decoders(p.Type)
	if decode == nil {
		return nil, fmt.Errorf("seal: pictures of type %q are not drawn here", p.Type)
	}
	config, err := decodeConfig(bytes.NewReader(p.Data))
	if err == nil && (config.Width > maxPicture || config.Height > maxPicture) {
		err = errors.New("too many pixels")
	}
	if err != nil {
		return nil, fmt.Errorf("seal: %s picture: %w", p.Type, err)
	}
	img, err := decode(bytes.NewReader(p.Data))
	if err != nil {
		return nil, fmt.Errorf("seal: %s picture: %w", p.Type, err)
	}
	if paletted, ok := img.(*image.Paletted); ok {
		return unmix(paletted), nil
	}
	return img, nil
}

// decoders returns what reads a picture type, nil for one that is not read here.
func decoders(kind string) (func(io.Reader) (image.Config, error), func(io.Reader) (image.Image, error)) {
	switch kind {
	case "GIF":
		return gif.DecodeConfig, gif.Decode
	case "JPG":
		return jpeg.DecodeConfig, jpeg.Decode
	case "BMP":
		return bmp.DecodeConfig, bmp.Decode
	case "PNG":
		return png.DecodeConfig, png.Decode
	}
	return nil, nil
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
	out := *img
	out.Palette = palette
	return &out
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
