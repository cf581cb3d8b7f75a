package pdf

import (
	"cmp"
	"slices"
)

// section is one cross-reference table or stream.
type section struct {
	rows    []row
	trailer dict
	stream  bool
}

// row is what a section says of one number.
type row struct {
	number int
	entry
}

// entries returns what a section says of each number: the last row, if it has several.
func (s *section) entries() map[int]entry {
	entries := make(map[int]entry, len(s.rows))
	for _, r := range s.rows {
		entries[r.number] = r.entry
	}
	return entries
}

// entry says where an object is: at an offset, as the index-th of an object stream,
// or nowhere.
type entry struct {
	kind  entryKind
	where int // offset, or number of the object stream
	index int
}

type entryKind int

const (
	free entryKind = iota
	plain
	packed
)

// Bounds of all sections of a file together, whether a chain reaches them or not.
const (
	maxSections = 1000
	maxRows     = 1_000_000
)

// add keeps the section that begins at an offset.
func (f *File) add(at int, s *section) error {
	if len(f.sections) >= maxSections {
		return damaged(ErrBounds, "more than %d cross-reference sections", maxSections)
	}
	f.sections[at] = s
	return nil
}

// table reads a classic table and its trailer (ISO 32000-1 7.5.4).
func (f *File) table(p *parser) error {
	s := &section{}
	at := p.at
	p.keyword("xref")
	for !p.keyword("trailer") {
		first, ok1 := p.integer()
		count, ok2 := p.integer()
		if !ok1 || !ok2 || count > maxObjects || first > maxObjects || count > f.rows {
			return p.errorf("cross-reference section")
		}
		f.rows -= count
		s.rows = slices.Grow(s.rows, count)
		for i := range count {
			where, ok1 := p.integer()
			_, ok2 := p.integer()
			e := entry{kind: plain, where: where}
			if p.keyword("f") {
				e.kind = free
			} else if !p.keyword("n") {
				ok1 = false
			}
			if !ok1 || !ok2 {
				return p.errorf("cross-reference entry")
			}
			s.rows = append(s.rows, row{first + i, e})
		}
	}
	v, err := p.value(0)
	if err != nil {
		return err
	}
	d, ok := v.(dict)
	if !ok {
		return p.errorf("trailer is not a dictionary")
	}
	s.trailer = d
	return f.add(at, s)
}

// xrefStream reads a cross-reference stream (7.5.8).
func (f *File) xrefStream(o object) error {
	fault := func(what string) error {
		return damagedObject(ErrTables, o.number, "cross-reference stream: %s", what)
	}
	data, err := f.decode(o)
	if err != nil {
		return err
	}
	d := o.dict()
	widths, ok := whole(d.get("W"))
	if !ok || len(widths) != 3 || widths[0] > 1 || widths[1] > 8 || widths[1] == 0 || widths[2] > 4 {
		return fault("widths")
	}
	index, ok := whole(d.get("Index"))
	if d.get("Index") == nil {
		size, isNumber := d.get("Size").(float64)
		index, ok = []int{0, int(size)}, isNumber
	}
	if !ok || len(index)%2 != 0 {
		return fault("index")
	}
	s := &section{trailer: d, stream: true}
	size := widths[0] + widths[1] + widths[2]
	for i := 0; i < len(index); i += 2 {
		first, count := index[i], index[i+1]
		if first < 0 || first > maxObjects || count < 0 || count > maxObjects || count*size > len(data) || count > f.rows {
			return fault("size")
		}
		f.rows -= count
		s.rows = slices.Grow(s.rows, count)
		for n := range count {
			e, ok := readEntry(data[n*size:], widths)
			if !ok {
				return fault("entry")
			}
			s.rows = append(s.rows, row{first + n, e})
		}
		data = data[count*size:]
	}
	return f.add(o.at, s)
}

func readEntry(b []byte, widths []int) (entry, bool) {
	var v [3]int
	v[0] = 1 // the default when its width is zero
	for i, w := range widths {
		for j := range w {
			if j == 0 {
				v[i] = 0
			}
			v[i] = v[i]<<8 | int(b[j])
		}
		b = b[w:]
	}
	e := entry{kind: entryKind(v[0]), where: v[1], index: v[2]}
	return e, e.kind <= packed && e.where >= 0 && e.index >= 0
}

// whole returns an array of whole numbers that are not negative.
func whole(v any) ([]int, bool) {
	a, ok := v.(array)
	out := make([]int, 0, len(a))
	for _, e := range a {
		n, isNumber := e.(float64)
		if !isNumber || n < 0 || n > 1<<40 || n != float64(int(n)) {
			return nil, false
		}
		out = append(out, int(n))
	}
	return out, ok
}

// follow goes along the chain of sections as a viewer does, and fills the view.
func (f *File) follow() error {
	if len(f.starts) == 0 {
		return damaged(ErrCut, "no startxref")
	}
	entries, err := f.chain(f.starts[len(f.starts)-1])
	if err != nil {
		return err
	}
	if f.trailer.get("Encrypt") != nil {
		return ErrEncrypted
	}
	f.view = make(map[int]any, len(entries))
	for n, e := range entries {
		if e.kind != plain {
			continue
		}
		o := f.standing(n, e.where)
		if o == nil {
			return damagedObject(ErrTables, n, "cross-reference entry of object %d does not point to it", n)
		}
		f.view[n] = o.value
	}
	if err := f.unpack(entries); err != nil {
		return err
	}
	if err := f.checkTwice(entries); err != nil {
		return err
	}
	return f.checkLengths()
}

// chain merges the sections from the newest to the oldest.
func (f *File) chain(start int) (map[int]entry, error) {
	if s := f.sections[start]; s != nil && s.trailer.get("Prev") == nil && s.trailer.get("XRefStm") == nil {
		f.trailer = s.trailer
		return s.entries(), nil
	}
	entries := map[int]entry{}
	take := func(from map[int]entry, wanted func(entry) bool) {
		for n, e := range from {
			if _, ok := entries[n]; !ok && wanted(e) {
				entries[n] = e
			}
		}
	}
	seen := map[int]bool{}
	for at, more := start, true; more; {
		s := f.sections[at]
		if s == nil || seen[at] {
			return nil, damaged(ErrTables, "startxref, Prev or XRefStm does not point to a cross-reference section of its own")
		}
		seen[at] = true
		if f.trailer == nil {
			f.trailer = s.trailer
		}
		// A hybrid file marks as free what its stream holds (7.5.8.4).
		own := s.entries()
		take(own, func(e entry) bool { return e.kind != free })
		if hybrid, ok := s.trailer.get("XRefStm").(float64); ok {
			x := f.sections[int(hybrid)]
			if x == nil || !x.stream || s.stream || seen[int(hybrid)] {
				return nil, damaged(ErrTables, "XRefStm does not point to a cross-reference stream of its own")
			}
			seen[int(hybrid)] = true
			take(x.entries(), func(entry) bool { return true })
		}
		take(own, func(e entry) bool { return e.kind == free })
		prev, ok := s.trailer.get("Prev").(float64)
		if s.trailer.get("Prev") != nil && !ok {
			return nil, damaged(ErrTables, "Prev is not a number")
		}
		at, more = int(prev), ok
	}
	return entries, nil
}

// checkTwice refuses an object number that stands twice in one revision, and in a
// file of one revision an object that no table names: two readers may choose
// differently.
func (f *File) checkTwice(entries map[int]entry) error {
	type place struct{ number, revision int }
	seen := make([]place, 0, len(f.physical))
	single := f.revisions(len(f.b)) == 1
	for _, o := range f.physical {
		revision := o.revision
		if f.linear {
			revision = max(revision, 1)
		}
		seen = append(seen, place{o.number, revision})
		e, named := entries[o.number]
		if single && o.dict().get("Type") != name("XRef") && (!named || e.kind == packed) {
			return damagedObject(ErrTables, o.number, "object %d stands in no cross-reference table", o.number)
		}
	}
	slices.SortFunc(seen, func(a, b place) int { return cmp.Or(a.number-b.number, a.revision-b.revision) })
	for i := 1; i < len(seen); i++ {
		if seen[i] == seen[i-1] {
			return damagedObject(ErrTables, seen[i].number, "object %d stands twice", seen[i].number)
		}
	}
	return nil
}

// checkLengths compares the streams whose length stands in another object with it.
func (f *File) checkLengths() error {
	for _, o := range f.physical {
		r, ok := o.dict().get("Length").(ref)
		if o.from == 0 || !ok {
			continue
		}
		length, ok := f.resolve(r).(float64)
		end := o.from + int(length)
		if !ok || length < 0 || length > float64(o.to-o.from) || len(trimWhite(f.b[end:o.to])) > 0 {
			return damagedObject(ErrTables, o.number, "length of the stream of object %d", o.number)
		}
	}
	return nil
}

func trimWhite(b []byte) []byte {
	for len(b) > 0 && isWhite(b[0]) {
		b = b[1:]
	}
	return b
}
