package pdf

import (
	"errors"
	"fmt"
)

// Classes of damage to a file's structure. They come in a *Damage, which wraps
// ErrStructure besides and says where.
var (
	ErrHeader = errors.New("no PDF header")
	ErrCut    = errors.New("file ends early")
	ErrSyntax = errors.New("syntax error")
	ErrTables = errors.New("cross-reference tables and objects disagree")
	ErrStream = errors.New("structure inside a stream cannot be read")
	ErrBounds = errors.New("beyond the bounds of what is read")
	ErrField  = errors.New("the form does not hold the signature")
)

// Damage is what is wrong with the structure of a file, and where. It has nothing of
// the file but places.
type Damage struct {
	Class  error // one of the classes above
	Byte   int   // offset in the file, -1 when the place has none
	Object int   // number of the object, 0 when it is not one object's
	what   string
}

func (d *Damage) Error() string {
	place := ""
	switch {
	case d.Byte >= 0:
		place = fmt.Sprintf(" at byte %d", d.Byte)
	case d.Object > 0:
		place = fmt.Sprintf(" in object %d", d.Object)
	}
	return ErrStructure.Error() + ": " + d.Class.Error() + place + ": " + d.what
}

// Unwrap makes a Damage both ErrStructure and its class.
func (d *Damage) Unwrap() []error { return []error{ErrStructure, d.Class} }

// damaged is damage without a place.
func damaged(class error, format string, args ...any) error {
	return &Damage{Class: class, Byte: -1, what: fmt.Sprintf(format, args...)}
}

// damagedObject is damage of one object.
func damagedObject(class error, number int, format string, args ...any) error {
	return &Damage{Class: class, Byte: -1, Object: number, what: fmt.Sprintf(format, args...)}
}

// errorf is a syntax error at the current place; where nothing but the rest of a word
// follows, the file was cut off.
func (p *parser) errorf(format string, args ...any) error {
	class := ErrSyntax
	if p.at+len(p.word()) >= len(p.b) {
		class = ErrCut
	}
	return &Damage{Class: class, Byte: p.at, what: fmt.Sprintf(format, args...)}
}

// cut is errorf for what goes on to beyond the end of the file.
func (p *parser) cut(what string) error {
	return &Damage{Class: ErrCut, Byte: p.at, what: what}
}

// beyond is errorf for a bound that a file exceeds.
func (p *parser) beyond(format string, args ...any) error {
	return &Damage{Class: ErrBounds, Byte: p.at, what: fmt.Sprintf(format, args...)}
}

// inside says of an error in the decompressed bytes of a stream whose they are: offsets
// there are none of the file.
func inside(err error, object int) error {
	var d *Damage
	if !errors.As(err, &d) {
		return err
	}
	class := d.Class
	if class != ErrBounds {
		class = ErrStream
	}
	return damagedObject(class, object, "%s", d.what)
}
