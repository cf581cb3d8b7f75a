package pdf

import "sync"

// desk is the memory in which one document is drawn. It goes from document to
// document and is wiped in between, so that nothing of one resident's document lies
// there when the next is drawn, or while nothing is.
type desk struct {
	chars   []char
	pages   []*content
	pattern content
	subsets []*subset
	writer  writer
}

const (
	deskChars   = 2048    // of a usual page
	deskContent = 8 << 10 // bytes
	maxDesk     = 1 << 20 // bytes that are kept; what a larger document took goes back
)

func newDesk(fonts *Fonts) *desk {
	d := &desk{chars: make([]char, 0, deskChars)}
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
	clear(d.chars[:cap(d.chars)])
	d.chars = d.chars[:0]
	size += 12 * cap(d.chars) // bytes of a char
	for _, p := range d.pages {
		*p = content{b: empty(p.b)}
	}
	d.pattern = content{b: empty(d.pattern.b)}
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
