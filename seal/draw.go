package seal

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"math"
	"os"

	"golang.org/x/image/font"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"
	"golang.org/x/image/vector"
)

// RoundSeal describes the picture of a department's round seal: a ring, a star in
// the middle, the department's name along the upper arc, what the seal is for below
// the star, and optionally its code along the lower arc (the usual form of
// a 42 mm seal).
type RoundSeal struct {
	FontPath   string // a TrueType font with all the characters
	Name       string // along the arc, at most 40 characters
	Purpose    string // below the star, for example 业务专用章; may be empty
	Code       string // along the lower arc, for example the seal register's 13 digits; may be empty
	DiameterMM int    // 0 means 42
	DPI        int    // 0 means 300
}

// ink is the red of seals.
var ink = color.NRGBA{R: 0xD8, G: 0x12, B: 0x18, A: 0xFF}

// Measures in millimetres for a seal of 42 mm; other sizes scale.
const (
	ringWidth     = 1.2
	ringGap       = 0.9 // between ring and name
	starRadius    = 7.0
	nameHeight    = 5.4
	nameWidest    = 4.6  // widest a character gets, before it is squeezed
	nameSpanMost  = 248  // degrees
	purposeHeight = 3.6  // of the purpose's characters
	purposeCentre = 10.2 // below the middle
	codeHeight    = 1.7
	codeStep      = 5.2   // degrees between digits
	weight        = 0.010 // strokes grow by twice this share of the height: book faces are too thin for a seal
)

// DrawRoundSeal draws the seal as a GIF with a transparent ground, the form in which
// a seal of GB/T 38540 holds it. Edges are smooth: the palette holds shades from
// white to the ink, which SealImage turns back into transparency.
// Errors: a missing or unreadable font, a character the font cannot draw.
func DrawRoundSeal(s RoundSeal) ([]byte, error) {
	c, err := newCanvas(s)
	if err != nil {
		return nil, err
	}
	c.ring()
	c.star()
	if err := errors.Join(c.name(s.Name), c.purpose(s.Purpose), c.code(s.Code)); err != nil {
		return nil, err
	}
	return encodeInk(c.coverage())
}

// canvas collects outlines in millimetres around the middle of the seal, y down.
type canvas struct {
	raster *vector.Rasterizer
	size   int     // pixels
	scale  float64 // pixels per millimetre of the 42 mm design
	font   *sfnt.Font
	path   string
	buf    sfnt.Buffer
}

func newCanvas(s RoundSeal) (*canvas, error) {
	if s.DiameterMM == 0 {
		s.DiameterMM = 42
	}
	if s.DPI == 0 {
		s.DPI = 300
	}
	if s.DiameterMM < 20 || s.DiameterMM > 60 || s.DPI < 72 || s.DPI > 1200 {
		return nil, fmt.Errorf("seal: picture of %d mm at %d dpi: between 20 and 60 mm, 72 and 1200 dpi", s.DiameterMM, s.DPI)
	}
	if n := len([]rune(s.Name)); n == 0 || n > 40 {
		return nil, fmt.Errorf("seal: picture: name of %d characters, between 1 and 40", n)
	}
	raw, err := os.ReadFile(s.FontPath)
	if err != nil {
		return nil, fmt.Errorf("seal: picture: %w", err)
	}
	f, err := opentype.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("seal: picture: font %s: %w", s.FontPath, err)
	}
	size := int(math.Round(float64(s.DiameterMM) / 25.4 * float64(s.DPI)))
	return &canvas{raster: vector.NewRasterizer(size, size), size: size, scale: float64(size) / 42, font: f, path: s.FontPath}, nil
}

// coverage rasterises what was drawn; 255 is full ink.
func (c *canvas) coverage() *image.Alpha {
	out := image.NewAlpha(image.Rect(0, 0, c.size, c.size))
	c.raster.Draw(out, out.Bounds(), image.Opaque, image.Point{})
	return out
}

func (c *canvas) pixel(x, y float64) (float32, float32) {
	half := float64(c.size) / 2
	return float32(half + x*c.scale), float32(half + y*c.scale)
}

func (c *canvas) moveTo(x, y float64) { c.raster.MoveTo(c.pixel(x, y)) }
func (c *canvas) lineTo(x, y float64) { c.raster.LineTo(c.pixel(x, y)) }

// ring draws the outer circle and cuts the inner one out by turning the other way.
func (c *canvas) ring() {
	outer := 21 - 0.5/c.scale // half a pixel inside the picture
	c.circle(outer, 1)
	c.circle(outer-ringWidth, -1)
}

func (c *canvas) circle(radius, turn float64) {
	const steps = 720
	c.moveTo(radius, 0)
	for i := 1; i < steps; i++ {
		a := turn * 2 * math.Pi * float64(i) / steps
		c.lineTo(radius*math.Cos(a), radius*math.Sin(a))
	}
	c.raster.ClosePath()
}

func (c *canvas) star() {
	// The inner radius of a regular pentagram is r·cos 72° / cos 36°.
	inner := starRadius * math.Cos(2*math.Pi/5) / math.Cos(math.Pi/5)
	for i := range 10 {
		r, a := starRadius, -math.Pi/2+float64(i)*math.Pi/5
		if i%2 == 1 {
			r = inner
		}
		if i == 0 {
			c.moveTo(r*math.Cos(a), r*math.Sin(a))
		} else {
			c.lineTo(r*math.Cos(a), r*math.Sin(a))
		}
	}
	c.raster.ClosePath()
}

// name sets the characters along the upper arc, feet towards the middle, and
// squeezes them when there are many.
func (c *canvas) name(text string) error {
	runes := []rune(text)
	middle := 21 - ringWidth - ringGap - nameHeight/2
	inner := middle - nameHeight/2
	step := math.Min(nameWidest*1.22/middle*180/math.Pi, nameSpanMost/float64(len(runes)))
	if len(runes) <= 8 { // short names spread out
		step = math.Min(26, nameSpanMost/float64(len(runes)))
	}
	width := math.Min(nameWidest, step*math.Pi/180*inner*1.12)
	for i, r := range runes {
		angle := (float64(i) - float64(len(runes)-1)/2) * step * math.Pi / 180
		if err := c.glyph(r, width, nameHeight, placeOnArc(angle, middle)); err != nil {
			return err
		}
	}
	return nil
}

// purpose sets a horizontal line below the star.
func (c *canvas) purpose(text string) error {
	runes := []rune(text)
	if len(runes) == 0 {
		return nil
	}
	advance := math.Min(purposeHeight*1.06, 19/float64(len(runes)))
	for i, r := range runes {
		x := (float64(i) - float64(len(runes)-1)/2) * advance
		place := func(px, py float64) (float64, float64) { return x + px, purposeCentre + py }
		if err := c.glyph(r, math.Min(purposeHeight, advance/1.06), purposeHeight, place); err != nil {
			return err
		}
	}
	return nil
}

// code sets small digits along the lower arc, heads towards the middle.
func (c *canvas) code(text string) error {
	runes := []rune(text)
	middle := 21 - ringWidth - 0.7 - codeHeight/2
	for i, r := range runes {
		angle := (float64(i) - float64(len(runes)-1)/2) * codeStep * math.Pi / 180
		place := func(px, py float64) (float64, float64) {
			sin, cos := math.Sincos(angle)
			x, y := px, middle+py
			return x*cos + y*sin, -x*sin + y*cos
		}
		if err := c.glyph(r, codeHeight*0.62, codeHeight, place); err != nil {
			return err
		}
	}
	return nil
}

// placeOnArc turns a point around a character's middle into one on the arc; angle 0
// is the top and grows clockwise.
func placeOnArc(angle, radius float64) func(x, y float64) (float64, float64) {
	sin, cos := math.Sincos(angle)
	return func(x, y float64) (float64, float64) {
		y -= radius
		return x*cos - y*sin, x*sin + y*cos
	}
}

// glyph draws one character into a box of width × height mm around the origin that
// place maps onto the seal. A character is centred by its own outline sideways, and
// by the common body of Han characters upwards.
func (c *canvas) glyph(r rune, width, height float64, place func(x, y float64) (float64, float64)) error {
	id, err := c.font.GlyphIndex(&c.buf, r)
	if err != nil || id == 0 {
		return fmt.Errorf("seal: picture: font %s has no character U+%04X", c.path, r)
	}
	em := fixed.I(int(c.font.UnitsPerEm()))
	segments, err := c.font.LoadGlyph(&c.buf, id, em, nil)
	if err != nil {
		return fmt.Errorf("seal: picture: font %s, character U+%04X: %w", c.path, r, err)
	}
	advance, err := c.font.GlyphAdvance(&c.buf, id, em, font.HintingNone)
	if err != nil {
		return fmt.Errorf("seal: picture: font %s, character U+%04X: %w", c.path, r, err)
	}
	top, bottom := -0.86*float64(em), 0.12*float64(em)
	if r < 0x2E80 { // digits and letters stand on the line
		top, bottom = -0.73*float64(em), 0.01*float64(em)
	}
	sx, sy := width/float64(advance), height/(bottom-top)
	for _, d := range [][2]float64{{-1, -1}, {1, -1}, {-1, 1}, {1, 1}} {
		dx, dy := d[0]*weight*height, d[1]*weight*height
		c.outline(segments, func(p fixed.Point26_6) (float32, float32) {
			x, y := place((float64(p.X)-float64(advance)/2)*sx+dx, (float64(p.Y)-(top+bottom)/2)*sy+dy)
			return c.pixel(x, y)
		})
	}
	return nil
}

func (c *canvas) outline(segments sfnt.Segments, at func(fixed.Point26_6) (float32, float32)) {
	for i, s := range segments {
		ax, ay := at(s.Args[0])
		switch s.Op {
		case sfnt.SegmentOpMoveTo:
			if i > 0 {
				c.raster.ClosePath()
			}
			c.raster.MoveTo(ax, ay)
		case sfnt.SegmentOpLineTo:
			c.raster.LineTo(ax, ay)
		case sfnt.SegmentOpQuadTo:
			bx, by := at(s.Args[1])
			c.raster.QuadTo(ax, ay, bx, by)
		case sfnt.SegmentOpCubeTo:
			bx, by := at(s.Args[1])
			dx, dy := at(s.Args[2])
			c.raster.CubeTo(ax, ay, bx, by, dx, dy)
		}
	}
	c.raster.ClosePath()
}

// shades of ink in the picture, besides none: a GIF of two bits a pixel stays small
// enough to live inside every signature.
const shades = 3

// encodeInk writes coverage as a GIF: palette entry 0 is transparent, entry i is
// white mixed with i/shades of ink.
func encodeInk(coverage *image.Alpha) ([]byte, error) {
	palette := color.Palette{color.NRGBA{}}
	for i := 1; i <= shades; i++ {
		mix := func(v uint8) uint8 { return uint8(255 - (255-int(v))*i/shades) }
		palette = append(palette, color.NRGBA{mix(ink.R), mix(ink.G), mix(ink.B), 255})
	}
	img := image.NewPaletted(coverage.Bounds(), palette)
	for i, a := range coverage.Pix {
		img.Pix[i] = uint8((int(a)*shades + 127) / 255)
	}
	var out bytes.Buffer
	if err := gif.Encode(&out, img, &gif.Options{NumColors: shades + 1}); err != nil {
		return nil, fmt.Errorf("seal: picture: %w", err)
	}
	return out.Bytes(), nil
}
