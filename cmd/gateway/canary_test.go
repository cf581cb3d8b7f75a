package main

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/emmansun/gmsm/sm3"
	"golang.org/x/text/encoding/simplifiedchinese"
)

// canary is a value that must not be on any disk, for a message that does not print it.
type canary struct{ who, what, value string }

// pattern is one way in which a canary could be written.
type pattern struct {
	canary canary
	form   string
	bytes  []byte
}

// chance: a pattern of four bytes or fewer is in some file of random bytes
// sooner or later, so that one hit, or two, of such patterns prove nothing.
func (p pattern) chance() bool { return len(p.bytes) <= 4 }

// patterns are all forms of a canary: five encodings, and base64 and hex of
// those, escapes of JSON and URLs, and bare digests.
func (c canary) patterns() ([]pattern, error) {
	gb, err := simplifiedchinese.GB18030.NewEncoder().String(c.value)
	if err != nil {
		return nil, fmt.Errorf("%s of %s has no form in GB18030: %w", c.what, c.who, err)
	}
	raw := map[string][]byte{
		"UTF-8": []byte(c.value), "UTF-16LE": inUTF16(binary.LittleEndian, c.value), "UTF-16BE": inUTF16(binary.BigEndian, c.value), "GB18030": []byte(gb),
	}
	for _, d := range digests(c.value) {
		raw[d.name] = d.sum
	}
	var list []pattern
	seen := make(map[string]bool)
	add := func(form string, b []byte) {
		if !seen[string(b)] {
			seen[string(b)] = true
			list = append(list, pattern{c, form, b})
		}
	}
	for form, b := range raw {
		add(form, b)
		add(form+" in hex", []byte(hex.EncodeToString(b)))
		add(form+" in HEX", []byte(strings.ToUpper(hex.EncodeToString(b))))
		for how, inner := range within(b) {
			add(form+" in base64, "+how, []byte(inner))
			add(form+" in base64url, "+how, []byte(strings.NewReplacer("+", "-", "/", "_").Replace(inner)))
		}
	}
	escaped, percent := "", ""
	for _, u := range utf16.Encode([]rune(c.value)) {
		escaped += fmt.Sprintf(`\u%04x`, u)
	}
	for _, b := range []byte(c.value) {
		percent += fmt.Sprintf("%%%02X", b)
	}
	add("JSON escapes", []byte(escaped))
	add("JSON escapes in upper case", []byte(strings.ReplaceAll(strings.ToUpper(escaped), `\U`, `\u`)))
	add("per cent escapes", []byte(percent))
	return list, nil
}

func inUTF16(order binary.AppendByteOrder, s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = order.AppendUint16(b, u)
	}
	return b
}

type digest struct {
	name string
	sum  []byte
}

func digests(s string) []digest {
	a, b, c := sm3.Sum([]byte(s)), sha256.Sum256([]byte(s)), md5.Sum([]byte(s))
	return []digest{{"SM3", a[:]}, {"SHA-256", b[:]}, {"MD5", c[:]}}
}

// company is what stands around a short value in any document or record.
var company = [][2]string{{`"`, `"`}, {">", "<"}, {" ", " "}, {",", ","}, {"\x00", "\x00"}, {"=", "&"}}

// within is a value in base64, at each of its three alignments. Of a value of
// four bytes that leaves five characters or fewer, which every megabyte of
// ciphertext in base64 is full of; it is looked for in company.
func within(b []byte) map[string]string {
	forms := make(map[string]string)
	for shift := range 3 {
		if len(b) > 4 {
			forms[fmt.Sprintf("shifted by %d", shift)] = inBase64(b, shift)
			continue
		}
		for _, c := range company {
			for name, unit := range map[string]func(string) string{
				"":    func(s string) string { return s },
				" LE": func(s string) string { return string(inUTF16(binary.LittleEndian, s)) },
				" BE": func(s string) string { return string(inUTF16(binary.BigEndian, s)) },
			} {
				whole := unit(c[0]) + string(b) + unit(c[1])
				forms[fmt.Sprintf("shifted by %d between %q%s", shift, c, name)] = inBase64([]byte(whole), shift)
			}
		}
	}
	return forms
}

// inBase64 is that part of b's base64 which does not depend on what stands
// around b, when shift bytes (modulo 3) stand before it.
func inBase64(b []byte, shift int) string {
	padded := append(make([]byte, shift), b...)
	text := base64.RawStdEncoding.EncodeToString(padded)
	first := (8*shift + 5) / 6
	last := 8 * len(padded) / 6 // whole characters
	return text[first:last]
}

// hit is a place where a canary was found.
type hit struct {
	file    string
	offset  int
	pattern pattern
	around  string // the pattern and some bytes before and behind it
}

func (h hit) String() string {
	return fmt.Sprintf("%s offset %d: %s of %s in %s", h.file, h.offset, h.pattern.canary.what, h.pattern.canary.who, h.pattern.form)
}

// hunt looks for all patterns at once; patterns by their first four bytes.
type hunt struct {
	first [1 << 16]bool
	rest  map[[4]byte][]pattern
	ever  []hit
	files int
	bytes int64
	read  map[string]int // what was searched, and how many bytes of it
}

func newHunt(canaries []canary) (*hunt, error) {
	s := &hunt{rest: make(map[[4]byte][]pattern), read: make(map[string]int)}
	for _, c := range canaries {
		if utf8.RuneCountInString(c.value) < 2 {
			return nil, fmt.Errorf("%s of %s is too short to be searched for", c.what, c.who)
		}
		list, err := c.patterns()
		if err != nil {
			return nil, err
		}
		for _, p := range list {
			if len(p.bytes) < 4 {
				return nil, fmt.Errorf("%s of %s in %s is too short", c.what, c.who, p.form)
			}
			s.first[binary.LittleEndian.Uint16(p.bytes)] = true
			k := [4]byte(p.bytes)
			s.rest[k] = append(s.rest[k], p)
		}
	}
	return s, nil
}

// look searches one file's bytes.
func (s *hunt) look(file string, b []byte) {
	s.files, s.bytes = s.files+1, s.bytes+int64(len(b))
	s.read[file] += len(b)
	for i := 0; i+4 <= len(b); i++ {
		if !s.first[binary.LittleEndian.Uint16(b[i:])] {
			continue
		}
		for _, p := range s.rest[[4]byte(b[i:])] {
			if bytes.HasPrefix(b[i:], p.bytes) {
				s.ever = append(s.ever, hit{file, i, p, string(b[max(0, i-4):min(len(b), i+len(p.bytes)+4)])})
			}
		}
	}
}

// hits are what counts of what was found: of what chance could have written, a
// pattern that stands in two different surroundings, or any three.
func (s *hunt) hits() []hit {
	var sure, chance []hit
	for _, h := range s.ever {
		if h.pattern.chance() {
			chance = append(chance, h)
		} else {
			sure = append(sure, h)
		}
	}
	if len(sure) > 0 || byDesign(chance) {
		return append(sure, chance...)
	}
	return nil
}

// byDesign: copies of the same bytes, as databases make them, are one hit.
func byDesign(hits []hit) bool {
	where, times := make(map[string]bool), make(map[string]int)
	for _, h := range hits {
		if !where[h.around] {
			where[h.around] = true
			times[string(h.pattern.bytes)]++
		}
	}
	for _, n := range times {
		if n > 1 {
			return true
		}
	}
	return len(times) > 2
}

// tree searches every file below dir, and the names of all files and
// directories, but not what lies below a top-level name in except.
func (s *hunt) tree(dir string, except ...string) error {
	return s.treeNamed("", dir, except...)
}

// treeNamed puts a name before those of the files that it reports.
func (s *hunt) treeNamed(prefix, dir string, except ...string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) { // gone since it was listed
				return nil
			}
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		for _, x := range except {
			if name == x {
				return fs.SkipDir
			}
		}
		s.look("name of "+prefix+name, []byte(name))
		if !e.Type().IsRegular() {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		s.look(prefix+name, b)
		return nil
	})
}

func testCanaries() []canary {
	return []canary{{"somebody", "number", "69010219880614003X"}, {"somebody", "name", "李𬸚"}, {"somebody", "mapped name", "张\uE863"}, {"somebody else", "name", "李明"},
		{"somebody else", "phone", "12016850312"}}
}

// The search finds each form of each value, wherever it stands in a file.
func TestCanarySearchFindsWhatIsPlanted(t *testing.T) {
	s, err := newHunt(testCanaries())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range testCanaries() {
		list, err := c.patterns()
		if err != nil {
			t.Fatal(err)
		}
		if len(list) < 40 {
			t.Errorf("%s: only %d forms", c.value, len(list))
		}
		for _, p := range list {
			for _, before := range []string{"", "x", "\x00\xff\x80"} {
				text := before + string(p.bytes) + "y"
				if p.chance() { // counts only with another one
					text += string(p.bytes)
				}
				s.ever = nil
				s.look("planted", []byte(text))
				found := s.hits()
				if len(found) == 0 || found[0].pattern.canary != c {
					t.Errorf("%s of %q, planted after %q, was not found: %v", p.form, c.value, before, found)
				}
			}
		}
	}
}

// Real encoders, not the search's own arithmetic, make what is found here.
func TestCanarySearchFindsEncodedDocuments(t *testing.T) {
	number := testCanaries()[0].value
	for n := range 7 { // all alignments
		doc := []byte(strings.Repeat("ab", n)[:n] + `{"name":"李明","number":"` + number + `","phone":"12016850312"}`)
		for form, text := range map[string]string{
			"base64": base64.StdEncoding.EncodeToString(doc), "base64url": base64.RawURLEncoding.EncodeToString(doc), "hex": hex.EncodeToString(doc),
		} {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "f"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			kinds := make(map[string]bool)
			for _, h := range searchTree(t, dir) {
				kinds[h.pattern.canary.what] = true
			}
			if !kinds["number"] || !kinds["name"] || !kinds["phone"] {
				t.Errorf("%s after %d bytes: found only %v", form, n, kinds)
			}
		}
	}
}

func TestCanarySearchLooksAtNamesAndSubdirectories(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "a", "李𬸚.pdf"), 0o700); err != nil {
		t.Fatal(err)
	}
	if found := searchTree(t, dir); len(found) != 1 {
		t.Errorf("found %v", found)
	}
	if err := os.MkdirAll(filepath.Join(dir, "out", "李𬸚.pdf"), 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := newHunt(testCanaries())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.tree(dir, "a", "out"); err != nil || len(s.hits()) > 0 {
		t.Errorf("searched what it was told to leave out: %v %v", s.hits(), err)
	}
}

func TestCanarySearchFindsNothingElsewhere(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("690102198806140039 李某某 \x00\x01"), 0o600); err != nil {
		t.Fatal(err)
	}
	if found := searchTree(t, dir); len(found) > 0 {
		t.Errorf("found %v", found)
	}
}

func searchTree(t *testing.T, dir string) []hit {
	t.Helper()
	s, err := newHunt(testCanaries())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.tree(dir); err != nil {
		t.Fatal(err)
	}
	return s.hits()
}
