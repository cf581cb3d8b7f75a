package ses

import (
	"bytes"
	"encoding/asn1"
	"encoding/binary"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// reader walks the elements of one SEQUENCE. The first fault sticks; later reads
// return zero values, so a parser reads straight down and asks for the error once.
type reader struct {
	s    cryptobyte.String
	name string  // of the sequence, "" for the outermost
	in   *reader // nil for the outermost
	err  *error  // shared with the readers of nested sequences
}

func newReader(der []byte) *reader {
	var err error
	return &reader{s: der, err: &err}
}

func (r *reader) ok() bool { return *r.err == nil }

func (r *reader) fail(class error, field, what string) {
	if *r.err != nil {
		return
	}
	for at := r; at != nil && at.name != ""; at = at.in {
		field = at.name + "." + field
	}
	*r.err = &Fault{class, field, what}
}

// end reports elements left over.
func (r *reader) end() {
	if r.ok() && !r.s.Empty() {
		r.fail(ErrElements, "end", "unexpected further elements")
	}
}

// element reads one element with the tag and returns its content and all of it.
func (r *reader) element(field string, tag cbasn1.Tag) (content, whole []byte) {
	if !r.ok() {
		return nil, nil
	}
	rest := r.s
	var el cryptobyte.String
	if !r.s.ReadASN1Element(&el, tag) {
		r.fail(ErrEncoding, field, "missing, or not DER of the expected type")
		return nil, nil
	}
	whole = rest[:len(el):len(el)]
	var c cryptobyte.String
	if !el.ReadASN1(&c, tag) {
		r.fail(ErrEncoding, field, "not DER")
		return nil, nil
	}
	return c, whole
}

// sequence opens a nested SEQUENCE; the second result is all of its bytes.
func (r *reader) sequence(field string) (*reader, []byte) {
	content, whole := r.element(field, cbasn1.SEQUENCE)
	return r.nested(field, content), whole
}

func (r *reader) nested(field string, content []byte) *reader {
	return &reader{s: content, name: field, in: r, err: r.err}
}

// count returns the number of elements in the sequence, without consuming them.
// It stops at 8: no structure here has more, and a list is never counted.
func (r *reader) count() int {
	s, n := r.s, 0
	for !s.Empty() && n < 8 {
		var el cryptobyte.String
		var tag cbasn1.Tag
		if !s.ReadAnyASN1Element(&el, &tag) {
			r.fail(ErrEncoding, "element", "not DER")
			return 0
		}
		n++
	}
	return n
}

func (r *reader) peek(tag cbasn1.Tag) bool { return r.ok() && r.s.PeekASN1Tag(tag) }

func (r *reader) octets(field string) []byte {
	c, _ := r.element(field, cbasn1.OCTET_STRING)
	return c
}

// bits reads a BIT STRING of whole octets.
func (r *reader) bits(field string) []byte {
	c, _ := r.element(field, cbasn1.BIT_STRING)
	if !r.ok() {
		return nil
	}
	if len(c) == 0 || c[0] != 0 {
		r.fail(ErrEncoding, field, "BIT STRING is not of whole octets")
		return nil
	}
	return c[1:]
}

// integer reads a small INTEGER that is not negative.
func (r *reader) integer(field string) int {
	_, whole := r.element(field, cbasn1.INTEGER)
	if !r.ok() {
		return 0
	}
	var n int64
	s := cryptobyte.String(whole)
	if !s.ReadASN1Integer(&n) || n < 0 || n > 1<<31-1 {
		r.fail(ErrEncoding, field, "INTEGER is not minimal or out of range")
		return 0
	}
	return int(n)
}

func (r *reader) boolean(field string) bool {
	c, _ := r.element(field, cbasn1.BOOLEAN)
	if !r.ok() {
		return false
	}
	if len(c) != 1 || c[0] != 0 && c[0] != 0xff {
		r.fail(ErrEncoding, field, "BOOLEAN is not 00 or FF")
		return false
	}
	return c[0] == 0xff
}

func (r *reader) oid(field string) asn1.ObjectIdentifier {
	_, whole := r.element(field, cbasn1.OBJECT_IDENTIFIER)
	if !r.ok() {
		return nil
	}
	var id asn1.ObjectIdentifier
	s := cryptobyte.String(whole)
	if !s.ReadASN1ObjectIdentifier(&id) {
		r.fail(ErrEncoding, field, "not an OBJECT IDENTIFIER")
	}
	return id
}

func (r *reader) ia5(field string) string {
	c, _ := r.element(field, cbasn1.IA5String)
	if !isASCII(c) {
		r.fail(ErrEncoding, field, "IA5String with a byte above 7F")
		return ""
	}
	return string(c)
}

func (r *reader) printable(field string) string {
	c, _ := r.element(field, cbasn1.PrintableString)
	if !isPrintable(c) {
		r.fail(ErrEncoding, field, "PrintableString with another character")
		return ""
	}
	return string(c)
}

func (r *reader) utf8(field string) string {
	c, _ := r.element(field, cbasn1.UTF8String)
	if !utf8.Valid(c) {
		r.fail(ErrEncoding, field, "UTF8String is not UTF-8")
		return ""
	}
	return string(c)
}

const generalizedLayout = "20060102150405"

// generalizedTime reads the DER form: YYYYMMDDHHMMSS[.f]Z, no trailing zero in f.
func (r *reader) generalizedTime(field string) time.Time {
	c, _ := r.element(field, cbasn1.GeneralizedTime)
	return r.time(field, string(c), generalizedLayout)
}

// utcTime reads YYMMDDHHMMSSZ; years 50–99 are 19xx (X.680 47.3 with RFC 5280).
func (r *reader) utcTime(field string) time.Time {
	c, _ := r.element(field, cbasn1.UTCTime)
	t := r.time(field, string(c), "060102150405")
	if t.Year() >= 2050 {
		t = t.AddDate(-100, 0, 0)
	}
	return t
}

func (r *reader) time(field, text, layout string) time.Time {
	if !r.ok() {
		return time.Time{}
	}
	stamp, found := strings.CutSuffix(text, "Z")
	whole, fraction, dotted := strings.Cut(stamp, ".")
	t, err := time.Parse(layout, whole)
	badFraction := dotted && (len(layout) == 12 || fraction == "" || strings.HasSuffix(fraction, "0") || strings.Trim(fraction, "0123456789") != "")
	if !found || err != nil || t.Format(layout) != whole || badFraction {
		r.fail(ErrEncoding, field, "not a DER time in UTC")
		return time.Time{}
	}
	return t.UTC()
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c > 0x7f {
			return false
		}
	}
	return true
}

func isPrintable(b []byte) bool {
	for _, c := range b {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && !bytes.ContainsRune([]byte(" '()+,-./:=?"), rune(c)) {
			return false
		}
	}
	return true
}

// cutPadding splits b after its first DER element and insists that only zero
// octets follow (the unused room of a PDF's Contents).
func cutPadding(b []byte) ([]byte, error) {
	s := cryptobyte.String(b)
	var el cryptobyte.String
	if !s.ReadASN1Element(&el, cbasn1.SEQUENCE) {
		return nil, fault(ErrEncoding, "SES_Signature", "not a DER SEQUENCE")
	}
	for _, c := range s {
		if c != 0 {
			return nil, fault(ErrPadding, "SES_Signature", "bytes other than zero after the DER")
		}
	}
	return el, nil
}

// wrapSequence writes the SEQUENCE of elements that are DER already. They hold a seal,
// so it allocates once and copies them once, which cryptobyte does not.
func wrapSequence(elements ...[]byte) []byte {
	n := 0
	for _, e := range elements {
		n += len(e)
	}
	length := binary.BigEndian.AppendUint64(nil, uint64(n))
	for len(length) > 1 && length[0] == 0 {
		length = length[1:]
	}
	header := []byte{byte(cbasn1.SEQUENCE)}
	if n >= 0x80 {
		header = append(header, 0x80|byte(len(length)))
	}
	return bytes.Join(append([][]byte{append(header, length...)}, elements...), nil)
}
