package pdf

import "strings"

func (l *layout) title() {
	d := l.doc
	l.y = topFirst
	chars := l.shape(oneLine(d.Title))
	size, spacing := 25.0, 3.0
	for size > 15 && width(chars, size)+spacing*float64(len(chars)-1) > textWidth {
		size, spacing = size-1, max(0, spacing-1)
	}
	lines := l.sheet.wrap(chars, size, textWidth, 0)
	if n := float64(len(lines)); n > 1 { // lines of about the same length
		lines = l.sheet.wrap(chars, size, min(textWidth, width(chars, size)/n+size), 0)
	}
	for _, line := range lines {
		w := width(line, size) + spacing*float64(len(line)-1)
		l.page().text(line, (pageWidth-w)/2, l.baseline(size*1.5, size), style{size, spacing, true, ink})
		l.y -= size * 1.5
	}
	l.y -= 12
	number := l.shape(wordNumber + d.Number)
	x := right - width(number, 10.5)
	l.page().text(number, max(left, x), l.baseline(16, 10.5), style{size: 10.5, color: soft})
	l.y -= 20
	l.page().line(left, l.y, right, l.y, 0.9, accent)
	l.page().line(left, l.y-2.2, right, l.y-2.2, 0.35, accent)
	l.y -= 16
}

func oneLine(s string) string { return strings.ReplaceAll(s, "\n", " ") }

// paragraphs sets text with first lines indented by two characters and both
// edges straight.
func (l *layout) paragraphs(s string) {
	const size, height = 12.5, 23.0
	for _, p := range strings.Split(s, "\n") {
		if p == "" {
			continue
		}
		lines := l.sheet.wrapWell(l.shape(p), size, textWidth, 2*size)
		l.room(height * float64(min(2, len(lines))))
		for i, line := range lines {
			l.room(height)
			x := left
			if i == 0 {
				x += 2 * size
			}
			st := style{size: size, color: ink}
			if free := right - x - width(line, size); i < len(lines)-1 && len(line) > 8 && free < 3*size {
				st.spacing = free / float64(len(line)-1)
			}
			l.page().text(line, x, l.baseline(height, size), st)
			l.y -= height
		}
	}
	if s != "" {
		l.y -= 8 * l.air
	}
}

// caution draws its lines in a box of their own colour.
func (l *layout) caution() {
	if l.doc.Caution == "" {
		return
	}
	const size, height, pad = 12.0, 20.0, 10.0
	var lines [][]char
	for i, p := range strings.Split(l.doc.Caution, "\n") {
		if i == 0 {
			p = wordCaution + p
		}
		lines = append(lines, l.sheet.wrapWell(l.shape(p), size, textWidth-2*pad, 0)...)
	}
	h := float64(len(lines))*height + pad
	l.room(h)
	c := l.page()
	c.box(left, l.y-h, textWidth, h, warm, 1.2, alarm)
	y := l.y
	l.y -= pad / 2
	for _, line := range lines {
		c.text(line, left+pad, l.baseline(height, size), style{size: size, bold: true, color: alarm})
		l.y -= height
	}
	l.y = y - h - 12
}
