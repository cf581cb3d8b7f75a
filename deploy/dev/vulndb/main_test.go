package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var date = time.Date(2026, 5, 6, 0, 0, 0, 0, time.UTC)

const sample = `{"schema_version":"1.3.1","id":"GO-2026-0001","modified":"2026-03-01T00:00:00Z",
"aliases":["CVE-2026-1"],"affected":[{"package":{"name":"example.org/m","ecosystem":"Go"},
"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"1.2.0"},{"introduced":"1.3.0"},{"fixed":"1.3.4"}]}]},
{"package":{"name":"stdlib","ecosystem":"Go"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"}]}]}]}`

func TestConvert_WritesTheDocumentedLayout(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	write(t, from, "GO-2026-0001.json", sample)
	n, err := convert(from, to, date)
	if err != nil || n != 1 {
		t.Fatalf("convert = %d, %v", n, err)
	}
	for file, want := range map[string]string{
		"ID/GO-2026-0001.json": sample,
		"index/db.json":        `{"modified":"2026-05-06T00:00:00Z"}`,
		"index/vulns.json":     `[{"id":"GO-2026-0001","modified":"2026-03-01T00:00:00Z","aliases":["CVE-2026-1"]}]`,
		"index/modules.json": `[{"path":"example.org/m","vulns":[{"id":"GO-2026-0001","modified":"2026-03-01T00:00:00Z"}]},` +
			`{"path":"stdlib","vulns":[{"id":"GO-2026-0001","modified":"2026-03-01T00:00:00Z"}]}]`,
	} {
		if got, err := os.ReadFile(filepath.Join(to, file)); err != nil || string(got) != want {
			t.Errorf("%s = %s, %v; want %s", file, got, err, want)
		}
	}
}

func TestConvert_DatesAnUndatedReportByItsRepository(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	write(t, from, "GO-2026-0001.json", `{"id":"GO-2026-0001","modified":"0001-01-01T00:00:00Z"}`)
	if _, err := convert(from, to, date); err != nil {
		t.Fatal(err)
	}
	const want = `[{"id":"GO-2026-0001","modified":"2026-05-06T00:00:00Z"}]`
	if got, err := os.ReadFile(filepath.Join(to, "index", "vulns.json")); err != nil || string(got) != want {
		t.Errorf("vulns.json = %s, %v; want %s", got, err, want)
	}
}

func TestConvert_RefusesWhatWouldLetEverythingPass(t *testing.T) {
	for _, tt := range []struct{ name, file, content string }{
		{"no report at all", "README.md", "nothing"},
		{"not JSON", "GO-2026-0001.json", "{"},
		{"another report under this name", "GO-2026-0002.json", sample},
	} {
		t.Run(tt.name, func(t *testing.T) {
			from, to := t.TempDir(), t.TempDir()
			write(t, from, tt.file, tt.content)
			if _, err := convert(from, to, date); err == nil {
				t.Error("accepted")
			}
			if _, err := os.Stat(filepath.Join(to, "index", "db.json")); err == nil {
				t.Error("left a database that looks whole")
			}
		})
	}
}

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestKnownList_BecomesReportsWithRangesAndPackages(t *testing.T) {
	dir := t.TempDir()
	list := filepath.Join(dir, "known.tsv")
	write(t, dir, "known.tsv", "# id\nGO-2026-1\texample.org/m\texample.org/m/p\t0\t1.2.0\nGO-2026-1\tstdlib\tos\t1.26.0-0\t-\n")
	if err := reportsOf(list, dir); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "GO-2026-1.json"))
	want := `{"id":"GO-2026-1","affected":[` +
		`{"package":{"name":"example.org/m","ecosystem":"Go"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"1.2.0"}]}],"ecosystem_specific":{"imports":[{"path":"example.org/m/p"}]}},` +
		`{"package":{"name":"stdlib","ecosystem":"Go"},"ranges":[{"type":"SEMVER","events":[{"introduced":"1.26.0-0"}]}],"ecosystem_specific":{"imports":[{"path":"os"}]}}]}`
	if err != nil || string(got) != want {
		t.Fatalf("report = %s, %v; want %s", got, err, want)
	}
}

func TestKnownList_NamesTheLineThatIsNotOne(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "known.tsv", "# id\nGO-2026-1\tstdlib\tos\n")
	if err := reportsOf(filepath.Join(dir, "known.tsv"), dir); err == nil || !strings.Contains(err.Error(), "known.tsv:2:") {
		t.Fatalf("error = %v, want one that names line 2", err)
	}
}
