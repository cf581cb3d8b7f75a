package pdf

import "sync"

// desk is the memory in which one document is drawn. It goes from document to
// document and is wiped in between, so that nothing of one resident's document lies
// there when the next is drawn, or while nothing is.
type desk struct {
	text    sheet    // of the whole document but for its tables
	rows    [2]sheet // of two rows of a table, which take turns
	code    qrSheet
	pages   []*content
	pattern content
	subsets []*subset
	writer  writer
}

const (
	deskChars   = 2048    // of a usual page
	deskContent = 8 << 10 // bytes
	maxDesk     = 4 << 20 // bytes that are kept; what a larger document took goes back
)

func newDesk(fonts *Fonts) *desk {
	d := &desk{text: sheet{chars: make([]char, 0, deskChars)}}
	for _, f := range fonts.chain {
		d.subsets = append(d.subsets, newSubset(f))
	}
	return d
}

// page returns the empty n-th page; those before it were asked for already.
func (d *desk) page(n int) *content {
	if n == len(d.pages) {
		d.pages = append(d.pages, &content{b: make([]byte, 0, deskContent)})
	}
	c := d.pages[n]
	*c = content{b: c.b[:0]}
	return c
}

// wipe clears what was written, not only how much of it there is, and returns the
// bytes of memory that the desk holds.
func (d *desk) wipe() (size int) {
	empty := func(b []byte) []byte {
		clear(b[:cap(b)])
		size += cap(b)
		return b[:0]
	}
	for _, s := range []*sheet{&d.text, &d.rows[0], &d.rows[1]} {
		clear(s.chars[:cap(s.chars)])
		clear(s.lines[:cap(s.lines)])
		s.clear()
		size += 12*cap(s.chars) + 24*cap(s.lines) // bytes of each
	}
	for _, p := range d.pages {
		*p = content{b: empty(p.b)}
	}
	d.pattern = content{b: empty(d.pattern.b)}
	d.code = qrSheet{empty(d.code.code), empty(d.code.modules), empty(d.code.image)}
	for _, s := range d.subsets {
		size += s.wipe()
	}
	w := &d.writer
	clear(w.inserts)
	*w = writer{b: empty(w.b), scratch: empty(w.scratch), offsets: w.offsets[:0], inserts: w.inserts[:0]}
	return size
}

// desks are those of one Renderer that nobody draws on.
type desks struct{ free sync.Pool }

func (ds *desks) take(fonts *Fonts) *desk {
	if d, ok := ds.free.Get().(*desk); ok {
		return d
	}
	return newDesk(fonts)
}

func (ds *desks) give(d *desk) {
	if d.wipe() <= maxDesk {
		ds.free.Put(d)
	}
}
