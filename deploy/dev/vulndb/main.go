// Command vulndb lays out Go vulnerability reports as a database that
// govulncheck reads offline.
//
//	go run ./deploy/dev/vulndb -from DIR/data/osv -to out/vulndb -date 2026-08-21T00:00:00Z
//
// or, where none can be had, the project's own list of those that matter to it:
//
//	go run ./deploy/dev/vulndb -known deploy/dev/vulndb/known.tsv -to out/vulndb -date 2026-11-22T00:00:00Z
//
// It reads the OSV files of the Go vulnerability repository (one report a file)
// and writes what https://go.dev/doc/security/vuln/database documents:
// index/db.json, index/modules.json, index/vulns.json and ID/GO-….json, the last
// as they were read. The optional "fixed" hint of index/modules.json is left out:
// the reader then judges every report by its own version ranges, and a hint that
// is wrong cannot hide one. Withdrawn reports stay; the reader skips them.
//
// The repository dates few of its reports, so the caller says of what date they
// are all together: the commit's, or the module version's. It becomes the date
// of the database.
package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func main() {
	from := flag.String("from", "", "`directory` of GO-*.json reports")
	known := flag.String("known", "", "`file` like known.tsv, in place of -from")
	to := flag.String("to", "", "`directory` of the database; written anew")
	date := flag.String("date", "", "`time` of the reports, RFC 3339")
	flag.Parse()
	modified, err := time.Parse(time.RFC3339, *date)
	if *known != "" {
		dir, mkErr := os.MkdirTemp("", "vulndb")
		if mkErr == nil {
			defer os.RemoveAll(dir)
			mkErr = reportsOf(*known, dir)
		}
		if mkErr != nil {
			fmt.Fprintln(os.Stderr, "vulndb:", mkErr)
			os.Exit(1) //nolint:gocritic // the directory holds nothing yet
		}
		*from = dir
	}
	if *from == "" || *to == "" || err != nil || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	n, err := convert(*from, *to, modified)
	if err != nil {
		fmt.Fprintln(os.Stderr, "vulndb:", err)
		os.Exit(1)
	}
	fmt.Printf("vulndb: %d reports of %s\n", n, modified.Format(time.DateOnly))
}

// report is the part of an OSV file that the indexes need.
type report struct {
	ID       string     `json:"id"`
	Modified time.Time  `json:"modified"`
	Aliases  []string   `json:"aliases"`
	Affected []affected `json:"affected"`
}

type affected struct {
	Package struct {
		Name string `json:"name"`
	} `json:"package"`
}

// The index files, as documented.
type (
	dbIndex struct {
		Modified time.Time `json:"modified"`
	}
	vulnIndex struct {
		ID       string    `json:"id"`
		Modified time.Time `json:"modified"`
		Aliases  []string  `json:"aliases,omitempty"`
	}
	moduleIndex struct {
		Path  string       `json:"path"`
		Vulns []moduleVuln `json:"vulns"`
	}
	moduleVuln struct {
		ID       string    `json:"id"`
		Modified time.Time `json:"modified"`
	}
)

// convert writes the database and returns the number of reports. A directory without reports is an error: an empty database
// would let everything pass.
func convert(from, to string, date time.Time) (int, error) {
	files, err := filepath.Glob(filepath.Join(from, "GO-*.json"))
	if err != nil {
		return 0, err
	}
	if len(files) == 0 {
		return 0, fmt.Errorf("no GO-*.json in %s", from)
	}
	for _, dir := range []string{"ID", "index"} {
		if err := errors.Join(os.RemoveAll(filepath.Join(to, dir)), os.MkdirAll(filepath.Join(to, dir), 0o755)); err != nil {
			return 0, err
		}
	}
	var vulns []vulnIndex
	modules := map[string]*moduleIndex{}
	for _, file := range files {
		r, err := copyReport(file, filepath.Join(to, "ID"))
		if err != nil {
			return 0, err
		}
		if r.Modified.IsZero() {
			r.Modified = date
		}
		vulns = append(vulns, vulnIndex{r.ID, r.Modified, r.Aliases})
		r.index(modules)
	}
	sorted := slices.SortedFunc(maps.Values(modules), func(a, b *moduleIndex) int { return cmp.Compare(a.Path, b.Path) })
	err = errors.Join(
		writeJSON(filepath.Join(to, "index", "modules.json"), sorted),
		writeJSON(filepath.Join(to, "index", "vulns.json"), vulns),
		writeJSON(filepath.Join(to, "index", "db.json"), dbIndex{date.UTC()}), // last: its presence says the rest is whole
	)
	return len(files), err
}

// copyReport checks one report and copies it unchanged.
func copyReport(file, dir string) (report, error) {
	var r report
	b, err := os.ReadFile(file)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("%s: %w", file, err)
	}
	if r.ID != strings.TrimSuffix(filepath.Base(file), ".json") {
		return r, fmt.Errorf("%s: holds another report, %q", file, r.ID)
	}
	return r, os.WriteFile(filepath.Join(dir, r.ID+".json"), b, 0o644)
}

// index adds the report to every module it affects, once each.
func (r report) index(modules map[string]*moduleIndex) {
	seen := map[string]bool{}
	for _, a := range r.Affected {
		path := a.Package.Name
		if seen[path] {
			continue
		}
		seen[path] = true
		if modules[path] == nil {
			modules[path] = &moduleIndex{Path: path}
		}
		modules[path].Vulns = append(modules[path].Vulns, moduleVuln{r.ID, r.Modified})
	}
}

func writeJSON(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o644)
}
