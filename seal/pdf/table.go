package pdf

const (
	maxColumns = 24
	cellHeight = 14.5
)

// table draws one table with its header on every page it touches.
func (l *layout) table(t Table) {
	widths, size, pad := l.columnWidths(t)
	headerStyle := style{size: size, color: accent}
	bodyStyle := style{size: size, color: ink}
	head := make([]cell, len(t.Columns))
	cells := make([]cell, len(t.Columns))
	lines := 0
	for i, x := 0, left; i < len(head); i++ {
		head[i] = l.newCell(t.Columns[i].Label, x, widths[i], pad, AlignCenter, headerStyle)
		head[i].tint = true
		lines = max(lines, len(head[i].lines))
		x += widths[i]
	}
	headHeight := float64(lines)*cellHeight + 2*l.rowPad()
	header := func() { l.rowPart(head, 0, lines, cellHeight) }
	l.room(headHeight + 22 + 2*(cellHeight+2*l.rowPad()))
	l.opening = &opening{l.mark(), func() { l.caption(t.Caption); header() }}
	l.opening.draw()
	defer func() { l.sheet = &l.desk.text }()
	for n, row := range t.Rows { // the last one is kept, since it may be carried to another page
		l.sheet = &l.desk.rows[n%2]
		l.sheet.clear()
		for i, s := range row {
			cells[i] = l.newCell(s, head[i].x, widths[i], pad, t.Columns[i].Align, bodyStyle)
		}
		l.row(cells, cellHeight, header)
		if l.err != nil {
			return
		}
	}
	l.y -= 14 * l.air
}
