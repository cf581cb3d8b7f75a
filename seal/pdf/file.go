package pdf

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"
)

// Bounds of what is read. A file beyond them is refused, not read in part.
const (
	maxFile    = 256 << 20
	maxObjects = 100_000
	maxValues  = 1_000_000 // values of all objects, so that memory stays near the file's size
	maxInflate = 32 << 20  // bytes out of all compressed streams that are opened
)

// object is an indirect object as it stands in the file.
type object struct {
	number   int
	at       int // offset of its number
	revision int // how many %%EOF stand before it
	value    any
	from, to int // its stream's bytes; equal when it has none
}

// File is a PDF read from its first byte to its last, and beside that as a viewer
// reads it, along the cross-reference tables. The two must agree: every entry names
// an object that stands exactly there, so that nothing a viewer shows is unread here.
type File struct {
	b        []byte
	ctx      context.Context  // ends the reading; it lives no longer than Open
	physical []object         // in the order of the file
	sections map[int]*section // cross-reference tables and streams by offset
	starts   []int            // the numbers behind startxref
	ends     []int            // offsets behind each %%EOF
	linear   bool             // a linearized file, whose first %%EOF ends no revision
	cut      error            // where reading stopped, nil at the end of the file

	view    map[int]any  // number → value, as the cross-reference tables say
	packed  []int        // numbers of those out of object streams
	trailer dict         // of the newest section
	broken  error        // why there is no view
	numbers map[int]bool // numbers of the physical objects, filled when needed
	mem     memory
	inflate int // bytes that may still be decompressed
	rows    int // rows of cross-reference sections that may still be read
}

// Open reads the structure of a file. It returns ErrStructure for what is no PDF or
// too large, and the error of ctx when that ends first; other damage is told by the
// methods.
func Open(ctx context.Context, pdf []byte) (*File, error) {
	if !bytes.HasPrefix(pdf, []byte("%PDF-")) {
		return nil, damaged(ErrHeader, "it does not begin with %%PDF-")
	}
	if len(pdf) > maxFile {
		return nil, damaged(ErrBounds, "larger than %d bytes", maxFile)
	}
	f := &File{b: pdf, ctx: ctx, sections: map[int]*section{}, mem: memory{left: maxValues}, inflate: maxInflate, rows: maxRows}
	f.cut = f.scan()
	f.broken = f.cut
	if f.cut == nil {
		f.broken = f.follow()
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("pdf: file not read to its end: %w", err)
	}
	return f, nil
}

// scan reads objects, tables and ends in the order of the file.
func (f *File) scan() error {
	p := &parser{b: f.b, mem: &f.mem}
	for {
		if p.skipWhite(); p.at >= len(f.b) {
			return nil
		}
		if err := f.ctx.Err(); err != nil {
			return err
		}
		if err := f.part(p); err != nil {
			return err
		}
	}
}

// part reads one comment, object, cross-reference table or startxref.
func (f *File) part(p *parser) error {
	switch {
	case p.has("%%EOF"):
		p.at += len("%%EOF")
		f.ends = append(f.ends, p.at)
		if p.at < len(p.b) && !isWhite(p.b[p.at]) {
			return p.errorf("bytes behind %%%%EOF")
		}
		return nil
	case p.b[p.at] == '%':
		for p.at < len(p.b) && p.b[p.at] != '\n' && p.b[p.at] != '\r' {
			p.at++
		}
		return nil
	case p.has("xref"):
		return f.table(p)
	case p.keyword("startxref"):
		n, ok := p.integer()
		if !ok {
			return p.errorf("startxref without a number")
		}
		f.starts = append(f.starts, n)
		return nil
	}
	return f.object(p)
}

func (f *File) object(p *parser) error {
	o := object{at: p.at, revision: len(f.ends)}
	n, ok := p.integer()
	g, ok2 := p.integer()
	if !ok || !ok2 || g > 65535 || !p.keyword("obj") {
		p.at = o.at
		return p.errorf("object expected")
	}
	o.number = n
	var err error
	if o.value, err = p.value(0); err != nil {
		return err
	}
	if d, ok := o.value.(dict); ok && d.get("Linearized") != nil && len(f.physical) == 0 {
		f.linear = true
	}
	if p.keyword("stream") {
		if err := f.skipStream(p, &o); err != nil {
			return err
		}
	}
	if !p.keyword("endobj") {
		return p.errorf("endobj expected")
	}
	if len(f.physical) >= maxObjects {
		return p.beyond("more than %d objects", maxObjects)
	}
	f.physical = append(f.physical, o)
	if o.dict().get("Type") == name("XRef") && o.from < o.to {
		return f.xrefStream(o)
	}
	return nil
}

// standing returns the object with a number that begins at an offset, nil for none.
func (f *File) standing(number, at int) *object {
	i, ok := slices.BinarySearchFunc(f.physical, at, func(o object, at int) int { return o.at - at })
	if !ok || f.physical[i].number != number {
		return nil
	}
	return &f.physical[i]
}

func (o object) dict() dict {
	d, _ := o.value.(dict)
	return d
}

func (f *File) skipStream(p *parser, o *object) error {
	d := o.dict()
	if d == nil {
		return p.errorf("stream without dictionary")
	}
	if p.has("\r\n") {
		p.at += 2
	} else if p.has("\n") {
		p.at++
	} else {
		return p.errorf("stream keyword without line end")
	}
	o.from = p.at
	if length, ok := d.get("Length").(float64); ok {
		switch {
		case length < 0 || length != math.Trunc(length):
			return p.errorf("stream length")
		case length > float64(len(p.b)-p.at):
			return p.cut("stream is shorter than its length")
		}
		p.at += int(length)
		o.to = p.at
	} else if o.to, ok = streamEnd(p); !ok {
		return p.cut("stream has no end")
	}
	if p.skipWhite(); !p.keyword("endstream") {
		return p.errorf("endstream expected")
	}
	return nil
}

// streamEnd moves to the first endstream that endobj follows, for a stream whose
// length stands in another object. checkLengths compares the two later. It returns
// where the stream's bytes end at the latest.
func streamEnd(p *parser) (end int, ok bool) {
	for from := p.at; ; {
		i := bytes.Index(p.b[from:], []byte("endstream"))
		if i < 0 {
			return 0, false
		}
		here := &parser{b: p.b, at: from + i + len("endstream"), mem: p.mem}
		if here.skipWhite(); here.has("endobj") {
			p.at = from + i
			return p.at, true
		}
		from = here.at
	}
}

// revisions returns how many revisions end before an offset.
func (f *File) revisions(before int) int {
	n := 0
	for i, end := range f.ends {
		if end <= before && !(f.linear && i == 0 && len(f.ends) > 1) {
			n++
		}
	}
	return n
}

// resolve follows one reference.
func (f *File) resolve(v any) any {
	if r, ok := v.(ref); ok {
		return f.view[int(r)]
	}
	return v
}

func (f *File) dict(v any) dict {
	d, _ := f.resolve(v).(dict)
	return d
}

// catalog returns the document catalog, nil when there is none.
func (f *File) catalog() dict { return f.dict(f.trailer.get("Root")) }
