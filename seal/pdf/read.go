package pdf

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Why a file's signature cannot be read. Each is wrapped with details.
var (
	ErrStructure      = errors.New("pdf: file structure is damaged")
	ErrNoSignature    = errors.New("pdf: no signature")
	ErrManySignatures = errors.New("pdf: more than one signature")
	ErrByteRange      = errors.New("pdf: ByteRange does not cover the whole file but the Contents token")
	ErrContents       = errors.New("pdf: Contents is not canonical hexadecimal")
	ErrRevision       = errors.New("pdf: changed after signing (later revision)")
	ErrNoPrivate      = errors.New("pdf: no certificate data of Yizheng")
)

// Signature is the one signature of a file, as it stands there.
type Signature struct {
	ByteRange [4]int
	Contents  []byte // DER and the zeros behind it
	Filter    string
	SubFilter string
	M         time.Time // zero when /M is missing
	Name      string
	Reason    string
	DocMDP    int // permission level of the catalogue's /Perms, 0 for none
}

// Covered returns the two parts of pdf that the signature covers. pdf is the
// file that s was read from.
func (s Signature) Covered(pdf []byte) (before, after []byte, err error) {
	return covered(pdf, s.ByteRange)
}

// ReadSignature finds the signature of a file and checks all that can be checked
// without keys: one revision, one signature, a ByteRange [0 a b c] that leaves
// out exactly the Contents token of the same dictionary, hexadecimal digits of
// one case (lower case in files of this package).
//
// It returns ErrStructure, ErrNoSignature, ErrManySignatures, ErrByteRange,
// ErrContents or ErrRevision, each wrapped with the cause. When the error is
// ErrByteRange, ErrContents or ErrRevision, the Signature is filled as far as it
// could be read, so that a report can go on.
func ReadSignature(pdf []byte) (Signature, error) {
	var s Signature
	f, err := scan(pdf)
	if err != nil {
		return s, fmt.Errorf("%w: %w", ErrStructure, err)
	}
	d, err := f.signature()
	if err != nil {
		return s, err
	}
	contents, err := s.fill(f, d)
	if err != nil {
		return s, err
	}
	if err := f.checkRevision(pdf); err != nil {
		return s, err
	}
	if err := s.checkRange(pdf, contents); err != nil {
		return s, err
	}
	_, own := f.private()
	return s, checkHex(pdf[contents.from:contents.to], own)
}

// signature returns the only dictionary that has a ByteRange, and checks that it
// is the value of the only signature field.
func (f *file) signature() (dict, error) {
	var found dict
	number, count := 0, 0
	for n, o := range f.objects {
		walk(o.value, func(d dict) {
			if _, ok := d["ByteRange"]; ok {
				count++
				found, number = d, n
			}
		})
	}
	if count == 0 {
		return nil, ErrNoSignature
	}
	if count > 1 {
		return nil, fmt.Errorf("%w: %d dictionaries with a ByteRange", ErrManySignatures, count)
	}
	if f.packed || f.catalog() == nil {
		return found, nil // fields may lie in object streams
	}
	fields := 0
	direct := false
	for _, o := range f.objects {
		walk(o.value, func(d dict) {
			if d["FT"] == name("Sig") && d["V"] != nil {
				fields++
				r, isRef := d["V"].(ref)
				direct = isRef && int(r) == number
			}
		})
	}
	switch {
	case fields > 1:
		return nil, fmt.Errorf("%w: %d signature fields", ErrManySignatures, fields)
	case fields == 0 || !direct:
		return nil, fmt.Errorf("%w: no field holds the signature dictionary", ErrStructure)
	}
	return found, nil
}

// walk calls fn for every dictionary in v.
func walk(v any, fn func(dict)) {
	switch v := v.(type) {
	case dict:
		fn(v)
		for _, e := range v {
			walk(e, fn)
		}
	case array:
		for _, e := range v {
			walk(e, fn)
		}
	}
}

func (s *Signature) fill(f *file, d dict) (str, error) {
	s.Filter, s.SubFilter = nameText(d["Filter"]), nameText(d["SubFilter"])
	s.Name, s.Reason = textOf(d["Name"]), textOf(d["Reason"])
	if m, ok := d["M"].(str); ok {
		s.M, _ = parseDate(string(m.bytes))
	}
	s.DocMDP = f.docMDP()
	br, ok := d["ByteRange"].(array)
	if !ok || len(br) != 4 {
		return str{}, fmt.Errorf("%w: not four numbers", ErrByteRange)
	}
	for i, v := range br {
		n, ok := v.(float64)
		if !ok || n < 0 || n != float64(int(n)) {
			return str{}, fmt.Errorf("%w: not four whole numbers", ErrByteRange)
		}
		s.ByteRange[i] = int(n)
	}
	contents, ok := d["Contents"].(str)
	if !ok || !contents.hex {
		return contents, fmt.Errorf("%w: no hexadecimal string", ErrContents)
	}
	s.Contents = contents.bytes
	return contents, nil
}

func (f *file) docMDP() int {
	sig := f.dict(f.dict(f.catalog()["Perms"])["DocMDP"])
	refs, _ := f.resolve(sig["Reference"]).(array)
	for _, r := range refs {
		d := f.dict(r)
		if d["TransformMethod"] != name("DocMDP") {
			continue
		}
		if p, ok := f.dict(d["TransformParams"])["P"].(float64); ok {
			return int(p)
		}
		return 2 // the default of ISO 32000-1 table 254
	}
	return 0
}

// checkRevision refuses a file to which something was appended. A linearized
// file has two ends by its nature.
func (f *file) checkRevision(pdf []byte) error {
	if f.ends == 0 {
		return fmt.Errorf("%w: no %%%%EOF", ErrStructure)
	}
	linear := false
	for _, o := range f.objects {
		if d, ok := o.value.(dict); ok && d["Linearized"] != nil {
			linear = true
		}
	}
	if f.ends > 1 && !(linear && f.ends == 2) {
		return fmt.Errorf("%w: %d ends of file", ErrRevision, f.ends)
	}
	if f.trailer["Prev"] != nil && !linear {
		return fmt.Errorf("%w: the trailer names an earlier revision", ErrRevision)
	}
	tail := strings.TrimRight(string(pdf[max(0, len(pdf)-16):]), "\r\n")
	if !strings.HasSuffix(tail, "%%EOF") {
		return fmt.Errorf("%w: bytes behind the end of file", ErrRevision)
	}
	if err := f.checkTable(pdf); err != nil {
		return fmt.Errorf("%w: %w", ErrStructure, err)
	}
	return nil
}

func (s *Signature) checkRange(pdf []byte, contents str) error {
	br := s.ByteRange
	switch {
	case br[0] != 0:
		return fmt.Errorf("%w: begins at byte %d", ErrByteRange, br[0])
	case br[1] != contents.from || br[2] != contents.to:
		return fmt.Errorf("%w: leaves out bytes %d to %d, the token is %d to %d", ErrByteRange, br[1], br[2], contents.from, contents.to)
	case br[2] > len(pdf) || br[3] != len(pdf)-br[2]:
		return fmt.Errorf("%w: covers %d of %d bytes behind the token", ErrByteRange, br[3], len(pdf)-br[2])
	}
	return nil
}

// checkHex wants nothing but an even number of digits between the brackets, and
// letters of one case: a changed case would otherwise be a change of the file
// that no digest notices. Files of this package are in lower case.
func checkHex(token []byte, lowerOnly bool) error {
	digits := token[1 : len(token)-1]
	if len(digits) == 0 || len(digits)%2 != 0 {
		return fmt.Errorf("%w: %d digits", ErrContents, len(digits))
	}
	lower, upper := false, false
	for _, c := range digits {
		switch {
		case isWhite(c):
			return fmt.Errorf("%w: white space between the digits", ErrContents)
		case c >= 'a':
			lower = true
		case c >= 'A':
			upper = true
		}
	}
	if upper && (lower || lowerOnly) {
		return fmt.Errorf("%w: upper-case digits", ErrContents)
	}
	return nil
}
