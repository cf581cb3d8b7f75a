package main

import (
	"strings"
	"testing"

	"yizheng/catalog"
	"yizheng/seal"
)

func TestSealsMustBeThoseOfTheCatalogue(t *testing.T) {
	want := []catalog.Seal{{ID: "hr-own", Department: "116901000069000425", Name: "就业专用章", Front: "hr-front"}}
	good := seal.Info{ID: "hr-own", ESID: "hr-own", Name: "就业专用章", SignerCode: "116901000069000425", KeyHere: true, KeyProtected: true}
	with := func(change func(*seal.Info)) []seal.Info {
		s := good
		change(&s)
		return []seal.Info{{ID: "another"}, s}
	}
	for name, c := range map[string]struct {
		have []seal.Info
		says string
	}{
		"as they should be": {with(func(*seal.Info) {}), ""},
		"missing":           {nil, "hr-own is not in the directory"},
		"another esID":      {with(func(s *seal.Info) { s.ESID = "x" }), "are not the catalogue's"},
		"another name":      {with(func(s *seal.Info) { s.Name = "x" }), "are not the catalogue's"},
		"another holder":    {with(func(s *seal.Info) { s.SignerCode = "x" }), "are not the catalogue's"},
		"no key":            {with(func(s *seal.Info) { s.KeyHere = false }), "is not in the directory"},
		"plain key":         {with(func(s *seal.Info) { s.KeyProtected = false }), "is not encrypted"},
	} {
		a := &agent{config: &Config{Mode: "production"}}
		err := a.sameSeals(want, c.have)
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	registered := []catalog.Seal{want[0]}
	registered[0].ESID = "6901000000421"
	if err := (&agent{config: &Config{}}).sameSeals(registered, with(func(s *seal.Info) { s.ESID = "6901000000421" })); err != nil {
		t.Errorf("the esID of the catalogue: %v", err)
	}
	if err := (&agent{config: &Config{}}).sameSeals(registered, with(func(*seal.Info) {})); err == nil {
		t.Error("the catalogue's id in the place of the esID")
	}
	plain := with(func(s *seal.Info) { s.KeyProtected = false })
	if err := (&agent{config: &Config{Mode: "demo"}}).sameSeals(want, plain); err != nil {
		t.Errorf("plain key in a demo: %v", err)
	}
}

func TestFrontWithoutItsSealsDoesNotStart(t *testing.T) {
	a := &agent{config: &Config{Mode: "demo"}}
	c := &catalog.Catalogue{Seals: []catalog.Seal{{ID: "hr-own", Front: "hr-front"}}}
	if _, err := a.openPress(c, "hr-front", nil); err == nil || !strings.Contains(err.Error(), "seal hr-own kept here") {
		t.Errorf("%v", err)
	}
	if p, err := a.openPress(c, "si-front", nil); p != nil || err != nil {
		t.Errorf("a front that keeps none: %v", err)
	}
}
