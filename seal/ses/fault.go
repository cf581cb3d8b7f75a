package ses

import (
	"errors"
	"fmt"
)

// ErrFormat is wrapped by every error of this package that blames the input.
var ErrFormat = errors.New("ses: malformed structure")

// Classes of what breaks the standard. They come in a *Fault, which wraps ErrFormat
// besides and names the field.
var (
	ErrEncoding = errors.New("not DER of the expected type")
	ErrElements = errors.New("wrong number of elements")
	ErrVersions = errors.New("versions do not agree")
	ErrPadding  = errors.New("bytes other than zero after the DER")
	ErrValue    = errors.New("value that the standard does not allow")
	ErrPicture  = errors.New("picture that the standard does not allow")
	ErrCritical = errors.New("unknown critical extension")
)

// Fault is what breaks the standard, and in which field. It has nothing of the input.
type Fault struct {
	Class error  // one of the classes above
	Field string // path in the standard's names: toSign.eseal.eSealInfo.esID
	what  string
}

func (f *Fault) Error() string {
	return ErrFormat.Error() + ": " + f.Field + ": " + f.Class.Error() + ": " + f.what
}

// Unwrap makes a Fault both ErrFormat and its class.
func (f *Fault) Unwrap() []error { return []error{ErrFormat, f.Class} }

func fault(class error, field, format string, args ...any) error {
	return &Fault{class, field, fmt.Sprintf(format, args...)}
}
