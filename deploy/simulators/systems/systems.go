// Package systems reads what the simulated departments' systems know of the demo
// city's people: configs/demo/systems, whose README describes the files. What was
// read stays in memory. It is no part of a production gateway.
package systems

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/goccy/go-yaml"
)

// City is what all systems know.
type City struct {
	Services  map[string]Service  // of the provincial platform, by service id
	Databases map[string]Database // by connection
}

// Service is one service of the provincial platform.
type Service struct {
	Key      string   `yaml:"key"`       // request field that holds the ID number
	NotFound any      `yaml:"not_found"` // answer for a number without a record
	Records  []Record `yaml:"records"`
}

// Record is the answer for one number. At most one of Status, Body and Answer is meant.
type Record struct {
	Number string        `yaml:"number"`
	Delay  time.Duration `yaml:"delay"`
	Status int           `yaml:"status"` // HTTP; 0: 200
	Body   string        `yaml:"body"`   // sent as it stands
	Answer any           `yaml:"answer"` // sent as JSON
}

// Database is a department's database.
type Database struct {
	Tables map[string]Table         `yaml:"tables"`
	Slow   map[string]time.Duration `yaml:"slow"` // by number: how long a question about it takes
}

// Table is one table: column definitions such as "zjhm TEXT", and rows in their order.
type Table struct {
	Columns []string `yaml:"columns"`
	Rows    [][]any  `yaml:"rows"`
}

// Read reads a file, or all *.yaml files of a directory together. A service or a
// database stands in one file only. Errors name files, services and positions in
// a list, never a person.
func Read(path string) (City, error) {
	c := City{Services: make(map[string]Service), Databases: make(map[string]Database)}
	files := []string{path}
	if info, err := os.Stat(path); err != nil {
		return c, fmt.Errorf("systems: %w", err)
	} else if info.IsDir() {
		if files, err = filepath.Glob(filepath.Join(path, "*.yaml")); err != nil || len(files) == 0 {
			return c, fmt.Errorf("systems: no *.yaml file in %s", path)
		}
	}
	for _, file := range files {
		if err := c.read(file); err != nil {
			return c, fmt.Errorf("systems: %w", err)
		}
	}
	return c, nil
}

func (c City) read(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var file struct {
		Province struct {
			Services map[string]Service `yaml:"services"`
		} `yaml:"province"`
		Local map[string]Database `yaml:"local"`
	}
	if yaml.UnmarshalWithOptions(b, &file, yaml.Strict()) != nil {
		// The library's error shows the lines around it, which hold people.
		return fmt.Errorf("%s is not the expected YAML", path)
	}
	for sid, s := range file.Province.Services {
		if _, twice := c.Services[sid]; twice {
			return fmt.Errorf("%s: service %s is there twice", path, sid)
		}
		if err := s.check(); err != nil {
			return fmt.Errorf("%s: service %s: %w", path, sid, err)
		}
		c.Services[sid] = s
	}
	for connection, d := range file.Local {
		if _, twice := c.Databases[connection]; twice {
			return fmt.Errorf("%s: database %s is there twice", path, connection)
		}
		c.Databases[connection] = d
	}
	return nil
}

func (s Service) check() error {
	if s.Key == "" || s.NotFound == nil {
		return errors.New("key and not_found are required")
	}
	seen := make(map[string]bool)
	for i, r := range s.Records {
		if r.Number == "" || seen[r.Number] {
			return fmt.Errorf("record %d: number is missing or there twice", i+1)
		}
		seen[r.Number] = true
	}
	return nil
}
