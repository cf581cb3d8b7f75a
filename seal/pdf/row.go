package pdf

import "strings"

const cellPad = 5.0 // left and right of a cell's text

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
		lines := l.sheet.wrapWell(l.shape(p), st.size, w-2*pad, 0)
		if len(lines) == 0 {
			lines = noLine
		}
		if c.lines == nil {
			c.lines = lines
		} else {
			c.lines = append(c.lines, lines...)
		}
	}
	return c
}

var noLine = [][]char{nil} // an empty paragraph

// rowPad is the space above and below the text of a cell.
func (l *layout) rowPad() float64 { return 5 * l.air }

// row places one row of cells with lines of the given height. A row that does
// not fit moves to the next page, or is continued there when no page could hold
// it; header, if not nil, is called first on each new page.
func (l *layout) row(cells []cell, height float64, header func()) {
	count := 0
	for i := range cells {
		count = max(count, len(cells[i].lines))
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
	for i := range cells {
		cl := &cells[i]
		if cl.tint {
			c.box(cl.x, l.y-h, cl.w, h, tint, 0.5, rule)
		} else {
			c.stroke(cl.x, l.y-h, cl.w, h, 0.5, rule)
		}
	}
	for i := range cells {
		cl := &cells[i]
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
