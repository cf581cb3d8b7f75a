//go:build e2e

package main

import (
	"database/sql"
	"errors"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"yizheng/cmd/gateway/demo"
	"yizheng/identity"
)

// demoCanaries is everything that is on the sample people's cards and could tell who they are.
func demoCanaries(t *testing.T) []canary {
	t.Helper()
	var list []canary
	for _, p := range samplePeople(t) {
		list = append(list, canary{p.ID, "number", p.Number}, canary{p.ID, "name", p.Name})
		for what, value := range map[string]string{"address": p.Address, "English name": p.EnglishName, "permit": p.Permit} {
			if value != "" && value != "01234567" { // that one is part of a card reader's serial number
				list = append(list, canary{p.ID, what, value})
			}
		}
		number, _, err := identity.ParseNumber(p.Number)
		if err != nil {
			t.Fatalf("%s: %v", p.ID, err)
		}
		if old, ok := number.Old15(); ok {
			list = append(list, canary{p.ID, "number of 15 digits", old})
		}
	}
	for id, p := range samplePeople(t) { // as the chip has it: the name's thirty bytes, filled with spaces
		list = append(list, canary{id, "name on the chip", p.Name + strings.Repeat(" ", max(2, 15-len(utf16.Encode([]rune(p.Name)))))})
	}
	list = append(list, phones(t)...)
	return append(list, canary{"zhang-yan", "name as the sources write it", "张䶮"})
}

// phones are the telephone numbers that departments' systems give away though
// nobody has asked for them.
func phones(t *testing.T) (list []canary) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(demoConfigs, "systems", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range regexp.MustCompile(`"(120[0-9]{8})"`).FindAllSubmatch(b, -1) {
			list = append(list, canary{filepath.Base(name), "phone", string(n[1])})
		}
	}
	if len(list) < 2 {
		t.Fatalf("the departments' systems know %d telephone numbers", len(list))
	}
	return list
}

// place is somewhere that a city writes to.
type place struct {
	name string
	look func(*hunt) error
	// plant puts a text where the city could have left one, and undoes that. What
	// look finds of it is reported under a name that begins with at.
	plant func(text string) (undo func() error, err error)
	at    string
	// files are the names of files that must have been searched, as a pattern; "": those of at.
	files string
}

type places []place

// clean searches every place and fails if anything of the people is there.
func (all places) clean(t *testing.T) {
	t.Helper()
	s := all.search(t)
	for _, h := range s.hits() {
		t.Error(h)
	}
	if s.files < 50 || s.bytes < 1<<20 {
		t.Errorf("searched only %d files and names, %d bytes", s.files, s.bytes)
	}
	t.Logf("searched %d files and names, %d bytes", s.files, s.bytes)
}

func (all places) search(t *testing.T) *hunt {
	t.Helper()
	s, err := newHunt(demoCanaries(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		if p.look == nil { // within another
			continue
		}
		if err := p.look(s); err != nil {
			t.Fatalf("%s: %v", p.name, err)
		}
	}
	for _, p := range all {
		if p.files != "" && !s.searched(p.files) {
			t.Errorf("%s: nothing there was searched, no file is %s", p.name, p.files)
		}
	}
	return s
}

// searched tells whether a file of such a name was, and was not empty.
func (s *hunt) searched(pattern string) bool {
	for name, n := range s.read {
		if same, err := path.Match(pattern, name); err == nil && same && n > 0 {
			return true
		}
	}
	return false
}

// findPlanted proves that the search would have found something in every place.
func (all places) findPlanted(t *testing.T) {
	t.Helper()
	number := samplePeople(t)["li-ming"].Number
	for _, p := range all {
		undo, err := p.plant(number)
		if err != nil {
			t.Fatalf("plant in %s: %v", p.name, err)
		}
		defer func() {
			if err := undo(); err != nil {
				t.Errorf("%s: %v", p.name, err)
			}
		}()
	}
	found := all.search(t).hits()
	for _, p := range all {
		if !slices.ContainsFunc(found, func(h hit) bool {
			same, _ := path.Match(p.at, h.file)
			return (same || strings.HasPrefix(h.file, p.at)) && h.pattern.canary.value == number
		}) {
			t.Errorf("what was planted in %s is not found", p.name)
		}
	}
}

// noCanary is clean and findPlanted for files alone.
func noCanary(t *testing.T, home string) {
	t.Helper()
	files := places{cityFiles(home)}
	files.clean(t)
	files.findPlanted(t)
}

// cityFiles are all files below home but the documents that were handed over.
func cityFiles(home string) place {
	return place{name: "the city's files", look: func(s *hunt) error { return s.tree(home, "out") },
		plant: file(home, "state/planted"), at: "state/planted"}
}

// spoolFiles are those that wait to cross a gap.
func spoolFiles(city *demo.City) place {
	return place{name: "a gap's spool", plant: file(city.State, "fronts/police-front/spool/out/planted"), at: "state/fronts/police-front/spool/out/planted"}
}

// frontFiles are those of a front's own log.
func frontFiles(city *demo.City) place {
	return place{name: "a front's log", plant: file(city.State, "fronts/police-front/audit/planted"), at: "state/fronts/police-front/audit/planted"}
}

// file plants a file.
func file(dir, name string) func(string) (func() error, error) {
	path := filepath.Join(dir, name)
	return func(text string) (func() error, error) {
		return func() error { return os.Remove(path) }, os.WriteFile(path, []byte(text), 0o600)
	}
}

// sqliteFile is a database in the form in which the gateway keeps its own.
func sqliteFile(city *demo.City) place {
	path := filepath.Join(city.State, "planted.db")
	return place{name: "an SQLite database", at: "state/planted.db", plant: func(text string) (func() error, error) {
		undo := func() error { return os.Remove(path) }
		return undo, plantRow(path, text)
	}}
}

// plantRow puts a text into a table of its own.
func plantRow(path, text string) error {
	db, err := sql.Open("sqlite", path)
	if err != nil {
		return err
	}
	_, err = db.Exec("CREATE TABLE planted (v TEXT)")
	if err == nil {
		_, err = db.Exec("INSERT INTO planted VALUES (?)", text)
	}
	return errors.Join(err, db.Close())
}
