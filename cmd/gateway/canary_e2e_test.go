//go:build e2e

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

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
	return append(list, canary{"zhang-yan", "name as the sources write it", "张䶮"})
}

// noCanary searches everything below home but what lies in the excepted
// directories, proves that this search finds what is planted there, and fails if it finds more.
func noCanary(t *testing.T, home string, except ...string) {
	t.Helper()
	look := func() *search {
		s, err := newSearch(demoCanaries(t))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.tree(home, except...); err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := look()
	for _, h := range s.hits() {
		t.Error(h)
	}
	if s.files < 50 || s.bytes < 1<<20 {
		t.Errorf("searched only %d files and names, %d bytes", s.files, s.bytes)
	}
	t.Logf("searched %d files and names, %d bytes", s.files, s.bytes)
	planted := filepath.Join(home, "state", "planted")
	if err := os.WriteFile(planted, []byte(samplePeople(t)["li-ming"].Number), 0o600); err != nil {
		t.Fatal(err)
	}
	found := len(look().hits())
	if err := os.Remove(planted); err != nil {
		t.Fatal(err)
	}
	if found != len(s.hits())+1 {
		t.Errorf("a planted number gave %d hits, want one more than %d", found, len(s.hits()))
	}
}
