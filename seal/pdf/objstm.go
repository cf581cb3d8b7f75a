package pdf

import (
	"bytes"
	"compress/zlib"
	"io"
)

// unpack adds the objects of object streams (ISO 32000-1 7.5.7) to the view.
func (f *File) unpack(entries map[int]entry) error {
	streams := map[int][]packedObject{}
	for n, e := range entries {
		if e.kind != packed {
			continue
		}
		objects, ok := streams[e.where]
		if !ok {
			holder := entries[e.where]
			stream := f.standing(e.where, holder.where)
			if holder.kind != plain || stream == nil {
				return damagedObject(ErrTables, n, "object %d lies in object stream %d, which is not there", n, e.where)
			}
			var err error
			if objects, err = f.packedObjects(*stream); err != nil {
				return err
			}
			streams[e.where] = objects
		}
		if e.index >= len(objects) || objects[e.index].number != n {
			return damagedObject(ErrTables, n, "object %d is not where object stream %d should hold it", n, e.where)
		}
		f.view[n] = objects[e.index].value
		f.packed = append(f.packed, n)
	}
	return nil
}

type packedObject struct {
	number int
	at     int // behind the first
	value  any
}

// packedObjects reads an object stream. Each object ends where the next begins, so that
// no byte is read into two of them, however many the index names.
func (f *File) packedObjects(o object) ([]packedObject, error) {
	d := o.dict()
	count, ok1 := d.get("N").(float64)
	first, ok2 := d.get("First").(float64)
	data, err := f.decode(o)
	if err != nil {
		return nil, err
	}
	if !ok1 || !ok2 || d.get("Type") != name("ObjStm") || count < 0 || count > maxObjects || first < 0 || first > float64(len(data)) {
		return nil, damagedObject(ErrStream, o.number, "object stream %d", o.number)
	}
	head, body := &parser{b: data[:int(first)]}, data[int(first):]
	out := make([]packedObject, 0, min(int(count), 1024))
	for range int(count) {
		n, ok1 := head.integer()
		at, ok2 := head.integer()
		if !ok1 || !ok2 || at > len(body) || len(out) > 0 && at <= out[len(out)-1].at {
			return nil, damagedObject(ErrStream, o.number, "index of object stream %d", o.number)
		}
		out = append(out, packedObject{number: n, at: at})
	}
	for i := range out {
		if err := f.ctx.Err(); err != nil {
			return nil, err
		}
		end := len(body)
		if i+1 < len(out) {
			end = out[i+1].at
		}
		p := &parser{b: body[:end], at: out[i].at, mem: &f.mem}
		v, err := p.value(0)
		if err != nil {
			return nil, inside(err, o.number)
		}
		out[i].value = unplaced(v)
	}
	return out, nil
}

// unplaced marks the strings of an object stream as standing nowhere in the file, so
// that no offset of the decompressed data passes for one of the file.
func unplaced(v any) any {
	switch v := v.(type) {
	case str:
		v.from, v.to = -1, -1
		return v
	case array:
		for i := range v {
			v[i] = unplaced(v[i])
		}
	case dict:
		for i := range v {
			v[i].value = unplaced(v[i].value)
		}
	}
	return v
}

// decode returns the bytes of a stream without filter or with FlateDecode, the only
// one that writers use for structure. All streams of a file share one budget.
func (f *File) decode(o object) ([]byte, error) {
	d := o.dict()
	raw := f.b[o.from:o.to]
	filter, params := single(d.get("Filter")), single(d.get("DecodeParms"))
	switch filter {
	case nil:
		return raw, nil
	case name("FlateDecode"), name("Fl"):
	default:
		return nil, damagedObject(ErrStream, o.number, "a filter that is not read here")
	}
	z, err := zlib.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, damagedObject(ErrStream, o.number, "%v", err)
	}
	out, err := io.ReadAll(io.LimitReader(z, int64(f.inflate)+1))
	if err != nil {
		return nil, damagedObject(ErrStream, o.number, "%v", err)
	}
	if f.inflate -= len(out); f.inflate < 0 {
		return nil, damagedObject(ErrBounds, o.number, "compressed streams hold more than %d bytes", maxInflate)
	}
	p, _ := params.(dict)
	return unpredict(out, p, o.number)
}

// single takes the only element of an array of one, as filters may be written.
func single(v any) any {
	if a, ok := v.(array); ok && len(a) == 1 {
		return a[0]
	}
	return v
}

// unpredict undoes the PNG predictors None, Sub and Up (7.4.4.4), the ones that
// cross-reference streams use.
func unpredict(b []byte, params dict, object int) ([]byte, error) {
	kind, _ := params.get("Predictor").(float64)
	if kind <= 1 {
		return b, nil
	}
	columns, ok := params.get("Columns").(float64)
	if !ok {
		columns = 1
	}
	one := func(key name, value float64) bool { n, ok := params.get(key).(float64); return !ok || n == value }
	if kind < 10 || columns < 1 || columns > 1024 || !one("Colors", 1) || !one("BitsPerComponent", 8) {
		return nil, damagedObject(ErrStream, object, "predictor that is not read here")
	}
	row := int(columns)
	if len(b)%(row+1) != 0 {
		return nil, damagedObject(ErrStream, object, "rows of a predictor")
	}
	out := make([]byte, 0, len(b))
	above := make([]byte, row)
	for ; len(b) > 0; b = b[row+1:] {
		line := append([]byte(nil), b[1:row+1]...)
		for i := range line {
			switch b[0] {
			case 0:
			case 1:
				if i > 0 {
					line[i] += line[i-1]
				}
			case 2:
				line[i] += above[i]
			default:
				return nil, damagedObject(ErrStream, object, "predictor that is not read here")
			}
		}
		out = append(out, line...)
		above = line
	}
	return out, nil
}
