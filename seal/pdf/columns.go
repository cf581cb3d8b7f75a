package pdf

import (
	"math"
	"strings"
)

// A table's text is made smaller, and its cells tighter, as long as that saves
// every cell a second line.
var tableSteps = []struct{ size, pad float64 }{{9.5, cellPad}, {9.5, 3.5}, {9, 3}, {8.5, 2.5}}

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
				from := len(l.sheet.chars)
				ems[i] = max(ems[i], measure(l.shape(line)))
				l.sheet.chars = l.sheet.chars[:from]
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
