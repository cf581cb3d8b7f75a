package pdf

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
)

func TestTheSealLiesWhereTheDocumentWantsIt(t *testing.T) {
	d := insuranceDocument(40)
	usual := layoutOf(t, d).seal
	d.SealAt = SealPlace{X: -30, Y: 10}
	if moved := layoutOf(t, d).seal; math.Abs(moved[0]-usual[0]+30*mm) > 0.01 || math.Abs(moved[1]-usual[1]+10*mm) > 0.01 {
		t.Errorf("30 mm to the left and 10 down: %v, the usual place is %v", moved, usual)
	}
	for anchor, middle := range map[Anchor][2]float64{
		AnchorTopLeft: {40 * mm, pageHeight - 50*mm}, AnchorTopRight: {pageWidth - 40*mm, pageHeight - 50*mm},
		AnchorBottomLeft: {40 * mm, 50 * mm}, AnchorBottomRight: {pageWidth - 40*mm, 50 * mm},
	} {
		for _, first := range []bool{true, false} {
			d.SealAt = SealPlace{First: first, Anchor: anchor, X: 40, Y: 50}
			l := layoutOf(t, d)
			if x, y := (l.seal[0]+l.seal[2])/2, (l.seal[1]+l.seal[3])/2; math.Abs(x-middle[0]) > 0.01 || math.Abs(y-middle[1]) > 0.01 {
				t.Errorf("%s: middle at %f, %f", anchor, x, y)
			}
			file := drawn(t, testFonts(t, d), []Document{d})[0]
			pages := strings.Split(string(file), "/Type/Page/")[1:]
			for i, page := range pages {
				page, _, _ = strings.Cut(page, "endobj")
				if has, want := strings.Contains(page, fmt.Sprintf("/Annots[%d 0 R]", objField)), first && i == 0 || !first && i == len(pages)-1; len(pages) < 2 || has != want {
					t.Errorf("%s, first %t: page %d of %d has the seal: %t", anchor, first, i+1, len(pages), has)
				}
			}
		}
	}
}

func TestASealBesideThePaperIsRefused(t *testing.T) {
	d := sampleDocument()
	fs := testFonts(t, d)
	for name, at := range map[string]SealPlace{
		"over the right edge":       {Anchor: AnchorTopRight, X: 20, Y: 50},
		"over the lower edge":       {Anchor: AnchorBottomLeft, X: 50, Y: 20.5},
		"far from the issuer":       {X: 60},
		"unknown anchor":            {Anchor: "middle", X: 100, Y: 100},
		"issuer, on the first page": {First: true},
	} {
		d.SealAt = at
		if err := newLayoutOf(t, fs, d).run(); !errors.Is(err, ErrDocument) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
