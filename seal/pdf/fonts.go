package pdf

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Fonts is a chain of fonts: the body font, then fallbacks, asked in order for
// every code point. It is safe for concurrent use.
type Fonts struct{ chain []*font }

// LoadFonts opens TrueType fonts by path and parses their tables once. The files
// stay open until Close, because outlines are read when they are first used.
// Every error wraps ErrFont and names file and table.
func LoadFonts(body string, fallbacks []string) (*Fonts, error) {
	if len(fallbacks) > 15 {
		return nil, fmt.Errorf("%w: %d fallback fonts, at most 15", ErrFont, len(fallbacks))
	}
	var fs Fonts
	for _, path := range append([]string{body}, fallbacks...) {
		f, err := openFont(path)
		if err != nil {
			fs.Close()
			return nil, err
		}
		fs.chain = append(fs.chain, f)
	}
	return &fs, nil
}

// Close closes the font files. No Render may be running or follow.
func (fs *Fonts) Close() error {
	var errs []error
	for _, f := range fs.chain {
		if f.closer != nil {
			errs = append(errs, f.closer.Close())
		}
	}
	return errors.Join(errs...)
}

// GlyphMissingError lists the code points of a document that cannot be printed,
// ascending: characters that no font has, and characters that mean nothing
// outside one system (private use, U+FFFD, control and format characters).
type GlyphMissingError struct{ Runes []rune }

// Error lists the code points as U+XXXX and says nothing else of the document.
func (e *GlyphMissingError) Error() string {
	var b strings.Builder
	b.WriteString("pdf: no glyph for")
	for _, r := range e.Runes {
		fmt.Fprintf(&b, " U+%04X", r)
	}
	return b.String()
}

// Missing returns the code points of s that cannot be printed, ascending.
func (fs *Fonts) Missing(s string) []rune {
	var missing []rune
	fs.collect(s, &runeTable{}, &missing)
	return sorted(missing)
}

// collect appends what cannot be printed of s; known needs no look.
func (fs *Fonts) collect(s string, known *runeTable, missing *[]rune) {
	for _, r := range s {
		if r == '\n' || known.get(r) != 0 {
			continue
		}
		if _, gid := fs.find(r); gid == 0 {
			*missing = append(*missing, r)
		}
	}
}

func sorted(rs []rune) []rune {
	slices.Sort(rs)
	return slices.Compact(rs)
}

// find returns the first font that has r, and its glyph; glyph 0 if none has or
// r is not fit to be printed.
func (fs *Fonts) find(r rune) (int, uint16) {
	if unprintable(r) {
		return 0, 0
	}
	for i, f := range fs.chain {
		if gid := f.lookup(r); gid != 0 {
			return i, gid
		}
	}
	return 0, 0
}

func unprintable(r rune) bool {
	if r >= 0x20 && r < 0x7F || r >= 0x3000 && r < 0xD800 {
		return false
	}
	return r == unicode.ReplacementChar || unicode.In(r, unicode.C, unicode.Zl, unicode.Zp)
}

// checkGlyphs returns a *GlyphMissingError when any text of d cannot be drawn,
// with what p has or otherwise.
func (fs *Fonts) checkGlyphs(d *Document, p *prefix) error {
	var missing []rune
	runes := 0
	d.texts(func(s string) {
		runes += len(s)
		fs.collect(s, &p.cids, &missing)
	})
	if len(missing) > 0 {
		return &GlyphMissingError{Runes: sorted(missing)}
	}
	if runes > maxRunes {
		return fmt.Errorf("%w: %d bytes of text, at most %d", ErrDocument, runes, maxRunes)
	}
	return nil
}
