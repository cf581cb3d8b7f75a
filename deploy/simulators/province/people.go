package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// service is one service (sid) and what it knows, by ID number. It is read-only.
type service struct {
	key      string // request field that holds the number
	notFound []byte
	records  map[string]record
}

// record is the answer for one number. At most one of status, body and answer is meant.
type record struct {
	delay  time.Duration
	status int    // 0: 200
	body   []byte // sent as it stands, "{now}" replaced
}

// The file's shape. Its first comment is the description; other sections are
// for other programs.
type peopleFile struct {
	Province struct {
		Services map[string]struct {
			Key      string `yaml:"key"`
			NotFound any    `yaml:"not_found"`
			Records  []struct {
				Number string `yaml:"number"`
				Delay  string `yaml:"delay"`
				Status int    `yaml:"status"`
				Body   string `yaml:"body"`
				Answer any    `yaml:"answer"`
			} `yaml:"records"`
		} `yaml:"services"`
	} `yaml:"province"`
}

// loadServices reads the file. Its errors name services and positions in the
// list, never a number.
func loadServices(path string) (map[string]service, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("people: %w", err)
	}
	var file peopleFile
	if err := yaml.Unmarshal(b, &file); err != nil {
		// The library's error shows the lines around it, which hold people.
		return nil, fmt.Errorf("people: %s is not the expected YAML", path)
	}
	if len(file.Province.Services) == 0 {
		return nil, fmt.Errorf("people: %s has no province.services", path)
	}
	services := make(map[string]service, len(file.Province.Services))
	for sid, in := range file.Province.Services {
		out := service{key: in.Key, records: make(map[string]record, len(in.Records))}
		if in.Key == "" || in.NotFound == nil {
			return nil, fmt.Errorf("people: service %s: key and not_found are required", sid)
		}
		if out.notFound, err = json.Marshal(in.NotFound); err != nil {
			return nil, fmt.Errorf("people: service %s: not_found has no JSON form", sid)
		}
		for i, r := range in.Records {
			rec := record{status: r.Status, body: []byte(r.Body)}
			if r.Delay != "" {
				if rec.delay, err = time.ParseDuration(r.Delay); err != nil {
					return nil, fmt.Errorf("people: service %s, record %d: delay is not a duration", sid, i+1)
				}
			}
			if r.Answer != nil {
				if rec.body, err = json.Marshal(r.Answer); err != nil {
					return nil, fmt.Errorf("people: service %s, record %d: answer has no JSON form", sid, i+1)
				}
			}
			if _, twice := out.records[r.Number]; twice || r.Number == "" {
				return nil, fmt.Errorf("people: service %s, record %d: number is missing or there twice", sid, i+1)
			}
			out.records[r.Number] = rec
		}
		services[sid] = out
	}
	return services, nil
}

// at returns body with the present time in Beijing where it says {now}.
func at(body []byte, now time.Time) []byte {
	stamp := now.In(time.FixedZone("CST", 8*60*60)).Format("20060102150405")
	return []byte(strings.ReplaceAll(string(body), "{now}", stamp))
}
