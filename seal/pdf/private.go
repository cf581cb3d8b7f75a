package pdf

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"yizheng/catalog/beijing"
)

// Private is what a certificate carries for verification beside its text. The
// formats of the strings are those of docs/protocol/certificate-pdf.md.
type Private struct {
	Seed    []byte // SeedSize bytes: the salts of the field commitments come from it
	Receipt string // intent receipt, text form
	Number  string // certificate number
	QR      string // payload of the QR code
	Until   string // last day of use, 2026-06-30 in China Standard Time; "" for none
}

// keyUntil came with version 2.
const keyUntil = "Until"

// untilText is a day as keyUntil holds it.
func untilText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.In(beijing.Zone()).Format(time.DateOnly)
}

// ReadPrivate returns the private data of a certificate made by this package.
// It returns ErrNoPrivate when the file has none or it is not exactly as the
// format says, ErrStructure when the file cannot be read. It does not look at
// the signature: call ReadSignature as well.
func ReadPrivate(ctx context.Context, pdf []byte) (Private, error) {
	f, err := Open(ctx, pdf)
	if err != nil {
		return Private{}, err
	}
	return f.Private()
}

// Private is ReadPrivate of a file that was opened.
func (f *File) Private() (Private, error) {
	if f.broken != nil {
		return Private{}, f.damage()
	}
	d, ok := f.private()
	if !ok {
		return Private{}, ErrNoPrivate
	}
	var p Private
	texts := []struct {
		key name
		to  *string
	}{{keyReceipt, &p.Receipt}, {keyNumber, &p.Number}, {keyQR, &p.QR}, {keyUntil, &p.Until}}
	switch d.get(keyVersion) {
	case 1.0:
		texts = texts[:3]
	case float64(privateVersion):
	default:
		return Private{}, fmt.Errorf("%w: unknown version", ErrNoPrivate)
	}
	seed, _ := d.get(keySeed).(str)
	p.Seed = seed.bytes
	for _, t := range texts {
		s, ok := d.get(t.key).(str)
		if !ok || !s.hex || !utf8.Valid(s.bytes) {
			return Private{}, fmt.Errorf("%w: %s is missing or no hexadecimal string", ErrNoPrivate, string(t.key))
		}
		*t.to = string(s.bytes)
	}
	if len(p.Seed) != SeedSize || !seed.hex || p.Number == "" || len(d) != len(texts)+2 {
		return Private{}, fmt.Errorf("%w: wrong seed, number or keys", ErrNoPrivate)
	}
	if _, err := time.Parse(time.DateOnly, p.Until); err != nil && p.Until != "" {
		return Private{}, fmt.Errorf("%w: %s is not a date", ErrNoPrivate, keyUntil)
	}
	return p, nil
}

func (f *File) private() (dict, bool) {
	d, ok := f.dict(f.dict(f.catalog().get("PieceInfo")).get(keyApplication)).get("Private").(dict)
	return d, ok
}

// maxCommon bounds Common: who remembers beginnings remembers none that are longer.
const maxCommon = 100 << 10

// Common returns how many bytes at the beginning of a certificate of this package do
// not depend on whom it is about: fonts, frame and seal picture of its kind, as far as
// its object numbers tell. It is 0 for other files, and a hint only: whoever makes
// a file can put there what he likes.
func (f *File) Common() int {
	if _, ok := f.private(); !ok {
		return 0
	}
	for _, o := range f.physical {
		shared := o.number >= objAppearance && o.number <= objMask || o.number == objFrame || o.number >= objFont && o.number < firstFree
		if !shared || o.to > maxCommon {
			return min(o.at, maxCommon)
		}
	}
	return 0
}

func nameText(v any) string {
	n, _ := v.(name)
	return string(n)
}

// textOf decodes a text string: UTF-16BE with mark, else byte by byte.
func textOf(v any) string {
	s, _ := v.(str)
	b := s.bytes
	if len(b) >= 2 && b[0] == 0xFE && b[1] == 0xFF {
		var units []uint16
		for i := 2; i+1 < len(b); i += 2 {
			units = append(units, uint16(b[i])<<8|uint16(b[i+1]))
		}
		return string(utf16.Decode(units))
	}
	out := make([]rune, len(b))
	for i, c := range b {
		out[i] = rune(c)
	}
	return string(out)
}

// parseDate reads D:YYYYMMDDHHmmSS with Z, +HH'mm' or +HH'mm (ISO 32000-1 7.9.4).
func parseDate(s string) (time.Time, error) {
	for _, format := range []string{"D:20060102150405-07'00'", "D:20060102150405-07'00", "D:20060102150405Z07'00'", "D:20060102150405Z", "D:20060102150405"} {
		if t, err := time.Parse(format, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, errors.New("not a date")
}
