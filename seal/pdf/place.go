package pdf

import "fmt"

// Anchor is what a SealPlace is measured from.
type Anchor string

// The anchors: the usual place over issuer and date, or a corner of the paper.
const (
	AnchorIssuer      Anchor = "" // X to the right and Y down, either may be negative
	AnchorTopLeft     Anchor = "top-left"
	AnchorTopRight    Anchor = "top-right"
	AnchorBottomLeft  Anchor = "bottom-left"
	AnchorBottomRight Anchor = "bottom-right"
)

// SealPlace is where the middle of the seal lies. The zero value is the usual place:
// over issuer and date on the last page.
type SealPlace struct {
	First  bool // on the first page; it needs a corner as its anchor
	Anchor Anchor
	X, Y   float64 // in mm, from a corner inwards
}

// placeSeal moves the seal, which lies over the issuer with its middle at x, y, to
// where the document wants it, and reports a place that is not on the paper.
func (l *layout) placeSeal(x, y float64) {
	at := l.doc.SealAt
	dx, dy := at.X*mm, at.Y*mm
	switch at.Anchor {
	case AnchorIssuer:
		x, y = x+dx, y-dy
	case AnchorTopLeft:
		x, y = dx, pageHeight-dy
	case AnchorTopRight:
		x, y = pageWidth-dx, pageHeight-dy
	case AnchorBottomLeft:
		x, y = dx, dy
	case AnchorBottomRight:
		x, y = pageWidth-dx, dy
	default:
		l.err = fmt.Errorf("%w: unknown anchor of the seal", ErrDocument)
	}
	w, h := l.doc.SealPicture.WidthMM*mm/2, l.doc.SealPicture.HeightMM*mm/2
	l.seal = [4]float64{x - w, y - h, x + w, y + h}
	switch {
	case at.First && at.Anchor == AnchorIssuer:
		l.err = fmt.Errorf("%w: the issuer is not on the first page", ErrDocument)
	case l.seal[0] < 0 || l.seal[1] < 0 || l.seal[2] > pageWidth || l.seal[3] > pageHeight:
		l.err = fmt.Errorf("%w: the seal would not lie on the paper", ErrDocument)
	}
}

// sealPage is the index of the page that the seal is on.
func (l *layout) sealPage() int {
	if l.doc.SealAt.First {
		return 0
	}
	return len(l.pages) - 1
}
