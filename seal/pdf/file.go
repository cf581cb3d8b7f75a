package pdf

import "bytes"

const maxObjects = 100_000

// object is an indirect object with the offset of its number.
type object struct {
	at     int
	value  any
	stream bool
}

// file is a PDF read from its first byte to its last. Nothing is looked up by
// the cross-reference table alone, so nothing can hide beside it.
type file struct {
	objects map[int]object
	trailer dict
	xrefAt  int
	ends    int  // how many %%EOF stand outside objects
	classic bool // a cross-reference table, not a stream
	packed  bool // there are object streams, which are not opened
}

// scan reads the whole structure of a file.
func scan(b []byte) (*file, error) {
	p := &parser{b: b}
	if !bytes.HasPrefix(b, []byte("%PDF-")) {
		return nil, p.errorf("no PDF header")
	}
	f := &file{objects: map[int]object{}}
	for {
		for p.at < len(b) && isWhite(b[p.at]) {
			p.at++
		}
		if p.at >= len(b) {
			return f, nil
		}
		if err := f.section(p); err != nil {
			return nil, err
		}
	}
}

// section reads one comment, object, cross-reference table or startxref.
func (f *file) section(p *parser) error {
	switch {
	case p.has("%%EOF"):
		f.ends++
		p.at += len("%%EOF")
		if p.at < len(p.b) && !isWhite(p.b[p.at]) {
			return p.errorf("bytes behind %%%%EOF")
		}
		return nil
	case p.b[p.at] == '%':
		for p.at < len(p.b) && p.b[p.at] != '\n' && p.b[p.at] != '\r' {
			p.at++
		}
		return nil
	case p.keyword("xref"):
		return f.table(p)
	case p.keyword("startxref"):
		n, ok := p.integer()
		if !ok {
			return p.errorf("startxref without a number")
		}
		f.xrefAt = n
		return nil
	}
	return f.object(p)
}

func (f *file) table(p *parser) error {
	f.classic = true
	for !p.keyword("trailer") {
		_, ok1 := p.integer()
		count, ok2 := p.integer()
		if !ok1 || !ok2 || count > maxObjects {
			return p.errorf("cross-reference section")
		}
		for range count {
			_, ok1 := p.integer()
			_, ok2 := p.integer()
			if !ok1 || !ok2 || !p.keyword("n") && !p.keyword("f") {
				return p.errorf("cross-reference entry")
			}
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
	f.trailer = d
	return nil
}

func (f *file) object(p *parser) error {
	at := p.at
	n, ok := p.integer()
	g, ok2 := p.integer()
	if !ok || !ok2 || g > 65535 || !p.keyword("obj") {
		p.at = at
		return p.errorf("object expected")
	}
	v, err := p.value(0)
	if err != nil {
		return err
	}
	o := object{at: at, value: v}
	if p.keyword("stream") {
		o.stream = true
		if err := f.skipStream(p, v); err != nil {
			return err
		}
	}
	if !p.keyword("endobj") {
		return p.errorf("endobj expected")
	}
	if _, ok := f.objects[n]; ok {
		// Each revision may redefine an object; within one it is an error.
		if f.ends == 0 {
			return p.errorf("object %d stands twice", n)
		}
	}
	if len(f.objects) >= maxObjects {
		return p.errorf("more than %d objects", maxObjects)
	}
	f.objects[n] = o
	return nil
}

func (f *file) skipStream(p *parser, v any) error {
	d, ok := v.(dict)
	if !ok {
		return p.errorf("stream without dictionary")
	}
	switch d["Type"] {
	case name("XRef"):
		f.trailer = d
	case name("ObjStm"):
		f.packed = true
	}
	if p.has("\r\n") {
		p.at += 2
	} else if p.has("\n") {
		p.at++
	} else {
		return p.errorf("stream keyword without line end")
	}
	length, ok := d["Length"].(float64)
	if ok {
		if length < 0 || length > float64(len(p.b)-p.at) || length != float64(int(length)) {
			return p.errorf("stream length")
		}
		p.at += int(length)
	} else {
		// The length stands in another object: the first endstream decides.
		i := bytes.Index(p.b[p.at:], []byte("endstream"))
		if i < 0 {
			return p.errorf("stream has no end")
		}
		p.at += i
	}
	for p.at < len(p.b) && isWhite(p.b[p.at]) {
		p.at++
	}
	if !p.keyword("endstream") {
		return p.errorf("endstream expected")
	}
	return nil
}

// checkTable compares a classic table with where the objects really stand, for
// files of one revision. Entries are exactly 20 bytes.
func (f *file) checkTable(b []byte) error {
	if !f.classic || f.ends != 1 {
		return nil
	}
	p := &parser{b: b, at: f.xrefAt}
	if f.xrefAt >= len(b) || !p.has("xref") {
		return p.errorf("startxref does not point to the table")
	}
	p.keyword("xref")
	for !p.keyword("trailer") {
		first, ok1 := p.integer()
		count, ok2 := p.integer()
		if !ok1 || !ok2 || count > maxObjects {
			return p.errorf("cross-reference section")
		}
		for i := range count {
			offset, ok1 := p.integer()
			_, ok2 := p.integer()
			if !ok1 || !ok2 {
				return p.errorf("cross-reference entry")
			}
			if p.keyword("f") {
				continue
			}
			if o, ok := f.objects[first+i]; !p.keyword("n") || !ok || o.at != offset {
				return p.errorf("cross-reference entry of object %d", first+i)
			}
		}
	}
	return nil
}

// resolve follows one reference.
func (f *file) resolve(v any) any {
	if r, ok := v.(ref); ok {
		return f.objects[int(r)].value
	}
	return v
}

func (f *file) dict(v any) dict {
	d, _ := f.resolve(v).(dict)
	return d
}

// catalog returns the document catalog; nil when it lies in an object stream.
func (f *file) catalog() dict { return f.dict(f.trailer["Root"]) }
