package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// osv is the part of a report that the checker needs.
type osv struct {
	ID       string        `json:"id"`
	Affected []osvAffected `json:"affected"`
}

type osvAffected struct {
	Package   osvPackage `json:"package"`
	Ranges    []osvRange `json:"ranges"`
	Ecosystem struct {
		Imports []osvImport `json:"imports"`
	} `json:"ecosystem_specific"`
}

type (
	osvPackage struct {
		Name      string `json:"name"`
		Ecosystem string `json:"ecosystem"`
	}
	osvRange struct {
		Type   string              `json:"type"`
		Events []map[string]string `json:"events"`
	}
	osvImport struct {
		Path string `json:"path"`
	}
)

// reportsOf turns the lines of known.tsv into one report file each ID in dir.
// A line without symbols makes the whole package count as vulnerable.
func reportsOf(file, dir string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	reports := map[string]*osv{}
	s := bufio.NewScanner(f)
	for n := 1; s.Scan(); n++ {
		line := s.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		c := strings.Split(line, "\t")
		if len(c) != 5 || !strings.HasPrefix(c[0], "GO-") {
			return fmt.Errorf("%s:%d: want id, module, package, introduced, fixed, with tabs between", file, n)
		}
		r := reports[c[0]]
		if r == nil {
			r = &osv{ID: c[0]}
			reports[c[0]] = r
		}
		r.add(c[1], c[2], c[3], c[4])
	}
	if err := s.Err(); err != nil {
		return err
	}
	for id, r := range reports {
		if err := writeJSON(filepath.Join(dir, id+".json"), r); err != nil {
			return err
		}
	}
	return nil
}

func (r *osv) add(module, pkg, introduced, fixed string) {
	a := osvAffected{Package: osvPackage{module, "Go"}}
	events := []map[string]string{{"introduced": introduced}}
	if fixed != "-" {
		events = append(events, map[string]string{"fixed": fixed})
	}
	a.Ranges = []osvRange{{"SEMVER", events}}
	a.Ecosystem.Imports = []osvImport{{pkg}}
	r.Affected = append(r.Affected, a)
}
