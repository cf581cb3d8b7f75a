package pdf

const (
	rowSize    = 11.0
	rowHeight  = 17.0
	labelWidth = 84.0
)

// record draws one record, on one page if it is no longer than half of one; when it
// goes on on another page its caption is repeated.
func (l *layout) record(r Record) {
	before := l.mark()
	l.captioned(r)
	if len(l.pages) == before.pages+1 && before.y-bottom+topNext-l.y <= (topNext-bottom)/2 {
		l.back(before)
		l.newPage()
		l.captioned(r)
	}
}

func (l *layout) captioned(r Record) {
	l.room(22 + 3*rowHeight)
	l.opening = &opening{l.mark(), func() { l.caption(r.Caption) }}
	l.opening.draw()
	var header func()
	if r.Caption != "" {
		header = func() { l.caption(r.Caption + wordContinued) }
	}
	l.labelled(r.Rows, header)
}

// labelled draws labels and values, two pairs beside each other where both
// values are short. header, if not nil, is called on each further page.
func (l *layout) labelled(rows []Row, header func()) {
	const half = textWidth / 2
	for i := 0; i < len(rows); i++ {
		one := l.pair(rows[i], left, half)
		if i+1 < len(rows) && len(one[1].lines) == 1 {
			two := l.pair(rows[i+1], left+half, half)
			if len(two[1].lines) == 1 {
				l.row([]cell{one[0], one[1], two[0], two[1]}, rowHeight, header)
				i++
				continue
			}
		}
		one[1] = l.value(rows[i], left+labelWidth, textWidth-labelWidth)
		l.row(one[:], rowHeight, header)
	}
	if len(rows) > 0 {
		l.y -= 14 * l.air
	}
}

// pair is a label and its value, which share a width.
func (l *layout) pair(r Row, x, w float64) [2]cell {
	st := style{size: rowSize, color: accent}
	label := l.newCell(r.Label, x, labelWidth, cellPad, AlignCenter, st)
	if len(label.lines) > 1 {
		if tight := l.newCell(r.Label, x, labelWidth, cellPad/2, AlignCenter, st); len(tight.lines) < len(label.lines) {
			label = tight // with its unit, such as 出生体重（克）
		}
	}
	label.tint = true
	return [2]cell{label, l.value(r, x+labelWidth, w-labelWidth)}
}

func (l *layout) value(r Row, x, w float64) cell {
	return l.newCell(r.Value, x, w, cellPad, AlignLeft, style{size: rowSize, color: ink})
}

// caption draws the line over a table or record.
func (l *layout) caption(text string) {
	if text == "" {
		return
	}
	l.page().text(l.shape(oneLine(text)), left, l.baseline(18, rowSize), style{size: rowSize, color: ink, bold: true})
	l.y -= 21
}
