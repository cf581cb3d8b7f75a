package pdf

import (
	"math"
	"strconv"
	"strings"
)

// ground draws what lies under the text of every page: watermark and frame.
func (l *layout) ground() {
	c := l.page()
	if l.doc.Watermark != "" {
		l.watermark()
		c.b = append(c.b, "q /Pattern cs /W scn\n"...)
		c.op("re", frame+6, frame+6, pageWidth-2*frame-12, pageHeight-2*frame-12)
		c.b = append(c.b, "f Q\n"...)
	}
	c.b = append(c.b, "/B Do\n"...)
}

// frame draws the border of the page.
func (c *content) frame() {
	c.stroke(frame, frame, pageWidth-2*frame, pageHeight-2*frame, 1.6, accent)
	const in = frame + 4
	c.stroke(in, in, pageWidth-2*in, pageHeight-2*in, 0.45, accent)
	const sq = 9.0
	for _, x := range []float64{in, pageWidth - in - sq} {
		for _, y := range []float64{in, pageHeight - in - sq} {
			c.stroke(x, y, sq, sq, 0.45, accent)
			c.fill(x+2.6, y+2.6, sq-5.2, sq-5.2, accent)
		}
	}
}

// watermark lays out the repeated grey sentence once, as a tiling pattern: text
// extraction skips patterns, so that it never mixes with names and values.
func (l *layout) watermark() {
	if l.pattern != nil {
		return
	}
	chars := l.shape(oneLine(l.doc.Watermark))
	st := style{size: 12, color: ghost}
	step := width(chars, st.size) + 40
	c := &l.desk.pattern
	c.text(chars, 0, 8, st)
	// The second line is shifted by half a step; its parts beyond the cell are
	// clipped and the neighbouring cells show the rest.
	c.text(chars, step/2, 78, st)
	c.text(chars, -step/2, 78, st)
	l.pattern = c
	l.patternStep = [2]float64{step, 140}
}

// patternMatrix turns the watermark by 30 degrees.
func patternMatrix() [6]float64 {
	s, c := math.Sincos(math.Pi / 6)
	return [6]float64{c, s, -s, c, 40, 40}
}

func (l *layout) runningHead() {
	c := l.page()
	st := style{size: 9, color: soft}
	y := pageHeight - 64
	title := l.shape(oneLine(l.doc.Title) + wordContinued)
	number := l.shape(wordNumber + l.doc.Number)
	c.text(number, right-width(number, st.size), y, st)
	if width(title, st.size)+width(number, st.size)+20 < textWidth {
		c.text(title, left, y, st)
	}
	c.line(left, y-7, right, y-7, 0.45, accent)
}

// feet writes watermark sentence and page number on every page, once their
// count is known.
func (l *layout) feet() {
	const size = 8.5
	for i, c := range l.pages {
		y := 64.0
		c.line(left, y+11, right, y+11, 0.45, rule)
		if l.doc.Watermark != "" {
			s := size
			chars := l.shape(oneLine(l.doc.Watermark))
			for s > 5 && width(chars, s) > textWidth {
				s -= 0.5
			}
			c.text(chars, (pageWidth-width(chars, s))/2, y, style{size: s, color: soft})
		}
		number := l.shape("第" + strconv.Itoa(i+1) + "页 共" + strconv.Itoa(len(l.pages)) + "页")
		c.text(number, (pageWidth-width(number, size))/2, y-14, style{size: size, color: soft})
	}
}

const (
	qrSize     = 29 * mm
	noteSize   = 8.5
	noteHeight = 13.5
)

// closing sets the QR code at the left, issuer, date and seal at the right, and
// the notes under them. It is never torn over two pages.
func (l *layout) closing() {
	d := l.doc
	notes := l.noteLines()
	sealW, sealH := d.SealPicture.WidthMM*mm, d.SealPicture.HeightMM*mm
	const issuerSize, issuerHeight = 13.0, 26.0
	issuer := l.sheet.wrap(l.shape(oneLine(d.Issuer)), issuerSize, 250, 0)
	signed := float64(len(issuer)+1) * issuerHeight
	block := signed
	if d.SealAt.Anchor == AnchorIssuer {
		block = max(block, sealH)
	}
	if d.QR != "" {
		block = max(block, qrSize+16)
	}
	noteSpace := 0.0
	if len(notes) > 0 {
		noteSpace = float64(len(notes))*noteHeight + 20
	}
	gap := 14 * l.air
	l.room(block + gap)
	if l.y-block-gap-noteSpace < bottom && noteSpace < topNext-bottom-block-gap {
		l.newPage()
	}
	free := l.y - bottom - block - noteSpace
	l.y -= min(max(free*0.45, gap), 70)
	top := l.y
	date := l.shape(dateText(d.IssuedAt))
	w := max(sealW, width(date, issuerSize))
	for _, line := range issuer {
		w = max(w, width(line, issuerSize))
	}
	center := right - w/2 - 6
	middle := top - block/2
	l.y = middle + signed/2
	for _, line := range issuer {
		l.centred(line, center, issuerSize, issuerHeight)
	}
	l.centred(date, center, issuerSize, issuerHeight)
	l.placeSeal(center, middle)
	if d.QR != "" {
		l.qr(left, middle+(qrSize+16)/2)
	}
	l.y = top - block - 10
	l.notes(notes)
}

// centred sets a line of the signature, heavy enough to be read under the seal.
func (l *layout) centred(chars []char, center, size, height float64) {
	l.page().text(chars, center-width(chars, size)/2, l.baseline(height, size), style{size: size, bold: true, color: ink})
	l.y -= height
}

// qr draws the QR code with its upper left corner at x, y and the caption below.
func (l *layout) qr(x, y float64) {
	l.page().qr(l.code.size, x, y-qrSize, qrSize)
	caption := l.shape(wordScan)
	l.page().text(caption, x+(qrSize-width(caption, 9))/2, y-qrSize-11, style{size: 9, color: soft})
}

// noteLines wraps the notes, each behind its number when there are several.
func (l *layout) noteLines() [][]char {
	var lines [][]char
	for i, n := range l.doc.Notes {
		prefix := wordNotes + "："
		if len(l.doc.Notes) > 1 {
			prefix = strconv.Itoa(i+1) + "．"
		}
		for j, p := range strings.Split(n, "\n") {
			if j == 0 {
				p = prefix + p
			}
			lines = append(lines, l.sheet.wrapWell(l.shape(p), noteSize, textWidth, 0)...)
		}
	}
	return lines
}

func (l *layout) notes(lines [][]char) {
	if len(lines) == 0 {
		return
	}
	// Notes stand at the foot of the page, above the foot line.
	if at := bottom + float64(len(lines))*noteHeight; at < l.y {
		l.y = at
	}
	for _, line := range lines {
		l.room(noteHeight)
		l.page().text(line, left, l.baseline(noteHeight, noteSize), style{size: noteSize, color: soft})
		l.y -= noteHeight
	}
}
