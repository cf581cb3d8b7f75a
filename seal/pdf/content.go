package pdf

import (
	"math"
	"strconv"
)

// content is the content stream of a page, a form or a pattern. It remembers
// colours, line width and font, to set them only when they change.
type content struct {
	b         []byte
	fills     shade // colour of surfaces and text; its initial value is black, as is that of lines
	lines     shade
	lineWidth float64 // 0 until it is set
	font      uint8
	size      float64 // 0 until a font is set
}

func (c *content) fillColor(col shade) {
	if c.fills != col {
		c.op("rg", col[:]...)
		c.fills = col
	}
}

func (c *content) lineStyle(col shade, width float64) {
	if c.lines != col {
		c.op("RG", col[:]...)
		c.lines = col
	}
	if c.lineWidth != width {
		c.op("w", width)
		c.lineWidth = width
	}
}

func (c *content) op(op string, args ...float64) {
	for _, a := range args {
		c.b = appendNumber(c.b, a)
		c.b = append(c.b, ' ')
	}
	c.b = append(c.b, op...)
	c.b = append(c.b, '\n')
}

// appendNumber writes a with at most two decimals.
func appendNumber(b []byte, a float64) []byte {
	n := uint64(math.Abs(a)*100 + 0.5)
	if a < 0 && n > 0 {
		b = append(b, '-')
	}
	b = strconv.AppendUint(b, n/100, 10)
	if n %= 100; n != 0 {
		b = append(b, '.', byte('0'+n/10))
		if n%10 != 0 {
			b = append(b, byte('0'+n%10))
		}
	}
	return b
}

// style is how a line of text is set. Spacing is added after each character, in
// points; bold strokes the outlines, as the usual fonts have one weight only.
type style struct {
	size, spacing float64
	bold          bool
	color         shade
}

type shade [3]float64

// text draws chars with the baseline's left end at x, y in points.
func (c *content) text(chars []char, x, y float64, s style) {
	if len(chars) == 0 {
		return
	}
	c.fillColor(s.color)
	if s.bold {
		c.lineStyle(s.color, s.size*0.028)
	}
	c.b = append(c.b, "BT\n"...)
	if s.bold {
		c.op("Tr", 2)
	}
	if s.spacing != 0 {
		c.op("Tc", s.spacing)
	}
	c.op("Td", x, y)
	for i := 0; i < len(chars); {
		f := chars[i].font
		if c.font != f || c.size != s.size {
			c.b = append(fontKey(c.b, f), ' ')
			c.b = append(appendNumber(c.b, s.size), " Tf"...)
			c.font, c.size = f, s.size
		}
		c.b = append(c.b, '(')
		for ; i < len(chars) && chars[i].font == f; i++ {
			cid := chars[i].cid
			c.b = appendLiteral(appendLiteral(c.b, byte(cid>>8)), byte(cid))
		}
		c.b = append(c.b, ")Tj\n"...)
	}
	if s.spacing != 0 {
		c.op("Tc", 0)
	}
	if s.bold {
		c.op("Tr", 0)
	}
	c.b = append(c.b, "ET\n"...)
}

// appendLiteral writes a byte of a literal string, which takes half of the room of a
// hexadecimal one: SM3 goes over all of it.
func appendLiteral(b []byte, v byte) []byte {
	switch v {
	case '(', ')', '\\':
		return append(b, '\\', v)
	case '\r': // which readers take for '\n'
		return append(b, '\\', 'r')
	}
	return append(b, v)
}

// fill paints a rectangle given by its lower left corner.
func (c *content) fill(x, y, w, h float64, col shade) {
	c.fillColor(col)
	c.op("re", x, y, w, h)
	c.op("f")
}

// box paints a rectangle and draws its outline.
func (c *content) box(x, y, w, h float64, fill shade, line float64, col shade) {
	c.fillColor(fill)
	c.lineStyle(col, line)
	c.op("re", x, y, w, h)
	c.op("B")
}

// stroke draws the outline of a rectangle with lines of the given width.
func (c *content) stroke(x, y, w, h, line float64, col shade) {
	c.lineStyle(col, line)
	c.op("re", x, y, w, h)
	c.op("S")
}

func (c *content) line(x1, y1, x2, y2, line float64, col shade) {
	c.lineStyle(col, line)
	c.op("m", x1, y1)
	c.op("l", x2, y2)
	c.op("S")
}
