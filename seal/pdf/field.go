package pdf

import (
	"errors"
	"fmt"
)

// signatureDict returns the only dictionary of the file that has a ByteRange, in
// whatever revision it stands.
func (f *File) signatureDict() (dict, error) {
	var found dict
	count := 0
	look := func(d dict) {
		if d.has("ByteRange") {
			count++
			found = d
		}
	}
	for _, o := range f.physical {
		walk(o.value, look)
	}
	for _, n := range f.packed {
		if !f.stands(n) {
			walk(f.view[n], look)
		}
	}
	switch {
	case count > 1:
		return nil, fmt.Errorf("%w: %d dictionaries with a ByteRange", ErrManySignatures, count)
	case count == 1:
		return found, nil
	case f.broken != nil:
		return nil, f.damage()
	}
	return nil, ErrNoSignature
}

// stands reports whether an object of the view is a physical one.
func (f *File) stands(number int) bool {
	if f.numbers == nil {
		f.numbers = make(map[int]bool, len(f.physical))
		for _, o := range f.physical {
			f.numbers[o.number] = true
		}
	}
	return f.numbers[number]
}

// Encrypted reports whether the file's newest trailer says that it is encrypted. A
// signature of before covers other bytes then, and Signature says so.
func (f *File) Encrypted() bool { return errors.Is(f.broken, ErrEncrypted) }

// damage tells why the file cannot be read as a viewer does.
func (f *File) damage() error {
	if f.Encrypted() {
		return ErrEncrypted
	}
	return f.broken
}

// checkField insists that the dictionary is the value of the only signature field
// that has one, found as a viewer finds it: from the catalogue's AcroForm.
func (f *File) checkField(signature dict) error {
	w := fieldWalk{f: f, seen: map[ref]bool{}}
	fields, err := w.list(f.dict(f.catalog().get("AcroForm")).get("Fields"))
	if err != nil {
		return err
	}
	if err := w.fields(fields, "", nil, 0); err != nil {
		return err
	}
	switch {
	case len(w.values) > 1:
		return fmt.Errorf("%w: %d signature fields", ErrManySignatures, len(w.values))
	case len(w.values) == 0:
		return damaged(ErrField, "no field of the form holds the signature")
	}
	value, _ := w.values[0].get("Contents").(str)
	ours, _ := signature.get("Contents").(str)
	if value.from != ours.from || value.to != ours.to || ours.to <= 0 {
		return damaged(ErrField, "the signature field holds another dictionary")
	}
	return nil
}

// fieldWalk collects the values of signature fields. It goes to no object twice, so
// that it takes no more steps than the file has values.
type fieldWalk struct {
	f      *File
	seen   map[ref]bool
	values []dict
}

// list returns a list of fields. One that is met again is refused: a list of its own
// kids has no end, and one of many parents is as long as all of them.
func (w *fieldWalk) list(v any) (array, error) {
	list, ok := w.f.resolve(v).(array)
	if r, isRef := v.(ref); ok && isRef {
		if w.seen[r] {
			return nil, damagedObject(ErrField, int(r), "object %d is the list of two fields of the form", r)
		}
		w.seen[r] = true
	}
	return list, nil
}

// fields goes through fields and their kids, which inherit type and value.
func (w *fieldWalk) fields(list array, kind name, value any, depth int) error {
	if depth > maxDepth {
		return nil
	}
	for _, v := range list {
		if r, ok := v.(ref); ok {
			if w.seen[r] {
				continue
			}
			w.seen[r] = true
		}
		d := w.f.dict(v)
		if d == nil {
			continue
		}
		kind, value := kind, value
		if k, ok := w.f.resolve(d.get("FT")).(name); ok {
			kind = k
		}
		if d.get("V") != nil {
			value = d.get("V")
		}
		kids, err := w.list(d.get("Kids"))
		if err != nil {
			return err
		}
		if hasFields(w.f, kids) {
			if err := w.fields(kids, kind, value, depth+1); err != nil {
				return err
			}
			continue
		}
		if s := w.f.dict(value); kind == "Sig" && s != nil {
			w.values = append(w.values, s)
		}
	}
	return nil
}

// hasFields tells fields below a field from its bare widgets, which have no name.
func hasFields(f *File, kids array) bool {
	for _, k := range kids {
		if f.dict(k).get("T") != nil {
			return true
		}
	}
	return false
}

// walk calls fn for every dictionary in v.
func walk(v any, fn func(dict)) {
	switch v := v.(type) {
	case dict:
		fn(v)
		for _, e := range v {
			walk(e.value, fn)
		}
	case array:
		for _, e := range v {
			walk(e, fn)
		}
	}
}

// docMDP returns the permission level of the catalogue's certification, 0 for none.
func (f *File) docMDP() int {
	sig := f.dict(f.dict(f.catalog().get("Perms")).get("DocMDP"))
	refs, _ := f.resolve(sig.get("Reference")).(array)
	for _, r := range refs {
		d := f.dict(r)
		if d.get("TransformMethod") != name("DocMDP") {
			continue
		}
		if p, ok := f.dict(d.get("TransformParams")).get("P").(float64); ok {
			return int(p)
		}
		return 2 // the default of ISO 32000-1 table 254
	}
	return 0
}
