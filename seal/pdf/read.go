package pdf

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
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
	ErrEncrypted      = errors.New("pdf: encrypted")
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
	DocMDP    int    // permission level of the catalogue's /Perms, 0 for none
	Seal      []byte // SESeal beside a CMS signature, nil when there is none
	Later     Later  // what was appended after signing
}

// keySeal is where a document of this package in CMS mode carries its SESeal.
const keySeal name = "Yizheng.SESeal"

// Later counts what stands in a file behind the part that was signed.
type Later struct {
	Bytes     int // 0: the signature covers all of the file
	Revisions int
	Replaced  int // objects that stood in the signed part too
	Added     int // objects that did not
}

// Covered returns the two parts of pdf that the signature covers. pdf is the
// file that s was read from.
func (s Signature) Covered(pdf []byte) (before, after []byte, err error) {
	return covered(pdf, s.ByteRange)
}

// ReadSignature finds the signature of a file and checks all that can be checked
// without keys: one signature, held by a field of the form; a ByteRange [0 a b c] that
// leaves out exactly the Contents token of the same dictionary and reaches the end
// of the file; cross-reference tables that agree with where the objects stand;
// hexadecimal digits of one case (lower case in files of this package). Revisions
// before the signature are covered by it; one behind it is not.
//
// It returns ErrStructure, ErrEncrypted, ErrNoSignature, ErrManySignatures,
// ErrByteRange, ErrContents or ErrRevision, each wrapped with the cause. When the
// error is ErrByteRange, ErrContents or ErrRevision, the Signature is filled as far
// as it could be read, so that a report can go on.
func ReadSignature(ctx context.Context, pdf []byte) (Signature, error) {
	f, err := Open(ctx, pdf)
	if err != nil {
		return Signature{}, err
	}
	return f.Signature()
}

// Signature is ReadSignature of a file that was opened.
func (f *File) Signature() (Signature, error) {
	var s Signature
	d, err := f.signatureDict()
	if err != nil {
		return s, err
	}
	contents, err := s.fill(f, d)
	if err != nil {
		return s, err
	}
	// A later revision is told before damage: attackers append damaged ones.
	if err := s.checkRange(f, contents); err != nil {
		return s, err
	}
	if f.broken != nil {
		return Signature{}, f.damage()
	}
	if err := f.checkEnd(); err != nil {
		return s, err
	}
	if err := f.checkField(d); err != nil {
		return Signature{}, err
	}
	_, own := f.private()
	return s, checkHex(contents, own)
}

func (s *Signature) fill(f *File, d dict) (str, error) {
	s.Filter, s.SubFilter = nameText(d.get("Filter")), nameText(d.get("SubFilter"))
	s.Name, s.Reason = textOf(d.get("Name")), textOf(d.get("Reason"))
	if m, ok := d.get("M").(str); ok {
		s.M, _ = parseDate(string(m.bytes))
	}
	if seal, ok := d.get(keySeal).(str); ok && seal.hex {
		s.Seal = seal.bytes
	}
	s.DocMDP = f.docMDP()
	contents, ok := d.get("Contents").(str)
	if !ok || !contents.hex || contents.to <= 0 {
		return contents, fmt.Errorf("%w: no hexadecimal string in the file itself", ErrContents)
	}
	s.Contents = contents.bytes
	br, ok := whole(d.get("ByteRange"))
	if !ok || len(br) != 4 {
		return str{}, fmt.Errorf("%w: not four whole numbers", ErrByteRange)
	}
	copy(s.ByteRange[:], br)
	return contents, nil
}

// checkRange wants [0 a b c] around the token; what the range leaves out at the end
// of the file must be whole later revisions to be called so.
func (s *Signature) checkRange(f *File, contents str) error {
	br := s.ByteRange
	end := br[2] + br[3]
	switch {
	case br[0] != 0:
		return fmt.Errorf("%w: begins at byte %d", ErrByteRange, br[0])
	case br[1] != contents.from || br[2] != contents.to:
		return fmt.Errorf("%w: leaves out bytes %d to %d, the token is %d to %d", ErrByteRange, br[1], br[2], contents.from, contents.to)
	case end > len(f.b):
		return fmt.Errorf("%w: covers %d of %d bytes behind the token", ErrByteRange, br[3], len(f.b)-br[2])
	case end == len(f.b):
		return nil
	}
	s.Later = f.later(end)
	if !f.endsAt(end) || len(trimWhite(f.b[end:])) == 0 {
		return fmt.Errorf("%w: covers %d of %d bytes behind the token", ErrByteRange, br[3], len(f.b)-br[2])
	}
	return fmt.Errorf("%w: %d bytes, %d revisions, %d objects replaced, %d added", ErrRevision, s.Later.Bytes, s.Later.Revisions, s.Later.Replaced, s.Later.Added)
}

// endsAt reports whether a revision ends at an offset, its line end included.
func (f *File) endsAt(offset int) bool {
	i, _ := slices.BinarySearch(f.ends, offset+1)
	return i > 0 && len(bytes.Trim(f.b[f.ends[i-1]:offset], "\r\n")) == 0
}

// later counts what stands behind an offset.
func (f *File) later(offset int) Later {
	l := Later{Bytes: len(f.b) - offset, Revisions: f.revisions(len(f.b)) - f.revisions(offset)}
	before := map[int]bool{}
	for _, o := range f.physical {
		switch {
		case o.at < offset:
			before[o.number] = true
		case before[o.number]:
			l.Replaced++
		default:
			l.Added++
		}
	}
	return l
}

// checkEnd wants the file to end with its last revision.
func (f *File) checkEnd() error {
	if len(f.ends) == 0 {
		return damaged(ErrCut, "no %%%%EOF")
	}
	if !f.endsAt(len(f.b)) {
		return fmt.Errorf("%w: bytes behind the end of file", ErrRevision)
	}
	return nil
}

// checkHex wants nothing but an even number of digits between the brackets, and
// letters of one case: a changed case would otherwise be a change of the file
// that no digest notices. Files of this package are in lower case.
func checkHex(contents str, lowerOnly bool) error {
	switch {
	case len(contents.bytes) == 0 || contents.odd:
		return fmt.Errorf("%w: none, or an odd number of digits", ErrContents)
	case contents.spaced:
		return fmt.Errorf("%w: white space between the digits", ErrContents)
	case contents.upper && (contents.lower || lowerOnly):
		return fmt.Errorf("%w: upper-case digits", ErrContents)
	}
	return nil
}
