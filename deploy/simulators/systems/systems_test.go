package systems

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRead_FilesOfADirectoryAreOneCity(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, "a.yaml", `province: {services: {a: {key: k, not_found: {}, records: [{number: "1", delay: 2s}]}}}`)
	fill(t, dir, "b.yaml", `{province: {services: {b: {key: k, not_found: {}}}}, local: {fund: {tables: {t: {columns: [x TEXT], rows: [["1"]]}}}}}`)
	fill(t, dir, "README.md", `no YAML: [`)
	c, err := Read(dir)
	if err != nil || len(c.Services) != 2 || len(c.Databases["fund"].Tables["t"].Rows) != 1 || c.Services["a"].Records[0].Delay.Seconds() != 2 {
		t.Errorf("%+v, %v", c, err)
	}
	fill(t, dir, "c.yaml", `province: {services: {a: {key: k, not_found: {}}}}`)
	if _, err := Read(dir); err == nil || !strings.Contains(err.Error(), "service a is there twice") {
		t.Errorf("one service in two files: %v", err)
	}
}

func TestRead_ErrorsTellNoPersons(t *testing.T) {
	for name, text := range map[string]string{
		"not YAML":     "province: [690102198503120016",
		"unknown key":  `people: [{number: "690102198503120016"}]`,
		"number twice": `province: {services: {a: {key: k, not_found: {}, records: [{number: "690102198503120016"}, {number: "690102198503120016"}]}}}`,
	} {
		dir := t.TempDir()
		fill(t, dir, "a.yaml", text)
		if _, err := Read(dir); err == nil || strings.Contains(err.Error(), "690102198503120016") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Read(t.TempDir()); err == nil {
		t.Error("an empty directory is a city")
	}
}

func fill(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
