package pdf

import (
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"image"
	"image/color"
	_ "image/gif" // seal pictures of GB/T 38540 are GIF or PNG
	_ "image/png"
)

// ErrPicture is wrapped when a seal picture cannot be used.
var ErrPicture = errors.New("pdf: seal picture cannot be used")

const maxPictureSide = 4096 // pixels

// Picture is a seal picture with its true size on paper. It is decoded and
// compressed once, when it is made, and can be used for any number of documents.
type Picture struct {
	WidthMM, HeightMM float64 // 1 to 120 mm

	pixelsX, pixelsY int
	oneInk           bool   // rgb is a single pixel
	rgb, alpha       []byte // zlib streams
}

// DecodePicture makes a picture from PNG or GIF data and its size in mm.
func DecodePicture(data []byte, widthMM, heightMM float64) (Picture, error) {
	c, _, err := image.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return Picture{}, fmt.Errorf("%w: %w", ErrPicture, err)
	}
	if c.Width < 1 || c.Height < 1 || c.Width > maxPictureSide || c.Height > maxPictureSide {
		return Picture{}, fmt.Errorf("%w: %d × %d pixels, at most %d each", ErrPicture, c.Width, c.Height, maxPictureSide)
	}
	img, _, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		return Picture{}, fmt.Errorf("%w: %w", ErrPicture, err)
	}
	return NewPicture(img, widthMM, heightMM)
}

// CheckPicture tells whether NewPicture takes an image with these bounds for a
// size in mm. Errors wrap ErrPicture.
func CheckPicture(b image.Rectangle, widthMM, heightMM float64) error {
	if b.Empty() || b.Dx() > maxPictureSide || b.Dy() > maxPictureSide {
		return fmt.Errorf("%w: %d × %d pixels, at most %d each", ErrPicture, b.Dx(), b.Dy(), maxPictureSide)
	}
	if !(widthMM >= 1 && widthMM <= 120 && heightMM >= 1 && heightMM <= 120) {
		return fmt.Errorf("%w: %g × %g mm, want 1 to 120", ErrPicture, widthMM, heightMM)
	}
	return nil
}

// NewPicture makes a picture from an image and its size in mm.
func NewPicture(img image.Image, widthMM, heightMM float64) (Picture, error) {
	b := img.Bounds()
	if err := CheckPicture(b, widthMM, heightMM); err != nil {
		return Picture{}, err
	}
	rgb := make([]byte, 0, 3*b.Dx()*b.Dy())
	alpha := make([]byte, 0, b.Dx()*b.Dy())
	var ink *color.NRGBA // the only colour that is seen so far
	oneInk := true
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			c := color.NRGBAModel.Convert(img.At(x, y)).(color.NRGBA)
			switch {
			case c.A == 0:
				c = color.NRGBA{255, 255, 255, 0}
			case ink == nil:
				ink = &c
			default:
				oneInk = oneInk && c.R == ink.R && c.G == ink.G && c.B == ink.B
			}
			rgb = append(rgb, c.R, c.G, c.B)
			alpha = append(alpha, c.A)
		}
	}
	if oneInk = oneInk && ink != nil; oneInk {
		rgb = []byte{ink.R, ink.G, ink.B}
	}
	return Picture{widthMM, heightMM, b.Dx(), b.Dy(), oneInk, deflate(rgb), deflate(alpha)}, nil
}

// deflateLevel makes a seal's picture an eighth larger than the best level does, in
// a fortieth of the time: even ground is what that one is slowest at.
const deflateLevel = 7

func deflate(b []byte) []byte {
	var out bytes.Buffer
	w, _ := zlib.NewWriterLevel(&out, deflateLevel) // known to be valid
	w.Write(b)                                      // a bytes.Buffer does not fail
	w.Close()
	return out.Bytes()
}

func (p Picture) empty() bool { return p.rgb == nil }
