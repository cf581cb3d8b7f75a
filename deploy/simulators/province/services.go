package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"yizheng/catalog/beijing"
	"yizheng/deploy/simulators/systems"
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

// loadServices reads a file or a directory. Its errors name services and
// positions in the list, never a number.
func loadServices(path string) (map[string]service, error) {
	city, err := systems.Read(path)
	if err != nil {
		return nil, err
	}
	if len(city.Services) == 0 {
		return nil, fmt.Errorf("people: %s has no province.services", path)
	}
	services := make(map[string]service, len(city.Services))
	for sid, in := range city.Services {
		out := service{key: in.Key, records: make(map[string]record, len(in.Records))}
		if out.notFound, err = json.Marshal(in.NotFound); err != nil {
			return nil, fmt.Errorf("people: service %s: not_found has no JSON form", sid)
		}
		for i, r := range in.Records {
			rec := record{delay: r.Delay, status: r.Status, body: []byte(r.Body)}
			if r.Answer != nil {
				if rec.body, err = json.Marshal(r.Answer); err != nil {
					return nil, fmt.Errorf("people: service %s, record %d: answer has no JSON form", sid, i+1)
				}
			}
			out.records[r.Number] = rec
		}
		services[sid] = out
	}
	return services, nil
}

// at returns body with the present time in Beijing where it says {now}.
func at(body []byte, now time.Time) []byte {
	stamp := now.In(beijing.Zone()).Format("20060102150405")
	return []byte(strings.ReplaceAll(string(body), "{now}", stamp))
}
