package pdf

import (
	"math"
	"strings"
)

const (
	maxColumns = 24
	rowSize    = 11.0
	rowHeight  = 17.0
	cellHeight = 14.5
	cellPad    = 5.0 // left and right of a cell's text
	labelWidth = 84.0
)

// A table's text is made smaller, and its cells tighter, as long as that saves
// every cell a second line.
var tableSteps = []struct{ size, pad float64 }{{9.5, cellPad}, {9.5, 3.5}, {9, 3}, {8.5, 2.5}}

// cell is one ruled cell: its text in lines and how it is set.
type cell struct {
	x, w  float64
	pad   float64 // left and right of the text
	lines [][]char
	align Align
	tint  bool
	style style
}

func (l *layout) newCell(s string, x, w, pad float64, align Align, st style) cell {
	c := cell{x: x, w: w, pad: pad, align: align, style: st}
	for more := true; more; {
		var p string
		p, s, more = strings.Cut(s, "\n")
		c.add(l.shape(p))
	}
	return c
}

// add appends a paragraph, which may be empty.
func (c *cell) add(chars []char) {
	lines := wrapWell(chars, c.style.size, c.w-2*c.pad, 0)
	if lines == nil {
		lines = [][]char{nil}
	}
	if c.lines == nil {
		c.lines = lines
		return
	}
	c.lines = append(c.lines, lines...)
}

// row places one row of cells with lines of the given height. A row that does
// not fit moves to the next page, or is continued there when no page could hold
// it; header, if not nil, is called first on each new page.
func (l *layout) row(cells []cell, height float64, header func()) {
	count := 0
	for _, c := range cells {
		count = max(count, len(c.lines))
	}
	top := l.opening
	l.opening = nil
	for first := 0; first < count; {
		need := float64(count-first)*height + 2*l.rowPad()
		if l.y-need < bottom && (need <= (topNext-bottom)*0.5 || l.y-3*height < bottom) {
			l.newPage()
			if header != nil {
				header()
			}
		}
		fit := max(1, int((l.y-bottom-2*l.rowPad())/height))
		last := min(count, first+fit)
		l.tail = tail{mark: l.mark(), cells: append(l.tail.cells[:0], cells...), lines: count, height: height, header: header}
		if first > 0 || last < count {
			l.tail.pages = 0
		} else if top != nil && top.pages == len(l.pages) {
			l.tail.mark, l.tail.header = top.mark, top.draw
		}
		l.rowPart(cells, first, last, height)
		first = last
		if first < count {
			l.newPage()
			if header != nil {
				header()
			}
		}
		if l.err != nil {
			return
		}
	}
}

// opening is what stands over the first row of a table or record.
type opening struct {
	mark // before it
	draw func()
}

// tail is the last row that was set; its pages are 0 when it is in two pieces.
type tail struct {
	mark   // before it, and before what stands over it if it is a first row
	cells  []cell
	lines  int
	height float64 // of a line
	header func()  // what stands over the row where it begins a page
}

// carry begins a new page with t, which it takes from the page before, unless t
// would leave little room there.
func (l *layout) carry(t tail) {
	if t.pages != len(l.pages) || float64(t.lines)*t.height > (topNext-bottom)/4 {
		l.newPage()
		return
	}
	l.back(t.mark)
	l.newPage()
	if t.header != nil {
		t.header()
	}
	l.rowPart(t.cells, 0, t.lines, t.height)
	l.y -= 14
}

// rowPart draws lines first..last-1 of every cell; shorter cells are centred.
func (l *layout) rowPart(cells []cell, first, last int, height float64) {
	c := l.page()
	h := float64(last-first)*height + 2*l.rowPad()
	for _, cl := range cells {
		if cl.tint {
			c.fill(cl.x, l.y-h, cl.w, h, tint)
		}
		c.stroke(cl.x, l.y-h, cl.w, h, 0.5, rule)
	}
	for _, cl := range cells {
		from, to := min(first, len(cl.lines)), min(last, len(cl.lines))
		lines := cl.lines[from:to]
		y := l.y - (h-float64(len(lines))*height)/2
		for _, line := range lines {
			x := cl.x + cl.pad
			free := cl.w - 2*cl.pad - width(line, cl.style.size)
			switch cl.align {
			case AlignCenter:
				x += free / 2
			case AlignRight:
				x += free
			}
			c.text(line, x, y-height/2-0.37*cl.style.size, cl.style)
			y -= height
		}
	}
	l.y -= h
}

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

// rowPad is the space above and below the text of a cell.
func (l *layout) rowPad() float64 { return 5 * l.air }

// caption draws the line over a table or record.
func (l *layout) caption(text string) {
	if text == "" {
		return
	}
	l.page().text(l.shape(oneLine(text)), left, l.baseline(18, rowSize), style{size: rowSize, color: ink, bold: true})
	l.y -= 21
}

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
	for _, row := range t.Rows {
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

// columnWidths shares the width by the given weights, or by the contents when
// there are none. It returns the size of the text and the room beside it as well.
func (l *layout) columnWidths(t Table) (widths []float64, size, pad float64) {
	widths = make([]float64, len(t.Columns))
	step := tableSteps[0]
	total := 0.0
	for i, c := range t.Columns {
		if w := c.Weight; w > 0 && !math.IsInf(w, 0) {
			widths[i] = w
			total += w
		}
	}
	if total == 0 {
		return l.naturalWidths(t)
	}
	least := 2*step.pad + step.size
	shared := textWidth - least*float64(len(widths))
	for i := range widths {
		widths[i] = least + shared*widths[i]/total
	}
	return widths, step.size, step.pad
}

// naturalWidths returns widths in which no cell needs a second line, at the first
// step at which they fit beside each other. If there is none, every column has at
// least what keeps its dates, codes and short words on one line, at the first step
// at which that fits, and what is left over goes to the columns that want more.
func (l *layout) naturalWidths(t Table) (widths []float64, size, pad float64) {
	whole := l.columnEms(t, func(chars []char) float64 { return width(chars, 1) })
	for _, step := range tableSteps {
		if widths, sum := padded(whole, step.size, step.pad); sum <= textWidth {
			fitWidths(widths, textWidth)
			return widths, step.size, step.pad
		}
	}
	kept := l.columnEms(t, func(chars []char) float64 {
		if len(chars) <= shortWord {
			return width(chars, 1)
		}
		return longest(chars)
	})
	parts := make([]float64, len(whole))
	for _, lines := range []float64{2, 4, 16} { // as few lines a cell as can be had
		for i := range parts {
			parts[i] = max(kept[i], min(whole[i]/lines, readable))
		}
		for _, step := range tableSteps {
			least, sum := padded(parts, step.size, step.pad)
			if sum > textWidth {
				continue
			}
			more := make([]float64, len(whole))
			for i := range more {
				more[i] = (whole[i] - parts[i]) * step.size
			}
			fitWidths(more, textWidth-sum)
			for i := range more {
				more[i] += least[i]
			}
			return more, step.size, step.pad
		}
	}
	last := tableSteps[len(tableSteps)-1]
	widths, _ = padded(kept, last.size, last.pad)
	fitWidths(widths, textWidth)
	return widths, last.size, last.pad
}

// shortWord is how many characters of a cell are never broken if that can be had.
const shortWord = 5

// readable is how many ems of a line are enough, however long the cell.
const readable = 10.0

// columnEms measures every line of every cell of each column and returns the largest
// results, in ems.
func (l *layout) columnEms(t Table, measure func([]char) float64) []float64 {
	ems := make([]float64, len(t.Columns))
	for i := range ems {
		widen := func(cell string) {
			for line := range strings.SplitSeq(cell, "\n") {
				ems[i] = max(ems[i], measure(l.shape(line)))
			}
		}
		widen(t.Columns[i].Label)
		for _, row := range t.Rows {
			widen(row[i])
		}
	}
	return ems
}

// padded turns ems of text into widths of columns and their sum, in points.
func padded(ems []float64, size, pad float64) (widths []float64, sum float64) {
	for _, em := range ems {
		w := em*size + 2*pad + 1
		widths, sum = append(widths, w), sum+w
	}
	return widths, sum
}

// fitWidths stretches or shrinks widths to sum up to total. Narrow columns keep
// what they need; only those above an equal share of the rest are shrunk.
func fitWidths(widths []float64, total float64) {
	sum := 0.0
	for _, w := range widths {
		sum += w
	}
	if sum <= total {
		for i := range widths {
			widths[i] *= total / sum
		}
		return
	}
	wide := make([]bool, len(widths))
	for i := range wide {
		wide[i] = true
	}
	for rest, n, changed := total, len(widths), true; changed; {
		changed = false
		for i, w := range widths {
			if wide[i] && w <= rest/float64(n) {
				wide[i], changed = false, true
				rest -= w
				n--
			}
		}
		if !changed {
			shareWide(widths, wide, rest)
		}
	}
}

// shareWide divides rest among the wide columns: half of it equally, half by
// their contents.
func shareWide(widths []float64, wide []bool, rest float64) {
	sum, n := 0.0, 0.0
	for i, w := range widths {
		if wide[i] {
			sum, n = sum+w, n+1
		}
	}
	for i, w := range widths {
		if wide[i] {
			widths[i] = rest/n/2 + rest*w/sum/2
		}
	}
}
